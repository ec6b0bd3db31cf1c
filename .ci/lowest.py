"""Prints constraints that pin what pyproject.toml requires to the lowest versions it declares, their last patches."""

import re
import sys
from pathlib import Path

try:
    import tomllib
except ImportError:  # Python 3.10
    from pip._vendor import tomli as tomllib

project = tomllib.loads(Path(sys.argv[1]).read_text())["project"]
for requirement in project["dependencies"]:
    name, lowest = re.fullmatch(r"([\w.-]+)>=([\d.]+)", requirement).groups()
    print(f"{name}=={lowest}" if lowest.count(".") > 1 else f"{name}=={lowest}.*")
