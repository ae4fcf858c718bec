"""What a release says of itself is said once, or the same everywhere; the README's code runs."""

import re
import tomllib
from pathlib import Path

import pytest

import skrlv

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "conda-recipe" / "meta.yaml"


def test_one_version_everywhere():
    changelog = re.search(r"^## \[(.+?)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    citation = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.M)
    recipe = re.search(r'version = "(.+?)"', RECIPE.read_text())
    assert changelog[1] == citation[1] == recipe[1] == skrlv.__version__


def test_the_recipe_has_the_dependencies_of_the_metadata():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    run = RECIPE.read_text().split("  run:\n")[1].split("\ntest:")[0]
    found = {line.strip("- ").replace(" ", "") for line in run.splitlines() if line.strip()}
    assert found == {"python" + project["requires-python"], *project["dependencies"]}


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S))
def test_the_code_of_the_readme_runs(code, capsys):
    exec(compile(code, "README.md", "exec"), {})
    assert "best_params_" not in code or "sparsecoder__lmbda" in capsys.readouterr().out
