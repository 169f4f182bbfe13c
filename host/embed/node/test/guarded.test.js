// Tests the guarded component in jco: its rules, and a hostile component in its middle.

import assert from "node:assert/strict";
import { createServer } from "node:net";
import { once } from "node:events";
import test from "node:test";
import { inspect } from "node:util";
import { bare } from "whereby-agent";
import { ALLOW, built, failure, open, serve, simulate } from "./support.js";

const BOTS = 'write = "deny"\n[functions.create_room]\npermission = "allow"\nrooms = ["bot-*"]\n';

/** A simulated Whereby behind a proxy, which records the methods of requests. */
async function watched(t) {
  const { apiUrl, accessToken } = await simulate(t, "--rate-limit", "0");
  const methods = [];
  const proxy = await serve(t, async (request, response) => {
    methods.push(request.method);
    const { authorization } = request.headers;
    const body = [];
    for await (const chunk of request) body.push(chunk);
    const answer = await fetch(new URL(request.url, apiUrl), {
      method: request.method,
      headers: { authorization, "content-type": "application/json" },
      body: body.length > 0 ? Buffer.concat(body) : undefined,
    });
    response.statusCode = answer.status;
    response.setHeader("content-type", "application/json").end(await answer.text());
  });
  return { methods, api: { apiUrl: proxy.apiUrl, accessToken } };
}

const guarded = (t, api, permissions) => open(t, bare({ ...api, component: built("guarded"), permissions }));

async function denied(call, said) {
  const error = await failure(call);
  assert.equal(error.kind, "access-denied", inspect(error));
  assert.equal(error.effect, "none");
  assert.match(error.message, said);
}

test("without rules, reading is allowed and writing is denied", async (t) => {
  const { api, methods } = await watched(t);
  const whereby = await guarded(t, api);
  const [{ roomName }] = (await whereby.listRooms({ limit: 1 })).data;
  assert.deepEqual(methods.splice(0), ["GET"]);
  await denied(whereby.createRoom(), /create_room/);
  await denied(whereby.deleteRoom({ roomName }), /delete_room/);
  assert.deepEqual(methods, []);
});

test("a condition lets one call through and stops another", async (t) => {
  const { api, methods } = await watched(t);
  const whereby = await guarded(t, api, BOTS);
  const { roomName } = await whereby.createRoom({ roomNamePrefix: "bot-" });
  assert.deepEqual(methods.splice(0), ["POST"]);
  await denied(whereby.createRoom({ roomNamePrefix: "mine-" }), /rooms/);
  await denied(whereby.deleteRoom({ roomName }), /delete_room/);
  assert.deepEqual(methods, []);
});

test("rules that cannot be read stop every call", async (t) => {
  const { api, methods } = await watched(t);
  for (const [rules, said] of [
    ['write = "ask"', /ask/],
    ["write = ", /WHEREBY_PERMISSIONS/],
  ]) {
    await denied((await guarded(t, api, rules)).listRooms(), said);
  }
  assert.deepEqual(methods, []);
});

test("a hostile middle gets nothing done", async (t) => {
  let connections = 0;
  const other = createServer((socket) => {
    connections += 1;
    socket.destroy();
  }).listen(0, "127.0.0.1");
  await once(other, "listening");
  t.after(() => other.close());
  const { api, methods } = await watched(t);
  const whereby = await open(t, bare({ ...api, component: built("hostile"), permissions: ALLOW }));
  const endDate = "2099-01-01T00:00:00Z";
  const made = (roomNamePrefix) => ({ roomNamePrefix, endDate });
  // For each attempt, whether the call succeeds and what reaches the API.
  for (const [method, given, succeeds, reached] of [
    ["listRooms", { cursor: "environment" }, true, []],
    ["listRooms", { cursor: "obedience x" }, true, ["GET"]],
    ["listRooms", { cursor: `other-server 127.0.0.1:${other.address().port}` }, false, []],
    ["listRooms", { cursor: "host-keys" }, false, []],
    ["listRooms", { cursor: "create-in-read" }, false, []],
    ["listRooms", { cursor: "delete-what-was-listed" }, false, ["GET"]],
    ["listRooms", { cursor: "swallowed-refusal" }, false, []],
    ["getRoom", { roomName: "all-rooms" }, false, []],
    ["createRoom", made("create-under-another-name"), false, []],
    ["createRoom", made("create-with-host-key"), false, []],
    ["createRoom", made("create-twice"), false, ["POST"]],
    ["createRoom", made("create-claimed-unsent"), false, []],
    ["deleteRoom", { roomName: "delete-without-looking" }, false, []],
    ["deleteRoom", { roomName: "delete-all" }, false, []],
  ]) {
    methods.length = 0;
    const told = await whereby[method](given).then(
      (result) => ({ succeeded: true, shown: JSON.stringify(result) }),
      (error) => ({ succeeded: false, shown: inspect(error) }),
    );
    assert.equal(told.succeeded, succeeds, `${JSON.stringify(given)}: ${told.shown}`);
    assert.deepEqual(methods, reached, `${JSON.stringify(given)}: ${told.shown}`);
    assert.ok(!told.shown.includes(api.accessToken), told.shown);
  }
  assert.equal(connections, 0);
});

test("a string that ends within a character shows nothing of the guard's memory", async (t) => {
  // jco passes strings from one component to another unchecked. With these numbers, the guard's error would have
  // continued into a copy of the key.
  const parts = (length, step) => Array.from({ length }, (_, i) => String.fromCharCode(65 + ((i * step) % 26)));
  const accessToken = `eyJ${parts(33, 7).join("")}.eyJ${parts(180, 5).join("")}.${parts(43, 11).join("")}`;
  const { apiUrl } = await serve(t, (_, response) => {
    response.setHeader("content-type", "application/json").end('{"results":[],"cursor":null}');
  });
  const whereby = () => open(t, bare({ accessToken, apiUrl, component: built("hostile"), permissions: ALLOW }));
  for (const cursor of ["cut-path 2:3:30", "cut-path", "cut-authority", "cut-scheme", "cut-method", "cut-header"]) {
    const told = await (await whereby()).listRooms({ cursor }).then(JSON.stringify, inspect);
    for (let at = 0; at + 8 <= accessToken.length; at += 1) {
      assert.ok(!told.includes(accessToken.slice(at, at + 8)), `${cursor} shows a part of the key: ${told}`);
    }
    assert.match(told, /unsendable: /, cursor);
  }
});

test("a middle that fills the guard's memory is stopped while jco can tell the addresses of resources apart", async (t) => {
  // jco keeps a flag in bit 30 of an address, so those of 1 GiB and more would be those of other resources.
  const { api, methods } = await watched(t);
  const whereby = await open(t, bare({ ...api, component: built("hostile"), permissions: ALLOW }));
  const { kind, message } = await failure(whereby.listRooms({ cursor: "many-parts-kept" }));
  assert.equal(kind, "component-fault");
  assert.match(message, /unreachable/);
  assert.deepEqual(methods, []);
});
