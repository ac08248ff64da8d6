//! The waves of a rollout, one line each: how far it reaches, how far it is, how long it took.

import type { Rollout, Wave } from "../types.ts";
import { count } from "../format.ts";
import { PhaseBar } from "./PhaseBar.tsx";
import { Countdown, Took } from "./Time.tsx";

export function Waves({ rollout }: { rollout: Rollout }) {
  const stopped = rollout.ended_at;
  return (
    <ol class="waves" aria-label={`Waves of rollout ${rollout.number}`}>
      {rollout.waves.map((wave) => (
        <li key={wave.wave} class={`wave w-${wave.state}`}>
          <span class="wave-name">wave {wave.wave} <small>to {wave.reach}</small></span>
          <PhaseBar phases={wave.phases} nodes={wave.nodes} />
          <span class="wave-done">{count(wave.phases.done ?? 0)}<small> of {count(wave.nodes)} done</small></span>
          <span class="wave-state">{wave.state}</span>
          <span class="wave-clock"><Clock wave={wave} stopped={stopped} /></span>
        </li>
      ))}
    </ol>
  );
}

function Clock({ wave, stopped }: { wave: Wave; stopped: number | null }) {
  if (wave.state === "baking" && wave.bake_until !== null && stopped === null) return <><Countdown until={wave.bake_until} /> <small>left</small></>;
  if (wave.started_at === null) return null;
  return <Took from={wave.started_at} to={wave.passed_at ?? stopped} />;
}
