//! Events in a row that say the same of one node after another, told as one. Pure.

import type { Event } from "./types.ts";

export type Fold = { event: Event; message: string; nodes: string[] };

/** Keeps the order; the time is that of the newest, which comes first. */
export function fold(events: readonly Event[]): Fold[] {
  const folds: Fold[] = [];
  for (const event of events) {
    const { node } = event;
    const message = node !== null && event.message.startsWith(`${node} `) ? event.message.slice(node.length + 1) : event.message;
    const last = folds.at(-1);
    if (node !== null && last !== undefined && last.nodes.length > 0 && last.event.kind === event.kind && last.message === message) last.nodes.push(node);
    else folds.push({ event, message, nodes: node === null ? [] : [node] });
  }
  return folds;
}
