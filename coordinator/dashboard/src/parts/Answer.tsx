//! What stands where data will be: nothing yet, a problem, or the data.

import type { ComponentChildren } from "preact";
import type { Problem } from "../types.ts";
import type { Seen } from "../view.ts";
import { Command } from "./Copy.tsx";

export function ProblemNote({ problem }: { problem: Problem }) {
  return (
    <div class="problem" role="alert">
      <p>{problem.detail}</p>
      {problem.hint && <Command text={problem.hint} />}
      {problem.status === 401 && <p><a href="/session">Log in</a></p>}
    </div>
  );
}

/** `lines`: how much room to keep while there is nothing yet. */
export function Answer<T>({ seen, lines, children }: { seen: Seen<T>; lines: number; children: (data: T) => ComponentChildren }) {
  return (
    <>
      {seen.problem !== null && <ProblemNote problem={seen.problem} />}
      {seen.data !== null ? children(seen.data) : seen.problem === null && <Skeleton lines={lines} />}
    </>
  );
}

export function Skeleton({ lines }: { lines: number }) {
  return (
    <div class="skeleton" aria-busy="true" aria-label="Loading">
      {Array.from({ length: lines }, (_, i) => <div key={i} />)}
    </div>
  );
}
