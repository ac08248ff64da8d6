//! Puts the cells on a canvas. Each kind is drawn once; a cell is a copy of it, and only cells
//! that changed are copied again, so that 10,000 nodes cost what moved and not what is there.

import type { Layout } from "./layout.ts";
import type { Kind } from "./kinds.ts";
import { BOX, SHAPES } from "./shape.ts";

// What a cell shows, in one number: its kind, and two bits beside it.
const FADED = 0x100;
const CORNERED = 0x200;
const UNKNOWN = 0xffff;
// The corner of a node that is kept out of service is a third of the cell; smaller ones have no
// room for it.
const CORNER_SHARE = 0.36;
const CORNER_CELL_MIN = 10;
// Thousands of small outlines are a net that hides what is in it: below this they are pale fields.
const OUTLINE_MIN = 9;
const FADED_ALPHA = 0.16;

export class Painter {
  #context: CanvasRenderingContext2D | null;
  #sheet = document.createElement("canvas");
  #shown = new Uint16Array(0);
  #corner = ["", ""];
  #layout: Layout | null = null;
  #ratio = 1;

  constructor(readonly canvas: HTMLCanvasElement) {
    this.#context = canvas.getContext("2d");
  }

  /** Another layout, other kinds or other colours: everything is painted anew. */
  prepare(layout: Layout, kinds: readonly Kind[]): void {
    this.#layout = layout;
    this.#ratio = Math.min(3, devicePixelRatio || 1);
    this.canvas.width = Math.round(layout.width * this.#ratio);
    this.canvas.height = Math.max(1, Math.round(layout.height * this.#ratio));
    this.canvas.style.height = `${layout.height}px`;
    this.#shown = new Uint16Array(layout.order.length).fill(UNKNOWN);
    this.#draw(layout, kinds);
  }

  /** `only`: the kind that stands out, or -1. `flags`: who is cordoned or drained. */
  paint(of: Uint8Array, flags: readonly number[], only: number): void {
    const [context, layout] = [this.#context, this.#layout];
    if (context === null || layout === null) return;
    const size = Math.round(layout.cell * this.#ratio);
    for (const box of layout.boxes) {
      for (let i = 0; i < box.size; i += 1) {
        const at = box.from + i;
        const node = layout.order[at] ?? 0;
        const kind = of[node] ?? 0;
        const cornered = layout.cell >= CORNER_CELL_MIN && (flags[node] ?? 0) !== 0;
        const look = kind | (only < 0 || kind === only ? 0 : FADED) | (cornered ? CORNERED : 0);
        if (this.#shown[at] === look) continue;
        this.#shown[at] = look;
        const x = Math.round((box.x + (i % box.columns) * layout.pitch) * this.#ratio);
        const y = Math.round((box.y + Math.floor(i / box.columns) * layout.pitch) * this.#ratio);
        context.clearRect(x, y, size, size);
        context.globalAlpha = look & FADED ? FADED_ALPHA : 1;
        context.drawImage(this.#sheet, kind * size, 0, size, size, x, y, size, size);
        if (cornered) this.#cut(context, x + size, y, size * CORNER_SHARE);
      }
    }
    context.globalAlpha = 1;
  }

  /** A corner in the colour of text, set off by one of the ground: it stands out on every kind. */
  #cut(context: CanvasRenderingContext2D, right: number, top: number, size: number): void {
    [size * 1.35, size].forEach((side, i) => {
      context.fillStyle = this.#corner[i] ?? "";
      context.beginPath();
      context.moveTo(right - side, top);
      context.lineTo(right, top);
      context.lineTo(right, top + side);
      context.fill();
    });
  }

  /** What a custom property comes to here and now; its own text may still hold both themes. */
  #resolved(colour: string): string {
    this.canvas.style.color = `var(--${colour})`;
    return getComputedStyle(this.canvas).color;
  }

  #draw(layout: Layout, kinds: readonly Kind[]): void {
    const size = Math.round(layout.cell * this.#ratio);
    this.#sheet.width = Math.max(1, size * kinds.length);
    this.#sheet.height = Math.max(1, size);
    const context = this.#sheet.getContext("2d");
    if (context === null) return;
    this.#corner = [this.#resolved("card"), this.#resolved("ink")];
    kinds.forEach(({ shape, colour }, i) => {
      const { outline, path } = SHAPES[shape];
      context.save();
      context.translate(i * size, 0);
      context.fillStyle = context.strokeStyle = this.#resolved(colour);
      if (outline && path === "" && size < OUTLINE_MIN) {
        context.globalAlpha = 0.45;
        context.fillRect(0, 0, size, size);
      } else if (outline) {
        const line = Math.max(1, Math.round(size / 14));
        context.lineWidth = line;
        context.strokeRect(line / 2, line / 2, size - line, size - line);
      }
      context.scale(size / BOX, size / BOX);
      context.fill(new Path2D(path), "evenodd");
      context.restore();
    });
  }
}
