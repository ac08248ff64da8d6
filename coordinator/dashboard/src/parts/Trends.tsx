//! Health since the switch against what it was before, and against the limit.

import { figure } from "../format.ts";
import { lines } from "../trend.ts";
import type { Trend, Trends as Figures } from "../types.ts";
import { FIGURES } from "../words.ts";

const [WIDTH, HEIGHT] = [240, 64];

export function Trends({ trends }: { trends: Figures }) {
  const figures = trends.figures.filter(({ points }) => points.length > 0);
  if (figures.length === 0) return <p class="empty">No figures have come yet. No data is not the same as good.</p>;
  return (
    <>
      <ul class="trends">{figures.map((trend) => <Chart key={trend.figure} trend={trend} />)}</ul>
      <p class="key muted" aria-hidden="true"><i class="k-median" /> median <i class="k-worst" /> worst node <i class="k-baseline" /> baseline <i class="k-limit" /> limit</p>
    </>
  );
}

function Chart({ trend }: { trend: Trend }) {
  const drawn = lines(trend, WIDTH, HEIGHT);
  const newest = trend.points.at(-1);
  if (newest === undefined) return null;
  // The head has said the unit.
  const bare = (value: number | null) => (value === null ? "none" : figure(value, "count"));
  return (
    <li class={drawn.over ? "over" : undefined}>
      <p class="trend-head">
        <span>{FIGURES[trend.figure]}</span> <b>{figure(newest.median, trend.unit)}</b>
      </p>
      <svg viewBox={`0 -2 ${WIDTH} ${HEIGHT + 4}`} preserveAspectRatio="none" aria-hidden="true">
        {drawn.limit !== null && <line class="limit" x1="0" x2={WIDTH} y1={drawn.limit} y2={drawn.limit} />}
        {drawn.baseline !== null && <line class="baseline" x1="0" x2={WIDTH} y1={drawn.baseline} y2={drawn.baseline} />}
        <path class="worst" d={drawn.worst} />
        <path class="median" d={drawn.median} />
      </svg>
      <p class="trend-facts">
        <span class={drawn.over ? "verdict" : undefined}><i>worst</i> {bare(newest.worst)}</span>
        <span><i>baseline</i> {bare(trend.baseline)}</span>
        <span><i>limit</i> {bare(trend.limit)}</span>
      </p>
    </li>
  );
}
