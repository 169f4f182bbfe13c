"""Tests the bare component: its environment, and invalid files."""

import os
import pathlib
import sys
import threading
import unittest
from unittest import mock

import wasmtime
from support import Api, Case
from wasmtime import component as wit
from wasmtime.component import _types as wasmtime_types

from whereby import Bare, WherebyComponent, WherebyError
from whereby.errors import ComponentFault

# A component with the read functions, which only trap or return true.
FOREIGN = """
(component
  {imports}
  (core module $m
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
    (func (export "trap") (result i32) unreachable)
    (func (export "rooms") (param i32 i32 i32 i32 i32) (result i32) unreachable)
    (func (export "room") (param i32 i32) (result i32) unreachable)
    (func (export "meetings") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
      unreachable))
  (core instance $i (instantiate $m))
  (alias core export $i "memory" (core memory $memory))
  (alias core export $i "realloc" (core func $realloc))
  (func $rooms (param "limit" (option u32)) (param "cursor" (option string)) (result bool)
    (canon lift (core func $i "rooms") (memory $memory) (realloc $realloc)))
  (func $room (param "{room_name}" string) (result bool)
    (canon lift (core func $i "room") (memory $memory) (realloc $realloc)))
  (func $meetings (param "limit" (option u32)) (param "cursor" (option string))
    (param "from-date" (option string)) (param "to-date" (option string))
    (param "room-name" (option string)) (result bool)
    (canon lift (core func $i "meetings") (memory $memory) (realloc $realloc)))
  (func $meeting (param "meeting-id" string) (result bool)
    (canon lift (core func $i "room") (memory $memory) (realloc $realloc)))
  (func $user (result bool) (canon lift (core func $i "trap")))
  (instance $read
    (export "list-rooms" (func $rooms))
    (export "get-room" (func $room))
    (export "list-meetings" (func $meetings))
    (export "get-meeting" (func $meeting))
    (export "get-current-user" (func $user)))
  (export "whereby:agent/read@0.1.0" (instance $read)))
"""


