"""Exact convolutional codes, each signal certified: coordinate descent on working sets, tile by tile."""

from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise, product
from typing import Any

import numpy as np

from skrlv._arrays import double, is_numpy
from skrlv._convolution import AXES, boxed, boxed_shape, correlate
from skrlv._threads import each_block, row_blocks
from skrlv.decoders import ConvolutionalDictionary
from skrlv.inference.solution import Solution, gather
from skrlv.regularizers import LassoFamily

_POSITIONS_PER_TILE = 2048
_ENTRIES_PER_SLAB = 2**20
_FLOAT32_TOL = 1e-5  # smaller gaps need sums in float64
_STALLED = 100  # visits after which rounding prevails if the largest violation has not fallen
_NO_GAIN = 0.9  # a gap above this share of the smallest gap so far is no progress


def tiled_descent(landscape, z0=None, *, max_iter=2000, tol=1e-6, n_jobs=None):
    r"""Minimise over small sets of entries, each with its own Gram matrix; the energy never rises.

    The positions of a signal are divided into tiles. A visit to a tile updates its non-zero entries, and the entries
    that violate the optimality conditions most, by cyclic coordinate descent. Then the residual correlations around
    these entries are updated, with a table of inner products of kernels and shifted kernels. Tiles of one colour are so
    far apart that they do not interact, so threads work on them in parallel, and the result is the same to the bit.

    Parameters
    ----------
    landscape : Landscape
        Of NumPy arrays: a `ConvolutionalDictionary` over one to three axes, squared error, the L1 family, with or
        without an encoder term.
    z0 : array of shape (n_samples, \*positions, n_components) or None, default=None
        Start; None is zero.
    max_iter : int, default=2000
        Maximum number of visits to all tiles of a signal.
    tol : float, default=1e-6
        Largest relative duality gap of a signal, see `duality_gap`. The gap is computed in float64 before the first
        visit, so a zero code may be returned, and whenever all tiles have converged.
    n_jobs : int or None, default=None
        Number of threads, over signals and over tiles.

    Returns
    -------
    Solution
        Codes of the dtype of the data, number of visits and gap per signal, and which signals met ``tol``.

    References
    ----------
    Friedman, Hastie, Tibshirani, Regularization Paths for Generalized Linear Models via Coordinate Descent, 2010.
    Moreau, Oudre, Vayatis, DICOD: Distributed Convolutional Coordinate Descent for Convolutional Sparse Coding, 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.decoders import ConvolutionalDictionary
    >>> from skrlv.energy import Energy
    >>> from skrlv.inference import tiled_descent
    >>> from skrlv.regularizers import L1
    >>> energy = Energy(ConvolutionalDictionary(np.array([[[0.6], [0.8]]]), (5,)), L1(), 0.1)
    >>> signal = np.array([[[0.0], [0.6], [0.8], [0.0], [0.0]]])
    >>> tiled_descent(energy.given(signal)).z[0, :, 0].round(3).tolist()
    [0.0, 0.9, 0.0, 0.0]
    """
    if not is_convolutional_lasso(landscape):
        raise TypeError(
            "Exact codes need NumPy arrays, a ConvolutionalDictionary over at most three axes, squared error and the "
            "L1 family."
        )
    y, prediction = landscape.y, landscape.prediction
    dtype = np.float64 if tol < _FLOAT32_TOL else y.dtype
    problem = ConvolutionalLasso(landscape.energy, dtype)

    def search(rows):
        z = np.zeros((1, *problem.positions, problem.n_components), dtype) if z0 is None else z0[rows].astype(dtype)
        target = None if prediction is None else prediction[rows]
        visits, gap = _descend(problem, y[rows], target, z, max_iter, tol, n_jobs)
        z = z.astype(y.dtype, copy=False)
        return Solution(z, np.array([visits]), np.array([gap]), np.array([gap <= tol]))

    return gather(search, len(y), partial(each_block, n_jobs=n_jobs, size=1))


