r"""The lecture's own way to learn a dictionary: one step downhill per batch. `learn_dictionary` gets further with each.

References
----------
Olshausen, Field, Emergence of simple-cell receptive field properties by learning a sparse code for natural
images, 1996.
"""

from dataclasses import replace

from skrlv._arrays import to_device_of, to_numpy
from skrlv.decoders import Dictionary
from skrlv.learning.dictionary import unit_rows


def gradient_step(energy, y, z, *, learning_rate):
    r"""One step down the mean energy of a batch, its codes held; then each atom is given unit norm.

    .. math:: D \leftarrow D + \frac{\eta}{n} Z^\top (Y - ZD), \qquad d_j \leftarrow d_j / \|d_j\|

    Parameters
    ----------
    energy : Energy
        With a `Dictionary`.
    y, z : arrays of shape (n_samples, n_features) and (n_samples, n_components)
        A batch and its codes.
    learning_rate : float
        The step, > 0, in the inverse squared unit of the codes.

    Returns
    -------
    Energy
        With the new atoms; those that would vanish stay.

    Raises
    ------
    ValueError
        If learning_rate is not positive.
    """
    if not learning_rate > 0.0:
        raise ValueError(f"learning_rate={learning_rate!r} must be positive.")
    decoder, old = energy.decoder, energy.decoder.atoms
    slope = decoder.vjp(z, energy.cost.grad(y, decoder(z)))[1]["atoms"]
    atoms, norms = unit_rows(to_numpy(old - (learning_rate / y.shape[0]) * slope))
    atoms[norms == 0.0] = to_numpy(old)[norms == 0.0]
    return replace(energy, decoder=Dictionary(to_device_of(atoms, old)))
