"""Whoever interrupts an estimator finds it as it was, or with a complete step; and all else works on."""

import pickle
import signal
import time
from functools import partial

import numpy as np
import pytest
import sklearn
import threadpoolctl
from estimators import assert_finite, assert_same_state, data, every_estimator, fitted, seeded, state_of
from interrupts import interrupted_after, interrupted_at_write

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def assert_usable(model, X):
    """A complete step, kept: attributes that fit each other and finite answers."""
    if hasattr(model, "energy_history_"):
        assert model.n_iter_ == len(model.energy_history_)
    if hasattr(model, "components_"):
        assert len(model.components_) == model.n_components_
        assert getattr(model, "atom_usage_", model.components_).shape[0] == model.n_components_
    assert_finite(state_of(model) | {"transform": model.transform(X)})
    if hasattr(model, "energy"):
        assert_finite({"energy": model.energy(X)})


def same_state(model, expected):
    try:
        assert_same_state(model, expected)
    except AssertionError:
        return False
    return True


@every_estimator
@pytest.mark.parametrize("learn", ["fit", "partial_fit"])
def test_an_interrupt_at_any_write_leaves_an_estimator_that_works(estimator, learn):
    model, X, other = fitted(estimator), data(estimator, 12), data(estimator, 12, seed=1)
    if not hasattr(model, learn):
        pytest.skip(f"has no {learn}")
    if "max_iter" in model.get_params():
        model.set_params(max_iter=1)
    before, after = state_of(model), state_of(getattr(pickle.loads(pickle.dumps(model)), learn)(other))
    n, copy = 0, model
    while copy is not None:
        copy = interrupted_at_write(model, n, lambda each: getattr(each, learn)(other))
        if copy is not None and not same_state(copy, before):
            assert same_state(copy, after), f"half a step is kept at the interrupt of write {n}"
            assert_usable(copy, X)
        n += 1
    assert n > 1 or not hasattr(model, "partial_fit")


def blas_threads():
    return {m["filepath"]: m["num_threads"] for m in threadpoolctl.threadpool_info()}


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers here")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Ctrl-C within a finalizer
@every_estimator
@pytest.mark.parametrize("act", ["fit", "partial_fit", "transform"])
def test_an_interrupt_at_a_random_moment_leaves_an_estimator_that_works(estimator, act):
    model, X, other = fitted(estimator), data(estimator), data(estimator, 300, seed=1)
    if not hasattr(model, act):
        pytest.skip(f"has no {act}")
    if "max_iter" in model.get_params():
        model.set_params(max_iter=2)
    threads, before, expected = blas_threads(), state_of(model), seeded(estimator).fit(X).transform(X)
    start = time.perf_counter()
    getattr(pickle.loads(pickle.dumps(model)), act)(other)
    duration = min(time.perf_counter() - start, 0.5)
    for delay in np.random.default_rng(0).uniform(0.0, 1.2 * duration, size=10):
        copy = pickle.loads(pickle.dumps(model))
        with sklearn.config_context():  # which scikit-learn's own decorators leave changed if they are interrupted
            interrupted_after(delay, partial(getattr(copy, act), other))
        if not same_state(copy, before):
            assert act != "transform"
            assert_usable(copy, X)
    assert blas_threads() == threads
    np.testing.assert_array_equal(seeded(estimator).fit(X).transform(X), expected)
