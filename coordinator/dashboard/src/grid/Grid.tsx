//! The fleet, one cell a node. The canvas is for eyes; keys walk it and what is under the
//! cursor is said in words, and the same nodes are a table one link away.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { count } from "../format.ts";
import { colours } from "../theme.ts";
import type { Fleet } from "../types.ts";
import { groupsOf, type Grouping } from "./groups.ts";
import type { Kinds } from "./kinds.ts";
import { cornerOf, hit, layout, step, type Layout } from "./layout.ts";
import { Painter } from "./paint.ts";
import { Readout } from "./Readout.tsx";

type Props = { fleet: Fleet; kinds: Kinds; grouping: Grouping; only: number; selected: string; onSelect: (node: string | null) => void };

const KEYS = new Set(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"]);

export function Grid({ fleet, kinds, grouping, only, selected, onSelect }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const painter = useRef<Painter | null>(null);
  const width = useWidth(canvas);
  const [under, setUnder] = useState(-1);

  const standing = useStanding(fleet, grouping);
  const placed = useMemo(() => fitted(standing, grouping, width), [standing, width]);
  const chosen = selected === "" ? -1 : (placed.places[fleet.nodes.indexOf(selected)] ?? -1);
  const at = under >= 0 && under < placed.order.length ? under : chosen;
  const look = kinds.kinds.map(({ word, colour }) => word + colour).join();

  useEffect(() => {
    if (canvas.current === null || width === 0) return;
    painter.current ??= new Painter(canvas.current);
    painter.current.prepare(placed, kinds.kinds);
    painter.current.paint(kinds.of, fleet.flags, only);
  }, [placed, look, colours.value]);
  useEffect(() => painter.current?.paint(kinds.of, fleet.flags, only), [kinds, only]);

  const placeUnder = (event: MouseEvent) => hit(placed, event.offsetX, event.offsetY);
  const nodeAt = (place: number) => fleet.nodes[placed.order[place] ?? -1] ?? null;
  const onKeyDown = (event: KeyboardEvent) => {
    if (KEYS.has(event.key)) setUnder(step(placed, at, event.key));
    else if (event.key === "Enter" || event.key === " ") onSelect(nodeAt(at));
    else if (event.key === "Escape") {
      setUnder(-1);
      onSelect(null);
    } else return;
    event.preventDefault();
  };

  const corner = cornerOf(placed, at);
  return (
    <div class="grid">
      <div class="grid-cells">
        {placed.boxes.map((box) => (
          <div class="grid-label" key={box.label} style={{ top: `${box.labelY}px` }} aria-hidden="true">
            <b>{box.label}</b> <span>{count(box.size)}</span>
          </div>
        ))}
        <canvas
          ref={canvas}
          tabIndex={0}
          role="application"
          aria-label={`Grid of ${fleet.nodes.length} nodes by ${grouping}. Arrow keys go from node to node, Enter selects.`}
          aria-describedby="grid-readout"
          onPointerMove={(event) => setUnder(placeUnder(event))}
          onPointerLeave={() => setUnder(-1)}
          onClick={(event) => onSelect(nodeAt(placeUnder(event)))}
          onKeyDown={onKeyDown}
          onBlur={() => setUnder(-1)}
        />
        {corner !== null && (
          <div class="grid-ring" style={{ transform: `translate(${corner.x}px, ${corner.y}px)`, width: `${placed.cell}px`, height: `${placed.cell}px` }} />
        )}
      </div>
      <Readout fleet={fleet} index={placed.order[at] ?? -1} />
    </div>
  );
}

/** The last fleet in which somebody moved to another group, came or went: only then cells move. */
function useStanding(fleet: Fleet, grouping: Grouping): Fleet {
  const last = useRef({ fleet, grouping });
  const column = (of: Fleet) => (grouping === "wave" ? of.wave : of.zone);
  const before = last.current;
  const same = before.grouping === grouping && equal(before.fleet.nodes, fleet.nodes) && equal(column(before.fleet), column(fleet));
  if (!same) last.current = { fleet, grouping };
  return last.current.fleet;
}

function equal<T>(a: readonly T[], b: readonly T[]): boolean {
  return a === b || (a.length === b.length && a.every((one, i) => one === b[i]));
}

// What is above the grid has to be seen with it, without scrolling; a large fleet gets more of
// the window before its cells become dots.
const SHARES = [0.38, 0.62];
const DOT_PITCH = 9;

function fitted(fleet: Fleet, grouping: Grouping, width: number): Layout {
  const groups = groupsOf(fleet, grouping);
  const at = (share: number) => layout(groups, width, Math.max(200, innerHeight * share), fleet.nodes.length);
  const [small, large] = SHARES.map(at) as [Layout, Layout];
  return small.pitch >= DOT_PITCH ? small : large;
}

function useWidth(element: { current: HTMLElement | null }): number {
  const [width, setWidth] = useState(0);
  useEffect(() => {
    if (element.current === null) return;
    const watch = new ResizeObserver(([entry]) => setWidth(Math.floor(entry?.contentRect.width ?? 0)));
    watch.observe(element.current);
    return () => watch.disconnect();
  }, []);
  return width;
}
