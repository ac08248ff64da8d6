//! The waves along one line of time. What is still to bake is drawn up to where it will end.

import { now } from "../../clock.ts";
import { Took, When } from "../../parts/Time.tsx";
import { spans } from "../../spans.ts";
import type { Rollout } from "../../types.ts";

const percent = (share: number) => `${(share * 100).toFixed(2)}%`;

export function Timeline({ rollout }: { rollout: Rollout }) {
  const drawn = spans(rollout, now.value);
  return (
    <div class="timeline">
      <div class="timeline-line" aria-hidden="true">
        {drawn.spans.map(({ wave, state, from, to, bakeTo }) => (
          <span key={wave}>
            <i class={`span w-${state}`} style={{ left: percent(from), width: percent(Math.max(0.004, to - from)) }}><b>{to - from > 0.05 ? `wave ${wave}` : ""}</b></i>
            {bakeTo !== null && <i class="span to-bake" style={{ left: percent(to), width: percent(bakeTo - to) }} />}
          </span>
        ))}
      </div>
      <p class="timeline-ends muted">
        <span>started <When at={rollout.started_at} /></span>
        <span><Took from={rollout.started_at} to={rollout.ended_at} /></span>
        <span>{rollout.ended_at !== null ? <>ended <When at={rollout.ended_at} /></> : drawn.end > now.value ? <>bakes until <When at={drawn.end} /></> : "now"}</span>
      </p>
    </div>
  );
}
