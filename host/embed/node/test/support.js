// Support for the tests: a simulated Whereby, a home directory, and both runtimes.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { WherebyComponent, bare, host } from "whereby-agent";
import { fileURLToPath } from "node:url";
import { PACKAGE, program } from "../scripts/paths.js";

export const PROGRAM = program();

/** An invalid token. */
export const WRONG_TOKEN = "no-such-key-0123456789";

const directories = [];
// Not after each test, because programs that run until then still write there.
process.on("exit", () => directories.forEach((path) => rmSync(path, { recursive: true, force: true })));

/** A directory that is removed after the tests. */
export function directory() {
  const path = mkdtempSync(join(tmpdir(), "whereby-node-"));
  directories.push(path);
  return path;
}

/** The environment of a program that keeps everything in `home`. */
export function environment(home, more = {}) {
  return {
    PATH: process.env.PATH,
    HOME: home,
    XDG_CONFIG_HOME: home,
    XDG_STATE_HOME: join(home, "state"),
    XDG_CACHE_HOME: join(home, "cache"),
    ...more,
  };
}

/** Starts a simulated Whereby in its own process. Returns its URL and a token. */
export async function simulate(t, ...flags) {
  const child = spawn(PROGRAM, ["simulate", "--listen", "127.0.0.1:0", ...flags], {
    env: environment(directory()),
    stdio: ["ignore", "pipe", "ignore"],
  });
  t.after(async () => {
    child.kill("SIGKILL");
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  });
  const found = {};
  for await (const line of createInterface({ input: child.stdout })) {
    const [name, value] = line.replace("export ", "").split("=");
    found[name] = value;
    if (found.WHEREBY_API_URL && found.WHEREBY_ACCESS_TOKEN) break;
  }
  return { apiUrl: found.WHEREBY_API_URL, accessToken: found.WHEREBY_ACCESS_TOKEN };
}

/** An API in this process. `answer` gets the request and the response; `arrived` resolves with the first request. */
export async function serve(t, answer) {
  let told;
  const arrived = new Promise((resolve) => (told = resolve));
  const server = createServer((request, response) => {
    told(request);
    answer(request, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const apiUrl = `http://127.0.0.1:${server.address().port}/v1`;
  return { apiUrl, accessToken: "a-key-that-is-secret-0123456789", arrived };
}

/** An API that never responds. */
export const serveNothing = (t) => serve(t, () => {});

/** An API whose pages have two rooms each. `following` has the cursor of the page after each; `asked` gets the queries. */
export async function servePages(t, following) {
  const asked = [];
  const api = await serve(t, ({ url }, response) => {
    const { search, searchParams } = new URL(url, "http://localhost");
    asked.push(search.slice(1));
    const cursor = searchParams.get("cursor") ?? "first";
    const results = [0, 1].map((number) => ({
      meetingId: `${cursor}-${number}`,
      roomName: `/${cursor}-${number}`,
      roomUrl: `https://x.whereby.com/${cursor}-${number}`,
      startDate: "2026-01-01T00:00:00Z",
      endDate: "2099-01-01T00:00:00Z",
    }));
    const page = JSON.stringify({ results, cursor: following[cursor] ?? null });
    response.setHeader("content-type", "application/json").end(page);
  });
  return { ...api, asked };
}

/** A home with a configuration of accounts, and rules for all of them. */
export function configure(t, accounts, rules = ALLOW) {
  const home = directory();
  mkdirSync(join(home, "whereby"));
  const [first] = Object.keys(accounts);
  const tables = Object.entries(accounts).map(
    ([name, { accessToken, apiUrl }]) =>
      `[accounts.${name}]\naccess_token = "${accessToken}"\napi_url = "${apiUrl}"\n`,
  );
  const text = `default_account = "${first}"\n[permissions]\n${rules}\n${tables.join("")}`;
  writeFileSync(join(home, "whereby", "config.toml"), text, { mode: 0o600 });
  return home;
}

/** Opens a component that is closed after the test. */
export async function open(t, runtime) {
  const whereby = await WherebyComponent.open(runtime);
  t.after(() => whereby.close());
  return whereby;
}

/** The rules of a guarded component that may do everything. */
export const ALLOW = 'write = "allow"\ndestination = "allow"';

/** A component that `scripts/export.js` exported. */
export const built = (name) => fileURLToPath(new URL(`build/${name}`, PACKAGE));

/** The runtimes for one API; `guarded` is the bare one with a guarded component. */
export const RUNTIMES = {
  bare: (t, api) => open(t, bare(api)),
  guarded: (t, api) => open(t, bare({ ...api, component: built("guarded"), permissions: ALLOW })),
  host: (t, api) => open(t, host({ program: PROGRAM, env: environment(configure(t, { work: api })) })),
};

/** The properties of an error, without the stack. */
export function facts(error) {
  return { name: error.name, message: error.message, ...error };
}

/** The error that a promise rejects with. */
export async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("it did not fail");
}
