"""Tests the coroutines."""

import asyncio
import inspect
import unittest
from typing import Any

from support import PATIENCE, PROGRAM, Api, Case, SilentApi, pages

from whereby import AsyncWherebyComponent, Bare, Host, WherebyComponent, WherebyError, errors
from whereby._functions import AsyncFunctions, Functions


class Either:
    """Contains the tests that run once per runtime."""

    class Coroutines(Case):
        def runtime(self, **others: Any) -> Bare | Host:
            raise NotImplementedError

        def test_all_functions(self) -> None:
            self.simulate()
            with WherebyComponent(self.runtime()) as w:
                rooms, meetings, user = w.list_rooms(), w.list_meetings(limit=100), w.get_current_user()

            async def use() -> None:
                async with AsyncWherebyComponent(self.runtime()) as w:
                    self.assertEqual(await w.list_rooms(), rooms)
                    self.assertEqual(await w.list_meetings(limit=100), meetings)
                    self.assertEqual(await w.get_current_user(), user)
                    self.assertEqual([room async for room in w.iterate_rooms()], rooms["data"])
                    name = meetings["data"][0]["roomName"]
                    listed = [meeting["roomName"] async for meeting in w.iterate_meetings(room_name=name)]
                    self.assertEqual(set(listed), {name})
                    room = rooms["data"][0]
                    self.assertEqual(await w.get_room(room_name=room["roomName"]), room)
                    meeting = await w.get_meeting(meeting_id=meetings["data"][0]["id"])
                    self.assertEqual(meeting["id"], meetings["data"][0]["id"])
                    made = await w.create_room(room_name_prefix="made-", fields=["hostRoomUrl"])
                    self.assertTrue((await w.delete_room(room_name=made["roomName"]))["deleted"])
                    with self.assertRaises(errors.NotFound):
                        await w.get_room(room_name=made["roomName"])

            asyncio.run(use())

        def test_many_calls_at_once(self) -> None:
            self.simulate()

            async def use() -> None:
                async with AsyncWherebyComponent(self.runtime()) as w:
                    rooms = (await w.list_rooms())["data"] * 20
                    found = await asyncio.gather(*(w.get_room(room_name=room["roomName"]) for room in rooms))
                    self.assertEqual(found, rooms)
                    failed = await asyncio.gather(
                        *(w.list_rooms(limit=limit) for limit in (0, 1, 101)), return_exceptions=True
                    )
                    self.assertIsInstance(failed[0], errors.InvalidArgument)
                    self.assertIsInstance(failed[1], dict)
                    self.assertIsInstance(failed[2], errors.InvalidArgument)

            asyncio.run(use())

        def test_an_iterator_that_stops_reads_no_more_pages(self) -> None:
            api = Api(200, pages({"": "second", "second": "third", "third": "second"}))
            self.addCleanup(api.close)
            self.url = api.url

            async def use() -> None:
                async with AsyncWherebyComponent(self.runtime()) as w:
                    async for room in w.iterate_rooms():
                        if room["roomName"] == "second-0":
                            break
                    self.assertEqual(len(api.paths), 2)
                    api.paths.clear()
                    self.assertEqual(len([room async for room in w.iterate_rooms(limit=3)]), 3)
                    self.assertEqual(len(api.paths), 2)
                    with self.assertRaises(errors.UnexpectedResponse):
                        async for _ in w.iterate_rooms():
                            pass

            asyncio.run(use())

        def test_it_is_open_between_entering_and_leaving(self) -> None:
            async def use() -> None:
                w = AsyncWherebyComponent(self.runtime())
                with self.assertRaisesRegex(WherebyError, "not open"):
                    await w.list_rooms()
                async with w:
                    with self.assertRaises(errors.InvalidArgument):
                        await w.list_rooms(limit=0)
                    with self.assertRaisesRegex(WherebyError, "opened before"):
                        await w.__aenter__()
                await w.aclose()
                with self.assertRaisesRegex(WherebyError, "closed"):
                    await w.list_rooms()
                with self.assertRaisesRegex(WherebyError, "opened before"):
                    await w.__aenter__()
                self.assertNotIn(self.token, repr(w))

            asyncio.run(use())


