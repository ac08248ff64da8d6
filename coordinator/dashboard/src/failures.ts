//! Failures that are the same, told once. Pure.

import type { Failure, Step } from "./types.ts";

export type Told = { failure: Failure; message: string; steps: Step[] };

/** Groups by what is said, with the node's own name taken out of it; the largest group first. */
export function grouped(failures: readonly Step[]): Told[] {
  const groups = new Map<string, Told>();
  for (const step of failures) {
    if (step.failure === null) continue;
    const message = step.failure.message.replaceAll(step.node, "the node");
    const key = JSON.stringify([step.failure.class, step.failure.check, message]);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { failure: step.failure, message, steps: [step] });
    else group.steps.push(step);
  }
  return [...groups.values()].sort((a, b) => b.steps.length - a.steps.length);
}
