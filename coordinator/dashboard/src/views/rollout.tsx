//! `/rollouts/42`: everything about one rollout, told so that one can stay and watch.

import { Actions } from "../act/Actions.tsx";
import { withQuery } from "../api.ts";
import { Answer } from "../parts/Answer.tsx";
import { EventList } from "../parts/EventList.tsx";
import { Failures } from "../parts/Failures.tsx";
import { StateBadge } from "../parts/Mark.tsx";
import { PhaseCounts } from "../parts/PhaseBar.tsx";
import { Title } from "../parts/Title.tsx";
import { Trends } from "../parts/Trends.tsx";
import { Waiting } from "../parts/Waiting.tsx";
import { Waves } from "../parts/Waves.tsx";
import { hrefWith } from "../route.ts";
import type { Event, Page, RolloutDetail, Trends as Figures } from "../types.ts";
import { brings, ENDED, headline, shortly } from "../words.ts";
import { useView } from "../view.ts";
import { About, LeftOut, Migration, Relations, Strategy } from "./rollout/about.tsx";
import { Steps } from "./rollout/steps.tsx";
import { Timeline } from "./rollout/timeline.tsx";

export function RolloutView({ number }: { number: string }) {
  const concerns = (event: Event) => event.rollout === Number(number) || event.kind.includes("halt");
  const seen = useView<RolloutDetail>(`/rollouts/${number}`, { concerns, every: 5_000 });
  return (
    <>
      {seen.data === null && <div class="page-head"><Title text={`#${number}`}>Rollout #{number}</Title></div>}
      <Answer seen={seen} lines={14}>{(rollout) => <Whole rollout={rollout} concerns={concerns} />}</Answer>
    </>
  );
}

function Whole({ rollout, concerns }: { rollout: RolloutDetail; concerns: (event: Event) => boolean }) {
  const moving = !ENDED.has(rollout.state);
  return (
    <>
      <Head rollout={rollout} />
      <div class="split">
        <div>
          <section class={`card active a-${rollout.state}`} aria-labelledby="waves">
            <h2 id="waves">Waves <a class="more" href={withQuery("/", { environment: rollout.environment, app: rollout.app })}>on the grid</a></h2>
            <Waiting waiting={rollout.waiting} />
            <Waves rollout={rollout} />
            <Timeline rollout={rollout} />
            <PhaseCounts phases={rollout.phases} href={(phase) => `${hrefWith({ phase, wave: null, after: null })}#steps`} />
          </section>
          {rollout.failures_total > 0 && <Failures rollout={rollout} />}
          <Health number={rollout.number} moving={moving} />
          <Steps rollout={rollout} concerns={concerns} />
        </div>
        <div>
          <section class="card" aria-labelledby="act">
            <h2 id="act">Actions</h2>
            <Actions rollout={rollout} />
          </section>
          <About rollout={rollout} />
          <Migration log={rollout.migration_log} />
          <LeftOut rollout={rollout} />
          <Strategy strategy={rollout.strategy} />
          <Events number={rollout.number} concerns={concerns} />
        </div>
      </div>
    </>
  );
}

function Head({ rollout }: { rollout: RolloutDetail }) {
  const { number, app, environment, state } = rollout;
  const { figure, of } = headline(rollout);
  return (
    <>
      <div class="page-head rollout-head">
        <StateBadge state={state} large />
        <Title text={shortly(rollout)}>
          #{number} {app} <span class="muted">{rollout.kind === "rollback" ? "back to" : "to"}</span> {brings(rollout)} <span class="muted">in</span> {environment}
        </Title>
        <p class="big">{figure}<small> {of}</small></p>
      </div>
      {rollout.why !== null && <p class={`why w-${state}`}>{rollout.why}</p>}
      {rollout.needs_person && <p class="needs-person">A person is needed.</p>}
      <Relations rollout={rollout} />
    </>
  );
}

function Health({ number, moving }: { number: number; moving: boolean }) {
  // Figures come with heartbeats, which are not events.
  const seen = useView<Figures>(`/rollouts/${number}/health`, { concerns: () => false, every: moving ? 5_000 : 60_000 });
  return (
    <section class="card" aria-labelledby="health">
      <h2 id="health">Health since the switch</h2>
      <Answer seen={seen} lines={4}>{(trends) => <Trends trends={trends} />}</Answer>
    </section>
  );
}

function Events({ number, concerns }: { number: number; concerns: (event: Event) => boolean }) {
  const seen = useView<Page<Event>>(`/events?rollout=${number}&order=newest&limit=100`, { concerns });
  return (
    <section class="card" aria-labelledby="events">
      <h2 id="events">Events <a class="more" href={`/events?rollout=${number}`}>all of #{number}</a></h2>
      <Answer seen={seen} lines={8}>{({ items }) => <EventList events={items} links={false} folded={14} />}</Answer>
    </section>
  );
}
