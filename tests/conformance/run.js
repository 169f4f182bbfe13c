// Runs the official MCP conformance suite against `whereby mcp --listen`, in each protocol version that
// both know (the suite does not know 2024-11-05), and compares the result with expected.json.
//
// Every check must pass, except those in expected.json. It lists scenarios; an entry with `checks` excuses
// these checks alone, and an entry without excuses all but the one that validates each message of the
// server. An excused check that passes, and an entry for what did not run, are failures as well.
//
// Needs a built program (`cargo build`, or its path in WHEREBY_BIN). Run it with `npm test`.

import { execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { buffer } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const WHEREBY = process.env.WHEREBY_BIN ?? resolve(HERE, "../../target/debug/whereby");
const SUITE = join(HERE, "node_modules/@modelcontextprotocol/conformance/dist/index.js");

// The suite needs Node.js 22, which the packages bring for some machines.
const BROUGHT = join(HERE, `node_modules/node-${process.platform}-${process.arch}/bin/node`);
const NODE = existsSync(BROUGHT) ? BROUGHT : process.execPath;

const VERSIONS = ["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"];

// The check that the suite adds to every scenario in which messages are exchanged.
const MESSAGES = "wire-schema-valid";

// How long all of it may take, in seconds.
const PATIENCE = 110;

const folder = mkdtempSync(join(tmpdir(), "whereby-conformance-"));
const ENVIRONMENT = { PATH: process.env.PATH, HOME: folder };
const children = [];
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(1));
setTimeout(() => {
  console.error(`the conformance suite took longer than ${PATIENCE} seconds`);
  process.exit(1);
}, PATIENCE * 1000).unref();

// Starts the program, and returns the first lines that it prints.
async function start(args, count, variables) {
  const env = { ...ENVIRONMENT, ...variables };
  const child = spawn(WHEREBY, args, { env, cwd: folder, stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  const failed = new Promise((_, reject) => child.on("error", reject));
  const printed = (async () => {
    const lines = [];
    for await (const line of createInterface(child.stdout)) {
      if (lines.push(line) === count) return lines;
    }
    throw new Error(`whereby ${args.join(" ")} ended`);
  })();
  return Promise.race([printed, failed]);
}

// Changes which tools there are, by a rule that denies one of them or asks for it.
let permission = "ask";
async function changeTools() {
  permission = permission === "ask" ? "deny" : "ask";
  const args = ["configure", "--function", `delete_room=${permission}`];
  await promisify(execFile)(WHEREBY, args, { env: ENVIRONMENT, cwd: folder });
}

// Starts a proxy that adds the bearer token, which the suite cannot send, and returns its URL. A call of
// the suite's tool `test_trigger_tool_change`, which is to change the list of tools, does so.
async function addingToken(server, token) {
  const { hostname, port, pathname } = new URL(server);
  const proxy = http.createServer(async (request, response) => {
    const { method, url: path } = request;
    const headers = { ...request.headers, authorization: `Bearer ${token}` };
    const body = await buffer(request);
    if (body.includes('"test_trigger_tool_change"')) await changeTools();
    const upstream = http.request({ hostname, port, method, path, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers).flushHeaders();
      answer.on("error", () => response.destroy()).pipe(response);
    });
    upstream.on("error", () => response.destroy());
    response.on("close", () => upstream.destroy());
    upstream.end(body);
  });
  await new Promise((listening) => proxy.listen(0, "127.0.0.1", listening));
  return `http://127.0.0.1:${proxy.address().port}${pathname}`;
}

// Runs the suite and returns its output. It exits with 1 if a check failed.
async function suite(...args) {
  const options = { env: ENVIRONMENT, cwd: folder };
  const running = promisify(execFile)(NODE, [SUITE, ...args], options);
  children.push(running.child);
  try {
    return (await running).stdout;
  } catch (error) {
    if (error.code !== 1 || !error.stdout) throw error;
    return error.stdout;
  }
}

// Returns the suite's scenarios for servers, each with what the suite says of it.
async function scenarios(...filter) {
  const listed = await suite("list", "--server", ...filter);
  return [...listed.matchAll(/^ +- (\S+) \[(.*)\]$/gm)].map(([, name, of]) => ({ name, of }));
}

// Returns the checks of each scenario in a folder of results.
function results(of) {
  const named = readdirSync(of).map((name) => {
    const [, scenario] = name.match(/^server-(.+?)-\d{4}-\d\d-\d\dT/);
    return [scenario, JSON.parse(readFileSync(join(of, name, "checks.json"), "utf8"))];
  });
  return new Map(named);
}

// Returns what is wrong with the checks of a scenario.
function problems(checks, entry) {
  const found = [];
  const failed = new Map();
  const ids = new Set();
  for (const { id, status, errorMessage } of checks) {
    if (status !== "INFO") ids.add(id);
    if (status !== "SUCCESS" && status !== "INFO") failed.set(id, `${status}: ${errorMessage ?? ""}`);
  }
  if (ids.size === 0) found.push("nothing was checked");
  const excused = new Set(entry?.checks ?? (entry ? [...ids].filter((id) => id !== MESSAGES) : []));
  for (const [id, why] of failed) if (!excused.has(id)) found.push(`${id}: ${why}`);
  for (const id of excused) {
    if (!ids.has(id)) found.push(`${id} is in expected.json, but was not checked`);
    else if (!failed.has(id)) found.push(`${id} passes; remove it from expected.json`);
  }
  return found;
}

const simulated = await start(["simulate", "--rate-limit", "0"], 2, {});
const account = Object.fromEntries(simulated.map((line) => line.match(/^export (\w+)=(.*)$/).slice(1)));
const token = randomBytes(32).toString("hex");
const variables = { ...account, WHEREBY_MCP_TOKEN: token };
const [listening] = await start(["mcp", "--listen", "127.0.0.1:0"], 1, variables);
const url = await addingToken(listening.match(/http:\S+\/mcp/)[0], token);

const expected = JSON.parse(readFileSync(join(HERE, "expected.json"), "utf8"));
const unseen = new Set(Object.keys(expected));
let isRight = true;

function compare(version, names, checked) {
  let excused = 0;
  for (const name of names) {
    const entry = expected[name];
    unseen.delete(name);
    excused += entry ? 1 : 0;
    const reason = entry && !entry.reason ? ["expected.json gives no reason"] : [];
    for (const problem of [...reason, ...problems(checked.get(name) ?? [], entry)]) {
      console.error(`${version} ${name}: ${problem}`);
      isRight = false;
    }
  }
  console.log(`${version}: ${names.length} scenarios, ${excused} of them excused in whole or in part`);
}

for (const version of VERSIONS) {
  const names = (await scenarios("--spec-version", version)).map(({ name }) => name);
  const output = join(folder, version);
  await suite("server", "--url", url, "--suite", "all", "--spec-version", version, "--output-dir", output);
  compare(version, names, results(output));
}

// Scenarios of extensions belong to no version, and can only be run one by one.
const extensions = (await scenarios()).filter(({ of }) => of === "extension").map(({ name }) => name);
const output = join(folder, "extensions");
for (const name of extensions) {
  await suite("server", "--url", url, "--scenario", name, "--output-dir", output);
}
compare("extensions", extensions, results(output));

for (const name of unseen) {
  console.error(`${name} is in expected.json, but the suite has no such scenario`);
  isRight = false;
}
process.exit(isRight ? 0 : 1);
