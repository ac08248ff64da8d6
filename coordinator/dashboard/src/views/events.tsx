//! `/events`: who did what, and what happened.

import { withQuery } from "../api.ts";
import { Answer } from "../parts/Answer.tsx";
import { EventList } from "../parts/EventList.tsx";
import { Choice, Filters, Pager, Search } from "../parts/Filters.tsx";
import { Title } from "../parts/Title.tsx";
import { asked, set } from "../route.ts";
import type { Event, Page } from "../types.ts";
import { useSteadyView } from "../view.ts";

// One cannot read what moves: until it is let go, nothing is asked for again.
const STILL = { concerns: () => false, every: Infinity };

export function EventsView() {
  const query = Object.fromEntries(["rollout", "node", "by", "order", "after"].map((name) => [name, asked(name)]));
  const still = asked("still") !== "";
  const seen = useSteadyView<Page<Event>>(withQuery("/events", { ...query, limit: 100 }), still ? STILL : {});
  return (
    <>
      <div class="page-head">
        <Title text="Events" />
        <button type="button" class="aside" aria-pressed={still} onClick={() => set({ still: still ? null : "yes" }, "replace")}>Hold still</button>
      </div>
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
