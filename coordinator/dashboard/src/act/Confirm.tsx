//! Asks before it acts: what will happen, the command that does the same, and why. The button
//! names the rollout, so that nobody aborts another one than they mean.

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { Refused, send } from "../api.ts";
import { ProblemNote } from "../parts/Answer.tsx";
import { Command } from "../parts/Copy.tsx";
import type { ActOffer, Problem, Rollout, RolloutDetail } from "../types.ts";
import { ACT_NAMES } from "../words.ts";
import { commandWith } from "./command.ts";

type Props = { offer: ActOffer; rollout: Rollout; onDone: (answer: RolloutDetail) => void; onClose: () => void };

// An answer that did not come is not a no: it may have been done.
const UNKNOWN: Problem = {
  type: "about:blank",
  title: "no answer",
  status: 0,
  detail: "The coordinator did not answer. Whether it has acted is not known: look at the rollout before you try again.",
};

export function Confirm({ offer, rollout, onDone, onClose }: Props) {
  const name = `${ACT_NAMES[offer.act]} #${rollout.number}`;
  const grave = offer.act === "abort" || offer.act === "rollback";
  const dialog = useRef<HTMLDialogElement>(null);
  const [reason, setReason] = useState("");
  const widens = offer.act === "resume" && rollout.state === "held";
  const [waves, setWaves] = useState(widens ? "100" : "");
  const [again, setAgain] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [acting, setActing] = useState(false);
  // Beside the state, which is only so after the next drawing: a second click comes before it.
  const sent = useRef(false);

  // Before anything is drawn, or the next key would still go to the page behind.
  useLayoutEffect(() => {
    dialog.current?.showModal();
    // What cannot be taken back is not one Enter away.
    dialog.current?.querySelector<HTMLElement>(grave ? "[data-cancel]" : "[name=reason]")?.focus();
  }, []);

  const act = async (event: Event) => {
    event.preventDefault();
    if (sent.current) return;
    sent.current = true;
    setActing(true);
    setProblem(null);
    const body: Record<string, unknown> = { reason: reason.trim() || null };
    if (widens) body.waves = waves.trim();
    if (again) body.again = true;
    try {
      const answer = await send<RolloutDetail>("POST", `/rollouts/${rollout.number}/${offer.act}`, body);
      if (answer !== null) onDone(answer);
    } catch (error) {
      setProblem(error instanceof Refused ? error.problem : UNKNOWN);
      sent.current = false;
      setActing(false);
    }
  };

  return (
    <dialog ref={dialog} class={grave ? "grave" : undefined} aria-labelledby="confirm-title" aria-describedby="confirm-consequence" onClose={onClose} onCancel={(event) => acting && event.preventDefault()}>
      <form method="dialog" onSubmit={act}>
        <h2 id="confirm-title">{name}?</h2>
        <p class="muted">{rollout.app} in {rollout.environment}</p>
        <p id="confirm-consequence" class="consequence">{offer.consequence}</p>
        {widens && (
          <label>Waves, cumulative<input name="waves" value={waves} required pattern="[0-9n%, ]+" onInput={(event) => setWaves(event.currentTarget.value)} /></label>
        )}
        <label>Reason <small>optional, kept with the rollout</small><input name="reason" value={reason} maxLength={500} autocomplete="off" onInput={(event) => setReason(event.currentTarget.value)} /></label>
        {(offer.act === "retry" || offer.act === "rollback") && (
          <label class="check"><input type="checkbox" checked={again} onChange={(event) => setAgain(event.currentTarget.checked)} /> Also a release that failed here before</label>
        )}
        <p class="same"><span class="muted">The same by hand</span><Command text={commandWith(offer.command, { reason, waves, again })} /></p>
        {problem !== null && <ProblemNote problem={problem} />}
        <div class="buttons">
          <button type="button" data-cancel disabled={acting} onClick={() => dialog.current?.close()}>Cancel</button>
          <button type="submit" class="act" disabled={acting}>{acting ? "Asking…" : name}</button>
        </div>
      </form>
    </dialog>
  );
}
