//! `/rollouts`: what was. Two of them can be compared.

import { withQuery } from "../api.ts";
import { Choice, Filters, Pager } from "../parts/Filters.tsx";
import { count } from "../format.ts";
import { Answer } from "../parts/Answer.tsx";
import { RolloutLink } from "../parts/Links.tsx";
import { StateBadge } from "../parts/Mark.tsx";
import { PhaseBar, donePercent } from "../parts/PhaseBar.tsx";
import { Release } from "../parts/Release.tsx";
import { Table, type Column } from "../parts/Table.tsx";
import { Ago, Took } from "../parts/Time.tsx";
import { Title } from "../parts/Title.tsx";
import { asked, set } from "../route.ts";
import { names, useStatus } from "../status.ts";
import type { Page, Rollout } from "../types.ts";
import { STATES } from "../words.ts";
import { useSteadyView } from "../view.ts";

const PAGE = 30;

export function RolloutsView() {
  const { environments, apps } = names(useStatus().data);
  const path = withQuery("/rollouts", { app: asked("app"), environment: asked("environment"), state: asked("state"), after: asked("after"), limit: PAGE });
  const seen = useSteadyView<Page<Rollout>>(path, { concerns: ({ rollout }) => rollout !== null });
  const chosen = [asked("a"), asked("b")].filter((number) => number !== "");
  return (
    <>
      <div class="page-head">
        <Title text="Rollouts" />
        <p class="compare-bar">
          {chosen.length === 0 && <span class="muted">Choose two to compare.</span>}
          {chosen.length === 1 && <span>#{chosen[0]} and another one</span>}
          {chosen.length === 2 && <a class="button" href={withQuery("/rollouts/compare", { a: chosen[0], b: chosen[1] })}>Compare #{chosen[0]} and #{chosen[1]}</a>}
          {chosen.length > 0 && <button type="button" class="quiet" onClick={() => set({ a: null, b: null }, "replace")}>clear</button>}
        </p>
      </div>
      <section class="card" aria-label="History">
        <Filters>
          <Choice name="app" label="app" options={apps} />
          <Choice name="environment" label="environment" options={environments} />
          <Choice name="state" label="state" options={STATES} />
        </Filters>
        <Answer seen={seen} lines={12}>
          {({ items, next }) => (
            <>
              <Table caption="Rollouts, newest first" columns={columns(chosen)} rows={items} id={({ number }) => number} empty="No rollout is like that." stale={seen.stale} />
              <Pager next={next} shown={items.length} />
            </>
          )}
        </Answer>
      </section>
    </>
  );
}

function columns(chosen: readonly string[]): Column<Rollout>[] {
  return [
    { head: "compare", class: "pick", cell: ({ number }) => <input type="checkbox" aria-label={`Compare #${number}`} checked={chosen.includes(String(number))} onChange={() => choose(chosen, String(number))} /> },
    { head: "rollout", cell: ({ number }) => <RolloutLink number={number} /> },
    { head: "state", cell: ({ state }) => <StateBadge state={state} /> },
    { head: "app", cell: ({ app }) => app },
    { head: "environment", cell: ({ environment }) => environment },
    { head: "release", cell: (rollout) => <><Release of={rollout.release} none="each its last good" />{rollout.kind !== "forward" && <small class="kind">{rollout.kind}{rollout.parent !== null && <> of <RolloutLink number={rollout.parent} /></>}</small>}</> },
    { head: "nodes", class: "progress", cell: (rollout) => <div><PhaseBar phases={rollout.phases} nodes={rollout.nodes} thin /> <small>{donePercent(rollout.phases, rollout.nodes)} % of {count(rollout.nodes)}</small></div> },
    { head: "by", class: "desk", cell: ({ by }) => by },
    { head: "started", class: "n", cell: ({ started_at }) => <Ago at={started_at} /> },
    { head: "took", class: "n", cell: ({ started_at, ended_at }) => <Took from={started_at} to={ended_at} /> },
  ];
}

/** The third one that is chosen takes the place of the second. */
function choose(chosen: readonly string[], number: string): void {
  const rest = chosen.filter((one) => one !== number);
  const [a, b] = rest.length < chosen.length ? rest : [...rest.slice(0, 1), number];
  set({ a: a ?? null, b: b ?? null }, "replace");
}
