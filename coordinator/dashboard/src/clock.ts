//! The one clock. Every age and every countdown on the page reads `now`, which ticks once a
//! second, so that nothing else needs a timer and all of them turn together.

import { signal } from "@preact/signals";

/** What the coordinator's clock shows, as well as it is known here. It stands still while
 * nothing is heard: a bake that runs down on a picture of a minute ago would be a lie. */
export const now = signal(Date.now());

/** This machine's own clock, which goes on. */
export const here = signal(Date.now());

// A wall display's clock may be wrong by minutes; ages would lie by as much. The Date of an
// answer tells, to within a second and the way of the answer, so small differences are noise.
const NOISE_MS = 2_000;
let offset = 0;

/** How far the coordinator's clock is ahead, from the Date of an answer that took so long. */
export function skew(date: string | null, asked: number, answered: number): number | null {
  const theirs = date === null ? Number.NaN : Date.parse(date);
  if (Number.isNaN(theirs) || answered - asked > NOISE_MS) return null;
  // Date is cut to the second: half a second is the best guess of what was cut off.
  const ahead = theirs + 500 - (asked + answered) / 2;
  return Math.abs(ahead) < NOISE_MS ? 0 : ahead;
}

export function heardDate(date: string | null, asked: number, answered: number): void {
  offset = skew(date, asked, answered) ?? offset;
}

export function startClock(holds: () => boolean): void {
  const tick = () => {
    here.value = Date.now();
    if (!holds()) now.value = here.value + offset;
    // On the second, and never twice in one: a timer that fires early must not beat twice.
    setTimeout(tick, 1_010 - ((((Date.now() + offset) % 1_000) + 1_000) % 1_000));
  };
  tick();
}