def is_convolutional_lasso(landscape):
    """Whether `tiled_descent` can minimise this landscape."""
    energy = landscape.energy
    return (
        energy.is_quadratic
        and isinstance(energy.decoder, ConvolutionalDictionary)
        and len(energy.decoder.spatial_shape) <= AXES
        and isinstance(energy.regularizer, LassoFamily)
        and is_numpy(landscape.y)
    )


@dataclass(frozen=True, eq=False)
class ConvolutionalLasso:
    """The arrays that all signals of one energy share, in the forms that the kernels take."""

    energy: Any
    dtype: Any  # of codes and residual correlations during descent

    @cached_property
    def kernels(self):
        """The kernels in float64."""
        return np.ascontiguousarray(double(self.energy.decoder.kernels))

    @property
    def positions(self):
        return self.energy.decoder.code_shape[:-1]

    @property
    def n_components(self):
        return len(self.kernels)

    @cached_property
    def ridge(self):
        return self.energy.regularizer.ridge(self.energy.lmbda)

    @cached_property
    def thresholds(self):
        return np.asarray(self.energy.regularizer.thresholds(self.energy.lmbda, self.n_components), dtype=np.float64)

    def significant_thresholds(self, y):
        """The thresholds, or zero where a penalty is negligible compared with the signal y."""
        from skrlv.kernels.lasso import NEGLIGIBLE

        significant = self.thresholds > NEGLIGIBLE * self.lengths * np.sqrt(np.vdot(y, y))
        return np.where(significant, self.thresholds, 0.0)

    @property
    def positive(self):
        return bool(self.energy.regularizer.positive)

    @cached_property
    def lengths(self):
        """Norm of the column of an entry of each kernel, (k,): the unit of the slack of entries without a penalty."""
        return np.sqrt(self.energy.decoder.squared_norms + self.energy.encoder_weight + self.ridge)

    @cached_property
    def table(self):
        """The Gram matrix of kernels i and shifted kernels j: (k, lags on three axes, k)."""
        kernels, reach = self.kernels, [size - 1 for size in self.kernels.shape[1:-1]]
        padded = np.pad(kernels, [(0, 0), *((r, r) for r in reach), (0, 0)])
        table = correlate(padded, kernels)
        i = np.arange(len(kernels))
        table[(i, *reach, i)] += self.energy.encoder_weight + self.ridge
        return np.ascontiguousarray(boxed(table, len(reach)), dtype=self.dtype)

    @cached_property
    def tilings(self):
        """Two ways to cut the positions: the borders of one are inside the tiles of the other."""
        reach = [size // 2 for size in self.table.shape[1:-1]]
        return [_coloured(boxed_shape(self.positions), reach, shifted) for shifted in (False, True)]


def _coloured(shape, reach, shifted):
    """Tiles as boxes, in groups whose tiles do not interact."""
    side = round(_POSITIONS_PER_TILE ** (1.0 / max(1, sum(size > 1 for size in shape))))
    cuts = [_cut(size, max(side, 2 * r), shifted) for size, r in zip(shape, reach, strict=True)]
    groups: dict = {}
    for tile in product(*map(enumerate, cuts)):
        colour, box = tuple(at % 2 for at, _ in tile), [end for _, ends in tile for end in ends]
        groups.setdefault(colour, []).append(np.array(box, dtype=np.int64))
    return [groups[colour] for colour in sorted(groups)]


def _cut(size, side, shifted):
    """Cut an axis into intervals of at least that side; if shifted, the first interval may be half as long."""
    ends = np.linspace(0, size, max(1, size // side) + 1).astype(int)
    if shifted:
        ends[1:-1] -= ends[1] // 2
    return list(pairwise(ends))


def _descend(problem, y, prediction, z, max_iter, tol, n_jobs):
    """Compute the codes of one signal in place; return the number of visits to all tiles, and the gap."""
    c = np.empty((1, *problem.positions, problem.n_components), problem.dtype)
    gap = _refresh(problem, y, prediction, z, c, n_jobs)
    thresholds = problem.significant_thresholds(double(y))
    penalised = thresholds[thresholds > 0.0]
    target = 0.5 * tol * (penalised.min() if penalised.size else np.abs(c).max())
    visits, n_without_gain, best, best_gap = 0, 0, None, np.inf
    while gap > tol and visits < max_iter and n_without_gain < 2 and target > 0.0:
        visits += _visit_tiles(problem, c[0], z[0], target, max_iter - visits, n_jobs)
        gap = _refresh(problem, y, prediction, z, c, n_jobs)
        n_without_gain = n_without_gain + 1 if gap > _NO_GAIN * best_gap else 0
        if tol < gap < best_gap:
            best, best_gap = z.copy(), gap
        target *= min(0.3, max(0.03, 0.5 * tol / max(gap, tol)))
    if gap > best_gap:  # the last visits only added rounding errors
        z[...], gap = best, best_gap
    return visits, gap


def _visit_tiles(problem, c, z, target, max_iter, n_jobs):
    """Visit all tiles until no violation of the optimality conditions exceeds target; return the number of visits."""
    from skrlv.kernels.convolution import solve_tile

    c, z = (boxed(x[None], x.ndim - 1)[0] for x in (c, z))
    target, thresholds = c.dtype.type(target), problem.thresholds.astype(c.dtype)

    def work(box):
        return solve_tile(problem.table, thresholds, problem.positive, box, target, c, z)

    least, since = np.inf, 0
    for visits in range(max_iter):
        found = [violation for group in problem.tilings[visits % 2] for violation in _parallel(work, group, n_jobs)]
        least, since = (max(found), 0) if max(found) < least else (least, since + 1)
        if not max(found) > target or since >= _STALLED:
            break
    return visits + 1


def _parallel(work, tasks, n_jobs):
    if len(tasks) == 1:
        return [work(tasks[0])]
    return each_block(lambda at: work(tasks[at.start]), len(tasks), n_jobs, size=1)


def _refresh(problem, y, prediction, z, c, n_jobs):
    """Compute the residual correlations c of one signal's codes again, in float64; return the relative gap."""
    from skrlv.kernels.convolution import add_gap_parts, draw
    from skrlv.kernels.lasso import relative_gap

    energy, kernels, n_axes = problem.energy, problem.kernels, y.ndim - 2
    y = double(y)
    decoded = np.zeros(y.shape)
    draw(boxed(kernels, n_axes), boxed(z, n_axes)[0], boxed(decoded, n_axes)[0])
    residual, height = y - decoded, kernels.shape[1]
    entries, thresholds = (problem.positions[0], z[0, 0].size), problem.significant_thresholds(y)

    def part(rows):
        fresh = correlate(residual[:, rows.start : rows.stop + height - 1], kernels)
        squares, of_prediction = 0.0, 0.0
        if energy.encoder_weight:
            predicted = double(prediction[:, rows])
            difference = predicted - z[:, rows]
            fresh += energy.encoder_weight * difference
            squares = float(np.vdot(difference, difference))
            of_prediction = float(np.vdot(predicted, predicted))
        if problem.ridge:
            fresh -= problem.ridge * z[:, rows]
        found = np.array([0.0, 0.0, 1.0, 0.0, 0.0])
        here = (boxed(x, n_axes)[0] for x in (fresh, np.ascontiguousarray(z[:, rows])))
        add_gap_parts(*here, thresholds, problem.lengths, problem.positive, found)
        c[:, rows] = fresh
        lengths = float(np.vdot(z[:, rows], z[:, rows])) if problem.ridge else 0.0
        return *found, squares, of_prediction, lengths

    slabs = row_blocks(entries[0], max(1, _ENTRIES_PER_SLAB // entries[1]))
    parts = np.array(_parallel(part, slabs, n_jobs))
    penalty, fitted, _, _, n_nonzero, squares, of_prediction, lengths = parts.sum(axis=0)
    smooth = 0.5 * (np.vdot(residual, residual) + energy.encoder_weight * squares + problem.ridge * lengths)
    half_norm = 0.5 * (np.vdot(y, y) + energy.encoder_weight * of_prediction)
    scale, slack = parts[:, 2].min(), parts[:, 3].max()
    if not np.isfinite(penalty + abs(fitted) + smooth):
        return np.inf
    return float(relative_gap(smooth, half_norm, penalty, fitted, scale, slack, int(n_nonzero)))
