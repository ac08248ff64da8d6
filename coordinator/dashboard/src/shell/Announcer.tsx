//! Says aloud, to who listens instead of looking, what changed about rollouts.

import { useEffect, useRef, useState } from "preact/hooks";
import { useStatus } from "../status.ts";
import { look, news } from "./news.ts";

export function Announcer() {
  const { data } = useStatus();
  const known = useRef<ReturnType<typeof look> | null>(null);
  const [said, say] = useState("");
  useEffect(() => {
    if (data === null) return;
    const rollouts = [...data.active, ...data.recent];
    const told = known.current === null ? [] : news(known.current, rollouts);
    known.current = look(rollouts);
    if (told.length > 0) say(told.join(". "));
  }, [data]);
  return <div class="unseen" aria-live="polite">{said}</div>;
}
