"""Tests the functions and their errors, which are the same over both runtimes."""

import pickle
import re
import threading
import unittest
from typing import Any

from support import Api, Case, pages

from whereby import Bare, Host, WherebyComponent, WherebyError, errors


class Either:
    """Contains the tests that run once per runtime."""

    class Functions(Case):
        def runtime(self, **others: Any) -> Bare | Host:
            raise NotImplementedError

        def open(self) -> WherebyComponent:
            w = WherebyComponent(self.runtime())
            self.addCleanup(w.close)
            return w

        def fails(self, kind: str, function: Any, **arguments: Any) -> WherebyError:
            with self.assertRaises(WherebyError) as caught:
                function(**arguments)
            error = caught.exception
            self.assertEqual(error.kind, kind, error)
            self.assertIs(type(error), errors.BY_KIND.get(kind, WherebyError))
            self.assertTrue(str(error).startswith(f"{kind}: {error.message}"))
            self.assertNotIn(self.token, str(error) + repr(error))
            return error

        def test_all_functions(self) -> None:
            self.simulate()
            w = self.open()
            page = w.list_rooms(limit=2)
            self.assertEqual(len(page["data"]), 2)
            following = w.list_rooms(limit=2, cursor=page["meta"]["nextCursor"])
            self.assertNotEqual(page["data"], following["data"])
            room = w.get_room(room_name=page["data"][0]["roomName"])
            self.assertEqual(room, page["data"][0])
            self.assertEqual(w.get_room(room_name=room["meetingUrl"]), room)
            meetings = w.list_meetings(limit=3, from_date="2000-01-01", to_date="2999-01-01")
            self.assertEqual(len(meetings["data"]), 3)
            self.assertIsNone(meetings["meta"]["notice"])
            meeting = w.get_meeting(meeting_id=meetings["data"][0]["id"])
            self.assertEqual(meeting["duration"], meetings["data"][0]["duration"])
            self.assertTrue(meeting["participants"])
            user = w.get_current_user()
            self.assertIs(user["authenticated"], True)
            self.assertIsNone(user["name"])
            made = w.create_room(
                room_mode="group",
                room_name_prefix="made-",
                start_date="2099-03-02T09:00:00Z",
                end_date="2099-03-02T10:00:00Z",
                fields=(
                    "hostRoomUrl",
                    {"isLocked": True, "viewerMode": False},
                    {"roomNamePattern": "human-short"},
                    {
                        "recording": {
                            "type": "cloud",
                            "destination": {"provider": "whereby"},
                            "startTrigger": None,
                        }
                    },
                    {"streaming": {"destination": {"url": "rtmp://stream.example/key"}}},
                    {"liveTranscription": {"language": "en-gb", "liveCaptions": True}},
                ),
            )
            self.assertRegex(made["roomName"], "^made-.{6}$")
            self.assertIn("roomKey", made["hostRoomUrl"] or "")
            self.assertIsNone(made["viewerRoomUrl"])
            self.assertIs(made["endDateDefaulted"], False)
            gone = w.delete_room(room_name=made["roomName"])
            self.assertEqual(
                gone, {"deleted": True, "roomName": made["roomName"], "meetingId": made["meetingId"]}
            )
            error = self.fails("not-found", w.delete_room, room_name=made["roomName"])
            self.assertEqual((error.effect, error.http_status), ("none", None))

        def test_bad_arguments_are_refused_and_nothing_is_sent(self) -> None:
            api = Api(500, "{}")
            self.addCleanup(api.close)
            self.url = api.url
            w = self.open()
            deep: list[Any] = []
            for _ in range(100_000):
                deep = [deep]
            wrong: list[tuple[Any, dict[str, Any], str]] = [
                (w.list_rooms, {"limit": 0}, "limit"),
                (w.list_rooms, {"limit": 101}, "limit"),
                (w.list_rooms, {"limit": -1}, "limit"),
                (w.list_rooms, {"limit": 2**64}, "limit"),
                (w.list_rooms, {"limit": 10**5000}, "limit"),
                (w.list_rooms, {"limit": 2.5}, "limit"),
                (w.list_rooms, {"limit": True}, "limit"),
                (w.list_rooms, {"limit": "2"}, "limit"),
                (w.list_rooms, {"limit": float("nan")}, "limit"),
                (w.list_rooms, {"cursor": "x" * 1025}, "cursor"),
                (w.list_rooms, {"cursor": "\0"}, "cursor"),
                (w.list_rooms, {"cursor": 5}, "cursor"),
                (w.get_room, {"room_name": "half a pair: \ud800"}, "room_name"),
                (w.get_room, {"room_name": {"a"}}, "room_name"),
                (w.get_room, {"room_name": None}, "room_name"),
                (w.get_room, {"room_name": "a" * 70_000}, "bytes"),
                (w.list_meetings, {"from_date": "yesterday"}, "from_date"),
                (w.create_room, {"room_mode": "huge"}, "room_mode"),
                (w.create_room, {"fields": "hostRoomUrl"}, "fields"),
                (w.create_room, {"fields": ["hostUrl"]}, "fields"),
                (w.create_room, {"fields": [deep]}, "fields"),
                (w.create_room, {"fields": [["hostRoomUrl"]]}, "fields"),
                (w.create_room, {"fields": [{"hostRoomUrl": "yes"}]}, "fields"),
                (w.create_room, {"fields": [{"hostRoomUrl": True, "hostUrl": True}]}, "fields"),
                (w.create_room, {"fields": [{}]}, "fields"),
                (w.create_room, {"fields": [{"recording": None}]}, "fields"),
                (w.create_room, {"fields": ["recording"]}, "fields"),
                (w.create_room, {"fields": [{"recording": {}}]}, "fields"),
                (w.create_room, {"fields": [{"recording": "cloud"}]}, "fields"),
                (w.create_room, {"fields": [{"recording": {"type": "cloud", "to": "me"}}]}, "fields"),
                (w.create_room, {"fields": [{"recording": {"type": 1}}]}, "fields"),
                (w.create_room, {"fields": [{"liveTranscription": {"liveCaptions": 1}}]}, "fields"),
                (w.create_room, {"fields": ["hostRoomUrl", "hostRoomUrl"]}, "hostRoomUrl"),
            ]
            for function, arguments, named in wrong:
                with self.subTest(function=function.__name__, arguments=arguments.keys()):
                    error = self.fails("invalid-argument", function, **arguments)
                    self.assertIn(named, error.message)
            with self.assertRaises(TypeError):
                w.list_rooms(limits=2)  # type: ignore[call-arg]
            self.assertEqual(api.authorizations, [])

        def test_an_integer_may_be_a_float(self) -> None:
            self.simulate()
            self.assertEqual(len(self.open().list_rooms(limit=2.0)["data"]), 2)  # type: ignore[arg-type]

        def test_what_whereby_refuses(self) -> None:
            # The component does not report the 5xx status; the host does.
            server_error = 500 if isinstance(self.runtime(), Host) else None
            for status, body, headers, kind, known in [
                (401, '{"error": "no"}', {}, "unauthorized", (401, None)),
                (403, '{"error": "no"}', {}, "access-denied", (403, None)),
                (429, '{"error": "no"}', {"retry_after": "100"}, "rate-limited", (429, 100)),
                (400, '{"error": "bad thing"}', {}, "rejected", (400, None)),
                (500, "{}", {}, "unavailable", (server_error, None)),
                (200, "no JSON", {}, "unexpected-response", (None, None)),
            ]:
                with self.subTest(status=status):
                    api = Api(status, body, **headers)
                    self.addCleanup(api.close)
                    self.url = api.url
                    w = self.open()
                    error = self.fails(kind, w.list_rooms)
                    self.assertEqual((error.http_status, error.retry_after_seconds), known)
                    self.assertEqual(error.effect, "none")
                    if kind != "rejected":
                        self.assertTrue(error.hint)
                    error = self.fails(kind, w.create_room)
                    happened = {"unavailable": ["unknown"], "unexpected-response": ["unknown", "done"]}
                    self.assertIn(error.effect, happened.get(kind, ["none"]))
                    self.assertEqual(set(api.authorizations), {f"Bearer {self.token}"})

        def paged(self, following: dict[str, str]) -> tuple[Api, WherebyComponent]:
            api = Api(200, pages(following))
            self.addCleanup(api.close)
            self.url = api.url
            return api, self.open()

        def test_iterators_read_all_pages(self) -> None:
            self.simulate()
            w = self.open()
            self.assertEqual(list(w.iterate_rooms()), w.list_rooms()["data"])
            name = w.list_meetings(limit=1)["data"][0]["roomName"]
            meetings = w.list_meetings(from_date="2020-01-01", room_name=name)["data"]
            self.assertTrue(meetings)
            iterated = w.iterate_meetings(from_date="2020-01-01", room_name=name)
            self.assertEqual(list(iterated), meetings)
            api, w = self.paged({"": "second", "second": "third"})
            names = [room["roomName"] for room in w.iterate_rooms()]
            self.assertEqual(
                names, [f"{page}-{n}" for page in ("first", "second", "third") for n in range(2)]
            )
            queries = ["limit=100", "limit=100&cursor=second", "limit=100&cursor=third"]
            self.assertEqual(api.paths, [f"/v1/meetings?{query}" for query in queries])

        def test_iterators_read_only_the_pages_that_are_needed(self) -> None:
            api, w = self.paged({"": "second", "second": "third"})
            rooms = w.iterate_rooms()
            self.assertEqual(api.paths, [])
            next(rooms), next(rooms)
            self.assertEqual(len(api.paths), 1)
            next(rooms)
            self.assertEqual(len(api.paths), 2)
            for limit, sent in [(1, ["1"]), (2, ["2"]), (3, ["3", "1"])]:
                api.paths.clear()
                self.assertEqual(len(list(w.iterate_rooms(limit=limit))), limit)
                self.assertEqual([re.findall(r"limit=(\d+)", path)[0] for path in api.paths], sent)

        def test_iterators_end_with_an_error(self) -> None:
            _, w = self.paged({"": "second", "second": "third", "third": "second"})
            seen = []
            with self.assertRaises(errors.UnexpectedResponse) as caught:
                for room in w.iterate_rooms():
                    seen.append(room["roomName"])
            self.assertIn("no end", caught.exception.message)
            self.assertEqual(seen, ["first-0", "first-1", "second-0", "second-1"])
            # A limit that is reached on the page that leads back.
            for limit in (5, 6):
                self.assertEqual(len(list(w.iterate_rooms(limit=limit))), limit)
            self.url = "http://127.0.0.1:9/v1"
            w = self.open()
            rooms = w.iterate_rooms()
            self.fails("unavailable", lambda: next(rooms))
            self.assertEqual(list(rooms), [])
            for limit in (0, -1, True, 1.5, "1"):
                error = self.fails("invalid-argument", lambda limit=limit: next(w.iterate_rooms(limit=limit)))
                self.assertIn("limit", error.message)
            self.fails("invalid-argument", lambda: next(w.iterate_meetings(from_date="yesterday")))

        def test_an_api_that_is_down(self) -> None:
            error = self.fails("unavailable", self.open().list_rooms)
            self.assertIn("refused", error.message)
            self.assertTrue(error.hint)

        def test_the_key_is_never_shown(self) -> None:
            api = Api(400, f'{{"error": "your key {self.token} is odd"}}')
            self.addCleanup(api.close)
            self.url = api.url
            w = self.open()
            error = self.fails("rejected", w.list_rooms)
            self.assertIn("is odd", error.message)
            for shown in (repr(w), repr(self.runtime()), str(vars(error))):
                self.assertNotIn(self.token, shown)

        def test_errors_survive_pickling(self) -> None:
            error = self.fails("invalid-argument", self.open().list_rooms, limit=0)
            again = pickle.loads(pickle.dumps(error))
            self.assertEqual((type(again), vars(again)), (type(error), vars(error)))

        def test_threads_can_share_a_component(self) -> None:
            self.simulate()
            w = self.open()
            names = [room["roomName"] for room in w.list_rooms(limit=3)["data"]]
            wrong: list[object] = []

            def work(name: str) -> None:
                try:
                    for _ in range(20):
                        if w.get_room(room_name=name)["roomName"] != name:
                            wrong.append(name)
                        w.list_meetings(limit=1, room_name=name)
                except Exception as error:
                    wrong.append(error)

            threads = [threading.Thread(target=work, args=(name,)) for name in names * 4]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(wrong, [])

        def test_a_closed_component_makes_no_calls(self) -> None:
            with WherebyComponent(self.runtime()) as w:
                pass
            w.close()
            self.fails("usage", w.list_rooms)


