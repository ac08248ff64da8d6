//! The lines of a health trend, as coordinates. Pure.

import type { Trend } from "./types.ts";

export type Lines = { median: string; worst: string; baseline: number | null; limit: number | null; over: boolean };

/** Scaled so that the limit is always in the picture: a line means little without it. */
export function lines({ points, baseline, limit }: Trend, width: number, height: number): Lines {
  const highest = Math.max(...points.flatMap(({ worst, median }) => [worst, median]), baseline ?? 0, limit ?? 0) * 1.08 || 1;
  const [first, last] = [points[0]?.at ?? 0, points.at(-1)?.at ?? 0];
  const x = (at: number) => (last === first ? width : ((at - first) / (last - first)) * width);
  const y = (value: number) => height - (value / highest) * height;
  const path = (of: (point: Trend["points"][number]) => number) =>
    points.map((point, i) => `${i === 0 ? "M" : "L"}${x(point.at).toFixed(1)} ${y(of(point)).toFixed(1)}`).join("");
  const newest = points.at(-1);
  return {
    median: path(({ median }) => median),
    worst: path(({ worst }) => worst),
    baseline: baseline === null ? null : y(baseline),
    limit: limit === null ? null : y(limit),
    over: newest !== undefined && limit !== null && newest.worst > limit,
  };
}
