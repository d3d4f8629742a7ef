"""Prints the packages at the lowest versions that pyproject.toml declares, for ``make test-lowest``."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
for requirement in [*project["dependencies"], *project["optional-dependencies"]["train"]]:
    print(re.sub(">=", "==", requirement))
