"""Data that are looked at a block of rows at a time, wherever they lie."""

from typing import NamedTuple

import numpy as np

from skrlv._threads import dense, dense_blocks


class Rows:
    """The rows of an array, a memmap or a sparse matrix; a subclass may hold them elsewhere."""

    def __init__(self, X):
        self._X = X
        self.shape, self.dtype = X.shape, X.dtype

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
    nonzero: np.ndarray  # which rows are not zero
    positive: np.ndarray  # which rows have a positive entry

    @property
    def rms(self):
        """Root mean square of the entries."""
        return self.largest * np.sqrt(self.squares / (self.n_rows * self.total.size))

    @property
    def is_offset(self):
        """Whether nearly all of the energy is that of the mean row, and rows are not constant altogether."""
        mean = self.total / self.n_rows
        offset, whole = float(mean @ mean), self.rms**2 * self.total.size
        return 0.99 * whole < offset < (1.0 - 1e-12) * whole


def surveyed(x):
    """The `Survey` of a block."""
    largest = float(np.abs(x).max())
    squares = float(np.sum((x / (largest or 1.0)) ** 2, dtype=np.float64))
    return Survey(len(x), largest, squares, x.sum(axis=0, dtype=np.float64), x.any(axis=1), (x > 0.0).any(axis=1))


def joined_surveys(surveys):
    """The `Survey` of blocks together."""
    n_rows, largest, squares, total, nonzero, positive = zip(*surveys, strict=True)
    top = max(largest)
    shares = [s * (part / (top or 1.0)) ** 2 for s, part in zip(squares, largest, strict=True)]
    return Survey(sum(n_rows), top, sum(shares), sum(total), np.concatenate(nonzero), np.concatenate(positive))
