"""Learning atoms and an encoder that predicts their codes: the step of predictive sparse decomposition.

References
----------
Kavukcuoglu, Ranzato, LeCun, Fast Inference in Sparse Coding Algorithms with Applications to Object Recognition, 2008.
"""

from dataclasses import replace

import numpy as np

from skrlv._arrays import squares_per_sample, to_numpy
from skrlv.learning.adam import DIVERGED_LOSS, adam_step
from skrlv.learning.alternation import rescaled_codes
from skrlv.learning.encoder import rms_norm

STEPS_AT_FULL_RATE = 200
LOWEST_RATE_FACTOR = 1e-9  # an encoder that diverges below it does not because of the rate


def learn_prediction(state, energy, y, z, whole, *, learn_atoms, first_encoder, rate, data_unit):
    r"""Move the atoms towards the data, then the encoder towards the codes, by one step of Adam.

    Parameters
    ----------
    state : LearningState
        Of earlier steps.
    energy : Energy
        With an encoder.
    y, z : arrays of shape (n_samples, ...)
        A batch and its codes.
    whole : bool
        Whether the batch holds all rows.
    learn_atoms : callable or None
        (state, energy, y, z, whole) -> (state, energy); None leaves the atoms as they are.
    first_encoder : callable
        (decoder, lmbda) -> an encoder to start again from after a divergence, at a tenth of the rate.
    rate : float
        First learning rate, which falls as :math:`1 / \sqrt{1 + \mathrm{steps} / 200}`.
    data_unit : float
        Root mean square of the data.

    Returns
    -------
    state : LearningState
        With mean squared errors of predictions as the history "prediction_errors".
    energy : Energy
        The next.

    Raises
    ------
    ValueError
        If the encoder diverges before it has learned anything, however small the rate.
    """
    encoder = energy.encoder
    prediction, tape = encoder.forward(y)
    if _has_diverged(energy, y, prediction):
        return _restarted(state, energy, first_encoder)
    moved = energy
    if learn_atoms is not None:
        state, moved = learn_atoms(state, energy, y, z, whole)
        z = rescaled_codes(state, z)
    error, code_unit = prediction - z, float(data_unit / rms_norm(energy.decoder))
    gradients = encoder.vjp(tape, error / code_unit / (y.shape[0] * code_unit))  # the square may vanish
    adam = state.adam.on_device_of(error)
    rate = rate * adam.rate_factor / np.sqrt(1.0 + adam.moments.get("count", 0) / STEPS_AT_FULL_RATE)
    units = encoder.scales(data_unit, code_unit)
    moments, parameters = adam_step(adam.moments, encoder.parameters, gradients, rate, units)
    state = state._replace(adam=adam._replace(moments=moments).on_host())
    state = state.recorded(prediction_errors=to_numpy(squares_per_sample(error)).mean())
    return state, replace(moved, encoder=encoder.with_parameters(parameters))


def _restarted(state, energy, first_encoder):
    """Learn nothing from the batch; the encoder starts again at a tenth of the rate."""
    adam = state.adam.slowed()
    if adam.rate_factor < LOWEST_RATE_FACTOR:
        raise ValueError(
            f"The predictions of the first encoder are NaN, or describe the data {DIVERGED_LOSS:g} times worse than "
            "codes of zero, so learning cannot start from it. Pass an encoder= whose first codes are smaller, or scale "
            "the data."
        )
    return state._replace(adam=adam), replace(energy, encoder=first_encoder(energy.decoder, energy.lmbda))


def _has_diverged(energy, y, prediction):
    """Whether predictions describe the data far worse than codes of zero."""
    fit = replace(energy, encoder_weight=0.0, lmbda=0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        spent = float(fit(y, prediction).mean())
    return not spent <= DIVERGED_LOSS * 0.5 * float(squares_per_sample(y).mean())
