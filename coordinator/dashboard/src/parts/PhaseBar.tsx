//! How far a set of steps is: one bar, whose parts carry the same patterns as the grid, and the
//! numbers in words for who cannot see it.

import { count, spoken, wholePercent } from "../format.ts";
import { PHASE_KINDS } from "../grid/kinds.ts";
import type { Phase, Phases } from "../types.ts";
import { BAR, PHASES } from "../words.ts";
import { Glyph } from "./Mark.tsx";

export function PhaseBar({ phases, nodes, thin = false }: { phases: Phases; nodes: number; thin?: boolean }) {
  const parts = BAR.filter((phase) => (phases[phase] ?? 0) > 0);
  const told = parts.map((phase) => `${phases[phase]} ${spoken(phase)}`).join(", ");
  return (
    <div class={`bar${thin ? " thin" : ""}`} role="img" aria-label={`${told || "no steps"} of ${nodes}`}>
      {parts.map((phase) => (
        <span key={phase} class={`part p-${phase}`} style={{ flexGrow: phases[phase] ?? 0 }} title={`${phases[phase]} ${spoken(phase)}`} />
      ))}
    </div>
  );
}

/** The same as numbers; each leads to its steps where there is somewhere to lead to. */
export function PhaseCounts({ phases, href }: { phases: Phases; href?: (phase: Phase) => string }) {
  return (
    <ul class="counts">
      {PHASES.filter((phase) => (phases[phase] ?? 0) > 0).map((phase) => {
        const kind = PHASE_KINDS.find(({ word }) => word === phase);
        const told = (
          <>
            {kind !== undefined && <Glyph shape={kind.shape} colour={kind.colour} />}
            <b>{count(phases[phase] ?? 0)}</b> {spoken(phase)}
          </>
        );
        return <li key={phase}>{href === undefined ? told : <a href={href(phase)}>{told}</a>}</li>;
      })}
    </ul>
  );
}

export const donePercent = (phases: Phases, nodes: number): number => wholePercent(phases.done ?? 0, nodes);
