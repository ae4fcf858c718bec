"""Exact sparse codes beside the libraries that are installed: alternating runs in one process, medians of ratios."""

import time
import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import sparse_encode as sklearn_encode

from skrlv.metrics import duality_gap
from skrlv.sparse_coding import SparseCoder
from skrlv.sparse_encoding import sparse_encode


def compare(n_rows, n_components, n_repeats):
    """Yield the lines of a table of times and gaps."""
    X = load_digits().data[:n_rows] / 16
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        coder = SparseCoder(n_components, max_iter=3, tol=0, random_state=0).fit(X)
        atoms, lmbda = coder.components_, coder.lmbda_
        methods = _methods(X, atoms, lmbda)
        codes = {name: method() for name, method in methods.items()}  # compiles and warms up
        times = _alternating(methods, n_repeats)
    ours = times["skrlv"]
    yield f"{len(X)} digits of 64 pixels, {n_components} atoms, lmbda = {lmbda:.3g}, {n_repeats} alternating runs"
    yield f"{'method':28s} {'ms':>9s} {'times skrlv':>12s} {'largest gap':>12s}"
    for name, seconds in times.items():
        gap = duality_gap(X, codes[name], atoms, lmbda).max()
        yield f"{name:28s} {1e3 * np.median(seconds):9.1f} {np.median(seconds / ours):12.1f} {gap:12.1e}"


def _methods(X, atoms, lmbda):
    """The functions to time, by name."""
    methods = {
        "skrlv": lambda: sparse_encode(X, atoms, lmbda),
        "scikit-learn lasso_cd": lambda: sklearn_encode(X, atoms, algorithm="lasso_cd", alpha=lmbda),
        "scikit-learn lasso_lars": lambda: sklearn_encode(X, atoms, algorithm="lasso_lars", alpha=lmbda),
    }
    try:
        import spams
    except ImportError:
        return methods
    columns, dictionary = np.asfortranarray(X.T), np.asfortranarray(atoms.T)
    methods["SPAMS lasso"] = lambda: spams.lasso(columns, D=dictionary, lambda1=lmbda, mode=2).T.toarray()
    return methods


def _alternating(methods, n_repeats):
    """Seconds of each method, (n_repeats,): one run of each in turn."""
    seconds = {name: np.empty(n_repeats) for name in methods}
    for turn in range(n_repeats):
        for name, method in methods.items():
            start = time.perf_counter()
            method()
            seconds[name][turn] = time.perf_counter() - start
    return seconds
