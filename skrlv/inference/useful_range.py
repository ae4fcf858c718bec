"""The range of lmbda between zero codes and dense codes, for given data and atoms."""

from dataclasses import replace

import numpy as np

from skrlv.inference.coordinate_descent import coordinate_descent


def useful_range(energy, X):
    """The lmbda at which half of the rows have a non-zero, and one at which codes are dense.

    None if every code is zero at any lmbda. The energy is of the L1 family with a `Dictionary`, on NumPy arrays. Rows
    whose codes are zero at any lmbda are left out, and so are atoms without a penalty.
    """
    correlations = energy.given(X).quadratic().correlations
    thresholds = energy.regularizer.thresholds(1.0, correlations.shape[1])
    penalised = thresholds > 0.0
    reach = (correlations if energy.regularizer.positive else np.abs(correlations))[:, penalised]
    reach = reach / thresholds[penalised]
    reached = reach.max(axis=1, initial=0.0)
    if not reached.any():
        return None
    top = float(np.median(reached[reached > 0.0]))
    return top, _dense_end(energy, X[reached > 0.0], top)


def _dense_end(energy, X, top):
    """Halve lmbda until codes have half as many non-zeros as a least-squares fit, at most down to top / 2^14."""
    lmbda, z = top, None
    for _ in range(14):
        lmbda /= 2.0
        z = coordinate_descent(replace(energy, lmbda=lmbda).given(X), z, tol=1e-3, max_iter=1000).z
        if np.count_nonzero(z, axis=1).mean() >= 0.5 * min(energy.decoder.atoms.shape):
            break
    return lmbda