class OverTheBareComponent(Either.Coroutines):
    def runtime(self, **others: Any) -> Bare:
        return self.bare(**others)


class OverTheHostProgram(Either.Coroutines):
    def runtime(self, **others: Any) -> Host:
        return self.host(**others)

    def silent(self) -> SilentApi:
        api = SilentApi()
        self.addCleanup(api.close)
        self.url = api.url
        return api

    def test_cancelling_a_task_cancels_its_call(self) -> None:
        api = self.silent()

        async def use() -> None:
            async with AsyncWherebyComponent(self.runtime()) as w:
                call = asyncio.create_task(w.create_room())
                await asyncio.to_thread(api.is_asked.wait, PATIENCE)
                api.is_asked.clear()
                other = asyncio.create_task(w.list_rooms())
                await asyncio.to_thread(api.is_asked.wait, PATIENCE)
                call.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await call
                await asyncio.to_thread(api.wait_for_the_end)
                self.assertFalse(other.done())
                other.cancel()

        asyncio.run(use())
        self.assertEqual({row["outcome"]["kind"] for row in self.audit()}, {"cancelled"})

    def test_closing_ends_running_calls(self) -> None:
        api = self.silent()

        async def use() -> WherebyError:
            async with AsyncWherebyComponent(self.runtime()) as w:
                call = asyncio.create_task(w.create_room())
                await asyncio.to_thread(api.is_asked.wait, PATIENCE)
            with self.assertRaises(WherebyError) as caught:
                await call
            return caught.exception

        error = asyncio.run(use())
        self.assertEqual((error.kind, error.effect), ("usage", "unknown"))

    def test_a_call_that_takes_too_long_is_cancelled(self) -> None:
        self.silent()

        async def use() -> None:
            async with AsyncWherebyComponent(self.runtime(timeout=1.0)) as w:
                with self.assertRaises(errors.Timeout):
                    await w.list_rooms()

        asyncio.run(use())

    def test_the_event_loop_runs_while_a_person_is_asked(self) -> None:
        self.simulate()
        self.configure("")

        async def use() -> str:
            loop = asyncio.get_running_loop()

            def approver(_: str) -> bool:
                return asyncio.run_coroutine_threadsafe(answer(), loop).result(PATIENCE)

            async def answer() -> bool:
                return True

            host = Host(PROGRAM, environment=self.environment, approver=approver)
            async with AsyncWherebyComponent(host) as w:
                return (await w.create_room(room_name_prefix="asked-"))["roomName"]

        self.assertTrue(asyncio.run(use()).startswith("asked-"))

    def test_a_program_that_cannot_be_started(self) -> None:
        async def use() -> None:
            async with AsyncWherebyComponent(Host("no-such-program")):
                self.fail("it started")

        with self.assertRaisesRegex(WherebyError, "cannot be started"):
            asyncio.run(use())


class BothAreAlike(unittest.TestCase):
    def test_in_methods_and_signatures(self) -> None:
        def public(of: type) -> dict[str, Any]:
            return {name: member for name, member in vars(of).items() if not name.startswith("_")}

        methods, coroutines = public(Functions), public(AsyncFunctions)
        self.assertEqual(list(methods), list(coroutines))
        for name, method in methods.items():
            with self.subTest(name):
                one, other = inspect.signature(method), inspect.signature(coroutines[name])
                self.assertEqual(one.parameters, other.parameters)
                self.assertEqual(method.__doc__, coroutines[name].__doc__)
                is_iterator = name.startswith("iterate_")
                self.assertEqual(inspect.iscoroutinefunction(coroutines[name]), not is_iterator)
                if not is_iterator:
                    self.assertEqual(one.return_annotation, other.return_annotation)


if __name__ == "__main__":
    unittest.main()
