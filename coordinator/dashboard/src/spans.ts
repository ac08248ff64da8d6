//! When each wave ran, as shares of the time that a rollout has taken. Pure.

import type { Ms, Rollout } from "./types.ts";

export type Span = { wave: number; state: string; from: number; to: number; bakeTo: number | null };

export function spans(rollout: Pick<Rollout, "waves" | "started_at" | "ended_at">, now: Ms): { spans: Span[]; end: Ms } {
  const { started_at: start, ended_at: ended, waves } = rollout;
  const bakes = waves.flatMap(({ state, bake_until: until }) => (state === "baking" && until !== null && ended === null ? [until] : []));
  const end = Math.max(ended ?? now, ...bakes, start + 1_000);
  const share = (at: Ms) => Math.min(1, Math.max(0, (at - start) / (end - start)));
  return {
    end,
    spans: waves.flatMap(({ wave, state, started_at: from, passed_at: passed, bake_until: until }) => (from === null ? [] : [{
      wave, state, from: share(from), to: share(passed ?? ended ?? now),
      bakeTo: state === "baking" && until !== null && ended === null ? share(until) : null,
    }])),
  };
}
