"""Two thousand random cases: an estimator, its parameters, tiny data and a few calls, all drawn from one seed.

Whatever is drawn, a call gives finite results of the right shape and dtype, or a ValueError or TypeError that says why
not. A failure names its seed: ``run(seed)`` is the case.
"""

import warnings
from contextlib import suppress
from importlib.util import find_spec

import numpy as np
import pytest
from estimators import CONTAINERS, raw, takes_images, takes_sparse
from interrupts import at_most
from scipy import sparse

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

N_CASES, PER_TEST = 2000, 100
SECONDS = 5.0  # of the CPU, for a call that takes milliseconds
REFUSED = (ValueError, TypeError)
INTERNAL = (
    "broadcast",
    "not aligned",
    "matmul",
    "out of bounds",
    "zero-size",
    "expected m1",
    "got an unexpected keyword",
)


# What is drawn


def one_of(rng, *values):
    return values[rng.integers(len(values))]


def passes(rng):
    return {
        "max_iter": int(rng.integers(1, 4)),
        "batch_size": one_of(rng, "auto", 1, 4),
        "tol": one_of(rng, 0.0, 1e-3),
        "random_state": int(rng.integers(100)),
    }


def weight(rng, scale):
    """Of the penalty: in the unit of the data, with the ends of its range."""
    return one_of(rng, "auto", "auto", 0.0, scale * 10.0 ** rng.uniform(-6, 2), 1e6 * scale)


def device(rng):
    return "torch:cpu" if find_spec("torch") and rng.random() < 0.15 else "cpu"


def atoms(rng, scale):
    return {"n_components": one_of(rng, None, 1, 3, 8), "lmbda": weight(rng, scale)}


def of_coder(rng):
    return {
        "positive": bool(rng.integers(2)),
        "positive_dictionary": bool(rng.integers(2)),
        "l2": one_of(rng, 0.0, 0.0, 0.5, 1e-8),
        "dictionary_init": one_of(rng, None, "k-means++"),
        "code_tol": one_of(rng, "auto", 1e-2),
        "split_sign": bool(rng.integers(2)),
        "sparse_output": bool(rng.integers(2)),
        "n_jobs": one_of(rng, None, 1),
    }


def sparse_coder(rng, scale):
    return SparseCoder(**atoms(rng, scale), **of_coder(rng), **passes(rng))


def sparse_coder_cv(rng, scale):
    lmbdas = one_of(rng, None, [scale, 0.1 * scale], [10.0 * scale])
    return SparseCoderCV(one_of(rng, None, 2, 5), lmbdas=lmbdas, cv=2, **of_coder(rng), **passes(rng))


def fista_coder(rng, scale):
    return FISTACoder(
        **atoms(rng, scale), **passes(rng), code_max_iter=30, device=device(rng), sparse_output=bool(rng.integers(2)),
        regularizer=one_of(rng, "l1", "elastic_net", "group_l1", "l0", GroupL1(3)),
    )  # fmt: skip


def lista_encoder(rng, scale):
    return LISTAEncoder(
        **atoms(rng, scale), **passes(rng), n_layers=int(rng.integers(4)), tied=bool(rng.integers(2)),
        architecture=one_of(rng, "lista", "step", "alista", "hyperlista"), objective=one_of(rng, "codes", "energy"),
        positive=bool(rng.integers(2)), validation_fraction=one_of(rng, 0.0, 0.1, 0.5), device=device(rng),
    )  # fmt: skip


def predictive(rng, scale):
    encoder = one_of(rng, "tanh", "shrinkage", "lista")
    return PredictiveSparseDecomposition(
        **atoms(rng, scale), **passes(rng), encoder=encoder, encoder_weight=one_of(rng, 0.0, 1.0, 1e3),
        inference=one_of(rng, "encoder", "argmin"), positive=encoder != "tanh" and bool(rng.integers(2)),
        device=device(rng),
    )  # fmt: skip


def of_signals(rng, scale):
    return passes(rng) | {
        "n_components": int(rng.integers(1, 4)),
        "kernel_size": one_of(rng, 1, 2, (2,), (2, 2), (3, 1)),
        "lmbda": weight(rng, scale),
        "pooling": one_of(rng, None, None, 2),
        "device": device(rng),
    }


