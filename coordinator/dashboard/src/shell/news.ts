//! What is worth saying aloud between two looks at the rollouts: a state that changed, a wave
//! that moved on, a rollout that is new. Pure. Never single steps.

import type { Rollout } from "../types.ts";
import { currentWave } from "../words.ts";

type Known = Map<number, { state: string; wave: string }>;

export function look(rollouts: readonly Rollout[]): Known {
  return new Map(rollouts.map((rollout) => [rollout.number, { state: rollout.state, wave: waveTold(rollout) }]));
}

export function news(before: Known, rollouts: readonly Rollout[]): string[] {
  return rollouts.flatMap((rollout) => {
    const known = before.get(rollout.number);
    const name = `Rollout ${rollout.number} of ${rollout.app}`;
    if (known === undefined) return [`${name} ${rollout.state === "running" ? "has started" : `is ${rollout.state}`}`];
    if (known.state !== rollout.state) return [`${name} ${rollout.state === "running" ? "goes on" : `is ${rollout.state}`}${rollout.why === null ? "" : `: ${rollout.why}`}`];
    const wave = waveTold(rollout);
    return known.wave !== wave && rollout.state === "running" ? [`${name}: ${wave}`] : [];
  });
}

function waveTold({ waves }: Rollout): string {
  const wave = currentWave(waves);
  return wave === null ? "" : `wave ${wave.wave} of ${waves.length} is ${wave.state}`;
}
