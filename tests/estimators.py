"""Every public estimator in a few settings: the one list of all tests that ask the same of each of them."""

import pickle
from functools import cache
from importlib.util import find_spec

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_blobs

from skrlv import (
    ConvSparseAutoencoder,
    ConvSparseCoder,
    FISTACoder,
    LISTAEncoder,
    PredictiveSparseDecomposition,
    SparseCoder,
    SparseCoderCV,
    VariationalAutoencoder,
)
from skrlv.preprocessing import LocalContrastNormalizer, PatchWhitener
from skrlv.regularizers import GroupL1

ESTIMATORS = [
    SparseCoder(8, max_iter=5),
    SparseCoder(8, lmbda=0.1, positive=True, split_sign=True, max_iter=5),
    SparseCoder(8, l2=0.5, positive_dictionary=True, max_iter=5),
    SparseCoderCV(8, lmbdas=[1.0, 0.1], cv=2, max_iter=5),
    LISTAEncoder(8, max_iter=5),
    LISTAEncoder(8, architecture="step", objective="energy", max_iter=5),
    LISTAEncoder(8, architecture="alista", positive=True, max_iter=5),
    PredictiveSparseDecomposition(8, max_iter=5),
    PredictiveSparseDecomposition(8, encoder="shrinkage", positive=True, inference="argmin", max_iter=5),
    ConvSparseCoder(4, (2,), max_iter=5),
    ConvSparseCoder(4, 2, lmbda=2.0, positive=True, max_iter=5),
    ConvSparseAutoencoder(4, 2, max_iter=5),
    ConvSparseAutoencoder(4, (2,), inference="argmin", max_iter=5),
    VariationalAutoencoder(3, hidden_layer_sizes=(8,), max_iter=5, tol=0),
    VariationalAutoencoder(3, hidden_layer_sizes=(), learn_variance=False, kl_warmup=2, max_iter=5, tol=0),
    FISTACoder(8, max_iter=5),
    FISTACoder(8, regularizer="elastic_net", positive=True, max_iter=5),
    FISTACoder(8, regularizer=GroupL1(3), lmbda=0.1, max_iter=5, code_max_iter=10_000),
]

# What scikit-learn's checks cannot ask, since their data are rows and only NumPy's.
IMAGES = (3, 4)
OF_IMAGES = [
    ConvSparseCoder(3, (2, 2), max_iter=3),
    ConvSparseAutoencoder(3, (2, 2), max_iter=3),
    LocalContrastNormalizer(1.0),
]
OF_PATCHES = [PatchWhitener(), PatchWhitener("olshausen_field", patch_shape=IMAGES)]


def on_torch(estimators):
    """The first of each class that takes a device, on torch."""
    first = {type(e): e for e in reversed(estimators) if "device" in e.get_params()}
    return [clone(e).set_params(device="torch:cpu") for e in first.values()] if find_spec("torch") else []


MORE = [LISTAEncoder(8, architecture="hyperlista", max_iter=5), FISTACoder(8, regularizer="l0", max_iter=5)]


def quick(estimator):
    """With few steps per code: the questions are not about convergence."""
    few = {"code_max_iter": 30} if "code_max_iter" in estimator.get_params() else {}
    return clone(estimator).set_params(**few)


MODELS = [quick(e) for e in (*ESTIMATORS, *MORE, *OF_IMAGES[:2], *on_torch(ESTIMATORS))]
ALL = [*MODELS, OF_IMAGES[2], *OF_PATCHES]


def names(estimators):
    """Test ids: class, place in the list, and the device where it is not the CPU."""
    devices = [getattr(e, "device", "cpu") for e in estimators]
    return [
        f"{type(e).__name__}{i}" + ("" if device == "cpu" else "-torch")
        for i, (e, device) in enumerate(zip(estimators, devices, strict=True))
    ]


every_model = pytest.mark.parametrize("estimator", MODELS, ids=names(MODELS))
every_estimator = pytest.mark.parametrize("estimator", ALL, ids=names(ALL))


def takes_images(estimator):
    """Whether X has two axes for each sample."""
    return isinstance(estimator, LocalContrastNormalizer) or np.size(getattr(estimator, "kernel_size", 0)) == 2


