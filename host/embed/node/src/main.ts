#!/usr/bin/env node
// The commands `whereby-agent` and `whereby`: the program of the platform's package.

import { spawn } from "node:child_process";
import { PLATFORM, findProgram } from "./program.js";

/** Prints an error and exits. */
function fail(what: string): never {
  console.error(`error: ${what}`);
  console.error("hint: install the program with `cargo install whereby-agent`");
  process.exit(1);
}

const program = findProgram() ?? fail(`the package whereby-agent-${PLATFORM}, which has the program, is not installed`);
const child = spawn(program, process.argv.slice(2), { stdio: "inherit" });
const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
// The program handles signals. Ctrl-C reaches it twice, from the terminal and from here; the second has no effect.
for (const signal of signals) process.on(signal, () => child.kill(signal));
child.on("error", (error) => fail(`${program} cannot be run: ${error.message}`));
child.on("exit", (status, signal) => {
  if (signal === null) process.exit(status);
  for (const name of signals) process.removeAllListeners(name);
  process.kill(process.pid, signal);
});
