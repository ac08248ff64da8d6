//! States and phases, each with a shape of its own beside its word.

import { SHAPES, type Shape } from "../grid/shape.ts";
import { PHASE_KINDS } from "../grid/kinds.ts";
import { spoken } from "../format.ts";
import type { State } from "../types.ts";

export function Glyph({ shape, colour }: { shape: Shape; colour: string }) {
  const { outline, path } = SHAPES[shape];
  return (
    <svg class={`glyph c-${colour}`} viewBox="-1 -1 14 14" aria-hidden="true">
      {outline && <rect x="0" y="0" width="12" height="12" fill="none" stroke="currentColor" stroke-width="1.4" />}
      <path d={path} fill="currentColor" fill-rule="evenodd" />
    </svg>
  );
}

export function PhaseMark({ phase }: { phase: string }) {
  const kind = PHASE_KINDS.find(({ word }) => word === phase);
  return (
    <span class="mark">
      {kind !== undefined && <Glyph shape={kind.shape} colour={kind.colour} />}
      {spoken(phase)}
    </span>
  );
}

const STATES: Record<State, string> = {
  running: "M3 1.5L11 6L3 10.5Z",
  paused: "M2 1H5V11H2ZM7 1H10V11H7Z",
  held: "M1 1.5H3.4V10.5H1ZM8.6 1.5H11V10.5H8.6ZM3.4 4.8H8.6V7.2H3.4Z",
  succeeded: "M1 6.2L2.6 4.6L5 7L9.6 2.2L11.2 3.8L5 10.2Z",
  failed: "M1 2.6L2.6 1L6 4.4L9.4 1L11 2.6L7.6 6L11 9.4L9.4 11L6 7.6L2.6 11L1 9.4L4.4 6Z",
  aborted: "M2 2H10V10H2Z",
};

export function StateBadge({ state, large = false }: { state: State; large?: boolean }) {
  return (
    <span class={`badge s-${state}${large ? " large" : ""}`}>
      <svg class="glyph" viewBox="0 0 12 12" aria-hidden="true"><path d={STATES[state]} fill="currentColor" /></svg>
      {state}
    </span>
  );
}

const HEALTHS: Record<string, [Shape, string]> = {
  healthy: ["full", "good"], unhealthy: ["cross", "bad"], unknown: ["ring", "under-way"], empty: ["empty", "pending"],
  connected: ["full", "good"], silent: ["half", "warn"], unreachable: ["slash", "away"], revoked: ["cross", "bad"], expired: ["empty", "pending"],
};

/** Of a health or a connection. */
export function HealthMark({ word }: { word: string }) {
  const [shape, colour] = HEALTHS[word] ?? (["dot", "pending"] as const);
  return <span class="mark"><Glyph shape={shape} colour={colour} />{word}</span>;
}
