// Tests what the program adds: rules, approvals, accounts, and errors.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { inspect } from "node:util";
import { host } from "whereby-agent";
import {
  PROGRAM,
  WRONG_TOKEN,
  configure,
  directory,
  environment,
  failure,
  open,
  serve,
  serveNothing,
  simulate,
} from "./support.js";

const ASK = 'write = "ask"';

/** The response of a server with another protocol version. */
const OTHER = JSON.stringify({ jsonrpc: "2.0", id: 1, result: { protocolVersion: "2999-01-01" } });

/** A shell script in place of the program. */
function script(t, text) {
  const path = join(directory(), "program");
  writeFileSync(path, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o700);
  return path;
}

test("a denied call sends nothing", async (t) => {
  const env = environment(configure(t, { work: await serveNothing(t) }, 'write = "deny"'));
  const error = await failure((await open(t, host({ program: PROGRAM, env }))).createRoom());
  assert.equal(error.kind, "denied");
  assert.equal(error.effect, "none");
  assert.match(error.hint, /allowed: list_rooms, /);
  // Only the owner may see the rule that denies it.
  assert.doesNotMatch(inspect(error), /config\.toml|permissions\./);
});

test("a call that needs approval is stored, and works once after approval", async (t) => {
  const env = environment(configure(t, { work: await simulate(t) }, ASK));
  const whereby = await open(t, host({ program: PROGRAM, env }));
  const given = { roomNamePrefix: "asked-" };
  const error = await failure(whereby.createRoom(given));
  assert.equal(error.kind, "approval-required");
  assert.equal(error.effect, "none");
  assert.ok(error.hint.includes(`whereby approvals approve ${error.approvalId}`), inspect(error));
  execFileSync(PROGRAM, ["approvals", "approve", error.approvalId], { env, stdio: "ignore" });
  const other = await failure(whereby.createRoom({ roomNamePrefix: "other-" }));
  assert.equal(other.kind, "approval-required");
  assert.match((await whereby.createRoom(given)).roomName, /^asked-/);
  const again = await failure(whereby.createRoom(given));
  assert.equal(again.kind, "approval-required");
  assert.notEqual(again.approvalId, error.approvalId);
});

test("an approver is asked, and only true approves", async (t) => {
  const env = environment(configure(t, { work: await simulate(t) }, ASK));
  const questions = [];
  let answer;
  const approver = (question) => {
    questions.push(question);
    return answer();
  };
  const whereby = await open(t, host({ program: PROGRAM, env, approver }));
  answer = async () => true;
  const { roomName } = await whereby.createRoom({ roomNamePrefix: "asked-" });
  for (const part of ["`work`", "create_room", '"room_name_prefix": "asked-"']) {
    assert.ok(questions[0].includes(part), questions[0]);
  }
  answer = () => false;
  assert.equal((await failure(whereby.deleteRoom({ roomName }))).kind, "denied");
  for (const nobody of [() => "yes", () => Promise.reject(new Error("no screen"))]) {
    answer = nobody;
    const warned = once(process, "warning");
    // A different call each time, because a declined call is not asked about again immediately.
    const call = whereby.createRoom({ roomNamePrefix: `n${questions.length}-` });
    assert.equal((await failure(call)).kind, "approval-required");
    assert.match((await warned)[0].message, /no screen|must return true or false/);
  }
  assert.equal(questions.length, 4);
});

test("an account can be chosen, and an unknown one is refused", async (t) => {
  const api = await simulate(t);
  const wrong = { ...api, accessToken: WRONG_TOKEN };
  const home = configure(t, { work: wrong, school: api });
  const env = environment(home);
  const at = (account) => open(t, host({ program: PROGRAM, env, account }));
  assert.equal((await failure((await at(undefined)).listRooms())).kind, "unauthorized");
  assert.equal((await failure((await at("work")).listRooms())).kind, "unauthorized");
  assert.ok((await (await at("school")).listRooms()).data.length > 0);
  const error = await failure(at("scool"));
  assert.equal(error.kind, "usage");
  assert.match(error.message, /"scool"; enabled accounts: school, work/);
});

test("a single account can be named, and no other", async (t) => {
  const env = environment(configure(t, { work: await simulate(t) }));
  const whereby = await open(t, host({ program: PROGRAM, env, account: "work" }));
  assert.ok((await whereby.listRooms()).data.length > 0);
  assert.equal((await failure(open(t, host({ program: PROGRAM, env, account: "school" })))).kind, "usage");
});

