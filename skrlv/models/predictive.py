"""Between base and the roof: models whose codes and encoder learn to agree."""

from abc import abstractmethod
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from skrlv._arrays import squares_per_sample, to_numpy
from skrlv.learning import BLOWN_UP, adam_step, moments_of, rms_norm, with_moments, without_moments
from skrlv.models.alternating import AlternatingModel
from skrlv.models.base import warn_user
from skrlv.models.encoder import EncoderModel, predicted

STEPS_AT_FULL_RATE = 200
LEAST_SHARE = 1e-9  # of the first rate; an encoder that goes astray below it does not because of the rate


class PredictiveModel(EncoderModel, AlternatingModel):
    """A model that finds codes near their prediction, and moves atoms and encoder to them.

    As a base class it stands before that which tells what atoms are, and how they move.
    """

    _minimum: Any  # (energy, y, z0=None) -> the `Solution` of a block of rows at the minimum of the whole energy

    @abstractmethod
    def _first_encoder(self, decoder, lmbda):
        """The encoder to begin with."""

    def _initial_energy(self, X, rng):
        self._data_unit = self._rows(X).survey().rms or 1.0
        return super()._initial_energy(X, rng)

    def _encode(self, energy, y, z0=None):
        if self.inference not in ("encoder", "argmin"):
            raise ValueError(f"inference={self.inference!r} must be 'encoder' or 'argmin'.")
        return predicted(energy, y) if self.inference == "encoder" else self._minimum(energy, y, z0)

    def _update(self, state, energy, y, z, whole):
        encoder = energy.encoder
        prediction, tape = encoder.forward(y)
        if _is_lost(energy, y, prediction):
            return self._begun_again(state, energy)
        moved = energy
        if self.dictionary is None:
            state, moved = super()._update(state, energy, y, z, whole)  # type: ignore[safe-super]
            z = self._carried(state, z)
        error = prediction - z
        code_unit = self._data_unit / rms_norm(energy.decoder)
        gradients = encoder.vjp(tape, error / (y.shape[0] * code_unit**2))
        units = encoder.scales(self._data_unit, code_unit)
        moments = moments_of(state, error)
        first_rate = self.learning_rate_init * state.get("slower", 1.0)
        rate = first_rate / np.sqrt(1.0 + moments.get("count", 0) / STEPS_AT_FULL_RATE)
        moments, parameters = adam_step(moments, encoder.parameters, gradients, rate, units)
        errors = np.append(state.get("prediction_errors", []), to_numpy(squares_per_sample(error)).mean())
        state = with_moments(state, moments) | {"prediction_errors": errors}
        return state, replace(moved, encoder=encoder.with_parameters(parameters))

    def _begun_again(self, state, energy):
        """Nothing of the batch is learned; the encoder starts anew, at a tenth of the rate."""
        slower = {"slower": 0.1 * state.get("slower", 1.0)}
        if slower["slower"] < LEAST_SHARE:
            raise ValueError(
                "The encoder predicts NaN, or codes of far too large a scale, before it has learned anything. "
                "Give encoder= a module whose first weights make sense of these data, or scale the data."
            )
        return without_moments(state) | slower, replace(
            energy, encoder=self._first_encoder(energy.decoder, energy.lmbda)
        )

    def _review(self, X):
        super()._review(X)
        if "slower" in self._state:
            warn_user(
                "The encoder's predictions went astray, and it began anew at a tenth of the rate, at last "
                f"{self._state['slower'] * self.learning_rate_init:.1g}. Lower learning_rate_init.",
                ConvergenceWarning,
            )

    @property
    def prediction_error_history_(self):
        """Mean squared length of z - Enc(x) in each batch, before its update."""
        check_is_fitted(self)
        return self._state.get("prediction_errors", np.empty(0))


def _is_lost(energy, y, prediction):
    """Whether predictions describe the data far worse than codes of zero."""
    fit = replace(energy, encoder_weight=0.0, lmbda=0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        spent = float(fit(y, prediction).mean())
    return not spent <= BLOWN_UP * 0.5 * float(squares_per_sample(y).mean())
