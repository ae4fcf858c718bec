"""The order in which a pass visits the rows."""

import numpy as np


def minibatches(n_samples, batch_size, rng):
    """Indices of each batch of one pass, shuffled; all rows in their own order where one batch holds them.

    Parameters
    ----------
    n_samples, batch_size : int
        Rows in all, and most rows per batch.
    rng : numpy.random.RandomState
        Shuffles.

    Yields
    ------
    array of int
        Rows of a batch; every row is in exactly one, and no two batches differ by more than one in size.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.learning import minibatches
    >>> [rows.tolist() for rows in minibatches(5, 2, np.random.RandomState(0))]
    [[2, 0], [1, 3], [4]]
    """
    n_batches = -(-n_samples // batch_size)
    order = np.arange(n_samples) if n_batches == 1 else rng.permutation(n_samples)
    yield from np.array_split(order, n_batches)
