//! The fleetctl command that does what the dialog is about to do. Pure.

import { quoted } from "../format.ts";

export type Details = { reason: string; waves: string; again: boolean };

export function commandWith(command: string, { reason, waves, again }: Details): string {
  const parts = [command];
  const add = (option: string, value: string | null) => {
    // The coordinator's own word stands, where it has said it already.
    if (command.includes(option)) return;
    parts.push(value === null ? option : `${option} ${quoted(value)}`);
  };
  if (waves.trim() !== "") add("--waves", waves.trim());
  if (again) add("--again", null);
  if (reason.trim() !== "") add("--reason", reason.trim());
  return parts.join(" ");
}
