r"""Dictionary learning by gradient descent, one step per batch, as in the lecture. `learn_dictionary` is faster.

References
----------
Olshausen, Field, Emergence of simple-cell receptive field properties by learning a sparse code for natural
images, 1996.
"""

import math
from dataclasses import replace

from skrlv._arrays import to_device_of, to_numpy
from skrlv.decoders import Dictionary
from skrlv.learning.dictionary import unit_rows


def gradient_step(energy, y, z, *, learning_rate):
    r"""One gradient step on the mean energy of a batch, codes held fixed; then each atom is scaled to unit norm.

    .. math:: D \leftarrow D + \frac{\eta}{n} Z^\top (Y - ZD), \qquad d_j \leftarrow d_j / \|d_j\|

    Parameters
    ----------
    energy : Energy
        Its decoder is a `Dictionary`.
    y, z : arrays of shape (n_samples, n_features) and (n_samples, n_components)
        A batch and its codes.
    learning_rate : float
        The step size, > 0, in the inverse squared unit of the codes.

    Returns
    -------
    Energy
        The same energy with the new atoms; atoms that the step makes zero are kept as they were.

    Raises
    ------
    ValueError
        If learning_rate is not a positive, finite number.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.decoders import Dictionary
    >>> from skrlv.energy import Energy
    >>> from skrlv.learning import gradient_step
    >>> from skrlv.regularizers import L1
    >>> energy, y, z = Energy(Dictionary(np.eye(2)), L1(), 0.1), np.array([[1.0, 1.0]]), np.array([[1.0, 0.0]])
    >>> gradient_step(energy, y, z, learning_rate=0.1).decoder.atoms.round(3).tolist()
    [[0.995, 0.1], [0.0, 1.0]]
    """
    if not 0.0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate={learning_rate!r} must be positive and finite.")
    decoder, old = energy.decoder, energy.decoder.atoms
    slope = decoder.vjp(z, energy.cost.grad(y, decoder(z)))[1]["atoms"]
    atoms, norms = unit_rows(to_numpy(old - (learning_rate / y.shape[0]) * slope))
    atoms[norms == 0.0] = to_numpy(old)[norms == 0.0]
    return replace(energy, decoder=Dictionary(to_device_of(atoms, old)))
