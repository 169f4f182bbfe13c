// Exports what the tests need: the program's component to `component`, and to `build` the reader, the guarded
// component, and one with the hostile component of the program's own tests in its middle.

import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { PACKAGE, program } from "./paths.js";

const path = (name) => fileURLToPath(new URL(name, PACKAGE));

rmSync(path("build"), { recursive: true, force: true });
mkdirSync(path("build"));
function hostile() {
  if (process.env.WHEREBY_HOSTILE) return process.env.WHEREBY_HOSTILE;
  const root = fileURLToPath(new URL("../../../", PACKAGE));
  const target = `${root}target/hostile`;
  const build = ["build", "--quiet", "--locked", "--package", "whereby-hostile", "--lib", "--profile", "component"];
  const where = ["--target", "wasm32-wasip2", "--target-dir", target];
  execFileSync("cargo", [...build, ...where], { cwd: root, stdio: "inherit" });
  return `${target}/wasm32-wasip2/component/whereby_hostile.wasm`;
}

for (const [file, flags, directory] of [
  ["build/whereby.wasm", [], "component"],
  ["build/reader.wasm", ["--reader"], "build/reader"],
  ["build/guarded.wasm", ["--guarded"], "build/guarded"],
  ["build/hostile.wasm", ["--guarded", "--component", hostile()], "build/hostile"],
]) {
  execFileSync(program(), ["component", "export", ...flags, path(file)], { stdio: "inherit" });
  execFileSync(process.execPath, [path("scripts/transpile.js"), path(file), path(directory)], { stdio: "inherit" });
}
