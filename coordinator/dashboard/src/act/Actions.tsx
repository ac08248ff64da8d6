//! What one may do to a rollout now. What one may not is there as well, with the reason beside
//! it: a button that is missing explains nothing.

import { useState } from "preact/hooks";
import { go } from "../route.ts";
import type { Act, ActOffer, Acts, Event, Rollout, RolloutDetail } from "../types.ts";
import { put, refresh, useView } from "../view.ts";
import { ACT_NAMES } from "../words.ts";
import { Confirm } from "./Confirm.tsx";

const ORDER: readonly Act[] = ["pause", "resume", "retry", "rollback", "abort"];

/** Each reason once, with all that it keeps one from. */
function reasonsOf(offers: readonly ActOffer[]) {
  const reasons: { why: string; acts: Act[] }[] = [];
  for (const { act, allowed, why_not } of offers) {
    if (allowed || why_not === null) continue;
    const known = reasons.find(({ why }) => why === why_not);
    if (known) known.acts.push(act);
    else reasons.push({ why: why_not, acts: [act] });
  }
  return reasons;
}

export function Actions({ rollout }: { rollout: Rollout }) {
  const concerns = (event: Event) => event.rollout === rollout.number;
  const { data, problem } = useView<Acts>(`/rollouts/${rollout.number}/acts`, { concerns });
  const [open, setOpen] = useState<Act | null>(null);
  const offers = ORDER.flatMap((act) => data?.acts.find((offer) => offer.act === act) ?? []);
  const offer = offers.find(({ act }) => act === open) ?? null;
  const reasons = reasonsOf(offers);

  const onDone = (answer: RolloutDetail) => {
    setOpen(null);
    put(`/rollouts/${answer.number}`, answer);
    refresh();
    if (answer.number !== rollout.number) go(`/rollouts/${answer.number}`);
  };
  return (
    <section class="actions" aria-label={`Actions on rollout ${rollout.number}`}>
      <div class="buttons">
        {ORDER.map((act) => {
          const allowed = offers.find((one) => one.act === act)?.allowed === true;
          return (
            <button
              key={act} type="button" class={act === "abort" ? "grave" : undefined} aria-disabled={!allowed}
              aria-describedby={allowed ? undefined : `why-not-${reasons.findIndex(({ acts }) => acts.includes(act))}`} onClick={() => allowed && setOpen(act)}
            >{ACT_NAMES[act]}</button>
          );
        })}
      </div>
      <ul class="why-not">
        {problem !== null && <li>{problem.detail}</li>}
        {reasons.map(({ acts, why }, i) => <li key={why} id={`why-not-${i}`}><b>{acts.map((act) => ACT_NAMES[act]).join(", ")}</b>: {why}</li>)}
      </ul>
      {offer !== null && <Confirm offer={offer} rollout={rollout} onDone={onDone} onClose={() => setOpen(null)} />}
    </section>
  );
}
