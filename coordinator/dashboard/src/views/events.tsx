//! `/events`: who did what, and what happened.

import { withQuery } from "../api.ts";
import { Answer } from "../parts/Answer.tsx";
import { EventList } from "../parts/EventList.tsx";
import { Choice, Filters, Pager, Search } from "../parts/Filters.tsx";
import { Title } from "../parts/Title.tsx";
import { asked } from "../route.ts";
import type { Event, Page } from "../types.ts";
import { useSteadyView } from "../view.ts";

export function EventsView() {
  const query = Object.fromEntries(["rollout", "node", "by", "order", "after"].map((name) => [name, asked(name)]));
  const seen = useSteadyView<Page<Event>>(withQuery("/events", { ...query, limit: 100 }));
  return (
    <>
      <div class="page-head"><Title text="Events" /></div>
      <section class="card" aria-label="Events">
        <Filters>
          <Search name="by" label="who" wide />
          <Search name="rollout" label="rollout" />
          <Search name="node" label="node" />
          <Choice name="order" label="order" options={["oldest"]} all="newest" />
        </Filters>
        <Answer seen={seen} lines={14}>
          {({ items, next }) => (
            <>
              <EventList events={items} empty="No event is like that." />
              <Pager next={next} shown={items.length} />
            </>
          )}
        </Answer>
      </section>
    </>
  );
}
