//! Who did what. What a person did stands out from what the fleet did.

import type { Event } from "../types.ts";
import { RolloutLink, NodeLink, breakable } from "./Links.tsx";
import { When } from "./Time.tsx";

type Props = { events: readonly Event[]; links?: boolean; empty?: string };

export function EventList({ events, links = true, empty = "Nothing has happened yet." }: Props) {
  if (events.length === 0) return <p class="empty">{empty}</p>;
  return (
    <ol class="events">
      {events.map((event) => (
        <li key={event.position} class={event.by === null ? undefined : "person"}>
          <When at={event.at} />
          <span class="message">{breakable(event.message)}</span>
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