def conv_coder(rng, scale):
    return ConvSparseCoder(**of_signals(rng, scale), positive=bool(rng.integers(2)))


def conv_autoencoder(rng, scale):
    return ConvSparseAutoencoder(
        **of_signals(rng, scale), encoder_weight=one_of(rng, 0.0, 1.0), inference=one_of(rng, "encoder", "argmin")
    )


def variational(rng, scale):
    return VariationalAutoencoder(
        int(rng.integers(1, 4)), **passes(rng), hidden_layer_sizes=one_of(rng, (), (4,), (3, 2)),
        likelihood=one_of(rng, "gaussian", "gaussian", "gaussian", "bernoulli"), beta=one_of(rng, 0.0, 1.0, 10.0),
        kl_warmup=one_of(rng, 0, 2), free_bits=one_of(rng, 0.0, 0.1), learn_variance=bool(rng.integers(2)),
        validation_fraction=one_of(rng, 0.0, 0.1, 0.5), device=device(rng),
    )  # fmt: skip


def whitener(rng, scale):
    return PatchWhitener(remove_mean=bool(rng.integers(2)), epsilon=one_of(rng, 0.0, 0.01))


def normalizer(rng, scale):
    return LocalContrastNormalizer(one_of(rng, 0.5, 2.0), floor=one_of(rng, "mean", scale))


FAMILIES = [
    *[sparse_coder, fista_coder, lista_encoder, predictive, conv_coder, conv_autoencoder, variational] * 2,
    *[sparse_coder_cv, whitener, normalizer],
]


