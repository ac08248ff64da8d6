import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { defineConfig } from "vite";

// What the theme needs before the first paint is a file of its own that blocks it: the
// content security policy allows no inline script, and a module would run too late.
function theme() {
  const source = readFileSync(new URL("src/early.js", import.meta.url), "utf8")
    .replace(/^\/\/.*\n/gm, "")
    .replace(/\s+/g, " ");
  const name = `assets/early-${createHash("sha256").update(source).digest("hex").slice(0, 8)}.js`;
  return {
    name: "early-theme",
    apply: "build",
    generateBundle() {
      this.emitFile({ type: "asset", fileName: name, source });
    },
    transformIndexHtml: () => [{ tag: "script", attrs: { src: `/${name}` }, injectTo: "head-prepend" }],
  };
}

export default defineConfig({
  plugins: [theme()],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    target: "es2022",
    // An asset inlined as data: would be out of reach of the immutable cache.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: { proxy: { "/api": process.env.FLEET_URL ?? "http://127.0.0.1:8787" } },
});
