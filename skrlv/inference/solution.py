"""The result of every inference method, and functions that join the results of blocks of rows."""

from functools import partial
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from skrlv._arrays import is_numpy
from skrlv._threads import each_block

ROWS_PER_THREAD = 64  # rows of a batch that form a block


class Solution(NamedTuple):
    """Codes of a block of rows, with the number of steps and the error of each row."""

    z: object  # (n_samples, ..., n_components), like the landscape's arrays
    n_iter: np.ndarray  # (n_samples,): number of steps of each row
    error: np.ndarray  # (n_samples,): last value of the method's stopping criterion
    converged: np.ndarray  # (n_samples,): whether the error is within the tolerance
    energies: np.ndarray | None = None  # (max(n_iter) + 1, n_samples) if recorded, from the start on


def solved(z):
    """The `Solution` of codes in closed form: no steps, no error.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.inference import solved
    >>> solved(np.ones((2, 3))).converged.tolist()
    [True, True]
    """
    n = z.shape[0]
    return Solution(z, np.zeros(n, dtype=np.int64), np.zeros(n), np.ones(n, dtype=bool))


def check_solution(solution, y):
    """Refuse what an inference method must not return for the rows y."""
    if not isinstance(solution, Solution):
        raise TypeError(f"Inference must return a skrlv.inference.Solution, got {type(solution).__name__}.")
    parts: Any = solution[:4]
    lengths = [part.shape[0] if getattr(part, "ndim", 0) else None for part in parts]
    if set(lengths) != {y.shape[0]}:
        raise ValueError(f"z, n_iter, error and converged need {y.shape[0]} entries, one per row, but have {lengths}.")
    return solution


class Gathered:
    """The solutions of blocks of rows as one: arrays are filled as threads finish, CSR codes stacked at the end.

    Codes are written to ``z`` if it is given.
    """

    def __init__(self, n_rows, z=None):
        self._n_rows, self._lock = n_rows, Lock()
        self._arrays: dict = {} if z is None else {"z": z}
        self._matrices: dict = {}

    def add(self, rows, solution):
        for name, part in zip(Solution._fields[:4], solution[:4], strict=True):
            if sparse.issparse(part):
                self._matrices[rows.start] = part
            else:
                self._array(name, part)[rows] = part

    def _array(self, name, like):
        with self._lock:
            if name not in self._arrays:
                self._arrays[name] = np.empty((self._n_rows, *like.shape[1:]), like.dtype)
            return self._arrays[name]

    def solution(self):
        if self._matrices:
            self._arrays["z"] = sparse.vstack([z for _, z in sorted(self._matrices.items())], format="csr")
        return Solution(**self._arrays)


def gather(search, n_rows, blocks=each_block):
    """The `Solution` of all rows from search(rows) of each block; ``blocks(work, n_rows)`` runs work on the blocks."""

    def work(rows):
        gathered.add(rows, search(rows))

    gathered = Gathered(n_rows)
    blocks(work, n_rows)
    return gathered.solution()


def blockwise(infer, n_jobs, size=ROWS_PER_THREAD):
    """A function that calls infer(energy, y, z0) on blocks of a NumPy batch in threads, and on other arrays at once."""

    def infer_batch(energy, y, z0=None):
        if not is_numpy(y):
            return infer(energy, y, z0)
        blocks = partial(each_block, n_jobs=n_jobs, size=size)

        def search(rows):
            return check_solution(infer(energy, y[rows], None if z0 is None else z0[rows]), y[rows])

        return gather(search, len(y), blocks)

    return infer_batch


def joined(solutions):
    """Concatenate the solutions of consecutive blocks of rows, with NumPy or CSR codes."""
    z, *records = zip(*(part[:4] for part in solutions), strict=True)
    codes = sparse.vstack(z, format="csr") if sparse.issparse(z[0]) else np.concatenate(z)
    return Solution(codes, *map(np.concatenate, records))


def unconverged(solution, remedy):
    """How many rows missed the tolerance, by how much, and what to change; None if all converged."""
    missed = ~solution.converged
    if not missed.any():
        return None
    return (
        f"{missed.sum()} of {missed.size} codes missed the tolerance; the worst ended at "
        f"{solution.error[missed].max():.1e}. {remedy}"
    )
