//! What each environment wants and has, one entry an app.

import { count, version } from "../../format.ts";
import { Release } from "../../parts/Release.tsx";
import type { Environment, EnvironmentApp } from "../../types.ts";

export function Environments({ environments }: { environments: readonly Environment[] }) {
  const some = environments.some(({ apps }) => apps.length > 0);
  return (
    <section class="card" aria-labelledby="environments">
      <h2 id="environments">Environments</h2>
      {!some && <p class="empty">{environments.length === 0 ? "No environment is defined yet." : "No release has been brought anywhere yet."}</p>}
      <ul class="environments">
        {environments.flatMap(({ environment, apps }) => apps.map((app) => <One key={`${environment} ${app.app}`} environment={environment} app={app} />))}
      </ul>
    </section>
  );
}

function One({ environment, app }: { environment: string; app: EnvironmentApp }) {
  return (
    <li>
      <p class="environment-head">
        <a class="plain-link" href={`/?environment=${encodeURIComponent(environment)}&app=${encodeURIComponent(app.app)}`}><b>{environment}</b> {app.app}</a>
        <Release of={app.desired} none="nothing desired yet" />
      </p>
      <p class="environment-numbers">
        <span><b>{count(app.healthy)}</b> of {count(app.nodes)} healthy</span>
        {app.unavailable > 0 && <span class="tone-bad"><b>{count(app.unavailable)}</b> unavailable</span>}
        {app.behind > 0 && <span class="tone-warn"><b>{count(app.behind)}</b> behind</span>}
      </p>
      <Versions app={app} />
    </li>
  );
}

// Beyond these nobody tells patterns apart; the numbers still do.
const LOOKS = 6;

function Versions({ app }: { app: EnvironmentApp }) {
  const versions = Object.entries(app.versions).sort(([a], [b]) => Number(b === app.desired) - Number(a === app.desired) || (a < b ? 1 : -1));
  const look = (i: number, ref: string) => `part r-${ref === app.desired ? 0 : 1 + ((i + LOOKS - 1) % LOOKS)}`;
  return (
    <>
      <span class="bar thin" aria-hidden="true">
        {versions.map(([ref, n], i) => <span key={ref} class={look(i, ref)} style={{ flexGrow: n }} />)}
      </span>
      <p class="versions">{versions.map(([ref, n], i) => <span key={ref} title={ref}><i class={look(i, ref)} /> {version(ref)} <b>{count(n)}</b></span>)}</p>
    </>
  );
}