def takes_sparse(estimator):
    return estimator.__sklearn_tags__().input_tags.sparse


def shaped(estimator, X):
    """Rows of twelve features as the estimator takes them."""
    return X.reshape(len(X), *IMAGES) if takes_images(estimator) else X


def data(estimator, n_samples=16, dtype=np.float64, seed=0):
    """Clusters about the origin."""
    X = make_blobs(n_samples, 12, centers=4, random_state=seed)[0]
    return shaped(estimator, (X - X.mean(axis=0)).astype(dtype))


def untidy(X):
    """Sparse rows with unsorted indices and duplicate entries, that sum to X."""
    n_samples, n_features = X.shape
    columns = np.concatenate([np.arange(n_features)[::-1], np.arange(n_features)])
    values = np.concatenate([0.25 * X[:, ::-1], 0.75 * X], axis=1)
    indptr = 2 * n_features * np.arange(n_samples + 1)
    return sparse.csr_matrix((values.ravel(), np.tile(columns, n_samples), indptr), shape=X.shape)


def frame(X):
    return pytest.importorskip("pandas").DataFrame(X, columns=[f"f{i}" for i in range(X.shape[1])])


CONTAINERS = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "sparse": untidy,
    "frame": frame,
    "every second row": lambda X: np.repeat(X, 2, axis=0)[::2],
}


def raw(X):
    """The bytes that a container holds, where it holds them."""
    if sparse.issparse(X):
        return [getattr(X, name).copy() for name in ("data", "indices", "indptr")]
    return [np.array(X)]


@cache
def _fitted(estimator, dtype):
    return pickle.dumps(seeded(estimator).fit(data(estimator, dtype=dtype)))


def fitted(estimator, dtype=np.float64):
    """A fresh copy of the estimator fitted to `data`; fitting happens once."""
    return pickle.loads(_fitted(estimator, np.dtype(dtype).type))


def seeded(estimator, **options):
    """A clone with a seed, where it has one."""
    copy = clone(estimator).set_params(**options)
    return copy.set_params(random_state=0) if "random_state" in copy.get_params() else copy


def asked(model, X):
    """All answers of a fitted estimator about X, by the method's name."""
    Z = model.transform(X)
    found = {"transform": Z}
    if hasattr(model, "inverse_transform"):
        found["inverse_transform"] = model.inverse_transform(Z)
    if hasattr(model, "energy"):
        found |= {"energy": model.energy(X), "energy of Z": model.energy(X, Z), "score_samples": model.score_samples(X)}
        found["score"] = np.asarray(model.score(X))
        found["free_energy"] = model.free_energy(X)
    for name in ("encode", "refine", "posterior", "infer"):
        if hasattr(model, name):
            found[name] = np.stack(getattr(model, name)(X)) if name == "posterior" else getattr(model, name)(X)
    return {name: value.toarray() if sparse.issparse(value) else value for name, value in found.items()}


def parts(value, name="") -> dict:
    """The arrays and scalars of a nested value, by their path."""
    if isinstance(value, dict):
        return {path: part for key, inner in value.items() for path, part in parts(inner, f"{name}.{key}").items()}
    if isinstance(value, list | tuple):
        return {path: part for key, inner in enumerate(value) for path, part in parts(inner, f"{name}.{key}").items()}
    return {name: value}


def state_of(model):
    """Everything that the estimator holds, parameters and scikit-learn's callbacks apart."""
    params = model.get_params(deep=False)
    return parts({name: x for name, x in vars(model).items() if name not in params and "callback" not in name})


def assert_same_state(model, expected):
    """To the bit; ``expected`` is a `state_of`."""
    found = state_of(model)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        same = np.array_equal(found[name], value, equal_nan=isinstance(value, np.ndarray) and value.dtype.kind == "f")
        assert same, f"{name} is {found[name]}, was {value}"


def assert_finite(named):
    for name, value in named.items():
        if np.asarray(value).dtype.kind in "fc":
            assert np.isfinite(value).all(), f"{name} is not finite"
