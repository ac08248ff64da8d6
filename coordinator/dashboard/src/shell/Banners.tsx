//! What nobody may overlook: that nothing here is live any more, that the coordinator gives no
//! orders, that somebody has halted something.

import { here } from "../clock.ts";
import { age, countdown } from "../format.ts";
import { Command } from "../parts/Copy.tsx";
import { Age } from "../parts/Time.tsx";
import { useStatus } from "../status.ts";
import { link, reconnect } from "../stream.ts";
import type { Halt } from "../types.ts";
import { overdueSince, shownSince } from "../view.ts";

export function Banners() {
  const { data } = useStatus();
  const halts: [string, string, Halt][] = data === null ? [] : [
    ...(data.halt === null ? [] : ([["everything", "fleetctl unhalt", data.halt]] as [string, string, Halt][])),
    ...data.environments.flatMap(({ environment, halt }) => (halt === null ? [] : [[environment, `fleetctl unhalt --env ${environment}`, halt] as [string, string, Halt]])),
  ];
  const outdated = data?.coordinator.outdated ?? null;
  return (
    <div class="banners" role="region" aria-label="Warnings">
      <Lost />
      {outdated !== null && (
        <div class="banner bad">
          <p><strong>This coordinator gives no orders.</strong> {outdated.what}</p>
          {outdated.hint !== null && <Command text={outdated.hint} />}
        </div>
      )}
      {halts.map(([where, command, halt]) => (
        <div class="banner bad" key={where}>
          <p><strong>Halted: {where}.</strong> {halt.reason} <span class="halt-by">by {halt.by}, for <Age at={halt.since} /></span></p>
          <Command text={command} />
        </div>
      ))}
    </div>
  );
}

function Lost() {
  const state = link.value;
  if (state.state === "live") return <Slow />;
  if (state.state !== "lost") return null;
  // By this machine's clock on both sides: the coordinator's is out of reach.
  const now = here.value;
  const since = shownSince();
  return (
    <div class="banner lost">
      <p>
        <strong role="alert">The coordinator does not answer.</strong>{" "}
        {since === null ? "Nothing has been heard of it yet." : <>What you see is <b>{age(since, now)}</b> old.</>}{" "}
        Agents go on without it, and put back what fails by themselves.
      </p>
      <span class="retry">{state.retry > now ? `next try in ${countdown(state.retry, now)}` : "trying"} <button type="button" onClick={reconnect}>Try now</button></span>
    </div>
  );
}

function Slow() {
  const since = overdueSince(here.value);
  if (since === null) return null;
  return (
    <div class="banner lost">
      <p><strong role="alert">The coordinator is slow to answer.</strong> Part of what you see is <b>{age(since, here.value)}</b> old.</p>
    </div>
  );
}
