//! `/session`: who one is here, and how to become somebody.

import { useState } from "preact/hooks";
import { ProblemNote } from "../parts/Answer.tsx";
import { When } from "../parts/Time.tsx";
import { Title } from "../parts/Title.tsx";
import { go } from "../route.ts";
import { login, logout, session } from "../session.ts";
import type { Problem, Session } from "../types.ts";
import { Pairs } from "./rollout/about.tsx";

export function SessionView() {
  const who = session.value;
  return (
    <>
      <div class="page-head"><Title text={who?.operator ? "Who I am" : "Log in"} /></div>
      <div class="narrow">
        {who?.operator && <WhoAmI who={who} operator={who.operator} />}
        {(!who?.operator || who.via === "loopback") && <Login />}
      </div>
    </>
  );
}

function WhoAmI({ who, operator }: { who: Session; operator: string }) {
  const [problem, setProblem] = useState<Problem | null>(null);
  const roles = who.roles.map(({ environment, role }) => `${role} ${environment === null ? "everywhere" : `of ${environment}`}`);
  return (
    <section class="card" aria-label="Session">
      <Pairs pairs={[
        ["operator", operator],
        ["known by", who.via],
        ["roles", roles.join(", ") || "none: you may look"],
        ...(who.until === null ? [] : ([["until", <When at={who.until} />]] as [string, preact.JSX.Element][])),
      ]} />
      {problem !== null && <ProblemNote problem={problem} />}
      {who.via === "session" && <div class="buttons"><button type="button" onClick={async () => setProblem(await logout())}>Log out</button></div>}
    </section>
  );
}

function Login() {
  const [token, setToken] = useState("");
  const [problem, setProblem] = useState<Problem | null>(null);
  const [asking, setAsking] = useState(false);
  const submit = async (event: Event) => {
    event.preventDefault();
    if (asking) return;
    setAsking(true);
    const refused = await login(token.trim());
    setAsking(false);
    setProblem(refused);
    if (refused === null) go("/");
  };
  return (
    <section class="card" aria-label="Log in">
      <form onSubmit={submit} class="login">
        <label>Token<input type="password" name="token" required autocomplete="off" value={token} onInput={(event) => setToken(event.currentTarget.value)} /></label>
        {problem !== null && <ProblemNote problem={problem} />}
        <div class="buttons"><button type="submit" class="act" disabled={asking}>{asking ? "Asking…" : "Log in"}</button></div>
      </form>
      <p class="muted">An operator of this fleet can give you a one-time token, or a link that has one in it.</p>
    </section>
  );
}
