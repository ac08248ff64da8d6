//! `/`: the fleet at a glance. What is wrong comes first, then what moves, then what is.

import { useEffect } from "preact/hooks";
import { keepNotable, notable } from "../notable.ts";
import { EventList } from "../parts/EventList.tsx";
import { Answer } from "../parts/Answer.tsx";
import { Title } from "../parts/Title.tsx";
import { useStatus } from "../status.ts";
import type { Event, Page, Status } from "../types.ts";
import { shortly } from "../words.ts";
import { useView } from "../view.ts";
import { Active } from "./fleet/active.tsx";
import { Environments } from "./fleet/environments.tsx";
import { FleetGrid } from "./fleet/grid.tsx";
import { Recent } from "./fleet/recent.tsx";
import { Tallies } from "./fleet/tallies.tsx";

export function FleetView() {
  const status = useStatus();
  return (
    <>
      <div class="page-head">
        <Title text={titleOf(status.data)}>Fleet</Title>
        {status.data?.active.length === 0 && <p class="muted">No rollout is under way.</p>}
        {status.data !== null && <Tallies nodes={status.data.nodes} />}
      </div>
      <Answer seen={status} lines={6}>{(data) => <Glance status={data} />}</Answer>
    </>
  );
}

function Glance({ status }: { status: Status }) {
  return (
    <div class="split">
      <div>
        {status.active.map((rollout) => <Active key={rollout.number} rollout={rollout} counts={status.active.length > 1} />)}
        <FleetGrid status={status} />
        <Recent rollouts={status.recent} />
      </div>
      <div>
        <Environments environments={status.environments} />
        <Latest />
      </div>
    </div>
  );
}

function Latest() {
  // What is notable may lie far back behind steps; the stream brings what comes after.
  const seen = useView<Page<Event>>("/events?order=newest&limit=500", { concerns: () => false, every: 60_000 });
  useEffect(() => {
    if (seen.data !== null) keepNotable(seen.data.items);
  }, [seen.data]);
  return (
    <section class="card" aria-labelledby="latest">
      <h2 id="latest">Who did what <a class="more" href="/events">all events</a></h2>
      <Answer seen={seen} lines={10}>{() => <EventList events={notable.value.slice(0, 12)} links={false} empty="Nothing but steps and reports lately." />}</Answer>
    </section>
  );
}

function titleOf(status: Status | null): string {
  const rollout = status?.active[0];
  if (rollout === undefined) return status?.halt ? "Halted" : "Fleet";
  return shortly(rollout);
}
