//! The rollouts that ended last.

import { RolloutLink } from "../../parts/Links.tsx";
import { StateBadge } from "../../parts/Mark.tsx";
import { Ago } from "../../parts/Time.tsx";
import type { Rollout } from "../../types.ts";
import { brings } from "../../words.ts";

export function Recent({ rollouts }: { rollouts: readonly Rollout[] }) {
  return (
    <section class="card" aria-labelledby="recent">
      <h2 id="recent">Ended last <a class="more" href="/rollouts">all rollouts</a></h2>
      {rollouts.length === 0 && <p class="empty">No rollout has ended yet.</p>}
      <ul class="recent">
        {rollouts.map((rollout) => (
          <li key={rollout.number}>
            <StateBadge state={rollout.state} />
            <RolloutLink number={rollout.number} />
            <span class="recent-what">{rollout.app} {rollout.kind === "rollback" ? "back to" : ""} {brings(rollout)} <span class="muted">in</span> {rollout.environment}</span>
            <span class="recent-why">{rollout.why}</span>
            {rollout.ended_at !== null && <span class="recent-when"><Ago at={rollout.ended_at} /></span>}
          </li>
        ))}
      </ul>
    </section>
  );
}
