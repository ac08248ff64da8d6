//! Where each node's cell is, and which cell is where. Pure.
//!
//! A *place* is a position in the grid counted in reading order; `order[place]` is the node.

import type { Group } from "./groups.ts";

export type Box = { label: string; from: number; size: number; x: number; y: number; columns: number; rows: number; labelY: number };
export type Layout = { pitch: number; cell: number; width: number; height: number; boxes: Box[]; order: Int32Array; places: Int32Array };

// A cell is as large as the height allows, between what is still a shape and what is a tile.
const PITCH_MAX = 34;
const PITCH_MIN = 5;
const BETWEEN = 10;
const LABEL_HEIGHT = 22;
const GUTTER = 104;
// Below this a label stands above its group, as beside it there would be no room left.
const NARROW = 640;

export function layout(groups: readonly Group[], width: number, heightWanted: number, nodes: number): Layout {
  const narrow = width < NARROW;
  let pitch = PITCH_MAX;
  while (pitch > PITCH_MIN && heightAt(groups, pitch, width, narrow) > heightWanted) pitch -= 1;
  return place(groups, pitch, width, narrow, nodes);
}

function columnsAt(pitch: number, width: number, narrow: boolean): number {
  return Math.max(1, Math.floor((narrow ? width : width - GUTTER) / pitch));
}

function boxHeight(size: number, columns: number, pitch: number, narrow: boolean): number {
  const cells = Math.ceil(size / columns) * pitch;
  return narrow ? LABEL_HEIGHT + cells : Math.max(LABEL_HEIGHT * 2, cells);
}

function heightAt(groups: readonly Group[], pitch: number, width: number, narrow: boolean): number {
  const columns = columnsAt(pitch, width, narrow);
  return groups.reduce((sum, { members }) => sum + boxHeight(members.length, columns, pitch, narrow) + BETWEEN, 0);
}

function place(groups: readonly Group[], pitch: number, width: number, narrow: boolean, nodes: number): Layout {
  const columns = columnsAt(pitch, width, narrow);
  const order = new Int32Array(groups.reduce((sum, { members }) => sum + members.length, 0));
  const places = new Int32Array(nodes).fill(-1);
  const boxes: Box[] = [];
  let [from, y] = [0, 0];
  for (const { label, members } of groups) {
    members.forEach((node, i) => {
      order[from + i] = node;
      places[node] = from + i;
    });
    const top = narrow ? y + LABEL_HEIGHT : y;
    boxes.push({ label, from, size: members.length, x: narrow ? 0 : GUTTER, y: top, columns, rows: Math.ceil(members.length / columns), labelY: y });
    from += members.length;
    y += boxHeight(members.length, columns, pitch, narrow) + BETWEEN;
  }
  // A hairline of one pixel between small cells, a gap that one sees between large ones.
  const cell = pitch - (pitch >= 16 ? 3 : pitch >= 9 ? 2 : 1);
  return { pitch, cell, width, height: Math.max(0, y - BETWEEN), boxes, order, places };
}

/** The upper left corner of a place. */
export function cornerOf({ boxes, pitch }: Layout, at: number): { x: number; y: number } | null {
  const box = boxes.find(({ from, size }) => at >= from && at < from + size);
  if (box === undefined) return null;
  const i = at - box.from;
  return { x: box.x + (i % box.columns) * pitch, y: box.y + Math.floor(i / box.columns) * pitch };
}

/** The place under a point, or -1. The gap behind a cell belongs to it: fingers are not fine. */
export function hit({ boxes, pitch }: Layout, x: number, y: number): number {
  for (const box of boxes) {
    const column = Math.floor((x - box.x) / pitch);
    const row = Math.floor((y - box.y) / pitch);
    if (column < 0 || column >= box.columns || row < 0 || row >= box.rows) continue;
    const i = row * box.columns + column;
    return i < box.size ? box.from + i : -1;
  }
  return -1;
}

/** Where a key leads from a place; from nowhere (-1), to the first. */
export function step(layout: Layout, at: number, key: string): number {
  const last = layout.order.length - 1;
  if (last < 0) return -1;
  if (at < 0) return 0;
  switch (key) {
    case "ArrowRight": return Math.min(last, at + 1);
    case "ArrowLeft": return Math.max(0, at - 1);
    case "Home": return 0;
    case "End": return last;
    case "ArrowDown": return vertical(layout, at, 1);
    case "ArrowUp": return vertical(layout, at, -1);
    default: return at;
  }
}

/** Into the next group, in the same column, when this one has no row left. */
function vertical({ boxes }: Layout, at: number, by: 1 | -1): number {
  const index = boxes.findIndex(({ from, size }) => at >= from && at < from + size);
  const box = boxes[index];
  if (box === undefined) return at;
  const i = at - box.from;
  const [column, row] = [i % box.columns, Math.floor(i / box.columns) + by];
  if (row >= 0 && row < box.rows) return box.from + Math.min(box.size - 1, row * box.columns + column);
  const next = boxes[index + by];
  if (next === undefined) return at;
  const nextRow = by === 1 ? 0 : next.rows - 1;
  return next.from + Math.min(next.size - 1, nextRow * next.columns + column);
}
