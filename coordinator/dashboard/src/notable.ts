//! The events that one wants to have seen when one comes back to the wall: what people did, and
//! what became of rollouts, waves and nodes. Steps and reports are many, and are told elsewhere.

import { signal } from "@preact/signals";
import type { Event } from "./types.ts";
import type { Batch } from "./stream.ts";

const KEPT = 50;
const CHATTER: ReadonlySet<string> = new Set(["step-moved", "command-issued", "node-reported", "node-connected", "step-retried"]);

export const notable = signal<readonly Event[]>([]);

export const isNotable = (event: Event): boolean => event.by !== null || !CHATTER.has(event.kind);

/** Newest first, each once, and only so many. Pure. */
export function merged(known: readonly Event[], more: readonly Event[]): readonly Event[] {
  const fresh = more.filter(isNotable);
  if (fresh.length === 0) return known;
  const all = new Map([...known, ...fresh].map((event) => [event.position, event]));
  return [...all.values()].sort((a, b) => b.position - a.position).slice(0, KEPT);
}

export function keepNotable(events: readonly Event[]): void {
  notable.value = merged(notable.peek(), events);
}

export const hearNotable = ({ events }: Batch): void => keepNotable(events);
