"""What a dictionary needs to know of codes and data; it adds up over batches, machines and passes."""

from skrlv._arrays import double, namespace, to_numpy


def statistics(y, z):
    r"""Sums over samples: ZtZ = sum of z z^T, ZtY = sum of z y^T, how often each atom was used, and n.

    Parameters
    ----------
    y : array of shape (n_samples, n_features)
        Data.
    z : array of shape (n_samples, n_components)
        Their codes.

    Returns
    -------
    dict of NumPy arrays, float64
        ZtZ (n_components, n_components), ZtY (n_components, n_features), usage (n_components,), count.
    """
    xp = namespace(y, z)
    y, z = double(y), double(z)
    return {
        "ZtZ": to_numpy(z.T @ z),
        "ZtY": to_numpy(z.T @ y),
        "usage": to_numpy(xp.sum(double(z != 0), axis=0)),
        "count": float(y.shape[0]),
    }


def add(a, b):
    """The statistics of both."""
    return {name: a[name] + b[name] for name in a}


def decay(state, factor):
    """Forget a share 1 - factor of what was seen."""
    return {name: factor * value for name, value in state.items()}
