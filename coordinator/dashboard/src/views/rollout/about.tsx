//! Who, when, why, and under which conditions.

import type { ComponentChildren } from "preact";
import { NodeLink, RolloutLink } from "../../parts/Links.tsx";
import { Release } from "../../parts/Release.tsx";
import { Took, When } from "../../parts/Time.tsx";
import { count, spoken } from "../../format.ts";
import type { RolloutDetail } from "../../types.ts";

/** Where it came from and what became of it: said at the top, as it changes what one reads. */
export function Relations({ rollout }: { rollout: RolloutDetail }) {
  const { parent, rollback, superseded_by: successor } = rollout;
  if (parent === null && rollback === null && successor === null) return null;
  return (
    <p class="relations">
      {parent !== null && <span>Rollback of <RolloutLink number={parent} />.</span>}
      {rollback !== null && <span>It led to rollback <RolloutLink number={rollback} />.</span>}
      {successor !== null && <span>Superseded by <RolloutLink number={successor} />.</span>}
    </p>
  );
}

export function Pairs({ pairs }: { pairs: [string, ComponentChildren][] }) {
  return <dl class="pairs">{pairs.map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>;
}

export function About({ rollout }: { rollout: RolloutDetail }) {
  const pairs: [string, ComponentChildren][] = [
    ["by", rollout.by],
    ...(rollout.reason === null ? [] : ([["reason", rollout.reason]] as [string, string][])),
    ["release", <Release of={rollout.release} none="each node's last good" />],
    ["kind", rollout.kind],
    ["nodes", <>{count(rollout.nodes)}{rollout.unreachable > 0 && <span class="tone-bad">, {count(rollout.unreachable)} unreachable</span>}</>],
    ["started", <When at={rollout.started_at} />],
    ...(rollout.ended_at === null ? [] : ([["ended", <When at={rollout.ended_at} />]] as [string, ComponentChildren][])),
    [rollout.ended_at === null ? "takes so far" : "took", <Took from={rollout.started_at} to={rollout.ended_at} />],
  ];
  return (
    <section class="card" aria-labelledby="about">
      <h2 id="about">About</h2>
      <Pairs pairs={pairs} />
    </section>
  );
}

export function Strategy({ strategy }: { strategy: Record<string, unknown> }) {
  const pairs = Object.entries(strategy).map(([name, value]): [string, string] => [spoken(name).replaceAll("_", " "), said(value)]);
  if (pairs.length === 0) return null;
  return (
    <section class="card" aria-labelledby="strategy">
      <h2 id="strategy">Strategy</h2>
      <Pairs pairs={pairs} />
    </section>
  );
}

export function said(value: unknown): string {
  if (value === null || value === undefined) return "none";
  if (Array.isArray(value)) return value.map(said).join(", ");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

export function LeftOut({ rollout }: { rollout: RolloutDetail }) {
  if (rollout.left_out_total === 0) return null;
  return (
    <section class="card" aria-labelledby="left-out">
      <h2 id="left-out">Left out <span class="tally">{rollout.left_out_total}</span></h2>
      <ul class="left-out">{rollout.left_out.map(({ node, why }) => <li key={node}><NodeLink node={node} /> <span>{why}</span></li>)}</ul>
      {rollout.left_out_total > rollout.left_out.length && <p class="muted">and {rollout.left_out_total - rollout.left_out.length} more</p>}
    </section>
  );
}

export function Migration({ log }: { log: readonly string[] }) {
  if (log.length === 0) return null;
  return (
    <section class="card" aria-labelledby="migration">
      <h2 id="migration">Migration</h2>
      <pre tabIndex={0} aria-label="Output of the migration">{log.join("\n")}</pre>
    </section>
  );
}
