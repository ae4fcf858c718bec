"""Data that are looked at a block of rows at a time, wherever they lie."""

from typing import NamedTuple

import numpy as np

from skrlv._threads import dense, dense_blocks

_SAMPLE = 256  # rows that a grid of lmbda is measured on


class Rows:
    """The rows of an array, a memmap or a sparse matrix; a subclass may hold them elsewhere."""

    def __init__(self, X):
        self._X = X.reshape(len(X), -1) if len(X.shape) > 2 else X
        self.shape, self.dtype = self._X.shape, X.dtype

    def map(self, part):
        """part(x) of every block of rows x, in order."""
        return [part(x) for x in dense_blocks(self._X)]

    def take(self, chosen):
        """Some rows, as an array."""
        return dense(self._X[chosen])

    def survey(self):
        return joined_surveys(self.map(surveyed))


class Survey(NamedTuple):
    """What one look at all rows tells."""

    n_rows: int
    largest: float  # magnitude
    squares: float  # of the entries, in units of largest^2: nothing overflows
    total: np.ndarray  # sum of the rows, float64
    first: np.ndarray  # row
    varies: bool  # whether any row differs from it
    nonzero: np.ndarray  # which rows are not zero
    positive: np.ndarray  # which rows have a positive entry

    @property
    def rms(self):
        """Root mean square of the entries."""
        return self.largest * np.sqrt(self.squares / (self.n_rows * self.total.size))

    @property
    def is_offset(self):
        """Whether nearly all of the energy is that of the mean row, though rows differ."""
        mean = self.total / self.n_rows
        return self.varies and float(mean @ mean) > 0.99 * self.rms**2 * self.total.size


def surveyed(x):
    """The `Survey` of a block."""
    largest = float(np.abs(x).max())
    squares = float(np.sum((x / (largest or 1.0)) ** 2, dtype=np.float64))
    total, varies = x.sum(axis=0, dtype=np.float64), bool((x != x[0]).any())
    return Survey(len(x), largest, squares, total, x[0].copy(), varies, x.any(axis=1), (x > 0.0).any(axis=1))


def joined_surveys(surveys):
    """The `Survey` of blocks together."""
    n_rows, largest, squares, total, first, varies, nonzero, positive = zip(*surveys, strict=True)
    top = max(largest)
    shares = [s * (part / (top or 1.0)) ** 2 for s, part in zip(squares, largest, strict=True)]
    differ = any(varies) or any((row != first[0]).any() for row in first)
    return Survey(
        sum(n_rows), top, sum(shares), sum(total), first[0], differ, np.concatenate(nonzero), np.concatenate(positive)
    )


def sample_rows(rows, survey):
    """Up to 256 of the rows that are not zero, evenly spread."""
    found = np.flatnonzero(survey.nonzero)
    return rows.take(found[np.linspace(0, found.size - 1, min(found.size, _SAMPLE)).astype(int)])
