//! What every page needs to know: halts, rollouts under way, which apps and environments there
//! are. It is asked for wherever one is, so it is also the pulse that notices a silent loss.

import type { Status } from "./types.ts";
import { useView, type Seen } from "./view.ts";

// The stream says at once when it breaks; only a line that died without a word waits for this.
const PULSE_MS = 5_000;

export const useStatus = (): Seen<Status> => useView<Status>("/status", { every: PULSE_MS });

export function names(status: Status | null): { environments: string[]; apps: string[] } {
  const environments = status?.environments ?? [];
  const apps = new Set(environments.flatMap((one) => one.apps.map(({ app }) => app)));
  return { environments: environments.map(({ environment }) => environment), apps: [...apps].sort() };
}
