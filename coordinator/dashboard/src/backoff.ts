//! How long to wait before the next try. Pure: chance comes in.

// The first try is at once in human terms; a wall display never waits longer than this for
// a coordinator that is back.
const FIRST_MS = 500;
const LONGEST_MS = 10_000;

/** Doubles from try to try; half of it is left to chance, so that many pages do not come at once. */
export function backoff(attempt: number, chance: number): number {
  const whole = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(attempt, 10));
  return whole / 2 + (whole / 2) * chance;
}
