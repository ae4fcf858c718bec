"""Sufficient statistics of codes and data for learning a dictionary; they add up over batches, machines and passes."""

from skrlv._arrays import double, is_numpy, namespace, to_numpy
from skrlv._threads import product


def statistics(y, z, n_jobs=None):
    r"""Sums over samples: ZtZ = sum of z z^T, ZtY = sum of z y^T, the number of uses of each atom, and n.

    Parameters
    ----------
    y : array of shape (n_samples, n_features)
        Data.
    z : array of shape (n_samples, n_components)
        Their codes.
    n_jobs : int or None, default=None
        Number of threads for NumPy arrays; None is all cores of the process, or a joblib worker's share.

    Returns
    -------
    dict of NumPy arrays, float64
        ZtZ (n_components, n_components), ZtY (n_components, n_features), usage (n_components,) and count.
    """
    xp = namespace(y, z)
    y, z = double(y), double(z)
    products = [product(z.T, x, n_jobs) if is_numpy(z) else to_numpy(z.T @ x) for x in (z, y)]
    return {
        "ZtZ": products[0],
        "ZtY": products[1],
        "usage": to_numpy(xp.sum(double(z != 0), axis=0)),
        "count": float(y.shape[0]),
    }


def add(a, b):
    """The statistics of two sets of samples together."""
    return {name: a[name] + b[name] for name in a}


def decay(state, factor):
    """Statistics with all samples weighted by a factor."""
    return {name: factor * value for name, value in state.items()}
