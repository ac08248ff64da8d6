//! What is known of the node under the cursor, in words. It keeps its line when there is
//! none, so that nothing jumps.

import { spoken, version } from "../format.ts";
import type { Fleet } from "../types.ts";

export function Readout({ fleet, index }: { fleet: Fleet; index: number }) {
  const node = fleet.nodes[index];
  return (
    <p class="readout" id="grid-readout" aria-live="polite">
      {node === undefined ? (
        <span class="muted">Point at a cell, or walk with the arrow keys, and its node is told of here.</span>
      ) : (
        <>
          <a class="name" href={`/nodes/${encodeURIComponent(node)}`}>{node}</a>
          {facts(fleet, index).map(([name, value]) => (
            <span key={name}><i>{name}</i> {value}</span>
          ))}
        </>
      )}
    </p>
  );
}

function facts(fleet: Fleet, i: number): [string, string][] {
  const { words } = fleet;
  const word = (list: string[], column: number[]) => list[column[i] ?? -1];
  const release = word(words.versions, fleet.version);
  const phase = word(words.phases, fleet.phase);
  const wave = fleet.wave[i] ?? -1;
  const flags = fleet.flags[i] ?? 0;
  const told: [string, string | undefined][] = [
    ["release", release === undefined ? "none" : version(release)],
    ["phase", phase === undefined ? undefined : spoken(phase)],
    ["health", word(words.healths, fleet.health)],
    ["connection", word(words.connections, fleet.connection)],
    ["zone", word(words.zones, fleet.zone)],
    ["wave", wave < 0 ? undefined : String(wave)],
    ["service", flags & 2 ? "drained" : flags & 1 ? "cordoned" : undefined],
  ];
  return told.flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as [string, string]]));
}
