//! A rollout that is under way, as large as what one came to see.

import { StateBadge } from "../../parts/Mark.tsx";
import { PhaseCounts } from "../../parts/PhaseBar.tsx";
import { Took } from "../../parts/Time.tsx";
import { Waiting } from "../../parts/Waiting.tsx";
import { Waves } from "../../parts/Waves.tsx";
import type { Rollout } from "../../types.ts";
import { brings, headline } from "../../words.ts";

/** `counts`: also as numbers by phase, where no legend beside it has them. */
export function Active({ rollout, counts }: { rollout: Rollout; counts: boolean }) {
  const { number, app, environment, parent } = rollout;
  const { figure, of } = headline(rollout);
  return (
    <section class={`card active a-${rollout.state}`} aria-labelledby={`active-${number}`}>
      <header>
        <StateBadge state={rollout.state} large />
        <h2 id={`active-${number}`}>
          <a href={`/rollouts/${number}`}><b>#{number}</b> {app} <span class="muted">{rollout.kind === "rollback" ? "back to" : "to"}</span> {brings(rollout)} <span class="muted">in</span> {environment}</a>
        </h2>
        <p class="by muted">{rollout.kind === "rollback" && <>{parent === null ? "rollback" : <>rollback of <a href={`/rollouts/${parent}`}>#{parent}</a></>} · </>}by {rollout.by} · <Took from={rollout.started_at} to={rollout.ended_at} />{rollout.reason !== null && <> · <span class={rollout.kind === "rollback" ? "tone-bad" : undefined}>{rollout.reason}</span></>}</p>
        <p class="big">{figure}<small> {of}</small></p>
      </header>
      {rollout.needs_person && <p class="needs-person">A person is needed.</p>}
      <Waiting waiting={rollout.waiting} />
      <Waves rollout={rollout} />
      {counts && <PhaseCounts phases={rollout.phases} href={(phase) => `/rollouts/${number}?phase=${phase}#steps`} />}
    </section>
  );
}
