// Tests the environment of a component in the bare runtime.

import assert from "node:assert/strict";
import { cpSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { bare } from "whereby-agent";
import { directory, failure, open, serve, serveNothing, simulate } from "./support.js";

const READER = fileURLToPath(new URL("../build/reader", import.meta.url));

/** A directory with a component for tests, whose first module is arbitrary. */
function fixture(t) {
  const path = directory();
  cpSync(fileURLToPath(new URL("fixture", import.meta.url)), path, { recursive: true });
  cpSync(join(READER, "component.core.wasm"), join(path, "component.core.wasm"));
  return path;
}

test("a component sees three variables and nothing of this process", async (t) => {
  process.env.WHEREBY_TEST_SECRET = "the secret of this process";
  t.after(() => delete process.env.WHEREBY_TEST_SECRET);
  const component = fixture(t);
  const seen = async (options) => (await open(t, bare({ component, ...options }))).getCurrentUser();
  const all = await seen({ accessToken: "key", apiUrl: "http://127.0.0.1:1/v1", keyClaims: { organizationId: 7 } });
  assert.deepEqual(all, {
    environment: {
      WHEREBY_ACCESS_TOKEN: "key",
      WHEREBY_API_URL: "http://127.0.0.1:1/v1",
      WHEREBY_KEY_CLAIMS: '{"organizationId":7}',
    },
    arguments: [],
    process: {},
    calls: 1,
    duration: 2700,
  });
  assert.deepEqual((await seen({})).environment, {});
});

test("a key in the environment of this process is not used", async (t) => {
  const { apiUrl, accessToken } = await simulate(t);
  process.env.WHEREBY_ACCESS_TOKEN = accessToken;
  t.after(() => delete process.env.WHEREBY_ACCESS_TOKEN);
  const error = await failure((await open(t, bare({ apiUrl }))).listRooms());
  assert.equal(error.kind, "unauthorized");
});

test("without a key, its claims can be passed", async (t) => {
  const { apiUrl } = await serve(t, ({ headers }, response) => {
    response.statusCode = headers.authorization ? 400 : 200;
    response.setHeader("content-type", "application/json").end('{"results": []}');
  });
  const whereby = await open(t, bare({ apiUrl, keyClaims: { organizationId: 7, iat: 1767225600 } }));
  const user = await whereby.getCurrentUser();
  assert.equal(user.organizationId, "7");
  assert.equal(user.keyIssuedAt, "2026-01-01T00:00:00Z");
});

test("the key is removed from errors", async (t) => {
  const whereby = await open(t, bare({ component: fixture(t), accessToken: "a-key-that-is-secret" }));
  const error = await failure(whereby.getRoom({ roomName: "a" }));
  assert.equal(error.message, "the key is …");
});

test("every call has a fresh instance", async (t) => {
  const whereby = await open(t, bare({ component: fixture(t) }));
  assert.equal((await whereby.getCurrentUser()).calls, 1);
  assert.equal((await whereby.getCurrentUser()).calls, 1);
});

test("a component that traps or ends its thread fails only its own call", async (t) => {
  const whereby = await open(t, bare({ component: fixture(t) }));
  for (const call of [() => whereby.listRooms(), () => whereby.getMeeting({ meetingId: "a" })]) {
    const error = await failure(call());
    assert.equal(error.kind, "component-fault");
    assert.match(error.message, /unreachable|thread ended \(3\)/);
    assert.ok(error.hint);
    assert.equal((await whereby.getCurrentUser()).calls, 1);
  }
});

test("a signal ends a component that never returns", async (t) => {
  const whereby = await open(t, bare({ component: fixture(t) }));
  const controller = new AbortController();
  const call = whereby.listMeetings({}, { signal: controller.signal });
  controller.abort();
  assert.equal((await failure(call)).name, "AbortError");
  assert.equal((await whereby.getCurrentUser()).calls, 1);
});

test("the reader reads, and has no functions that write", async (t) => {
  const whereby = await open(t, bare({ ...(await simulate(t)), component: READER }));
  const { data } = await whereby.listRooms({ limit: 1 });
  for (const call of [whereby.createRoom(), whereby.deleteRoom({ roomName: data[0].roomName })]) {
    const error = await failure(call);
    assert.equal(error.kind, "usage");
    assert.match(error.message, /is not in this component, which only reads/);
    assert.equal(error.effect, "none");
  }
  assert.deepEqual((await whereby.listRooms({ limit: 1 })).data, data);
});

test("a missing or invalid component is an error", async (t) => {
  const empty = directory();
  const missing = await failure(open(t, bare({ component: empty })));
  assert.equal(missing.kind, "configuration");
  assert.match(missing.message, /was not built/);
  assert.match(missing.hint, /transpile the FILE of `whereby component export FILE`/);
  cpSync(fileURLToPath(new URL("fixture", import.meta.url)), empty, { recursive: true });
  const broken = await failure(open(t, bare({ component: empty })));
  assert.equal(broken.kind, "configuration");
  assert.match(broken.message, /component.core.wasm/);
});

test("waiting calls can be cancelled", async (t) => {
  const api = await serveNothing(t);
  const whereby = await open(t, bare(api));
  const first = failure(whereby.listRooms());
  await api.arrived;
  const controller = new AbortController();
  const second = whereby.listRooms({}, { signal: controller.signal });
  controller.abort();
  assert.equal((await failure(second)).name, "AbortError");
  await whereby.close();
  assert.equal((await first).kind, "closed");
});
