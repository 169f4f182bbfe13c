"""Tests the generated code and the README's examples."""

import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import unittest
from typing import Any

from support import PATIENCE, PROGRAM, Case

HERE = pathlib.Path(__file__).resolve().parents[1]


class Generated(unittest.TestCase):
    def test_the_generated_code_is_up_to_date(self) -> None:
        spec = importlib.util.spec_from_file_location("generate", HERE / "generate.py")
        assert spec and spec.loader
        module: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for name, text in module.generate(PROGRAM).items():
            committed = (HERE / "src" / "whereby" / name).read_text("utf-8")
            self.assertEqual(committed, text, f"{name} has drifted; run: python generate.py {PROGRAM}")


class Readme(Case):
    def test_the_examples_run(self) -> None:
        self.simulate()
        self.configure()
        self.component()
        (self.home / "bin").mkdir()
        (self.home / "bin" / "whereby").symlink_to(PROGRAM)
        environment = self.environment | {
            "PATH": f"{self.home}/bin:{os.environ['PATH']}",
            "WHEREBY_ACCESS_TOKEN": self.token,
            "WHEREBY_API_URL": self.url,
        }
        examples = re.findall(r"```python\n(.*?)```", (HERE / "README.md").read_text("utf-8"), re.DOTALL)
        self.assertEqual(len(examples), 5)
        for example in examples:
            ran = subprocess.run(
                [sys.executable, "-c", example],
                env=environment,
                cwd=self.home,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
            self.assertEqual(ran.returncode, 0, ran)
            self.assertTrue(ran.stdout)


if __name__ == "__main__":
    unittest.main()