class OverTheBareComponent(Either.Functions):
    def runtime(self, **others: Any) -> Bare:
        return self.bare(**others)


class OverTheGuardedComponent(Either.Functions):
    def runtime(self, **others: Any) -> Bare:
        return self.guarded(**others)


class OverTheHostProgram(Either.Functions):
    def runtime(self, **others: Any) -> Host:
        return self.host(**others)


class BothAreAlike(Case):
    def test_in_results_and_errors(self) -> None:
        self.simulate()
        with WherebyComponent(self.bare()) as bare, WherebyComponent(self.host()) as host:
            rooms = bare.list_rooms()
            self.assertEqual(rooms, host.list_rooms())
            name = rooms["data"][0]["roomName"]
            self.assertEqual(bare.get_room(room_name=name), host.get_room(room_name=name))
            meetings = bare.list_meetings(limit=100)
            self.assertEqual(meetings, host.list_meetings(limit=100))
            for meeting in meetings["data"]:
                one = bare.get_meeting(meeting_id=meeting["id"])
                self.assertEqual(one, host.get_meeting(meeting_id=meeting["id"]))
            self.assertEqual(bare.get_current_user(), host.get_current_user())
            made = [
                w.create_room(end_date="2099-03-02T10:00:00Z", fields=["viewerRoomUrl"]) for w in (bare, host)
            ]
            self.assertEqual(*(list(room) for room in made))
            for member in ("endDate", "endDateDefaulted", "hostRoomUrl", "notes"):
                self.assertEqual(*(room[member] for room in made))
            gone = [
                w.delete_room(room_name=room["roomName"]) for w, room in zip((bare, host), made, strict=True)
            ]
            self.assertEqual(*(list(room) for room in gone))
            failed = []
            for w in (bare, host):
                with self.assertRaises(errors.NotFound) as caught:
                    w.get_meeting(meeting_id="no-room:no-session")
                failed.append(vars(caught.exception))
            self.assertEqual(*failed)

    def test_refusals_by_whereby(self) -> None:
        for status, body in [(401, "{}"), (403, "{}"), (418, ""), (422, '{"error": "odd"}'), (429, "{}")]:
            api = Api(status, body, retry_after="100")
            self.addCleanup(api.close)
            self.url = api.url
            failed = []
            for runtime in (self.bare(), self.host()):
                with WherebyComponent(runtime) as w, self.assertRaises(WherebyError) as caught:
                    w.create_room()
                failed.append(vars(caught.exception))
            if status == 418:
                # This status proves nothing about a write, and only the host reports it.
                self.assertEqual([error.pop("http_status") for error in failed], [None, 418])
                # Both say what to look at: the component in its message, the host in its hint.
                for error in failed:
                    said = f"{error.pop('message')}; {error.pop('hint')}"
                    self.assertIn("look at list_rooms before trying again", said)
            self.assertEqual(*failed)


if __name__ == "__main__":
    unittest.main()
