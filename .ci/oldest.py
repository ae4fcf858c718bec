"""Print the oldest versions that the metadata allows, as pip takes them, and a pytest of their time."""

import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
print(*(requirement.replace(">=", "==") for requirement in project["dependencies"]), "pytest==8.*")
