"""Blocks of rows on threads: same bits, fair shares, no leaks."""

import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
import threadpoolctl
from problems import random_dictionary
from sklearn.base import clone

from skrlv import SparseCoder, sparse_encode
from skrlv._threads import each_block, n_threads, row_blocks


@pytest.fixture(scope="module")
def problem():
    return np.random.default_rng(0).normal(size=(1000, 20)), random_dictionary(40, 20)


def blas_threads():
    return {m["filepath"]: m["num_threads"] for m in threadpoolctl.threadpool_info() if m["user_api"] == "blas"}


@pytest.mark.parametrize("n_jobs", [1, 2, -1, None])
def test_the_same_bits_for_every_n_jobs(problem, n_jobs):
    X, D = problem
    np.testing.assert_array_equal(sparse_encode(X, D, 0.3, n_jobs=n_jobs), sparse_encode(X, D, 0.3, n_jobs=1))


def test_the_same_bits_for_every_n_jobs_after_pickling_and_from_many_callers(problem):
    X, D = problem
    one, two = (SparseCoder(dictionary=D, lmbda=0.3, sparse_output=True, n_jobs=n).fit(X) for n in (1, 2))
    expected = one.transform(X)
    coders = [two, pickle.loads(pickle.dumps(one)), pickle.loads(pickle.dumps(two))]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda coder: coder.transform(X), [one, *coders] * 4))
    for codes in results:
        for part in ("data", "indices", "indptr"):
            np.testing.assert_array_equal(getattr(codes, part), getattr(expected, part))


def test_blocks_cover_the_rows_once():
    rows = np.concatenate([np.arange(1000)[block] for block in row_blocks(1000)])
    np.testing.assert_array_equal(rows, np.arange(1000))
    assert each_block(lambda rows: rows.start, 1000) == [block.start for block in row_blocks(1000)]


def test_blas_limits_are_restored_after_concurrent_callers(problem):
    X, D = problem
    before, expected = blas_threads(), sparse_encode(X, D, 0.3)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: sparse_encode(X, D, 0.3), range(16)))
    assert blas_threads() == before
    for codes in results:
        np.testing.assert_array_equal(codes, expected)


def test_blas_limits_are_restored_after_an_error():
    before = blas_threads()
    with pytest.raises(ZeroDivisionError):
        each_block(lambda rows: 1 / 0, 10)
    assert blas_threads() == before


def test_a_joblib_context_lowers_the_threads():
    cores = joblib.cpu_count()
    assert n_threads(None) == cores
    assert n_threads(1) == 1
    assert n_threads(10_000) == cores
    with joblib.parallel_config(n_jobs=1):
        assert n_threads(None) == 1


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_workers_keep_to_their_share_and_give_the_same_bits(problem, backend):
    X, D = problem
    with joblib.Parallel(n_jobs=joblib.cpu_count(), backend=backend) as parallel:
        shares = parallel(joblib.delayed(n_threads)(None) for _ in range(4))
        codes = parallel(joblib.delayed(sparse_encode)(X, D, 0.3) for _ in range(4))
    assert set(shares) == {1}
    for z in codes:
        np.testing.assert_array_equal(z, sparse_encode(X, D, 0.3))


@pytest.mark.parametrize(
    ("left", "share"), [("3", 3), ("2,1", 2), (" 4 , 2", 4), ("", 1), ("0", 1), ("-2", 1), ("many", 1), (",2", 1)]
)
def test_a_worker_reads_its_share_as_openmp_does(left, share, monkeypatch):
    monkeypatch.setenv("LOKY_WORKER", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", left)
    with joblib.parallel_config(joblib.parallel.SequentialBackend(nesting_level=1)):
        assert n_threads(None) == share


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_after_a_first_call_works(problem):
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("no fork here")
    X, D = problem
    expected = sparse_encode(X, D, 0.3)
    coder = SparseCoder(8, max_iter=2, lmbda=0.3, random_state=0).fit(X)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        codes = pool.apply_async(sparse_encode, (X, D, 0.3)).get(timeout=60)
        fitted = pool.apply_async(clone(coder).fit, (X,)).get(timeout=60)
    np.testing.assert_array_equal(codes, expected)
    np.testing.assert_array_equal(fitted.components_, coder.components_)
