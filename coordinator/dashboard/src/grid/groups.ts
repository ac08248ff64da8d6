//! Which nodes stand together. Pure. Within a group a node keeps its place by its name: who
//! watches a wall learns where things are.

import type { Fleet } from "../types.ts";

export type Grouping = "wave" | "zone";
export type Group = { label: string; members: number[] };

export function groupsOf(fleet: Fleet, grouping: Grouping): Group[] {
  const groups = new Map<number, Group>();
  const column = grouping === "wave" ? fleet.wave : fleet.zone;
  fleet.nodes.forEach((_, i) => {
    const key = column[i] ?? -1;
    const group = groups.get(key) ?? { label: label(fleet, grouping, key), members: [] };
    groups.set(key, group);
    group.members.push(i);
  });
  // What belongs to none comes last, and not first for its -1.
  const order = [...groups.keys()].sort((a, b) => (a < 0 ? 1 : b < 0 ? -1 : a - b));
  return order.flatMap((key) => groups.get(key) ?? []).map((group) => byName(fleet, group));
}

function label(fleet: Fleet, grouping: Grouping, key: number): string {
  if (grouping === "wave") return key < 0 ? "in no wave" : `wave ${key}`;
  return fleet.words.zones[key] ?? "no zone";
}

function byName(fleet: Fleet, { label, members }: Group): Group {
  const name = (i: number) => fleet.nodes[i] ?? "";
  return { label, members: members.sort((a, b) => (name(a) < name(b) ? -1 : name(a) > name(b) ? 1 : 0)) };
}
