//! Which kind of node each is, by what one chose to look at. Pure.

import type { Fleet } from "../types.ts";
import type { Shape } from "./shape.ts";

export const BYS = ["phase", "health", "connection", "release"] as const;
export type By = (typeof BYS)[number];

/** `colour` names a custom property of the style sheet, without its dashes. */
export type Kind = { word: string; shape: Shape; colour: string };
export type Kinds = { kinds: Kind[]; of: Uint8Array; counts: number[] };

const kind = (word: string, shape: Shape, colour: string): Kind => ({ word, shape, colour });

/** In no step of the rollout. */
export const APART = "not in it";

export const PHASE_KINDS: readonly Kind[] = [
  kind("pending", "empty", "pending"),
  kind("fetching", "quarter", "under-way"),
  kind("staged", "half", "under-way"),
  kind("migrating", "left", "under-way"),
  kind("activating", "three", "under-way"),
  kind("verifying", "ring", "under-way"),
  kind("baking", "eye", "baking"),
  kind("done", "full", "good"),
  kind("failed", "cross", "bad"),
  kind("rolling-back", "back", "warn"),
  kind("rolled-back", "went-back", "back"),
  kind("unreachable", "slash", "away"),
  kind(APART, "dot", "pending"),
];

const HEALTH_KINDS: readonly Kind[] = [
  kind("healthy", "full", "good"),
  kind("unknown", "ring", "under-way"),
  kind("empty", "empty", "pending"),
  kind("unhealthy", "cross", "bad"),
  kind("unreachable", "slash", "away"),
];

const CONNECTION_KINDS: readonly Kind[] = [
  kind("connected", "full", "good"),
  kind("silent", "half", "warn"),
  kind("unreachable", "slash", "away"),
  kind("revoked", "cross", "bad"),
  kind("expired", "empty", "pending"),
];

/** Releases have no order of good and bad: the newest first, then as many as can be told apart. */
const RELEASE_LOOKS: readonly [Shape, string][] = [
  ["full", "release-1"], ["ring", "release-2"], ["rows", "release-3"], ["columns", "release-4"],
  ["half", "release-5"], ["left", "release-6"], ["back", "release-7"],
];

export function kindsOf(fleet: Fleet, by: By): Kinds {
  switch (by) {
    case "phase":
      return sorted(fleet, PHASE_KINDS, (i) => {
        const phase = fleet.words.phases[fleet.phase[i] ?? -1] ?? APART;
        return phase !== "failed" && isAway(fleet, i) ? "unreachable" : phase;
      });
    case "health":
      // What somebody said before they went away is not known to be so.
      return sorted(fleet, HEALTH_KINDS, (i) => (isAway(fleet, i) ? "unreachable" : (fleet.words.healths[fleet.health[i] ?? -1] ?? "unknown")));
    case "connection":
      return sorted(fleet, CONNECTION_KINDS, (i) => fleet.words.connections[fleet.connection[i] ?? -1] ?? "expired");
    case "release":
      return sorted(fleet, releases(fleet), (i) => fleet.words.versions[fleet.version[i] ?? -1] ?? "none");
  }
}

function isAway(fleet: Fleet, i: number): boolean {
  return fleet.words.connections[fleet.connection[i] ?? -1] === "unreachable";
}

function releases(fleet: Fleet): Kind[] {
  const kinds = fleet.words.versions.map((version, i) => {
    const [shape, colour] = RELEASE_LOOKS[i] ?? (["dot", "pending"] as const);
    return kind(version, shape, colour);
  });
  return [...kinds, kind("none", "empty", "pending")];
}

function sorted(fleet: Fleet, kinds: readonly Kind[], word: (i: number) => string): Kinds {
  const known = [...kinds];
  const index = new Map(known.map((one, i) => [one.word, i]));
  const of = new Uint8Array(fleet.nodes.length);
  const counts = known.map(() => 0);
  for (let i = 0; i < of.length; i += 1) {
    const said = word(i);
    let at = index.get(said);
    if (at === undefined) {
      // A word that this page is too old to know still counts, and is named.
      at = known.push(kind(said, "dot", "warn")) - 1;
      counts.push(0);
      index.set(said, at);
    }
    of[i] = at;
    counts[at] = (counts[at] ?? 0) + 1;
  }
  return { kinds: known, of, counts };
}
