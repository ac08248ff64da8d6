// Serves dist/ and plays the API, for development and for the browser checks:
//   npm run mock -- --scenario running --nodes 240 --rate 3 --port 8787
// Scenarios: rest running bad held halted empty one long login. POST /mock/lose {"ms": 8000}
// makes the coordinator unreachable for so long.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { gzipSync } from "node:zlib";
import { createHash } from "node:crypto";
import { parseArgs } from "node:util";
import { world as make } from "./scenarios.ts";
import * as views from "./views.ts";

const { values } = parseArgs({ options: {
  scenario: { type: "string", default: "running" },
  nodes: { type: "string", default: "240" },
  rate: { type: "string", default: "3" },
  port: { type: "string", default: "8787" },
  bake: { type: "string" },
} });
const DIST = new URL("../dist", import.meta.url).pathname;
const CSP = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };

const world = make(values.scenario, Number(values.nodes), Number(values.rate), Date.now());
if (values.bake) world.bakeMs = Number(values.bake);
let lostUntil = 0;
let signedIn = values.scenario !== "login";
const streams = new Set();
const sockets = new Set();
const posts = [];

let last = Date.now();
setInterval(() => {
  const now = Date.now();
  world.tick(now, now - last);
  last = now;
  for (const stream of streams) stream.push();
}, 100);

const problem = (status, title, detail, hint) => ({ status, type: "application/problem+json", body: { type: "about:blank", title, status, detail, ...(hint ? { hint } : {}) } });
const ok = (body) => ({ status: 200, type: "application/json", body });
const page = (items, query) => {
  const limit = Math.min(1000, Number(query.get("limit") ?? 100));
  const from = Number(query.get("after") ?? 0);
  const next = from + limit < items.length ? String(from + limit) : null;
  return { items: items.slice(from, from + limit), next };
};
const session = () => (signedIn
  ? { operator: "ada@example.org", via: values.scenario === "login" ? "session" : "loopback", until: Date.now() + 28_800_000, roles: [{ environment: null, role: "deployer" }, { environment: "staging", role: "admin" }], may_read: true }
  : { operator: null, via: "loopback", until: null, roles: [], may_read: false });

function get(path, query, now) {
  const [, first, id, sub] = path.split("/");
  if (first === "session") return ok(session());
  if (!signedIn) return problem(401, "who are you?", "reading this fleet needs a login");
  switch (first) {
    case "status": return ok(views.status(world, now));
    case "environments": return ok(views.environments(world));
    case "fleet": return ok(views.fleet(world, query.get("environment") ?? "production"));
    case "rollouts": return rollouts(id, sub, query, now);
    case "nodes": return nodes(id, query, now);
    case "releases": return ok(page(views.releases(world, now).filter((one) => !query.get("app") || one.app === query.get("app")), query));
    case "events": {
      const wanted = world.events.filter((event) => ["rollout", "node", "by"].every((key) => !query.get(key) || String(event[key]) === query.get(key)));
      return ok(page(query.get("order") === "oldest" ? wanted : wanted.slice(-1200).reverse(), query));
    }
    default: return problem(404, "not found", `there is nothing at ${path}`);
  }
}

function rollouts(id, sub, query, now) {
  if (id === undefined) {
    const wanted = views.rollouts(world, now).filter((one) => ["app", "environment", "state"].every((key) => !query.get(key) || one[key] === query.get(key)));
    return ok(page(wanted, query));
  }
  const detail = views.detail(world, Number(id), now);
  if (detail === null) return problem(404, "not found", `there is no rollout ${id}`, "fleetctl history");
  if (sub === "steps") return ok(page(views.steps(world).filter((step) => (!query.get("wave") || step.wave === Number(query.get("wave"))) && (!query.get("phase") || step.phase === query.get("phase"))), query));
  if (sub === "health") return ok(views.trends(world, now));
  if (sub === "acts") return ok(views.acts(world, Number(id), now));
  return ok(detail);
}

function nodes(id, query, now) {
  if (id !== undefined) {
    const found = world.nodes.find((node) => node.id === decodeURIComponent(id));
    return found ? ok(views.node(world, found, now, true)) : problem(404, "not found", `there is no node called \`${id}\``, "fleetctl nodes");
  }
  const wanted = world.nodes.filter((node) => (!query.get("q") || node.id.includes(query.get("q"))) && ["environment", "connection", "health"].every((key) => !query.get(key) || node[key] === query.get(key)));
  return ok({ ...page(wanted.map((node) => views.node(world, node, now, false)), query), total: wanted.length });
}

