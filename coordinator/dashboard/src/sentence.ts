//! A sentence of the coordinator, taken apart where it names a time. Pure.

import type { Ms } from "./types.ts";

const TIME = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g;

/** Text as text, and times as numbers, in their order. */
export function withTimes(sentence: string): (string | Ms)[] {
  const parts: (string | Ms)[] = [];
  let end = 0;
  for (const { 0: found, index } of sentence.matchAll(TIME)) {
    const at = Date.parse(found);
    if (Number.isNaN(at)) continue;
    if (index > end) parts.push(sentence.slice(end, index));
    parts.push(at);
    end = index + found.length;
  }
  if (end < sentence.length) parts.push(sentence.slice(end));
  return parts;
}