test("close cancels running calls, and the program ends by itself", async (t) => {
  const api = await serveNothing(t);
  const env = environment(configure(t, { work: api }));
  const whereby = await open(t, host({ program: PROGRAM, env }));
  const call = failure(whereby.createRoom());
  await api.arrived;
  await whereby.close();
  assert.equal((await call).kind, "closed");
  const { audit } = JSON.parse(execFileSync(PROGRAM, ["audit", "--json"], { env, encoding: "utf8" }));
  assert.deepEqual(audit.map(({ outcome }) => outcome.kind), ["cancelled"]);
});

test("running and later calls report a killed program", async (t) => {
  const api = await serveNothing(t);
  const env = environment(configure(t, { work: api }));
  const pid = join(env.HOME, "pid");
  const program = script(t, `echo $$ > '${pid}'; exec '${PROGRAM}' "$@"`);
  const whereby = await open(t, host({ program, env }));
  const read = failure(whereby.listRooms());
  const write = failure(whereby.createRoom());
  await api.arrived;
  process.kill(Number(readFileSync(pid, "utf8")), "SIGKILL");
  assert.equal((await read).kind, "internal");
  assert.match((await read).message, /was ended by SIGKILL/);
  assert.equal((await read).effect, "none");
  assert.equal((await write).effect, "unknown");
  const later = await failure(whereby.createRoom());
  assert.equal(later.kind, "internal");
  assert.equal(later.effect, "none");
  assert.equal(later.hint, "open it again");
});

test("a program that cannot be started is an error", async (t) => {
  const env = environment(directory());
  const config = join(env.HOME, "config.toml");
  writeFileSync(config, "colour = true\n", { mode: 0o600 });
  for (const [options, kind, says] of [
    [{ program: join(env.HOME, "no-such-program") }, "configuration", /cannot be run: .*ENOENT/],
    [{ program: join(env.HOME, "no-such-program"), account: "work" }, "configuration", /ENOENT/],
    [{ program: PROGRAM, config: join(env.HOME, "none.toml") }, "configuration", /exit status 3: .*none\.toml/],
    [{ program: PROGRAM, config: join(env.HOME, "none.toml"), account: "work" }, "configuration", /none\.toml/],
    [{ program: PROGRAM, config }, "configuration", /colour/],
    [{ program: script(t, "echo hello; cat") }, "internal", /does not speak MCP/],
    [{ program: script(t, "echo null; cat") }, "internal", /does not speak MCP/],
    [{ program: script(t, "echo it is broken >&2; exit 1") }, "internal", /exit status 1: it is broken/],
    [{ program: script(t, `read line; echo '${OTHER}'; cat`) }, "configuration", /2999-01-01/],
  ]) {
    const error = await failure(open(t, host({ env, ...options })));
    assert.equal(error.kind, kind, inspect(error));
    assert.match(error.message, says);
    if (/ENOENT/.test(error.message)) assert.match(error.hint, /cargo install whereby-agent/);
  }
});

test("calls report an account without a key", async (t) => {
  const env = environment(directory());
  const error = await failure((await open(t, host({ program: PROGRAM, env }))).listRooms());
  assert.equal(error.kind, "configuration");
});

test("the program gets the given environment, and no shell reads its arguments", async (t) => {
  const home = configure(t, { work: await simulate(t) });
  const config = join(home, "a; echo $(b) 'c'.toml");
  writeFileSync(config, readFileSync(join(home, "whereby", "config.toml")), { mode: 0o600 });
  const whereby = await open(t, host({ program: PROGRAM, config, env: environment(directory()) }));
  assert.ok((await whereby.listRooms()).data.length > 0);
});

test("long results and non-ASCII text arrive completely", async (t) => {
  const rooms = Array.from({ length: 100 }, (_, index) => ({
    meetingId: `${index}-\u2028\u{1f600}${"é".repeat(2000)}`,
    roomName: `/room-${index}`,
    roomUrl: `https://x.whereby.com/room-${index}`,
    startDate: "2026-01-01T00:00:00Z",
    endDate: "2026-01-01T00:00:00Z",
  }));
  const api = await serve(t, (_, response) => {
    response.setHeader("content-type", "application/json").end(JSON.stringify({ results: rooms }));
  });
  const whereby = await open(t, host({ program: PROGRAM, env: environment(configure(t, { work: api })) }));
  const { data } = await whereby.listRooms({ limit: 100 });
  assert.deepEqual(data.map(({ meetingId }) => meetingId), rooms.map(({ meetingId }) => meetingId));
});