def rows(rng, scale, n_features):
    """Up to twelve rows of some kind."""
    X = rng.standard_normal((int(rng.integers(1, 13)), n_features))
    kind = one_of(
        rng, "normal", "normal", "heavy tails", "zeros", "constant", "duplicates", "one row", "integers", "offset"
    )
    if kind == "heavy tails":
        X = rng.standard_cauchy(X.shape)
    elif kind == "zeros":
        X = X * (rng.random((len(X), 1)) < 0.5) * (rng.random(X.shape) < 0.5)
    elif kind == "constant":
        X = np.ones_like(X)
    elif kind == "duplicates":
        X = X[rng.integers(len(X), size=len(X)) // 3]
    elif kind == "one row":
        X = X[:1]
    elif kind == "integers":
        X = np.round(3 * X)
    elif kind == "offset":
        X = X + 100.0
    return scale * X


def contained(rng, estimator, X, dtype, whole):
    """The data of a call, in some container."""
    kind = one_of(rng, *[kind for kind in CONTAINERS if kind != "sparse" or takes_sparse(estimator)])
    if X.ndim > 2 and kind == "frame":
        kind = "C"
    X = np.round(X).clip(-100, 100).astype(np.int32) if whole else X.astype(dtype)
    return CONTAINERS[kind](X)


# What is asked


def run(seed):
    """One case: how many of its calls were refused, of how many. Raises an AssertionError where one goes wrong."""
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.uniform(-20, 20) if rng.random() < 0.6 else 1.0
    estimator = FAMILIES[rng.integers(len(FAMILIES))](rng, scale)
    dtype, whole = one_of(rng, np.float64, np.float32), rng.random() < 0.1
    n_features = 36 if takes_images(estimator) else int(rng.integers(1, 7))
    refused, done = 0, []

    def batch():
        X = rows(rng, scale, n_features)
        X = X.reshape(len(X), 6, 6) if takes_images(estimator) else X
        X = np.abs(X) / (np.abs(X).max() or 1.0) if getattr(estimator, "likelihood", "") == "bernoulli" else X
        return contained(rng, estimator, X, dtype, whole)

    for act in calls(rng, estimator):
        X = batch()
        done.append(f"{act} of {X.shape} {getattr(X, 'dtype', 'frame')} in {type(X).__name__}")
        try:
            refused += not answered(estimator, act, X)
        except AssertionError as error:
            raise AssertionError(
                f"seed {seed}, {' '.join(str(estimator).split())}, {'; '.join(done)}: {error}"
            ) from error
        if not hasattr(estimator, "n_features_in_"):
            break
    return refused, len(done)


def calls(rng, estimator):
    """From two to four methods, of which the first learns."""
    first = [name for name in ("fit", "partial_fit") if hasattr(estimator, name)]
    later = ("transform", "inverse_transform", "energy", "score", "score_samples", "encode", "posterior", "sample")
    later = [name for name in (*first, "transform", *later) if hasattr(estimator, name)]
    return [one_of(rng, *first), *(one_of(rng, *later) for _ in range(rng.integers(1, 4)))]


def answered(estimator, act, X):
    """Whether the call gave a result; if not, it said why. Both are checked."""
    before = raw(X)
    found, wanted, complaint = None, (), None
    with warnings.catch_warnings(record=True) as caught, at_most(SECONDS):
        warnings.simplefilter("always")
        try:
            found, wanted = ask(estimator, act, X)
        except REFUSED as error:
            complaint = repr(error)
        except Exception as error:
            raise AssertionError(repr(error)) from error
    if complaint is not None:
        assert len(complaint) > 25, f"{complaint} says too little"
        assert not any(part in complaint for part in INTERNAL), f"{complaint} comes from inside"
    for warning in caught:
        assert issubclass(warning.category, UserWarning), f"{warning.category.__name__}: {warning.message}"
    for now, then in zip(raw(X), before, strict=True):
        assert np.array_equal(now, then), "the input was changed"
    if found is None:
        return False
    for part, (shape, kind) in zip(found, wanted, strict=True):
        assert part.shape == shape, f"shape {part.shape} instead of {shape}"
        assert part.dtype == kind, f"{part.dtype} instead of {kind}"
        assert np.isfinite(part.data if sparse.issparse(part) else part).all(), "not finite"
    return True


def ask(estimator, act, X):
    """Results of a call, and the shape and dtype that each should have."""
    n, dtype = X.shape[0], raw(X)[0].dtype
    dtype = dtype if dtype in (np.float32, np.float64) else np.dtype(np.float64)
    if act in ("fit", "partial_fit"):
        getattr(estimator, act)(X)
        learned = [x for x in vars(estimator).values() if isinstance(x, np.ndarray) and x.dtype.kind == "f"]
        return learned, [(x.shape, x.dtype) for x in learned]
    if act == "inverse_transform":
        Z = estimator.transform(X)
        return [estimator.inverse_transform(Z)], [(X.shape, Z.dtype)]
    found = getattr(estimator, act)(4) if act == "sample" else getattr(estimator, act)(X)
    if act in ("energy", "score_samples"):
        return [found], [((n,), np.float64)]
    if act == "score":
        return [np.asarray(found)], [((), np.float64)]
    if act == "posterior":
        return found, [((n, estimator.n_components_), dtype)] * 2
    if act == "transform":
        width = X.shape[1:] if takes_images(estimator) and not hasattr(estimator, "energy") else None
        return [found], [((n, *(width or (len(estimator.get_feature_names_out()),))), dtype)]
    return [found], [((n, *found.shape[1:]), dtype if act == "encode" else found.dtype)]


@pytest.fixture(scope="module")
def warm():
    """Kernels are compiled before calls are timed."""
    for family in FAMILIES:
        for dtype in (np.float64, np.float32):
            estimator = family(np.random.default_rng(0), 1.0)
            X = np.random.default_rng(0).standard_normal((12, 6, 6) if takes_images(estimator) else (12, 6))
            with warnings.catch_warnings(), suppress(*REFUSED):
                warnings.simplefilter("ignore")
                estimator.fit(X.astype(dtype)).transform(X.astype(dtype))
                estimator.score(X.astype(dtype)) if hasattr(estimator, "score") else None


@pytest.mark.parametrize("first", range(0, N_CASES, PER_TEST))
def test_random_cases(first, warm):
    failures, refused, asked = [], 0, 0
    for seed in range(first, first + PER_TEST):
        try:
            no, all_calls = run(seed)
        except AssertionError as error:
            failures.append(str(error)[:600])
        else:
            refused, asked = refused + no, asked + all_calls
    assert not failures, "\n".join([f"{len(failures)} of {PER_TEST} cases:", *failures])
    assert refused < 0.3 * asked  # most cases ask for something that can be done
