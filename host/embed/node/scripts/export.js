// Exports what the tests need: the program's component to `component`, and the reader to `build/reader`.

import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { PACKAGE, program } from "./paths.js";

const path = (name) => fileURLToPath(new URL(name, PACKAGE));

rmSync(path("build"), { recursive: true, force: true });
mkdirSync(path("build"));
for (const [file, flags, directory] of [
  ["build/whereby.wasm", [], "component"],
  ["build/reader.wasm", ["--reader"], "build/reader"],
]) {
  execFileSync(program(), ["component", "export", ...flags, path(file)], { stdio: "inherit" });
  execFileSync(process.execPath, [path("scripts/transpile.js"), path(file), path(directory)], { stdio: "inherit" });
}
