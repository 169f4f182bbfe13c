"""Parses WAVE, the text format in which wasmtime prints component values, into JSON-like values.

A record becomes an object, `none` becomes None, and `some(x)` becomes x. A case of a variant becomes a
string, or an object with one member if it has a payload. Names stay as in the WIT.
"""

import json
import re

TOKEN = re.compile(r"""\s*(?:
    (?P<text>"(?:[^"\\]|\\.)*")
  | (?P<number>-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)
  | (?P<name>%?[A-Za-z][A-Za-z0-9-]*)
  | (?P<sign>[(){}\[\],:])
)""", re.VERBOSE)
ESCAPE = re.compile(r"\\(?:u\{([0-9a-fA-F]+)\}|(.))")
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "'": "'"}


def read(text):
    reader = Reader(text.strip())
    value = reader.value()
    if reader.at != len(reader.text):
        raise reader.wrong("more than one value")
    return value


PARAMETERS = {
    "list_rooms": ["limit", "cursor"],
    "get_room": [],
    "create_room": ["room_mode", "room_name_prefix", "start_date", "end_date", "fields"],
    "delete_room": [],
}


def invocation(function, arguments):
    """Returns a call with these strings as arguments. Some are optional."""
    optional = PARAMETERS[function]
    given = [f"some({json.dumps(arguments[name])})" if name in arguments else "none" for name in optional]
    given = given or [json.dumps(value) for value in arguments.values()]
    return f"{function.replace('_', '-')}({', '.join(given)})"


class Reader:
    def __init__(self, text):
        self.text = text
        self.at = 0

    def wrong(self, why):
        return ValueError(f"{why} at {self.at} of {self.text!r}")

    def peek(self):
        found = TOKEN.match(self.text, self.at)
        if not found:
            raise self.wrong("no token")
        return found

    def token(self):
        found = self.peek()
        self.at = found.end()
        return found.lastgroup, found[found.lastgroup]

    def expect(self, sign):
        if self.token() != ("sign", sign):
            raise self.wrong(f"no {sign}")

    def follows(self, sign):
        """Consumes the sign if it comes next. Returns whether it did."""
        found = TOKEN.match(self.text, self.at)
        if found and found["sign"] == sign:
            self.at = found.end()
            return True
        return False

    def value(self):
        kind, token = self.token()
        if kind == "text":
            return ESCAPE.sub(lambda it: chr(int(it[1], 16)) if it[1] else ESCAPES[it[2]], token[1:-1])
        if kind == "number":
            return float(token) if re.search("[.eE]", token) else int(token)
        if kind == "name":
            return self.case(token)
        if token == "[":
            return self.items("]", self.value)
        if token == "{":
            return dict(self.items("}", self.member))
        raise self.wrong(f"unexpected {token}")

    def case(self, token):
        # A label that looks like a keyword has a percent sign.
        if token in ("true", "false"):
            return token == "true"
        if token == "none":
            return None
        name = token.removeprefix("%")
        if not self.follows("("):
            return name
        value = self.value()
        self.expect(")")
        return value if token == "some" else {name: value}

    def member(self):
        _, name = self.token()
        self.expect(":")
        return name.removeprefix("%"), self.value()

    def items(self, end, item):
        items = []
        while not self.follows(end):
            items.append(item())
            if not self.follows(","):
                self.expect(end)
                break
        return items