function post(path, body) {
  const [, first, id, act] = path.split("/");
  if (first === "session") {
    if (body.token !== "letmein") return problem(403, "refused", "this token is not known, or it has expired");
    signedIn = true;
    return ok(session());
  }
  posts.push({ path, body });
  const offered = views.acts(world, Number(id), Date.now()).acts.find((one) => one.act === act);
  if (!offered?.allowed) return problem(409, "not now", `rollout ${id}: ${offered?.why_not ?? "unknown act"}`, `fleetctl explain ${id}`);
  const now = Date.now();
  if (act === "pause") [world.state, world.why] = ["paused", `paused by ada@example.org${body.reason ? `: ${body.reason}` : ""}`];
  if (act === "resume") [world.state, world.why] = ["running", null];
  if (act === "abort") [world.state, world.ended, world.why] = ["aborted", now, `aborted by ada@example.org${body.reason ? `: ${body.reason}` : ""}`];
  world.tell(`rollout-${act}`, `ada@example.org asked to ${act} rollout ${id}`, { rollout: Number(id), by: "ada@example.org" });
  return ok(views.detail(world, Number(id), now));
}

function openStream(request, response) {
  if (!signedIn) return answer(request, response, problem(401, "who are you?", "reading this fleet needs a login"));
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  let sent = Number(request.headers["last-event-id"] ?? world.position);
  if (world.position - sent > 4000) {
    response.write(`event: missed\ndata: {"from":${sent},"to":${world.position}}\n\n`);
    sent = world.position;
  }
  response.write(": here\n\n");
  const comment = setInterval(() => response.write(": here\n\n"), 15_000);
  const stream = { push() {
    if (world.position === sent) return;
    const fresh = world.events.filter(({ position }) => position > sent);
    sent = world.position;
    response.write(fresh.map((event) => `id: ${event.position}\nevent: event\ndata: ${JSON.stringify(event)}\n\n`).join(""));
  } };
  streams.add(stream);
  request.on("close", () => {
    clearInterval(comment);
    streams.delete(stream);
  });
}

function answer(request, response, { status, type, body }) {
  const text = JSON.stringify(body);
  const etag = `"${createHash("sha1").update(text).digest("base64url")}"`;
  if (status === 200 && request.headers["if-none-match"] === etag) return response.writeHead(304, { ETag: etag }).end();
  response.writeHead(status, { "Content-Type": type, ETag: etag, "Cache-Control": "no-store" }).end(text);
}

async function file(path, response) {
  const name = path.startsWith("/assets/") ? normalize(path) : "/index.html";
  try {
    const bytes = await readFile(join(DIST, name));
    response.writeHead(200, { "Content-Type": TYPES[extname(name)] ?? "application/octet-stream", "Content-Security-Policy": CSP, "Content-Encoding": "gzip" }).end(gzipSync(bytes));
  } catch {
    response.writeHead(404).end();
  }
}

const server = createServer((request, response) => {
  const url = new URL(request.url, "http://localhost");
  if (Date.now() < lostUntil && !url.pathname.startsWith("/mock/")) return request.socket.destroy();
  if (url.pathname === "/mock/posts") return answer(request, response, ok(posts));
  if (request.method === "GET" && url.pathname === "/api/v1/stream") return openStream(request, response);
  if (request.method === "GET" && url.pathname.startsWith("/api/v1")) return answer(request, response, get(url.pathname.slice(7), url.searchParams, Date.now()));
  if (request.method === "GET") return file(url.pathname, response);
  let text = "";
  request.on("data", (part) => (text += part));
  request.on("end", () => {
    const body = text === "" ? {} : JSON.parse(text);
    if (url.pathname === "/mock/lose") {
      lostUntil = Date.now() + body.ms;
      for (const socket of sockets) if (socket !== request.socket) socket.destroy();
      return response.writeHead(204).end();
    }
    if (request.method === "DELETE") {
      signedIn = false;
      return response.writeHead(204).end();
    }
    answer(request, response, post(url.pathname.slice(7), body));
  });
});
server.on("connection", (socket) => {
  sockets.add(socket);
  socket.on("close", () => sockets.delete(socket));
});
server.listen(Number(values.port), "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
