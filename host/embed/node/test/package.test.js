// Tests the package: the generated code, the README, and that processes can exit.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { delimiter, join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { generate } from "../scripts/generate.js";
import { PACKAGE } from "../scripts/paths.js";
import { PROGRAM, configure, environment, simulate } from "./support.js";

const read = (name) => readFileSync(new URL(name, PACKAGE), "utf8");

test("the generated functions match the program", () => {
  assert.equal(read("src/functions.ts"), generate(), "run `npm run generate`");
});

test("the lock file names versions and no registry", () => {
  const { packages } = JSON.parse(read("package-lock.json"));
  for (const [name, locked] of Object.entries(packages)) {
    assert.equal(locked.resolved, undefined, name);
    assert.ok(name === "" || locked.integrity, name);
  }
  const { dependencies, devDependencies } = JSON.parse(read("package.json"));
  for (const version of Object.values({ ...dependencies, ...devDependencies })) {
    assert.match(version, /^\d+\.\d+\.\d+$/);
  }
});

/** Runs a module that uses this package in its own process, which must exit by itself. */
async function run(code, env, input = "") {
  // In the package's directory, so that its name resolves to it.
  const child = spawn(process.execPath, ["--input-type=module", "--eval", code], {
    cwd: fileURLToPath(PACKAGE),
    env,
    stdio: ["pipe", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text) => (output += text));
  child.stdin.end(input);
  const [status] = await once(child, "close");
  assert.equal(status, 0, output);
  return output;
}

/** An environment for both runtimes. */
async function prepared(t) {
  const api = await simulate(t);
  const home = configure(t, { work: api }, 'write = "ask"');
  mkdirSync(join(home, "bin"));
  symlinkSync(PROGRAM, join(home, "bin", "whereby"));
  return environment(home, {
    PATH: join(home, "bin") + delimiter + process.env.PATH,
    WHEREBY_ACCESS_TOKEN: api.accessToken,
    WHEREBY_API_URL: api.apiUrl,
  });
}

const blocks = [...read("README.md").matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code);
const printed = [
  /^\S+-\S+\n(\S+ \d+\n){3}$/,
  /^\S+-\S+\n$/,
  /^approval-required .*\na person approves this one call with: whereby approvals approve [0-9a-f]+/,
  /create_room[^]*https:\/\/\S+\/standup-\S+\n$/,
];

test("the README has as many examples as are tested", () => assert.equal(blocks.length, printed.length));

for (const [index, code] of blocks.entries()) {
  test(`the README's example ${index + 1} runs, and its process exits`, async (t) => {
    assert.match(await run(code, await prepared(t), "yes\n"), printed[index]);
  });
}

const choices = {
  host: "host()",
  bare: "bare({ accessToken: process.env.WHEREBY_ACCESS_TOKEN, apiUrl: process.env.WHEREBY_API_URL })",
};

for (const [name, runtime] of Object.entries(choices)) {
  test(`an open ${name}() lets the process exit`, async (t) => {
    const code = `
      import { WherebyComponent, bare, host } from "whereby-agent";
      const whereby = await WherebyComponent.open(${runtime});
      console.log((await whereby.listRooms({ limit: 1 })).data.length);`;
    assert.equal(await run(code, await prepared(t)), "1\n");
  });
}
