"""After a warm-up nothing is left to compile."""

import importlib
import os
import pkgutil
import subprocess
import sys

import numpy as np
import pytest
from estimators import ESTIMATORS
from numba.core.dispatcher import Dispatcher
from problems import random_dictionary
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skrlv
from skrlv import kernels
from skrlv.regularizers import L1

# What inference and learning call; the rest they call themselves.
WARMED = {
    "adam",
    "coordinate_descent",
    "fista_restart",
    "gaps_of_float32",
    "homotopy",
    "least_angle",
    "refit",
    "row_gaps",
    "summarize",
    "visit_atoms",
}


def compiled():
    """Signatures of every kernel that Python calls."""
    modules = [importlib.import_module(m.name) for m in pkgutil.iter_modules(kernels.__path__, "skrlv.kernels.")]
    found = {name: value for module in modules for name, value in vars(module).items() if isinstance(value, Dispatcher)}
    return {name: set(found[name].signatures) for name in WARMED}


def test_it_returns_nothing():
    assert skrlv.warmup() is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_is_compiled_afterwards(dtype, rng):
    skrlv.warmup()
    before = compiled()
    X, D = rng.normal(size=(50, 10)).astype(dtype), random_dictionary(20, 10).astype(dtype)
    Z = skrlv.sparse_encode(X, D, 0.3, positive=True, l2=0.1, weights=np.ones(20))
    skrlv.sparse_encode(X, D, 0.3, init=Z)
    skrlv.sparse_encode(X, D, n_nonzero=3, positive=True, l2=0.1, weights=np.ones(20), debias=True)
    skrlv.lmbda_path(X, D, [0.3, 0.5], positive=True, l2=0.1, weights=np.ones(20))
    skrlv.sparse_encode(X, D.astype(np.float64) + 1e-9, 0.3)
    X.flags.writeable = False
    skrlv.sparse_encode(X, np.vstack([D, D]), 0.1)
    skrlv.SparseCoder(dictionary=D, lmbda=0.3).fit(X).transform(X)
    skrlv.SparseCoder(8, max_iter=2, lmbda=0.3).fit(X).score(X)
    skrlv.VariationalAutoencoder(2, hidden_layer_sizes=(4,), max_iter=1, tol=0).fit(X)
    for regularizer in ("l1", "elastic_net"):
        skrlv.FISTACoder(8, max_iter=2, lmbda=0.3, regularizer=regularizer).fit(X)
    assert compiled() == before
    assert all(before.values())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_an_estimator_is_not_changed_and_its_fit_compiles_nothing(estimator, rng):
    parameters = repr(estimator)
    skrlv.warmup(estimator)
    assert repr(estimator) == parameters
    before = compiled()
    X = rng.uniform(size=(30, 12))
    estimator.__class__(**estimator.get_params()).fit(X).transform(X)
    assert compiled() == before


def test_parameters_that_have_the_shape_of_the_data_are_left_out(rng):
    skrlv.warmup(skrlv.SparseCoder(dictionary=random_dictionary(5, 7)), dtypes=["float64"])
    skrlv.warmup(skrlv.FISTACoder(5, regularizer=L1(weights=np.ones(5))), dtypes=["float64"])
    skrlv.warmup(skrlv.ConvSparseCoder(3, (2, 2), signal_shape=(9, 9, 3)), dtypes=["float64"])


def test_estimators_are_found_in_pipelines_and_searches():
    pipeline = make_pipeline(StandardScaler(), skrlv.FISTACoder(5, lmbda=0.3))
    skrlv.warmup(GridSearchCV(pipeline, {"fistacoder__lmbda": [0.1, 0.2]}), dtypes="float32")
    before = compiled()
    pipeline.fit(np.random.default_rng(0).normal(size=(30, 12)).astype(np.float32))
    assert compiled() == before


FEW_ROWS = """
import skrlv
from problems import random_dictionary
from test_warmup import compiled

atoms = random_dictionary(2_049, 6).astype("float32")
coder = skrlv.SparseCoder(dictionary=atoms, lmbda=0.3)
skrlv.warmup(coder, dtypes="float32")
before = compiled()
coder.fit(atoms[:2]).transform(atoms[:2])
raise SystemExit(compiled() != before)
"""


def test_few_rows_on_many_atoms_compile_nothing():
    """In a process of its own, since other tests have used the kernels of float64."""
    subprocess.run([sys.executable, "-c", FEW_ROWS], cwd=os.path.dirname(__file__), check=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3,), "got int"),
        ((make_pipeline(StandardScaler()),), "contain an estimator of skrlv, got Pipeline"),
        ((skrlv.SparseCoder,), r"SparseCoder\(\), not the class"),
        ((None, ["int8"]), "int8"),
        ((None, []), "float64, float32 or both"),
        ((None, "words"), "got 'words'"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(TypeError, match=message):
        skrlv.warmup(*arguments)


def test_a_process_says_once_that_it_compiles_and_not_that_it_loads(tmp_path):
    code = "import numpy, skrlv; skrlv.warmup(skrlv.VariationalAutoencoder(), [numpy.float64, numpy.float32])"
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    runs = [subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True) for _ in "ab"]
    assert [run.stderr.count("compiles kernels") for run in runs] == [1, 0]
