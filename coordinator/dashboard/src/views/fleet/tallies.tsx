//! The fleet in a few numbers; what is nothing is left out, but for the two that reassure.

import { count } from "../../format.ts";
import { Glyph } from "../../parts/Mark.tsx";
import type { NodeCounts } from "../../types.ts";
import type { Shape } from "../../grid/shape.ts";

type Tally = [word: string, n: number, href: string, shape: Shape, colour: string];

export function Tallies({ nodes }: { nodes: NodeCounts }) {
  const tallies: Tally[] = [
    [nodes.total === 1 ? "node" : "nodes", nodes.total, "/nodes", "full", "plain"],
    ["connected", nodes.connected, "/nodes?connection=connected", "full", "good"],
    ["unhealthy", nodes.unhealthy, "/nodes?health=unhealthy", "cross", "bad"],
    ["unreachable", nodes.unreachable, "/nodes?connection=unreachable", "slash", "away"],
    ["silent", nodes.silent, "/nodes?connection=silent", "half", "warn"],
    ["cordoned", nodes.cordoned, "/nodes", "rows", "back"],
    ["drained", nodes.drained, "/nodes", "columns", "back"],
    ["revoked", nodes.revoked, "/nodes?connection=revoked", "cross", "pending"],
    ["expired", nodes.expired, "/nodes?connection=expired", "empty", "pending"],
  ];
  return (
    <ul class="tallies" aria-label="Nodes">
      {tallies.filter(([word, n, , , colour]) => n > 0 || colour === "plain" || word === "connected").map(([word, n, href, shape, colour]) => (
        <li key={word}><a href={href}>{colour !== "plain" && <Glyph shape={shape} colour={colour} />}<b>{count(n)}</b> {word}</a></li>
      ))}
    </ul>
  );
}
