"""A landscape in the form that the kernels take: a Lasso on its Gram matrix, as NumPy arrays."""

from typing import NamedTuple

import numpy as np

from skrlv._arrays import aligned, is_numpy
from skrlv.regularizers import LassoFamily


class LassoProblem(NamedTuple):
    """min over z of h - q.z + 1/2 z.G z + sum_j t_j |z_j|, for a block of rows."""

    gram: np.ndarray  # (k, k), with the ridge on its diagonal
    correlations: np.ndarray  # (n, k)
    half_norms: np.ndarray  # (n,), float64
    thresholds: np.ndarray  # (k,)
    positive: bool
    ridge: float

    @property
    def arrays(self):
        """The arguments that all kernels take, in their order."""
        return self[:-1]


def is_lasso(landscape):
    """Whether the kernels can minimise this landscape."""
    energy = landscape.energy
    return energy.has_gram and isinstance(energy.regularizer, LassoFamily) and is_numpy(landscape.start())


def lasso_problem(landscape):
    """The landscape as a `LassoProblem`; the ridge of an elastic net is added to the diagonal of the Gram matrix."""
    regularizer, lmbda = landscape.energy.regularizer, landscape.energy.lmbda
    gram, correlations, half_norms = landscape.quadratic()
    n_components, ridge = gram.shape[0], regularizer.ridge(lmbda)
    if ridge:
        gram = gram + ridge * np.eye(n_components, dtype=gram.dtype)
    return LassoProblem(
        aligned(gram),
        np.ascontiguousarray(correlations),
        half_norms,
        np.asarray(regularizer.thresholds(lmbda, n_components), dtype=gram.dtype),
        bool(regularizer.positive),
        ridge,
    )


def lasso_start(landscape, z0):
    """The `LassoProblem` of a landscape, and the start, as an array that may be overwritten."""
    if not is_lasso(landscape):
        raise TypeError("Exact codes need NumPy arrays, a dictionary, squared error and the L1 family.")
    problem = lasso_problem(landscape)
    return problem, np.array(landscape.start() if z0 is None else z0, dtype=problem.correlations.dtype, order="C")
