//! What tells one kind of node from another without colour. Shapes live in a box of 12 by 12
//! and are drawn from the same data on the canvas and in the legend. The fill rises as a step
//! goes on, a cross has failed, a triangle points back.

export const BOX = 12;

export type Shape =
  | "empty" | "quarter" | "half" | "left" | "three" | "ring" | "eye" | "full"
  | "cross" | "back" | "went-back" | "slash" | "dot" | "rows" | "columns";

type Drawing = { outline: boolean; path: string };

const SQUARE = "M0 0H12V12H0Z";

export const SHAPES: Record<Shape, Drawing> = {
  empty: { outline: true, path: "" },
  quarter: { outline: true, path: "M0 9H12V12H0Z" },
  half: { outline: true, path: "M0 6H12V12H0Z" },
  left: { outline: true, path: "M0 0H6V12H0Z" },
  three: { outline: true, path: "M0 3.5H12V12H0Z" },
  ring: { outline: false, path: `${SQUARE}M3 3V9H9V3Z` },
  eye: { outline: false, path: `${SQUARE}M4.5 4.5V7.5H7.5V4.5Z` },
  full: { outline: false, path: SQUARE },
  cross: { outline: false, path: `${SQUARE}M2 3.4L4.6 6L2 8.6L3.4 10L6 7.4L8.6 10L10 8.6L7.4 6L10 3.4L8.6 2L6 4.6L3.4 2Z` },
  back: { outline: false, path: "M12 0V12L0 6Z" },
  "went-back": { outline: true, path: "M9.5 2V10L2.5 6Z" },
  slash: { outline: true, path: "M0 12V9L9 0H12V3L3 12Z" },
  dot: { outline: false, path: "M4 4H8V8H4Z" },
  rows: { outline: false, path: "M0 0H12V2.4H0ZM0 4.8H12V7.2H0ZM0 9.6H12V12H0Z" },
  columns: { outline: false, path: "M0 0H2.4V12H0ZM4.8 0H7.2V12H4.8ZM9.6 0H12V12H9.6Z" },
};
