"""Converts JSON to and from wasmtime-py's values of the component model."""

import json
import re
from typing import Any, NoReturn

from wasmtime import component as wit

from whereby.errors import HINTS, ComponentFault, InvalidArgument

# The maximum of `u32`, the only number type that the functions take.
MAX_U32 = 2**32 - 1


def camel(name: str) -> str:
    """Converts a WIT name to JSON: `next-cursor` to `nextCursor`."""
    return re.sub(r"-(.)", lambda found: found[1].upper(), name)


def lower(kind: wit.ValType, value: Any, place: str) -> Any:
    """Converts a JSON value to a WIT type. wasmtime-py's own errors would not name the path.

    Raises:
        InvalidArgument: The message names the path and the expected type, never the value.
    """
    match kind:
        case wit.OptionType():
            return None if value is None else lower(kind.payload, value, place)
        case wit.Bool():
            return value if isinstance(value, bool) else _refuse(place, "true or false", value)
        case wit.String():
            return value if isinstance(value, str) else _refuse(place, "a string", value)
        case wit.EnumType():
            return _one_of(place, kind.names, value)
        case wit.ListType():
            if not isinstance(value, list):
                _refuse(place, "an array", value)
            return [
                lowered
                for index, item in enumerate(value)
                for lowered in _items(kind.element, item, f"{place}[{index}]")
            ]
        case wit.RecordType():
            return _record(kind, value, place)
        case wit.U32():
            return _integer(value, place)
        case _:
            raise _not_in_the_wit(f"takes {place} as a {type(kind).__name__}")


def lift(value: Any) -> Any:
    """Converts a component's result to JSON."""
    match value:
        case wit.Record():
            return {camel(name): lift(member) for name, member in vars(value).items()}
        case list():
            return [lift(item) for item in value]
        case None | bool() | int() | float() | str():
            return value
        case _:
            raise _not_in_the_wit(f"returned a {type(value).__name__}")


def _not_in_the_wit(what: str) -> ComponentFault:
    return ComponentFault(
        "component-fault", f"the component {what}, which the WIT does not have", HINTS["component-fault"]
    )


def _integer(value: Any, place: str) -> int:
    # In JSON Schema, and so in the host, 10.0 is an integer.
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or value != int(value) or not 0 <= value <= MAX_U32:
        _refuse(place, f"an integer from 0 to {MAX_U32}", value)
    return int(value)


def _record(kind: wit.RecordType, value: Any, place: str) -> wit.Record:
    if not isinstance(value, dict):
        _refuse(place, "an object", value)
    members = {camel(name): (name, of) for name, of in kind.fields}
    for name in value:
        _one_of(f"each member of {place}", list(members), name)
    record = wit.Record()
    for member, (name, of) in members.items():
        if value.get(member) is None and not isinstance(of, wit.OptionType):
            raise InvalidArgument("invalid-argument", f"{place} needs `{member}`")
        setattr(record, name, lower(of, value.get(member), f"{place}.{member}"))
    return record


def _items(kind: wit.ValType, value: Any, place: str) -> list[Any]:
    """Converts an item of a JSON array. A dict may name several cases of a variant."""
    if not isinstance(kind, wit.VariantType):
        return [lower(kind, value, place)]
    cases = {camel(name): (name, of) for name, of in kind.cases}
    if isinstance(value, str):
        name, of = cases[_one_of(place, list(cases), value)]
        if of is not None:
            raise InvalidArgument("invalid-argument", f'{place}: `{value}` is written {{"{value}": …}}')
        return [wit.Variant(name)]
    if not isinstance(value, dict):
        _refuse(place, "a string or an object", value)
    given = {case: payload for case, payload in value.items() if payload is not None}
    if not given:
        raise InvalidArgument("invalid-argument", f"{place} must have at least one member")
    lowered = []
    for case, payload in given.items():
        name, of = cases[_one_of(place, list(cases), case)]
        if of is not None:
            lowered.append(wit.Variant(name, lower(of, payload, f"{place}.{case}")))
        elif lower(wit.Bool(), payload, f"{place}.{case}"):
            lowered.append(wit.Variant(name))
    return lowered


def _one_of(place: str, names: list[str], value: Any) -> str:
    if value not in names:
        raise InvalidArgument("invalid-argument", f"{place} must be one of {', '.join(names)}")
    return str(value)


def _refuse(place: str, wanted: str, value: Any) -> NoReturn:
    # A string may be a secret, so it is not shown.
    match value:
        case str():
            got = "a string"
        case list():
            got = "an array"
        case dict():
            got = "an object"
        case _:
            got = json.dumps(value)
    raise InvalidArgument("invalid-argument", f"{place} must be {wanted}, not {got}")
