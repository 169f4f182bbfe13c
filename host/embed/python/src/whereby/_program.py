"""Finds the program `whereby`."""

import pathlib
from importlib import metadata


def default_program() -> str:
    """Returns the path of the program that this package brings, else the name `whereby`."""
    try:
        files = metadata.files("whereby-agent") or []
    except metadata.PackageNotFoundError:
        # The source directory, without an installation.
        files = []
    recorded = [pathlib.Path(str(file.locate())) for file in files if file.parts[-2:] == ("bin", "whereby")]
    # `pip install --target` records another place than the one where it puts programs.
    beside = [pathlib.Path(__file__).parents[1] / "bin" / "whereby"] if recorded else []
    return next((str(place.resolve()) for place in beside + recorded if place.is_file()), "whereby")
