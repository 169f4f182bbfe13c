"""Runs the shell steps of a workflow or an action, as a runner does."""

import os
import pathlib
import re
import subprocess


class Expressions:
    """The few forms of `${{ … }}` that this project's files use: a name, and a comparison of two."""

    def __init__(self, values):
        self.values = values

    def value(self, term):
        term = term.strip()
        if quoted := re.fullmatch("'([^']*)'", term):
            return quoted[1]
        return self.values[term]

    def fill(self, text):
        return re.sub(r"\$\{\{(.*?)\}\}", lambda found: str(self.value(found[1])), str(text))

    def holds(self, condition):
        """Evaluates `a == b && c != d`; an absent condition holds."""
        for part in str(condition or "'' == ''").split("&&"):
            left, operator, right = re.fullmatch(r"\s*(\S+)\s*(==|!=)\s*(\S+)\s*", part).groups()
            if (self.value(left) == self.value(right)) != (operator == "=="):
                return False
        return True


class Runner:
    """The files and variables that a runner gives to steps."""

    def __init__(self, folder, environment):
        self.folder = pathlib.Path(folder)
        self.temporary = self.folder / "temp"
        self.temporary.mkdir(parents=True)
        self.environment = dict(environment)
        self.path = []
        self.outputs = {}

    def run(self, script, variables):
        """Runs one script. Returns the finished process."""
        files = {name: self.folder / name.lower() for name in
                 ("GITHUB_PATH", "GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_STEP_SUMMARY")}
        for file in files.values():
            file.write_text("")
        environment = {**self.environment, **variables, **{name: str(file) for name, file in files.items()},
                       "RUNNER_TEMP": str(self.temporary)}
        environment["PATH"] = os.pathsep.join([*self.path, environment["PATH"]])
        ran = subprocess.run(["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script], env=environment,
                             cwd=self.folder, capture_output=True, text=True, check=False, timeout=120)
        self.path = files["GITHUB_PATH"].read_text().splitlines() + self.path
        self.environment.update(pairs(files["GITHUB_ENV"]))
        self.outputs = pairs(files["GITHUB_OUTPUT"])
        self.summary = files["GITHUB_STEP_SUMMARY"].read_text()
        return ran


def pairs(file):
    return dict(line.split("=", 1) for line in file.read_text().splitlines())
