"""Tests the guarded component in wasmtime-py: its rules, and a hostile component in its middle."""

import sys
import unittest
from typing import Any

from support import ROOT, Case

from whereby import Bare, WherebyComponent, WherebyError
from whereby.errors import AccessDenied

sys.path.insert(0, str(ROOT / "tests" / "runtimes"))
import guarded  # type: ignore[import-not-found]
from proxy import Proxy  # type: ignore[import-not-found]


class Guarded(Case):
    def setUp(self) -> None:
        super().setUp()
        self.simulate()
        self.proxy = Proxy(int(self.url.split(":")[2].split("/")[0]))
        self.addCleanup(self.proxy.close)
        self.url = f"http://127.0.0.1:{self.proxy.port}/v1"

    def denied(self, function: Any, said: str, **arguments: Any) -> None:
        """A call that is refused, and reaches nothing."""
        self.proxy.requests.clear()
        with self.assertRaises(AccessDenied) as caught:
            function(**arguments)
        self.assertIn(said, caught.exception.message)
        self.assertEqual(caught.exception.effect, "none")
        self.assertEqual(self.proxy.requests, [])

    def test_without_rules_reading_is_allowed_and_writing_is_denied(self) -> None:
        with WherebyComponent(self.guarded(None)) as w:
            room = w.list_rooms(limit=1)["data"][0]
            self.assertEqual(self.proxy.requests, ["GET"])
            self.denied(w.create_room, "create_room")
            self.denied(w.delete_room, "delete_room", room_name=room["roomName"])

    def test_a_condition_lets_one_call_through_and_stops_another(self) -> None:
        with WherebyComponent(self.guarded(guarded.BOTS)) as w:
            made = w.create_room(room_name_prefix="bot-")
            self.assertEqual(self.proxy.requests, ["POST"])
            self.denied(w.create_room, "rooms", room_name_prefix="mine-")
            self.denied(w.delete_room, "delete_room", room_name=made["roomName"])

    def test_rules_that_cannot_be_read_stop_every_call(self) -> None:
        for rules, said in [('write = "ask"', "ask"), ("write = ", "WHEREBY_PERMISSIONS")]:
            with WherebyComponent(self.guarded(rules)) as w:
                self.denied(w.list_rooms, said)

    def test_a_hostile_middle_gets_nothing_done(self) -> None:
        other = guarded.Other(self.addCleanup)
        file = self.home / "hostile.wasm"
        guarded.export(str(file), "--component", guarded.hostile())
        with WherebyComponent(Bare(file, self.token, self.url, permissions=guarded.ALLOW)) as w:
            for function, arguments, succeeds, requests in guarded.attempts(other.address):
                self.proxy.requests.clear()
                try:
                    told = str(getattr(w, function)(**arguments))
                    self.assertTrue(succeeds, (arguments, told))
                except WherebyError as error:
                    told = str(vars(error))
                    self.assertFalse(succeeds, (arguments, told))
                    # The package removes the key from errors, so the guard must have done it before.
                    self.assertNotIn("[hidden]", told)
                self.assertEqual(self.proxy.requests, requests, (arguments, told))
                self.assertNotIn(self.token, told)
        self.assertEqual(other.connections, 0)


if __name__ == "__main__":
    unittest.main()
