"""Blocks of rows on the cores that this process may use.

The blocks are cut the same way whatever the number of threads, and each runs its BLAS on one
thread, so the result is the same to the bit for every ``n_jobs``.
"""

import os
import threading
from _thread import start_new_thread
from collections import OrderedDict
from contextlib import contextmanager, suppress
from functools import lru_cache
from queue import SimpleQueue
from typing import Any

import joblib
import numpy as np
from joblib.parallel import get_active_backend
from threadpoolctl import ThreadpoolController

ROWS_PER_BLOCK = 256
MAX_COLUMNS = 256  # of a slab of `product`


def row_blocks(n_rows, size=ROWS_PER_BLOCK):
    """Slices that cut ``n_rows`` into blocks of ``size``."""
    return [slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]


def dense(x):
    """A matrix that has ``toarray``, sparse or of `Rows`, as an array; an array is returned unchanged."""
    return x.toarray() if hasattr(x, "toarray") else x


def dense_blocks(X):
    """The rows of X, a block at a time, as arrays."""
    return (dense(X[rows]) for rows in row_blocks(X.shape[0]))


def n_threads(n_jobs):
    """Number of threads to use: all cores of the process, unless n_jobs or a joblib context asks for fewer.

    Inside a joblib worker it is the worker's share: what joblib left in OMP_NUM_THREADS for a worker process, one
    for a worker thread.
    """
    backend, context_jobs = get_active_backend()
    wanted = n_jobs if n_jobs is not None else context_jobs
    if wanted == 1:
        return 1
    share = _share_of_worker() if getattr(backend, "nesting_level", 0) else _n_cores()
    if wanted is None or wanted == 0:
        return share
    if wanted < 0:
        wanted = max(1, _n_cores() + 1 + wanted)
    return max(1, min(wanted, share))


def _n_cores():
    """`joblib.cpu_count`, which reads files at every call; here it is called again only if its inputs change."""
    affinity = frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return _counted_cores(affinity, os.environ.get("LOKY_MAX_CPU_COUNT"))


@lru_cache(maxsize=1)
def _counted_cores(affinity, limit):
    return joblib.cpu_count()


def _share_of_worker():
    """For a worker process the first number of OMP_NUM_THREADS, which may list one per level of nesting ("2,1")."""
    if not _in_worker_process():
        return 1
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return max(1, int(first)) if first.isdecimal() else 1


def _in_worker_process():
    return "LOKY_WORKER" in os.environ or joblib.parallel.mp.parent_process() is not None


def each_block(work, n_rows, n_jobs=None, size=ROWS_PER_BLOCK):
    """Call ``work(rows)`` for every block of rows, here and in threads; return the results in order.

    After an error or an interrupt no further block begins. It is raised when the blocks that have begun are done.
    """
    blocks = row_blocks(n_rows, size)
    call = _Call(work, blocks, min(n_threads(n_jobs), len(blocks)) - 1 if len(blocks) > 1 else 0)
    try:
        call.open()
        call.take_turns()
    finally:
        try:
            call.close()
        finally:
            while not call.is_closed:  # an interrupt cut `close` short, and will be raised; more of them are ignored
                with suppress(KeyboardInterrupt):
                    call.close()
    if call.errors:
        raise call.errors.pop()
    return call.results


