//! What failed, each message once: the number that broke its limit, whom it struck, and the
//! last lines of the first one's log.

import { counted, spoken } from "../format.ts";
import { grouped, type Told } from "../failures.ts";
import type { RolloutDetail } from "../types.ts";
import { hrefWith } from "../route.ts";
import { NodeLink } from "./Links.tsx";

const NAMED = 6;

export function Failures({ rollout }: { rollout: RolloutDetail }) {
  const shown = rollout.failures.length;
  return (
    <section class="card" aria-labelledby="failures">
      <h2 id="failures">Failures <span class="tally bad">{rollout.failures_total}</span></h2>
      <ul class="failures">{grouped(rollout.failures).map((told) => <Group key={told.failure.class + told.message} told={told} />)}</ul>
      {rollout.failures_total > shown && <p class="muted">The newest {shown} of {rollout.failures_total}. <a href={hrefWith({ phase: "failed" })}>All failed steps</a></p>}
    </section>
  );
}

function Group({ told: { failure, message, steps } }: { told: Told }) {
  const log = steps.find((step) => (step.failure?.log_tail.length ?? 0) > 0) ?? null;
  return (
    <li>
      <p class="failure-head">
        <b>{counted(steps.length, "node")}:</b> {message}
      </p>
      <p class="failure-facts">
        <span><i>class</i> {spoken(failure.class)}</span>
        {failure.check !== null && <span><i>check</i> {failure.check}</span>}
        {failure.figure !== null && <span class="verdict"><i>found</i> <b>{failure.figure}</b> <i>limit</i> {failure.limit ?? "none"}</span>}
      </p>
      <p class="failure-nodes">
        {steps.slice(0, NAMED).map(({ node }) => <NodeLink key={node} node={node} />)}
        {steps.length > NAMED && <span class="muted">and {steps.length - NAMED} more</span>}
      </p>
      {log !== null && (
        <figure>
          <figcaption>the last lines of {log.node}</figcaption>
          <pre tabIndex={0} aria-label={`Log of ${log.node}`}>{log.failure?.log_tail.join("\n")}</pre>
        </figure>
      )}
    </li>
  );
}
