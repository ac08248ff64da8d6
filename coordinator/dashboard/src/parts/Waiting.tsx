//! Why is it not moving? The coordinator's own sentences, with their clocks and the command
//! that would change it.

import type { Waiting as Reason } from "../types.ts";
import { Command } from "./Copy.tsx";
import { Age, Countdown } from "./Time.tsx";

export function Waiting({ waiting }: { waiting: readonly Reason[] }) {
  if (waiting.length === 0) return null;
  return (
    <ul class="waiting" aria-label="What it waits for">
      {waiting.map(({ what, since, until, hint }) => (
        <li key={what}>
          <span class="what">{what}</span>
          <span class="clocks">
            {until !== null && <><Countdown until={until} /> <i>left</i></>}
            {until === null && since !== null && <><i>for</i> <Age at={since} /></>}
          </span>
          {hint !== null && <Command text={hint} />}
        </li>
      ))}
    </ul>
  );
}
