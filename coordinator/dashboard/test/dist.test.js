// What is checked in is what the sources build, byte for byte, and it is small.
import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { build } from "vite";

const ROOT = new URL("..", import.meta.url).pathname;
const TRANSFER_MAX = 60_000;

async function files(directory) {
  const names = (await readdir(directory, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  const found = await Promise.all(names.map(async ({ parentPath, name }) => [join(parentPath, name).slice(directory.length + 1), await readFile(join(parentPath, name))]));
  return new Map(found.sort(([a], [b]) => (a < b ? -1 : 1)));
}

test("dist/ is what the sources build: run npm run build and commit it", async () => {
  const fresh = await mkdtemp(join(tmpdir(), "dashboard-"));
  await build({ root: ROOT, configFile: join(ROOT, "vite.config.js"), logLevel: "error", build: { outDir: fresh, emptyOutDir: true } });
  const [ours, theirs] = [await files(join(ROOT, "dist")), await files(fresh)];
  await rm(fresh, { recursive: true });
  assert.deepEqual([...ours.keys()], [...theirs.keys()]);
  for (const [name, bytes] of ours) assert.ok(bytes.equals(theirs.get(name)), name);
});

test("all of it is a small download", async () => {
  const all = [...(await files(join(ROOT, "dist")))].map(([name, bytes]) => [name, gzipSync(bytes, { level: 9 }).length]);
  const total = all.reduce((sum, [, size]) => sum + size, 0);
  console.log(JSON.stringify({ measure: "dashboard-transfer", gzip_bytes: total, limit: TRANSFER_MAX, files: Object.fromEntries(all) }));
  assert.ok(total < TRANSFER_MAX, `${total} bytes`);
});
