// Tests all functions and their errors in all runtimes, with the same results.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import test from "node:test";
import { inspect } from "node:util";
import { WherebyError } from "whereby-agent";
import { FUNCTIONS } from "../dist/functions.js";
import { program } from "../scripts/paths.js";
import { RUNTIMES, WRONG_TOKEN, facts, failure, serve, serveNothing, servePages, simulate } from "./support.js";

/** The items of an iterator. */
async function all(iterator) {
  const items = [];
  for await (const item of iterator) items.push(item);
  return items;
}

const both = async (t, api) => [await RUNTIMES.bare(t, api), await RUNTIMES.host(t, api)];

for (const [name, open] of Object.entries(RUNTIMES)) {
  test(`${name}: all functions`, async (t) => {
    const whereby = await open(t, await simulate(t));
    const page = await whereby.listRooms({ limit: 2 });
    assert.equal(page.data.length, 2);
    assert.equal(typeof page.meta.nextCursor, "string");
    assert.deepEqual(await whereby.listRooms({ limit: 2, cursor: "" }), page);
    const rest = await whereby.listRooms({ cursor: page.meta.nextCursor });
    assert.notEqual(rest.data[0].roomName, page.data[0].roomName);
    assert.equal(rest.meta.nextCursor, null);

    const [first] = page.data;
    assert.deepEqual(await whereby.getRoom({ roomName: `/${first.roomName}` }), first);

    const meetings = await whereby.listMeetings({ limit: 3, cursor: null, fromDate: "2020-01-01" });
    assert.equal(meetings.data.length, 3);
    assert.ok(Number.isInteger(meetings.data[0].duration));
    const meeting = await whereby.getMeeting({ meetingId: meetings.data[0].id });
    assert.equal(meeting.duration, meetings.data[0].duration);
    assert.equal(typeof meeting.participants[0].joinedAt, "string");

    const user = await whereby.getCurrentUser();
    assert.equal(user.authenticated, true);
    assert.equal(user.name, null);
    assert.equal(typeof user.rateLimit.limit, "number");

    const made = await whereby.createRoom({
      roomMode: "group",
      roomNamePrefix: "made-",
      fields: [
        "hostRoomUrl",
        { lockRoomOnJoin: true, viewerMode: false },
        { roomNamePattern: "human-short" },
        { recording: { type: "cloud", startTrigger: "automatic-second-participant", destination: null } },
        { liveTranscription: { language: "en-gb", liveCaptions: true } },
      ],
    });
    assert.match(made.roomName, /^made-[a-z0-9]{6}$/);
    assert.match(made.hostRoomUrl, /roomKey=/);
    assert.equal(made.viewerRoomUrl, null);
    assert.deepEqual(await whereby.deleteRoom({ roomName: made.roomName }), {
      deleted: true,
      roomName: made.roomName,
      meetingId: made.meetingId,
    });
    assert.equal((await failure(whereby.getRoom({ roomName: made.roomName }))).kind, "not-found");
  });

  test(`${name}: arguments are checked before anything is sent`, async (t) => {
    const whereby = await open(t, await serveNothing(t));
    const signal = AbortSignal.abort();
    for (const [method, given, says] of [
      ["listRooms", { limit: 0 }, /^limit must be an integer from 1 to 100$/],
      ["listRooms", { limit: 2 ** 32 + 1 }, /^limit must be an integer from 1 to 100$/],
      ["listRooms", { limit: 1.5 }, /integer/],
      ["listRooms", { limit: "1" }, /integer/],
      ["listRooms", { limit: 1n }, /integer/],
      ["listRooms", { cursor: "x".repeat(1025) }, /characters/],
      ["listRooms", { limits: 1 }, /^unknown argument "limits": listRooms takes limit, cursor$/],
      ["listRooms", { toString: 1 }, /^unknown argument "toString"/],
      ["listRooms", [], /^the arguments of listRooms must be an object$/],
      ["listRooms", null, /object/],
      ["getRoom", {}, /^roomName is missing$/],
      ["getRoom", undefined, /object/],
      ["getRoom", { room_name: "a" }, /^unknown argument "room_name": getRoom takes roomName$/],
      ["getRoom", { roomName: "a".repeat(2001) }, /characters/],
      ["getCurrentUser", { limit: 1 }, /^unknown argument "limit": getCurrentUser takes nothing$/],
      ["createRoom", { roomMode: "huge" }, /normal, group/],
      ["createRoom", { fields: "hostRoomUrl" }, /array/],
      ["createRoom", { fields: Array(17).fill("hostRoomUrl") }, /at most 16/],
      ["createRoom", { fields: ["host-room-url"] }, /^fields\[0\] must be one of: "hostRoomUrl"/],
      ["createRoom", { fields: ["recording"] }, /one of/],
      ["createRoom", { fields: [{ hostRoomUrl: {} }] }, /^fields\[0\].hostRoomUrl must be true or false$/],
      ["createRoom", { fields: [{ hostRoomUrl: true, title: true }] }, /^unknown member "title": fields\[0\] takes hostRoomUrl/],
      ["createRoom", { fields: [[]] }, /^fields\[0\] must be one of/],
      ["createRoom", { fields: [{ recording: [] }] }, /^fields\[0\].recording must be an object$/],
      ["createRoom", { fields: [{}] }, /one of/],
      ["createRoom", { fields: [{ recording: null }] }, /^fields\[0\].recording is missing$/],
      ["createRoom", { fields: [{ recording: { type: "cloud", where: 1 } }] }, /^unknown member "where": fields\[0\].recording takes type/],
      ["createRoom", { fields: [{ liveTranscription: { liveCaptions: 1 } }] }, /true or false/],
    ]) {
      const error = await failure(whereby[method](given, { signal }));
      assert.ok(error instanceof WherebyError, error);
      assert.equal(error.kind, "invalid-argument");
      assert.match(error.message, says);
    }
  });

  test(`${name}: the event loop runs during a call, and a signal ends the call`, async (t) => {
    const api = await serveNothing(t);
    const whereby = await open(t, api);
    const controller = new AbortController();
    const call = whereby.listRooms({}, { signal: controller.signal });
    await api.arrived; // by a server in this very thread
    const reason = new Error("not wanted any more");
    controller.abort(reason);
    assert.equal(await failure(call), reason);
    assert.equal(await failure(whereby.listRooms({}, { signal: controller.signal })), reason);
  });

  test(`${name}: calls work after a cancelled one`, async (t) => {
    let answers = 0;
    const api = await serve(t, (request, response) => {
      if (answers++ > 0) response.setHeader("content-type", "application/json").end('{"results": []}');
    });
    const whereby = await open(t, api);
    const controller = new AbortController();
    const call = whereby.listRooms({}, { signal: controller.signal });
    await api.arrived;
    const waiting = whereby.listRooms();
    controller.abort();
    assert.equal((await failure(call)).name, "AbortError");
    assert.deepEqual(await waiting, { data: [], meta: { nextCursor: null } });
  });

  test(`${name}: iterators read all pages`, async (t) => {
    const whereby = await open(t, await simulate(t));
    const { data: rooms } = await whereby.listRooms();
    assert.deepEqual(await all(whereby.iterateRooms()), rooms);
    const { data: meetings } = await whereby.listMeetings({ limit: 100 });
    const roomName = meetings[0].roomName;
    const given = { fromDate: "2020-01-01", roomName };
    assert.deepEqual(await all(whereby.iterateMeetings(given)), (await whereby.listMeetings(given)).data);
    assert.equal((await all(whereby.iterateMeetings({ limit: 1, roomName: null }))).length, 1);
  });

  test(`${name}: iterators read only the pages that are needed`, async (t) => {
    const api = await servePages(t, { first: "second", second: "third" });
    const whereby = await open(t, api);
    const names = (await all(whereby.iterateRooms())).map(({ roomName }) => roomName);
    assert.deepEqual(names, ["first-0", "first-1", "second-0", "second-1", "third-0", "third-1"]);
    assert.deepEqual(api.asked.splice(0), ["limit=100", "limit=100&cursor=second", "limit=100&cursor=third"]);
    const rooms = whereby.iterateRooms();
    assert.deepEqual(api.asked, []);
    for await (const { roomName } of rooms) if (roomName === "second-0") break;
    assert.equal(api.asked.splice(0).length, 2);
    for (const [limit, asked] of [
      [1, ["limit=1"]],
      [2, ["limit=2"]],
      [3, ["limit=3", "limit=1&cursor=second"]],
    ]) {
      assert.equal((await all(whereby.iterateRooms({ limit }))).length, limit);
      assert.deepEqual(api.asked.splice(0), asked);
    }
  });

  test(`${name}: iterators end with an error`, async (t) => {
    const api = await servePages(t, { first: "second", second: "third", third: "second" });
    const whereby = await open(t, api);
    const seen = [];
    const endless = async () => {
      for await (const { roomName } of whereby.iterateRooms()) seen.push(roomName);
    };
    const error = await failure(endless());
    assert.equal(error.kind, "unexpected-response");
    assert.match(error.message, /no end/);
    assert.deepEqual(seen, ["first-0", "first-1", "second-0", "second-1"]);
    // A limit that is reached on the page that leads back.
    for (const limit of [5, 6]) assert.equal((await all(whereby.iterateRooms({ limit }))).length, limit);
    const sent = api.asked.length;
    const controller = new AbortController();
    const rooms = whereby.iterateRooms({}, { signal: controller.signal });
    await rooms.next();
    controller.abort();
    await rooms.next();
    assert.equal((await failure(rooms.next())).name, "AbortError");
    assert.deepEqual(await rooms.next(), { done: true, value: undefined });
    for (const [given, says] of [
      [{ limit: 0 }, /^limit must be an integer of at least 1$/],
      [{ cursor: "second" }, /^unknown argument "cursor": iterateRooms takes limit$/],
      [[], /^the arguments of iterateRooms must be an object$/],
    ]) {
      const refused = await failure(whereby.iterateRooms(given).next());
      assert.equal(refused.kind, "invalid-argument");
      assert.match(refused.message, says);
    }
    assert.equal(api.asked.length, sent + 1);
  });

  test(`${name}: many calls at once`, async (t) => {
    const whereby = await open(t, await simulate(t, "--rate-limit", "0"));
    const { data } = await whereby.listRooms();
    const found = await Promise.all(data.map(({ roomName }) => whereby.getRoom({ roomName })));
    assert.deepEqual(found, data);
  });

  test(`${name}: close ends running calls and prevents later ones`, async (t) => {
    const api = await serveNothing(t);
    const whereby = await open(t, api);
    const read = failure(whereby.listRooms());
    const write = failure(whereby.deleteRoom({ roomName: "some-room" }));
    await api.arrived;
    await whereby[Symbol.asyncDispose]();
    assert.equal((await read).kind, "closed");
    assert.equal((await write).kind, "closed");
    const after = await failure(whereby.listRooms());
    assert.equal(after.kind, "closed");
    assert.equal(after.effect, "none");
    await whereby.close();
  });

  test(`${name}: errors and inspected objects contain no secret`, async (t) => {
    const api = await serve(t, (request, response) => {
      // An API that echoes secrets.
      response.statusCode = 400;
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ error: `what is ${request.headers.authorization}?` }));
    });
    const whereby = await open(t, api);
    const errors = [
      await failure(whereby.listRooms()),
      await failure(whereby.createRoom({ fields: [{ streaming: { destination: { url: "rtmp://x/key-1" } } }] })),
      await failure(whereby.createRoom({ fields: [{ streaming: { destination: { url: "key-1" } } }] })),
      await failure(whereby.createRoom({ fields: [{ streaming: { destination: { uri: "rtmp://x/key-1" } } }] })),
    ];
    assert.equal(errors[0].kind, "rejected");
    assert.match(errors[0].message, /what is Bearer/);
    for (const shown of [whereby, ...errors]) {
      const all = inspect(shown, { depth: Infinity, showHidden: true }) + JSON.stringify(shown) + shown.stack;
      assert.ok(!all.includes(api.accessToken), all);
      assert.ok(!all.includes("key-1"), all);
    }
  });
}

