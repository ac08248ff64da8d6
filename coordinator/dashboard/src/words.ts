//! The words of Fleet, and what goes with each: the order they are told in and the class that
//! colours them. Nothing else on the page names a phase or a state.

import type { Act, Connection, Figure, Health, Phase, Rollout, State, Wave } from "./types.ts";
import { version, wholePercent } from "./format.ts";

/** As a step goes through them; what went wrong comes last. */
export const PHASES: readonly Phase[] = [
  "pending", "fetching", "staged", "migrating", "activating", "verifying", "baking", "done",
  "failed", "rolling-back", "rolled-back",
];
/** As a bar shows them: what is done grows from the left. */
export const BAR: readonly Phase[] = [
  "done", "baking", "verifying", "activating", "migrating", "staged", "fetching",
  "rolling-back", "rolled-back", "failed", "pending",
];
export const HEALTHS: readonly Health[] = ["healthy", "unknown", "empty", "unhealthy"];
export const CONNECTIONS: readonly Connection[] = ["connected", "silent", "unreachable", "revoked", "expired"];
export const STATES: readonly State[] = ["running", "paused", "held", "succeeded", "failed", "aborted"];

export const ENDED: ReadonlySet<State> = new Set<State>(["succeeded", "failed", "aborted"]);

export const ACT_NAMES: Record<Act, string> = {
  pause: "Pause",
  resume: "Resume",
  abort: "Abort",
  retry: "Retry",
  rollback: "Roll back",
};

export const FIGURES: Record<Figure, string> = {
  "error-rate": "error rate",
  p50: "p50 latency",
  p95: "p95 latency",
  cpu: "CPU",
  memory: "memory",
  restarts: "restarts",
};

/** What a rollout brings: `v1.2.0`, or what it is without one. */
export function brings(rollout: Pick<Rollout, "release">): string {
  return rollout.release === null ? "each node's last good release" : version(rollout.release);
}

/** The wave that is under way, else the last that was. */
export function currentWave(waves: readonly Wave[]): Wave | null {
  return waves.find(({ state }) => state === "running" || state === "baking" || state === "failed")
    ?? waves.findLast(({ state }) => state === "passed")
    ?? waves[0]
    ?? null;
}

/** The one figure of a rollout. What is held has done all that it was to do, and that is not all. */
export function headline(rollout: Pick<Rollout, "phases" | "nodes" | "state" | "waves">): { figure: string; of: string } {
  const reach = rollout.waves.at(-1)?.reach;
  if (rollout.state === "held" && reach !== undefined) return { figure: reach.replace("%", ""), of: reach.endsWith("%") ? "% covered" : "covered" };
  return { figure: String(wholePercent(done(rollout), rollout.nodes)), of: "% done" };
}

/** `#42 wave 2 of 3, 37 %`: what a tab or a list of windows has room for. */
export function shortly(rollout: Rollout): string {
  const wave = currentWave(rollout.waves);
  const at = rollout.state === "running" && wave !== null ? `wave ${wave.wave} of ${rollout.waves.length}` : rollout.state;
  const { figure, of } = headline(rollout);
  return `#${rollout.number} ${at}, ${figure} ${of.startsWith("%") ? "%" : of}`;
}

export function done(rollout: Pick<Rollout, "phases">): number {
  return rollout.phases.done ?? 0;
}
