// Lets Node run what Vite builds: `node --import ./test/typescript.js …`.
import { register } from "node:module";
register("./loader.js", import.meta.url);
