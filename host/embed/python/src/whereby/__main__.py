"""The commands `python -m whereby` and `whereby-agent`: the program itself."""

import os
import sys

from whereby._program import default_program


def main() -> None:
    program = default_program()
    try:
        os.execvp(program, [program, *sys.argv[1:]])
    except OSError as error:
        sys.exit(
            f"error: {program} cannot be started: {error.strerror}\n"
            "hint: install it with `cargo install whereby-agent`"
        )


if __name__ == "__main__":
    main()
