"""The layers hold, a planted violation is caught, and importing is light."""

import ast
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import skrlv

PACKAGE = Path(skrlv.__file__).parent
ROOT = PACKAGE.parent
needs_linter = pytest.mark.skipif(importlib.util.find_spec("importlinter") is None, reason="needs import-linter")


def lint(folder):
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env={"PYTHONPATH": str(folder)})


@needs_linter
def test_layers_hold():
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout


@needs_linter
@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("costs.py", "from skrlv.inference import ista"),
        ("decoders.py", "from skrlv.regularizers import L1"),
        ("energy.py", "import numba"),
        ("regularizers/penalties.py", "import sklearn"),
        ("inference/solution.py", "def late():\n    import torch"),
        ("models/validation.py", "from skrlv.metrics import lmbda_max"),
        ("models/base.py", "from skrlv.models.linear import LinearModel"),
        ("metrics.py", "from skrlv.sparse_encoding import sparse_encode"),
        ("sparse_coding.py", "from skrlv._warmup import warmup"),
        ("sparse_encoding.py", "from skrlv.sparse_coding import SparseCoder"),
        ("lista.py", "import onnx"),
        ("models/linear.py", "import numba"),
        ("predictive.py", "import torch"),
        ("unknown_room.py", "x = 1"),
    ],
)
def test_a_planted_violation_is_caught(file, line, tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "skrlv", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    with (tmp_path / "skrlv" / file).open("a") as opened:
        opened.write(f"\n{line}\n")
    assert lint(tmp_path).returncode != 0


def test_import_is_light():
    code = """
import sys, skrlv
heavy = {"torch", "matplotlib", "numba", "dask"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
skrlv.SparseCoder, skrlv.sparse_encode
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names():
    assert set(skrlv.__all__) <= set(dir(skrlv))
    for name in skrlv.__all__:
        assert getattr(skrlv, name).__doc__
    with pytest.raises(AttributeError, match="No skrlv attribute Nothing"):
        skrlv.Nothing  # noqa: B018


def test_a_kernel_and_all_it_calls_share_one_file():
    for path in (PACKAGE / "kernels").glob("[a-z]*.py"):
        imported = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        ours = {node.module for node in imported if node.module.startswith("skrlv")}
        assert ours <= {"skrlv.kernels", "skrlv.kernels._jit", "skrlv.kernels._simd"}  # they hold no jitted function
