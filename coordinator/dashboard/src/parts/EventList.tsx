//! Who did what. What a person did stands out from what the fleet did.

import { fold, type Fold } from "../fold.ts";
import { withTimes } from "../sentence.ts";
import type { Event } from "../types.ts";
import { counted } from "../format.ts";
import { RolloutLink, NodeLink, breakable } from "./Links.tsx";
import { When } from "./Time.tsx";

type Props = { events: readonly Event[]; links?: boolean; folded?: number; empty?: string };

/** `folded`: so many lines, each of which may stand for the same of many nodes. */
export function EventList({ events, links = true, folded, empty = "Nothing has happened yet." }: Props) {
  if (events.length === 0) return <p class="empty">{empty}</p>;
  const folds = folded === undefined ? events.map((event): Fold => ({ event, message: event.message, nodes: [] })) : fold(events).slice(0, folded);
  return (
    <ol class="events">
      {folds.map(({ event, message, nodes }) => (
        <li key={event.position}>
          <When at={event.at} />
          <span class="message">
            {nodes.length > 1 ? <b title={nodes.join(", ")}>{counted(nodes.length, "node")}</b> : nodes[0] !== undefined && breakable(nodes[0])}
            {nodes.length > 0 && (nodes.length > 1 ? ": " : " ")}
            <Said by={event.by} message={message} />
          </span>
          {links && (
            <span class="about">
              {event.rollout !== null && <RolloutLink number={event.rollout} />}
              {event.node !== null && <NodeLink node={event.node} />}
            </span>
          )}
        </li>
      ))}
    </ol>
  );
}

/** Who it was stands out; the coordinator's sentence begins with them. */
function Said({ by, message }: { by: string | null; message: string }) {
  if (by === null || !message.startsWith(`${by} `)) return <>{timed(message)}</>;
  return <><b>{by}</b>{timed(message.slice(by.length))}</>;
}

/** Times within a sentence are the viewer's too; those of the coordinator are written in UTC. */
const timed = (message: string) => withTimes(message).map((part) => typeof part === "number" ? <When key={part} at={part} /> : part);
