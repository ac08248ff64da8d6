//! A release: its version for people, its digest for when two are called the same.

import { digest, version } from "../format.ts";
import type { Ref } from "../types.ts";

export function Release({ of, none = "none" }: { of: Ref | null; none?: string }) {
  if (of === null) return <span class="muted">{none}</span>;
  return <span class="release" title={of}>{version(of)}<small>{digest(of)}</small></span>;
}
