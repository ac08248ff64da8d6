//! Puts the cells on a canvas. Each kind is drawn once; a cell is a copy of it, and only cells
//! that changed are copied again, so that 10,000 nodes cost what moved and not what is there.

import type { Layout } from "./layout.ts";
import type { Kind } from "./kinds.ts";
import { BOX, SHAPES } from "./shape.ts";

const FADED = 0x80;
const FADED_ALPHA = 0.16;

export class Painter {
  #context: CanvasRenderingContext2D | null;
  #sheet = document.createElement("canvas");
  #shown = new Uint8Array(0);
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
    this.#shown = new Uint8Array(layout.order.length).fill(0xff);
    this.#draw(layout, kinds);
  }

  /** `only`: the kind that stands out, or -1. */
  paint(of: Uint8Array, only: number): void {
    const [context, layout] = [this.#context, this.#layout];
    if (context === null || layout === null) return;
    const size = Math.round(layout.cell * this.#ratio);
    for (const box of layout.boxes) {
      for (let i = 0; i < box.size; i += 1) {
        const at = box.from + i;
        const kind = of[layout.order[at] ?? 0] ?? 0;
        const look = only < 0 || kind === only ? kind : kind | FADED;
        if (this.#shown[at] === look) continue;
        this.#shown[at] = look;
        const x = Math.round((box.x + (i % box.columns) * layout.pitch) * this.#ratio);
        const y = Math.round((box.y + Math.floor(i / box.columns) * layout.pitch) * this.#ratio);
        context.clearRect(x, y, size, size);
        context.globalAlpha = look === kind ? 1 : FADED_ALPHA;
        context.drawImage(this.#sheet, kind * size, 0, size, size, x, y, size, size);
      }
    }
    context.globalAlpha = 1;
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
    kinds.forEach(({ shape, colour }, i) => {
      const { outline, path } = SHAPES[shape];
      context.save();
      context.translate(i * size, 0);
      context.fillStyle = context.strokeStyle = this.#resolved(colour);
      if (outline) {
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
