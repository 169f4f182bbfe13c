"""JSON to and from the values of the component model, as wasmtime-py has them."""

import json
import re
from typing import Any, NoReturn

from wasmtime import component as wit

from whereby.errors import HINTS, ComponentFault, InvalidArgument

# The greatest value of `u32`, the one kind of number that the functions take.
GREATEST_U32 = 2**32 - 1


def camel(name: str) -> str:
    """`next-cursor` as `nextCursor`, which is how JSON has the names of members and cases."""
    return re.sub(r"-(.)", lambda found: found[1].upper(), name)


def lower(kind: wit.ValType, value: Any, place: str) -> Any:
    """Brings a JSON value into a WIT type. wasmtime-py's own errors would not say where it is wrong.

    Raises:
        InvalidArgument: It names the place, and what would be right; never the value.
    """
    match kind:
        case wit.OptionType():
            return None if value is None else lower(kind.payload, value, place)
        case wit.Bool():
            return value if isinstance(value, bool) else _refuse(place, "true or false", value)
        case wit.String():
            return value if isinstance(value, str) else _refuse(place, "a text", value)
        case wit.EnumType():
            return _one_of(place, kind.names, value)
        case wit.ListType():
            if not isinstance(value, list):
                _refuse(place, "a list", value)
            return [
                lowered
                for index, item in enumerate(value)
                for lowered in _items(kind.element, item, f"{place}[{index}]")
            ]
        case wit.RecordType():
            return _record(kind, value, place)
        case wit.U32():
            return _whole_number(value, place)
        case _:
            raise _not_in_the_wit(f"takes {place} as a {type(kind).__name__}")


def lift(value: Any) -> Any:
    """What a component returned, as JSON."""
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


def _whole_number(value: Any, place: str) -> int:
    # 10.0 is the whole number 10 to JSON Schema, and so to the host.
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or value != int(value) or not 0 <= value <= GREATEST_U32:
        _refuse(place, f"a whole number from 0 to {GREATEST_U32}", value)
    return int(value)


def _record(kind: wit.RecordType, value: Any, place: str) -> wit.Record:
    if not isinstance(value, dict):
        _refuse(place, "an object", value)
    members = {camel(name): (name, of) for name, of in kind.fields}
    for name in value:
        _one_of(f"a member of {place}", list(members), name)
    record = wit.Record()
    for member, (name, of) in members.items():
        if value.get(member) is None and not isinstance(of, wit.OptionType):
            raise InvalidArgument("invalid-argument", f"{place} needs `{member}`")
        setattr(record, name, lower(of, value.get(member), f"{place}.{member}"))
    return record


def _items(kind: wit.ValType, value: Any, place: str) -> list[Any]:
    """The items of a list that one of JSON stands for: of a variant, a dict may name several cases."""
    if not isinstance(kind, wit.VariantType):
        return [lower(kind, value, place)]
    cases = {camel(name): (name, of) for name, of in kind.cases}
    if isinstance(value, str):
        name, of = cases[_one_of(place, list(cases), value)]
        if of is not None:
            raise InvalidArgument("invalid-argument", f'{place}: `{value}` is written {{"{value}": …}}')
        return [wit.Variant(name)]
    if not isinstance(value, dict):
        _refuse(place, "a text or an object", value)
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
    # A text may be a secret, and is not shown.
    match value:
        case str():
            got = "a text"
        case list():
            got = "a list"
        case dict():
            got = "an object"
        case _:
            got = json.dumps(value)
    raise InvalidArgument("invalid-argument", f"{place} must be {wanted}, not {got}")
