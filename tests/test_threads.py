"""Blocks of rows on threads: same bits, fair shares, no leaks."""

import gc
import multiprocessing
import pickle
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
import threadpoolctl
from problems import random_dictionary
from sklearn.base import clone

from skrlv import SparseCoder, _threads, sparse_encode
from skrlv._threads import each_block, n_threads, one_blas_thread, row_blocks


@pytest.fixture(scope="module")
def problem():
    return np.random.default_rng(0).normal(size=(1000, 20)), random_dictionary(40, 20)


@pytest.fixture
def four_cores(monkeypatch):
    """Three helpers, however many cores this machine has."""
    monkeypatch.setattr(_threads, "_n_cores", lambda: 4)
    monkeypatch.setattr(_threads, "_pool", _threads._Pool())


@pytest.fixture
def no_gc():
    """An interrupt inside a callback of the garbage collector is lost."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def two_blas_threads():
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        yield blas_threads()


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


def test_nested_and_overlapping_contexts_limit_blas_until_the_last_ends(two_blas_threads):
    one, two, three = (one_blas_thread() for _ in range(3))
    with one:
        two.__enter__()
        with three:
            assert set(blas_threads().values()) <= {1}
        assert set(blas_threads().values()) <= {1}
    assert set(blas_threads().values()) <= {1}
    two.__exit__(None, None, None)
    assert blas_threads() == two_blas_threads


def test_errors_of_helpers_are_raised(four_cores):
    begun, main = threading.Barrier(4), threading.get_ident()

    def work(rows):
        begun.wait(timeout=60)
        if threading.get_ident() != main:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        each_block(work, 4, size=1)


def test_a_caller_works_alone_if_no_thread_can_start(four_cores, monkeypatch):
    def refuse(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_threads, "start_new_thread", refuse)
    assert each_block(lambda rows: rows.start, 5, size=1) == [0, 1, 2, 3, 4]


def test_nested_calls_end_while_all_threads_are_busy(four_cores):
    def at_depth(n):
        return 1 if n == 0 else sum(each_block(lambda rows: at_depth(n - 1), 5, size=1))

    totals = []
    callers = [threading.Thread(target=lambda: totals.append(at_depth(4)), daemon=True) for _ in range(5)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=60)
    assert totals == [5**4] * 5


def assert_threads_work():
    """Four blocks that wait for each other: each needs a thread of its own."""
    begun = threading.Barrier(4)
    each_block(lambda rows: begun.wait(timeout=60), 4, size=1)


class Work:
    """A block's work, nested once, which counts the helpers that are at it."""

    def __init__(self):
        self.helpers, self.caller = [], threading.get_ident()

    def __call__(self, rows):
        each_block(self.inner, 3, size=1)

    def inner(self, rows):
        if threading.get_ident() != self.caller:
            self.helpers.append(None)
            time.sleep(1e-4)
            self.helpers.pop()


def raise_at(moment):
    """A profiler that interrupts where CPython handles signals: when a function begins, or a C function has ended."""

    def profile(frame, event, arg):
        nonlocal moment
        moment -= event in ("call", "c_return")
        if moment == 0:
            raise KeyboardInterrupt

    return profile


def is_interrupted(moment, work):
    try:
        sys.setprofile(raise_at(moment))
        each_block(work, 3, size=1)
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
    return False


def test_an_interrupt_at_any_moment_leaves_no_helper_at_work(four_cores, no_gc, two_blas_threads):
    moment = 1
    while is_interrupted(moment, work := Work()):
        assert not work.helpers
        if not moment % 10:
            assert_threads_work()
        assert blas_threads() == two_blas_threads
        moment += 1
    assert moment > 50
    assert_threads_work()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers")
def test_signals_at_random_moments_leave_no_helper_at_work(four_cores, no_gc, two_blas_threads, rng):
    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for seconds in rng.uniform(1e-6, 3e-3, 300):
            work = Work()
            try:
                signal.setitimer(signal.ITIMER_REAL, seconds)
                while True:
                    each_block(work, 3, size=1)
            except KeyboardInterrupt:
                assert not work.helpers
            assert blas_threads() == two_blas_threads
        assert_threads_work()
    finally:
        signal.signal(signal.SIGALRM, before)


def test_interrupts_wait_for_the_blocks_that_have_begun(four_cores):
    begun, done, main = threading.Barrier(4), [], threading.get_ident()

    def work(rows):
        begun.wait(timeout=60)
        if threading.get_ident() != main:
            for _ in range(3):
                signal.raise_signal(signal.SIGINT)
                time.sleep(0.01)
            done.append(rows)

    with pytest.raises(KeyboardInterrupt):
        each_block(work, 20, size=1)
    assert len(done) == 3
    assert_threads_work()


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