test("the generated facts name every function of the program", () => {
  const listed = JSON.parse(execFileSync(program(), ["list", "--json"], { encoding: "utf8" })).functions;
  assert.deepEqual(Object.keys(FUNCTIONS), listed.map(({ name }) => name));
});

test("both runtimes return the same", async (t) => {
  const api = await simulate(t, "--rate-limit", "0");
  const [one, other] = await both(t, api);
  const { data: rooms } = await one.listRooms();
  const { data: meetings } = await one.listMeetings({ limit: 100 });
  const calls = [
    ["listRooms", {}],
    ["listRooms", { limit: 1 }],
    ["listMeetings", { limit: 2, fromDate: "2020-01-01", toDate: "2099-12-31T00:00:00Z" }],
    ["listMeetings", { roomName: meetings[0].roomName }],
    ["getCurrentUser", {}],
    ...rooms.map(({ roomName }) => ["getRoom", { roomName }]),
    ...meetings.map(({ id }) => ["getMeeting", { meetingId: id }]),
  ];
  for (const [method, given] of calls) {
    assert.deepEqual(await one[method](given), await other[method](given), method);
  }
  const made = [];
  for (const whereby of [one, other]) {
    const room = await whereby.createRoom({ endDate: "2099-01-01T00:00:00Z", fields: ["viewerMode"] });
    made.push(Object.entries(room).map(([name, value]) => [name, value === null ? null : typeof value]));
  }
  assert.deepEqual(made[0], made[1]);
});

