//! Starts the page. The shell in index.html is on screen before this runs; it is replaced by
//! the same shell, with data in it as it comes.

import { render } from "preact";
import { App } from "./App.tsx";
import { startClock } from "./clock.ts";
import { go, startRouting } from "./route.ts";
import { learnSession, login, takeCode } from "./session.ts";
import { startShortcuts } from "./shell/Help.tsx";
import { hearNotable } from "./notable.ts";
import { link, listen, startStream } from "./stream.ts";
import { startTheme } from "./theme.ts";
import { startViews } from "./view.ts";
import "./styles/base.css";
import "./styles/shell.css";
import "./styles/parts.css";
import "./styles/views.css";

const code = takeCode();
startTheme();
startClock(() => link.value.state === "lost");
startRouting();
startShortcuts();

const root = document.getElementById("app");
if (root !== null) {
  root.replaceChildren();
  render(<App />, root);
}

// A code is used up before anything else is asked for, or the first answers would all be 401.
if (code !== null && (await login(code)) === null) go("/", "replace");
else await learnSession();
startViews();
listen(hearNotable);
void startStream();