class BareComponent(Case):
    def refuses(self, bare: Bare, said: str) -> WherebyError:
        with self.assertRaises(WherebyError) as caught:
            WherebyComponent(bare)
        error = caught.exception
        self.assertEqual(error.kind, "configuration")
        self.assertIn(said, error.message)
        self.assertNotIn(self.token, str(error))
        return error

    def foreign(self, imports: str = "", room_name: str = "room-name") -> Bare:
        file = self.home / "foreign.wasm"
        file.write_bytes(wasmtime.wat2wasm(FOREIGN.format(imports=imports, room_name=room_name)))
        return Bare(file)

    def test_files_that_are_not_components(self) -> None:
        for name, content in [
            ("empty", b""),
            ("text", b"(component)"),
            ("module", b"\0asm\x01\0\0\0"),
        ]:
            file = self.home / name
            file.write_bytes(content)
            self.assertIn(
                "export FILE", self.refuses(Bare(file), "is not a WebAssembly component").hint or ""
            )
        self.refuses(Bare(self.home / "none.wasm"), "No such file")
        self.refuses(Bare(self.home), "Is a directory")
        self.refuses(Bare("a\0b"), "null byte")
        cut = self.home / "cut.wasm"
        cut.write_bytes(self.component().read_bytes()[:1000])
        self.refuses(Bare(cut), "cannot be run")

    def test_components_with_other_exports(self) -> None:
        other = self.home / "other.wasm"
        other.write_bytes(
            self.component().read_bytes().replace(b"whereby:agent/read@0.1.0", b"whereby:agent/read@0.9.0")
        )
        self.refuses(Bare(other), "whereby:agent/read@0.9.0")
        empty = self.home / "empty.wasm"
        empty.write_bytes(wasmtime.wat2wasm("(component)"))
        self.refuses(Bare(empty), "it exports nothing")
        self.refuses(self.foreign(room_name="room"), "its get-room takes room")
        self.refuses(
            self.foreign(imports='(import "other:thing/files" (instance (export "open" (func))))'),
            "other:thing/files",
        )

    def test_a_trap_is_an_error(self) -> None:
        with WherebyComponent(self.foreign()) as w:
            for call in (w.get_current_user, w.list_rooms):
                with self.assertRaises(ComponentFault) as caught:
                    call()
                self.assertIn("unreachable", caught.exception.message)
                self.assertTrue(caught.exception.hint)

    def test_the_reader_refuses_to_write(self) -> None:
        self.simulate()
        reader = self.component("--reader")
        with WherebyComponent(Bare(reader, access_token=self.token, api_url=self.url)) as w:
            name = w.list_rooms(limit=1)["data"][0]["roomName"]
            for call in (lambda: w.create_room(), lambda: w.delete_room(room_name=name)):
                with self.assertRaises(WherebyError) as caught:
                    call()
                self.assertEqual(caught.exception.kind, "configuration")
                self.assertIn("only reads", caught.exception.message)
                self.assertIn("component export FILE", caught.exception.hint or "")

    def test_the_environment_has_only_the_given_variables(self) -> None:
        api = Api(401, "{}")
        self.addCleanup(api.close)
        with mock.patch.dict(
            os.environ, {"WHEREBY_ACCESS_TOKEN": "of-this-process", "WHEREBY_KEY_CLAIMS": "{}"}
        ):
            with (
                WherebyComponent(Bare(self.component(), api_url=api.url)) as w,
                self.assertRaises(WherebyError),
            ):
                w.list_rooms()
        self.assertEqual(api.authorizations, [None])

    def test_invalid_settings_are_refused(self) -> None:
        component = self.component()
        for odd in ("", "a\0b", "a\nb", "\ud800", "é"):
            self.refuses(Bare(component, access_token=odd), "access_token")
            self.refuses(Bare(component, api_url=odd), "api_url")
        self.refuses(Bare(component, access_token=5), "access_token")  # type: ignore[arg-type]
        self.refuses(Bare(component, permissions="a\0b"), "permissions")
        self.refuses(Bare(component, permissions=5), "permissions")  # type: ignore[arg-type]
        self.refuses(Bare(component, participants="nobody"), "participants")  # type: ignore[arg-type]
        with (
            WherebyComponent(Bare(component, api_url="nonsense")) as w,
            self.assertRaises(WherebyError) as caught,
        ):
            w.list_rooms()
        self.assertIn("must be an http or https URL", caught.exception.message)
        with self.assertRaises(TypeError):
            WherebyComponent("whereby.wasm")  # type: ignore[arg-type]

    def test_compiled_code_is_cached_in_a_private_directory(self) -> None:
        self.simulate()
        cache = self.home / 'a "cache"' / "inner"
        for _ in range(2):
            with WherebyComponent(self.bare(cache=cache)) as w:
                self.assertEqual(len(w.list_rooms(limit=1)["data"]), 1)
        self.assertEqual(cache.stat().st_mode & 0o777, 0o700)
        self.assertTrue([file for file in cache.rglob("*") if file.is_file()])
        shared = self.home / "shared"
        shared.mkdir()
        shared.chmod(0o755)
        self.assertIn("chmod 700", self.refuses(self.bare(cache=shared), "is not private").hint or "")
        link = self.home / "link"
        link.symlink_to(cache)
        self.refuses(self.bare(cache=link), "is not private")
        self.refuses(self.bare(cache=self.component()), "cannot be used")

    def test_without_wasmtime_it_says_what_to_install(self) -> None:
        missing = {name: module for name, module in sys.modules.items() if name != "whereby._wasmtime"}
        with mock.patch.dict(sys.modules, {**missing, "wasmtime": None}, clear=True):
            error = self.refuses(Bare(pathlib.Path("any")), "wasmtime")
        self.assertIn("extra `bare`", error.hint or "")

    def test_a_call_does_not_disturb_the_arguments_of_another(self) -> None:
        plain = wit.String.add_classes
        made: list[str] = []

        def add_classes(kind: wit.String, classes: set[type]) -> None:
            plain(kind, classes)
            # wasmtime-py has just recorded that the argument must be a string, and checks it next.
            if classes is wasmtime_types.case_test_cache and not made:
                made.append("another call")
                thread = threading.Thread(target=call, args=("list_rooms",), kwargs={"limit": 1})
                thread.start()
                thread.join()

        def call(name: str, **arguments: object) -> None:
            try:
                getattr(w, name)(**arguments)
            except WherebyError as error:
                made.append(error.kind)

        api = Api(401, "{}")
        self.addCleanup(api.close)
        self.url = api.url
        with WherebyComponent(self.bare()) as w, mock.patch.object(wit.String, "add_classes", add_classes):
            call("list_meetings", from_date="2026-01-01")
        self.assertEqual(made, ["another call", "unauthorized", "unauthorized"])


if __name__ == "__main__":
    unittest.main()
