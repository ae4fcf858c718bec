"""Types that a user's own code is checked by."""

import subprocess
import sys

import pytest

SCRIPT = """
import numpy as np
from skrlv import ConvSparseCoder, SparseCoder, VariationalAutoencoder, sparse_encode

X = np.eye(4)
coder: SparseCoder = SparseCoder(3, lmbda=0.1, dictionary_init="k-means++", random_state=0).fit(X)
codes: np.ndarray = coder.transform(X)
vae = VariationalAutoencoder(2, hidden_layer_sizes=(8,), beta=2, scale=0.5).fit(X)
conv = ConvSparseCoder(2, 3, lmbda=0.5).fit(X)
print(sparse_encode(X, X, 0.1), coder.energy(X).mean(), vae.score(X), conv.encode(X))
"""


def test_a_user_s_script_passes_mypy(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), "script.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