/** Errors that the component returns, with the same messages in all runtimes. */
for (const [kind, flags, method, given, more] of [
  ["not-found", [], "getRoom", { roomName: "no-such-room" }],
  ["not-found", [], "deleteRoom", { roomName: "no-such-room" }],
  ["not-found", [], "getMeeting", { meetingId: "no-such-room:7be3d6c2-0a41-4b1f-8d0e-2f6f0f4f9a10" }],
  ["invalid-argument", [], "listMeetings", { cursor: "nonsense" }],
  ["unauthorized", [], "listRooms", {}, { accessToken: WRONG_TOKEN }],
  ["unauthorized", [], "createRoom", {}, { accessToken: WRONG_TOKEN }],
  ["access-denied", ["--recording-plan", "missing"], "createRoom", { fields: [{ recording: { type: "cloud" } }] }],
  ["rate-limited", ["--rate-limit", "1"], "listRooms", {}],
]) {
  test(`all runtimes fail the same: ${kind} of ${method}`, async (t) => {
    const told = [];
    for (const open of Object.values(RUNTIMES)) {
      // Each runtime has its own rate limit.
      const api = { ...(await simulate(t, ...flags)), ...more };
      const error = await failure((await open(t, api))[method](given));
      assert.ok(error instanceof WherebyError, error);
      assert.equal(error.kind, kind, inspect(error));
      assert.ok(!inspect(error).includes(api.accessToken));
      told.push(facts(error));
    }
    if (kind === "rate-limited") {
      for (const error of told) {
        assert.ok(error.retryAfterSeconds > 0);
        // The seconds depend on the time of the call.
        error.retryAfterSeconds = 0;
        error.message = error.message.replace(/\d+ s/, "0 s");
      }
    }
    for (const other of told.slice(1)) assert.deepEqual(told[0], other);
  });
}

test("both runtimes fail the same: an unreachable API, and one with invalid responses", async (t) => {
  const api = await serve(t, (_, response) => response.end("<html>"));
  const gone = { ...api, apiUrl: "http://127.0.0.1:1/v1" };
  for (const [kind, of] of [
    ["unexpected-response", api],
    ["unavailable", gone],
  ]) {
    const [one, other] = await Promise.all((await both(t, of)).map((whereby) => failure(whereby.listRooms())));
    for (const error of [one, other]) assert.equal(error.kind, kind);
    // The host has a more precise message than the component.
    assert.equal(one.retryable, other.retryable);
  }
});

test("a failed write reports whether it may have happened", async (t) => {
  const api = await serve(t, (request, response) => {
    if (request.method === "POST") request.socket.destroy();
    else response.setHeader("content-type", "application/json").end('{"results": []}');
  });
  for (const whereby of await both(t, api)) {
    const error = await failure(whereby.createRoom());
    assert.equal(error.effect, "unknown", inspect(error));
    assert.match(error.hint, /before trying again$/);
    assert.equal((await failure(whereby.deleteRoom({ roomName: "some-room" }))).effect, "none");
  }
});
