"""Access to data by blocks of rows: in memory, on disk, sparse, or on a cluster."""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from skrlv._threads import dense, row_blocks

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_FEWEST = 10  # rows of which one can be called an outlier
_SAMPLE = 256  # rows that a grid of lmbda is measured on


def converts_by_block(X):
    """Whether X is a NumPy matrix of numbers that estimators must convert, which `Rows` does a block at a time."""
    is_matrix = type(X) in (np.ndarray, np.memmap) and X.ndim == 2
    return is_matrix and X.dtype.kind in "biuf" and X.dtype not in _FLOATS


class Rows:
    """The rows of an array, a memory map or a sparse matrix, in C order and in one dtype.

    Only the rows that are asked for are converted, so that a file of bytes is never held in float64. Stands for the
    array wherever ``shape``, ``dtype`` and ``X[rows]`` are all that is used. A subclass may hold rows elsewhere.

    Parameters
    ----------
    X : array, memory map, or CSR matrix of shape (n_samples, n_features)
        Data; the entries of signals with more axes are taken as rows.
    dtype : dtype or None, default=None
        Dtype of the rows that are returned; None is the dtype of X.
    """

    ndim = 2

    def __init__(self, X, dtype=None):
        self._X = X.reshape(X.shape[0], -1) if len(X.shape) > 2 else X
        self.shape, self.dtype = self._X.shape, np.dtype(X.dtype if dtype is None else dtype)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, chosen):
        """The rows of a slice, a mask or indices, as an array; a view if there is nothing to convert."""
        return np.ascontiguousarray(dense(self._X[chosen]), dtype=self.dtype)

    def toarray(self):
        """All rows."""
        return self[:]

    def map(self, part):
        """[part(x) for every block of rows x], in order."""
        return [part(self[rows]) for rows in row_blocks(self.shape[0])]

    def take(self, chosen):
        """The rows with these indices, as an array."""
        return self[chosen]

    def summary(self):
        """The `DataSummary` of all rows."""
        return _joined(self.map(summarize))


class DataSummary(NamedTuple):
    """A summary of all rows that estimators need, computed in one pass."""

    n_rows: int
    largest: float  # magnitude
    squares: float  # sum of squared entries, in units of largest^2: nothing overflows
    total: np.ndarray  # sum of the rows, float64
    first: np.ndarray  # row
    varies: bool  # whether any row differs from the first
    nonzero: np.ndarray  # (n_rows,): whether a row has a non-zero entry
    positive: np.ndarray  # (n_rows,): whether a row has a positive entry
    longest: int  # index of the row with the largest sum of squared entries
    longest_squares: float  # that sum, in units of largest^2

    @property
    def rms(self):
        """Root mean square of the entries."""
        return self.largest * np.sqrt(self.squares / (self.n_rows * self.total.size))

    @property
    def is_offset(self):
        """Whether the mean row holds over 99 % of the energy, though rows differ."""
        mean = self.total / self.n_rows
        return self.varies and float(mean @ mean) > 0.99 * self.rms**2 * self.total.size

    @property
    def outlier(self):
        """The index of a row that holds more than half of the energy of at least ten rows; None if there is none."""
        return self.longest if self.n_rows >= _FEWEST and self.longest_squares > 0.5 * self.squares else None


def summarize(x):
    """The `DataSummary` of an array of rows."""
    largest = float(np.abs(x).max())
    relative = (x / (largest or 1.0)) ** 2
    squares, by_row = float(np.sum(relative, dtype=np.float64)), relative.sum(axis=1, dtype=np.float64)
    longest = int(by_row.argmax())
    total, varies = x.sum(axis=0, dtype=np.float64), bool((x != x[0]).any())
    return DataSummary(
        len(x), largest, squares, total, x[0].copy(), varies, x.any(axis=1), (x > 0.0).any(axis=1),
        longest, float(by_row[longest]),
    )  # fmt: skip


def _joined(summaries):
    """The `DataSummary` of blocks together."""
    n_rows, largest, squares, total, first, varies, nonzero, positive, longest, heaviest = zip(*summaries, strict=True)
    top = max(largest)
    factors = [(part / (top or 1.0)) ** 2 for part in largest]
    shares = [s * factor for s, factor in zip(squares, factors, strict=True)]
    lengths = [s * factor for s, factor in zip(heaviest, factors, strict=True)]
    block = int(np.argmax(lengths))
    differ = any(varies) or any((row != first[0]).any() for row in first)
    return DataSummary(
        sum(n_rows), top, sum(shares), sum(total), first[0], differ, np.concatenate(nonzero), np.concatenate(positive),
        sum(n_rows[:block]) + longest[block], lengths[block],
    )  # fmt: skip


def sample_rows(rows, summary):
    """Up to 256 of the rows that are not zero, evenly spread."""
    found = np.flatnonzero(summary.nonzero)
    return rows.take(found[np.linspace(0, found.size - 1, min(found.size, _SAMPLE)).astype(int)])


def largest_magnitude(X):
    """Largest magnitude of the entries of an array or CSR matrix; nothing of its size is allocated."""
    entries = X.data if sparse.issparse(X) else X
    return max(float(entries.max(initial=0.0)), -float(entries.min(initial=0.0)))
