"""Floor 0: blocks of rows on the cores this process may use.

The blocks are cut the same way whatever the number of threads, and each runs its BLAS on one
thread, so the result is the same to the bit for every ``n_jobs``.
"""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import joblib
import numpy as np
from joblib.parallel import get_active_backend
from scipy import sparse
from threadpoolctl import ThreadpoolController

ROWS_PER_BLOCK = 256
MOST_COLUMNS = 256  # of a slab


def row_blocks(n_rows, size=ROWS_PER_BLOCK):
    """Slices that cut ``n_rows`` in blocks of ``size``."""
    return [slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]


def dense(x):
    """Rows of a sparse matrix as an array; an array as it is."""
    return x.toarray() if sparse.issparse(x) else x


def dense_blocks(X):
    """The rows of X, a block at a time, as arrays."""
    return (dense(X[rows]) for rows in row_blocks(X.shape[0]))


def n_threads(n_jobs):
    """Threads to use: all cores of the process, less where n_jobs or a joblib context says so.

    Inside a joblib worker it is the worker's share: what joblib left in OMP_NUM_THREADS for a worker process, one
    for a worker thread.
    """
    backend, context_jobs = get_active_backend()
    if getattr(backend, "nesting_level", 0):
        share = _left_by_joblib() if _in_worker_process() else 1
    else:
        share = joblib.cpu_count()
    wanted = n_jobs if n_jobs is not None else context_jobs
    if wanted is None or wanted == 0:
        return share
    if wanted < 0:
        wanted = max(1, joblib.cpu_count() + 1 + wanted)
    return max(1, min(wanted, share))


def _left_by_joblib():
    """The first number of OMP_NUM_THREADS, which may list one per level of nesting ("2,1"); one if there is none."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return max(1, int(first)) if first.isdecimal() else 1


def _in_worker_process():
    return "LOKY_WORKER" in os.environ or joblib.parallel.mp.parent_process() is not None


def each_block(work, n_rows, n_jobs=None, size=ROWS_PER_BLOCK):
    """Call ``work(rows)`` for every block of rows, here and in threads; return the results in order."""
    blocks = row_blocks(n_rows, size)
    turns, results = iter(list(enumerate(blocks))), [None] * len(blocks)

    def take_turns():
        try:
            for i, rows in turns:  # a list's iterator gives each turn to one thread
                results[i] = work(rows)
        finally:
            list(turns)  # after an error nobody goes on

    with one_blas_thread():
        helpers = [_pool.submit(take_turns) for _ in range(min(n_threads(n_jobs), len(blocks)) - 1)]
        try:
            take_turns()
        finally:
            for helper in helpers:
                if not helper.cancel():
                    helper.result()
    return results


def product(a, b, n_jobs=None):
    """a @ b of NumPy matrices, a slab of columns per thread.

    BLAS's own threads wait for each other at every small product, which takes ever longer where others use the cores.
    """
    out = np.empty((a.shape[0], b.shape[1]), np.result_type(a, b))
    n_slabs = -(-b.shape[1] // MOST_COLUMNS)

    def multiply(columns):
        np.matmul(a, b[:, columns], out=out[:, columns])

    each_block(multiply, b.shape[1], n_jobs, size=max(1, -(-b.shape[1] // max(1, n_slabs))))
    return out


class _Pool:
    """Threads that wait for work: to start some at every call would take longer than a small batch."""

    def __init__(self):
        self.reset()

    def reset(self):
        self._lock, self._executor = threading.Lock(), None

    def submit(self, work):
        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(max(1, joblib.cpu_count() - 1), thread_name_prefix="skrlv")
        return self._executor.submit(work)


class _BlasLimit:
    """The process-wide BLAS limit, counted, so that concurrent callers cannot restore each other's."""

    def __init__(self):
        self.controller: Any = None
        self.limiter: Any = None
        self.reset()

    def reset(self):
        self.lock, self.holders = threading.Lock(), 0

    def acquire(self):
        with self.lock:
            self.holders += 1
            if self.holders == 1:
                self.controller = self.controller or ThreadpoolController()
                self.limiter = self.controller.limit(limits=1, user_api="blas")

    def release(self):
        with self.lock:
            self.holders -= 1
            if self.holders == 0:
                self.limiter.restore_original_limits()


_pool, _blas_limit = _Pool(), _BlasLimit()
if hasattr(os, "register_at_fork"):
    # A child has none of the threads, and would inherit locks that nobody releases.
    os.register_at_fork(after_in_child=_pool.reset)
    os.register_at_fork(after_in_child=_blas_limit.reset)


@contextmanager
def one_blas_thread():
    """Products of matrices are made by the calling thread alone."""
    _blas_limit.acquire()
    try:
        yield
    finally:
        _blas_limit.release()