def product(a, b, n_jobs=None):
    """a @ b of NumPy matrices, a slab of columns per thread.

    BLAS's own threads wait for each other at every small product, which takes ever longer when other processes use
    the cores.
    """
    out = np.empty((a.shape[0], b.shape[1]), np.result_type(a, b))
    n_slabs = -(-b.shape[1] // MAX_COLUMNS)

    def multiply(columns):
        np.matmul(a, b[:, columns], out=out[:, columns])

    each_block(multiply, b.shape[1], n_jobs, size=max(1, -(-b.shape[1] // max(1, n_slabs))))
    return out


@contextmanager
def one_blas_thread():
    """Context in which the calling thread computes products of matrices alone.

    Contexts may nest, and overlap in several threads; the limit holds until the last of them ends.
    """
    holder = object()
    try:
        _blas_limit.acquire(holder)
        yield
    finally:
        try:
            _blas_limit.release(holder)
        finally:
            if holder in _blas_limit.holders:  # an interrupt cut `release` short
                _blas_limit.release(holder)


class _Call:
    """The blocks of one call of `each_block`, which the caller and its helpers take in turns.

    A helper holds a lock of its own, its seat, while it works. The call is closed once the caller holds all seats, so a
    caller waits only for helpers that have begun: calls may nest while all threads are busy. The seats are reentrant,
    so that `close` may be called again if an interrupt cut it short.
    """

    def __init__(self, work, blocks, n_helpers):
        self._work = work
        self._turns = iter(list(enumerate(blocks)))  # a list's iterator gives each turn to one thread
        self._seats = [threading.RLock() for _ in range(n_helpers)]
        self.results = [None] * len(blocks)
        self.errors: list[BaseException] = []  # of helpers
        self.is_closed = False

    def open(self):
        """Limit BLAS, and invite helpers."""
        _blas_limit.acquire(self)
        for seat in self._seats:
            _pool.invite(seat, self._help)

    def take_turns(self):
        for i, rows in self._turns:
            self.results[i] = self._work(rows)

    def close(self):
        """Begin no further block, and wait until no helper is at work."""
        self._skip_turns()
        for seat in self._seats:
            _pool.disinvite(seat)
            seat.acquire()
        _blas_limit.release(self)
        self.is_closed = True

    def _help(self, seat):
        if not seat.acquire(blocking=False):
            return  # the call is closed
        try:
            self.take_turns()
        except BaseException as error:
            self.errors.append(error)
            self._skip_turns()
        finally:
            seat.release()

    def _skip_turns(self):
        list(self._turns)


class _Pool:
    """Threads that help in calls: to start some at every call would take longer than a small batch.

    What several threads touch here is changed by single calls of C functions, which no interrupt can divide. The locks
    of `concurrent.futures` are entered by Python code, in which an interrupt can leave them locked for ever.
    """

    def __init__(self):
        self.reset()

    def reset(self):
        self._lock, self._wake = threading.Lock(), SimpleQueue[None]()
        self._invitations: OrderedDict = OrderedDict()  # {seat: what a helper calls with it}, the oldest first
        self._busy: list[None] = []  # an entry for each thread at work
        self._n_threads, self._max_threads = 0, 0

    def invite(self, seat, work):
        """Let a thread call work(seat) as soon as one is free."""
        with self._lock:
            self._max_threads = self._max_threads or max(1, _n_cores() - 1)
            self._invitations[seat] = work
            n_free = self._n_threads - len(self._busy)
            if n_free < len(self._invitations) and self._n_threads < self._max_threads:
                self._start_thread()
            if self._wake.qsize() < self._max_threads:
                self._wake.put(None)

    def disinvite(self, seat):
        self._invitations.pop(seat, None)

    def _start_thread(self):
        try:
            start_new_thread(_serve, (self._wake, self._invitations, self._busy))
        except RuntimeError:  # the system gives no more threads: the caller works alone
            return
        self._n_threads += 1


def _serve(wake, invitations, busy):
    """Accept invitations for ever: the life of a thread of the pool."""
    while True:
        wake.get()
        busy.append(None)
        while invitations:
            _accept(invitations)
        busy.pop()


def _accept(invitations):
    """Help in the oldest call; in a function of its own, since a thread that waits must not hold on to its data."""
    try:
        seat, work = invitations.popitem(last=False)
    except KeyError:
        return  # the last was accepted elsewhere, or taken back
    work(seat)


class _BlasLimit:
    """The limit on the threads of BLAS, one for the process, so that concurrent callers cannot restore each other's."""

    def __init__(self):
        self._libraries: Any = None
        self._before: Any = None  # the libraries' own numbers of threads
        self._is_set = False
        self.reset()

    def reset(self):
        # Reentrant: the garbage collector may end a context that an interrupt cut short, while another begins.
        self._lock, self.holders = threading.RLock(), set()

    def acquire(self, holder):
        with self._lock:
            self.holders.add(holder)
            if not self._is_set:
                self._set()

    def release(self, holder):
        with self._lock:
            if len(self.holders) == 1 and holder in self.holders and self._before is not None:
                self._restore()
            self.holders.discard(holder)

    def _set(self):
        if self._libraries is None:
            self._libraries = ThreadpoolController().select(user_api="blas").lib_controllers
        if self._before is None:  # else an interrupt cut `_restore` short
            self._before = [library.num_threads for library in self._libraries]
        for library in self._libraries:
            library.set_num_threads(1)
        self._is_set = True

    def _restore(self):
        self._is_set = False
        for library, n in zip(self._libraries, self._before, strict=True):
            library.set_num_threads(n)
        self._before = None


_pool, _blas_limit = _Pool(), _BlasLimit()
if hasattr(os, "register_at_fork"):
    # A child has none of the threads, and would inherit locks that nobody releases.
    os.register_at_fork(after_in_child=_pool.reset)
    os.register_at_fork(after_in_child=_blas_limit.reset)
