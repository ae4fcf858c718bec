"""Two thousand random cases: whatever the parameters and the data, an estimator answers, or says what is wrong."""

import math
import warnings

import numpy as np
import pytest
from estimators import (
    ALL,
    CONTAINERS,
    IMAGES,
    asked,
    assert_finite,
    assert_same_state,
    quick,
    raw,
    seeded,
    state_of,
    takes_images,
    takes_sparse,
)
from interrupts import at_most

CHUNKS, CASES_PER_CHUNK = 20, 100

# Values for parameters, at the ends of their ranges too. Those that do not go together are refused.
PARAMETERS = {
    "n_components": [1, 2, 5, 13],
    "lmbda": ["auto", 0.0, 1e-9, 0.01, 0.3, 5.0, 1e6],
    "positive": [False, True],
    "positive_dictionary": [False, True],
    "l2": [0.0, 1e-6, 1.0, 100.0],
    "batch_size": [1, 2, 7, 10_000],
    "tol": [0.0, 0.1],
    "code_tol": ["auto", 1e-2, 1e-8],
    "regularizer": ["l1", "elastic_net", "group_l1", "l0"],
    "split_sign": [False, True],
    "sparse_output": [False, True],
    "dictionary_init": [None, "k-means++"],
    "architecture": ["lista", "step", "alista", "hyperlista"],
    "n_layers": [1, 3],
    "objective": ["codes", "energy"],
    "encoder": ["lista", "tanh", "shrinkage"],
    "inference": ["predict", "argmin"],
    "encoder_weight": [0.0, 1e-3, 10.0],
    "learning_rate_init": [1e-3, 0.1, 10.0],
    "validation_fraction": [0.0, 0.5],
    "pooling": [None, "max", "mean"],
    "crop_size": [None, "auto", 3],
    "beta": [0.1, 1.0, 10.0],
    "likelihood": ["gaussian", "bernoulli"],
    "hidden_layer_sizes": [(), (3,), (4, 2)],
    "learn_variance": [False, True],
    "cv": [2, 3],
    "lmbdas": [None, [1.0, 0.1], [0.0, 3.0]],
    "sigma": [0.5, 3.0],
    "floor": [0.0, 1e-3, 1.0],
    "whitening": ["zca", "olshausen_field"],
    "n_jobs": [None, 1, 2],
}

# What happens to ordinary data
DAMAGE = {
    "none": lambda X, rng: X,
    "integers": lambda X, rng: np.round(3.0 * X),
    "rows of zeros": lambda X, rng: X * (rng.random(len(X)) < 0.5)[:, None],
    "columns of zeros": lambda X, rng: X * (rng.random(X.shape[1]) < 0.5),
    "zeros": lambda X, rng: 0.0 * X,
    "constant": lambda X, rng: np.full_like(X, rng.normal()),
    "an offset": lambda X, rng: X + 1e4,
    "duplicates": lambda X, rng: X[rng.integers(len(X), size=len(X))],
    "rank one": lambda X, rng: X[:, :1] * X[:1],
    "sparse": lambda X, rng: X * (rng.random(X.shape) < 0.2),
    "positive": lambda X, rng: np.abs(X),
    "in [0, 1]": lambda X, rng: 1.0 / (1.0 + np.exp(-X)),
    "heavy tails": lambda X, rng: X * np.exp(3.0 * rng.normal(size=X.shape)),
    "one outlier": lambda X, rng: X * np.where(np.arange(len(X)) == 0, 1e9, 1.0)[:, None],
    "huge": lambda X, rng: 1e30 * X,
    "tiny": lambda X, rng: 1e-30 * X,
    "not finite": lambda X, rng: np.where(rng.random(X.shape) < 0.1, [np.nan, np.inf][rng.integers(2)], X),
}
DTYPES = [np.float64, np.float64, np.float32, np.float32, np.float16, np.int64]
INTERNAL = ("broadcast", "operand", "zero-size", "matmul", "index", "unpack", "NoneType", "reshape array", "attribute")


def pick(options, rng):
    return options[rng.integers(len(options))]


def drawn_estimator(rng):
    """A random estimator, with some of its parameters drawn."""
    estimator = seeded(quick(pick(ALL, rng)))
    own = [name for name in PARAMETERS if name in estimator.get_params(deep=False)]
    for name in own:
        if rng.random() < 0.3:
            estimator.set_params(**{name: pick(PARAMETERS[name], rng)})
    return estimator.set_params(**{"max_iter": int(rng.integers(1, 3))} if hasattr(estimator, "max_iter") else {})


def drawn_data(estimator, n_features, rng):
    """Random data in a random container, and how they came about."""
    n_samples = int(rng.integers(1, 25))
    damage, dtype = pick(list(DAMAGE), rng), pick(DTYPES, rng)
    X = DAMAGE[damage](rng.normal(size=(n_samples, n_features)), rng)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        X = X.astype(dtype)
    told = f"{damage}, {dtype.__name__}, {X.shape}"
    if takes_images(estimator):
        return X.reshape(n_samples, *(IMAGES if n_features == math.prod(IMAGES) else (1, n_features))), told
    kind = pick([k for k in CONTAINERS if k != "sparse" or takes_sparse(estimator)], rng)
    if kind == "sparse" and dtype != np.float64 and dtype != np.float32:
        kind = "C"
    return CONTAINERS[kind](X), f"{told}, {kind}"


def answered(act):
    """Whether ``act`` returned; if not, it raised an error that a user understands."""
    try:
        act()
    except (ValueError, TypeError) as error:
        message = str(error)
        assert not any(word in message for word in INTERNAL), message
        return False
    return True


def ask(estimator, rng, told):
    """Fit to random data, go on with others, and answer about others still; ``told`` says how."""
    n_features = int(rng.choice([1, 2, 12, 12, 12]))
    for act in ["fit", *rng.choice(["transform", "partial_fit", "fit"], size=2)]:
        X, how = drawn_data(estimator, n_features, rng)
        told.append(f"{act} with {how}")
        if not hasattr(estimator, act):
            continue
        before, state = raw(X), state_of(estimator)
        if act == "transform":
            done = answered(lambda X=X: assert_finite(asked(estimator, X)))
        else:
            done = answered(lambda X=X, act=act: getattr(estimator, act)(X))
        for mine, theirs in zip(before, raw(X), strict=True):
            np.testing.assert_array_equal(mine, theirs)
        if act == "transform" or not done:
            assert_same_state(estimator, state)
        else:
            assert_finite(state_of(estimator))
        if not done and act == "fit":
            break


@pytest.mark.filterwarnings(
    "ignore::UserWarning",
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore:invalid value encountered in reduce",  # scikit-learn's, as it looks for infinities
)
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_an_estimator_answers_or_says_what_is_wrong(chunk):
    for case in range(CASES_PER_CHUNK):
        rng = np.random.default_rng([chunk, case])
        estimator, told = drawn_estimator(rng), []
        try:
            with at_most(seconds=20):
                ask(estimator, rng, told)
        except Exception as error:
            error.add_note(f"Case {case} of chunk {chunk}: {estimator!r}; {'; '.join(told)}.")
            raise
