// Starts a mock coordinator of its own on a free port; it ends with the test that started it.
import { spawn } from "node:child_process";

const ROOT = new URL("..", import.meta.url).pathname;

export function mock(test, scenario, { nodes = 240, rate = 3, bake } = {}) {
  return new Promise((resolve, reject) => {
    const options = ["--scenario", scenario, "--nodes", String(nodes), "--rate", String(rate), "--port", "0", ...(bake ? ["--bake", String(bake)] : [])];
    const child = spawn(process.execPath, ["--import", "./test/typescript.js", "mock/serve.js", ...options], { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] });
    test.after(() => child.kill());
    child.once("exit", (code) => reject(new Error(`the mock ended with ${code}`)));
    child.stdout.once("data", (line) => {
      const url = String(line).trim();
      resolve({ url, post: (path, body) => fetch(url + path, { method: "POST", body: JSON.stringify(body) }), posts: async () => (await fetch(`${url}/mock/posts`)).json() });
    });
  });
}
