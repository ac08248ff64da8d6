//! The page: what stays on every page, and the view that the path names.

import type { VNode } from "preact";
import { useErrorBoundary } from "preact/hooks";
import { Title } from "./parts/Title.tsx";
import { place } from "./route.ts";
import { Announcer } from "./shell/Announcer.tsx";
import { Banners } from "./shell/Banners.tsx";
import { Foot } from "./shell/Foot.tsx";
import { Help } from "./shell/Help.tsx";
import { Top } from "./shell/Top.tsx";
import { link } from "./stream.ts";
import { CompareView } from "./views/compare.tsx";
import { EventsView } from "./views/events.tsx";
import { FleetView } from "./views/fleet.tsx";
import { NodeView } from "./views/node.tsx";
import { NodesView } from "./views/nodes.tsx";
import { ReleasesView } from "./views/releases.tsx";
import { RolloutView } from "./views/rollout.tsx";
import { RolloutsView } from "./views/rollouts.tsx";
import { SessionView } from "./views/session.tsx";

export function App() {
  const { path } = place.value;
  const shut = link.value.state === "shut";
  return (
    <>
      <a class="skip" href="#main">Skip to what matters</a>
      <Top />
      {!shut && <Banners />}
      <main id="main" tabIndex={-1} class={link.value.state === "lost" ? "old" : undefined}>
        {shut ? <SessionView /> : <Guarded key={path}>{viewOf(path)}</Guarded>}
      </main>
      {!shut && <Foot />}
      {!shut && <Announcer />}
      <Help />
    </>
  );
}

function viewOf(path: string): VNode {
  const [, first = "", second, ...more] = path.split("/");
  if (more.length > 0) return <Nowhere />;
  if (second === undefined) {
    switch (first) {
      case "": return <FleetView />;
      case "rollouts": return <RolloutsView />;
      case "nodes": return <NodesView />;
      case "releases": return <ReleasesView />;
      case "events": return <EventsView />;
      case "session": return <SessionView />;
    }
  } else if (first === "rollouts") {
    if (second === "compare") return <CompareView />;
    if (/^\d+$/.test(second)) return <RolloutView key={second} number={second} />;
  } else if (first === "nodes") return <NodeView key={second} id={decoded(second)} />;
  return <Nowhere />;
}

/** What is not well encoded is taken as it stands: then there is no node of that name. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** A view that stumbles over what it did not expect says so, and takes nothing else with it. */
function Guarded({ children }: { children: VNode }) {
  const [error, again] = useErrorBoundary();
  if (error === undefined) return children;
  return (
    <>
      <div class="page-head"><Title text="This page stumbled" /></div>
      <p class="empty">It could not show what the coordinator answered: {String(error)}.</p>
      <p class="buttons"><button type="button" onClick={again}>Try again</button></p>
    </>
  );
}

function Nowhere() {
  return (
    <>
      <div class="page-head"><Title text="Nothing here" /></div>
      <p class="empty">There is no page of this name. <a href="/">To the fleet</a></p>
    </>
  );
}
