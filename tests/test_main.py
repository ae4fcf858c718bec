"""python -m skrlv"""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

import skrlv
from skrlv.__main__ import main


def test_versions_threads_devices_and_cache_are_printed(capsys):
    main([])
    printed = capsys.readouterr().out
    assert re.search(rf"^skrlv +{re.escape(skrlv.__version__)}$", printed, re.M)
    assert re.search(rf"^numpy +{re.escape(np.__version__)}$", printed, re.M)
    assert re.search(r"^devices +cpu", printed, re.M)
    assert re.search(r"^kernel cache +\S", printed, re.M)


def test_it_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "skrlv", "info"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Python")


def test_peers_are_timed_on_codes_that_are_certified(capsys):
    main(["benchmark", "--rows", "40", "--atoms", "8", "--repeats", "1"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert rows[0][0] == "skrlv"
    assert float(rows[0][2]) == 1.0
    assert float(rows[0][3]) <= 1e-6
    assert any(row[0] == "scikit-learn" for row in rows)


def test_an_unknown_command_is_refused():
    with pytest.raises(SystemExit):
        main(["frobnicate"])


def told_of_the_cache(environment, before=""):
    code = f"{before}from skrlv.__main__ import main; main([])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1]


def test_a_cache_folder_that_cannot_be_written_is_named(tmp_path):
    file = tmp_path / "file"
    file.touch()
    assert str(tmp_path / "new") in told_of_the_cache({"NUMBA_CACHE_DIR": str(tmp_path / "new")})
    assert f"NUMBA_CACHE_DIR={file} cannot be written" in told_of_the_cache({"NUMBA_CACHE_DIR": str(file)})


def test_without_a_folder_every_process_compiles():
    refuse = "import tempfile, numba\ndef refuse(**_): raise OSError\ntempfile.TemporaryFile = refuse\n"
    assert "every process compiles" in told_of_the_cache({}, refuse)
