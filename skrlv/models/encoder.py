"""Between base and the roof: models with an encoder."""

from dataclasses import fields
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skrlv._arrays import check_device, to_device, to_numpy
from skrlv.encoders import ALISTA, LISTA, ConvolutionalEncoder, HyperLISTA, ShrinkageEncoder, StepLISTA, TanhEncoder
from skrlv.energy import Energy
from skrlv.inference import Solution
from skrlv.models.linear import LinearModel
from skrlv.regularizers import L1

_BY_HAND: dict[str, Any] = {
    kind.__name__: kind
    for kind in (ALISTA, LISTA, ConvolutionalEncoder, HyperLISTA, ShrinkageEncoder, StepLISTA, TanhEncoder)
}


class EncoderModel(LinearModel):
    """A model that predicts codes under L1."""

    def _validate_params(self):
        super()._validate_params()
        check_device(self.device)

    @property
    def _learns(self):
        return True  # the encoder, where atoms are given

    def _store(self, energy, dtype):
        super()._store(energy, dtype)  # type: ignore[safe-super]  # the kind of atoms comes later
        encoder = energy.encoder.mapped(lambda value: to_numpy(value).astype(dtype))
        self._encoder = {"kind": type(encoder).__name__}
        self._encoder |= {field.name: getattr(encoder, field.name) for field in fields(encoder)}
        self._positive, self._encoder_weight = energy.regularizer.positive, energy.encoder_weight

    @property
    def encoder_(self):
        """The fitted encoder, on the device."""
        check_is_fitted(self)
        if self._encoder["kind"] not in _BY_HAND:
            refuse_cpu(self.device)
        parts = {
            name: to_device(value, self.device) if isinstance(value, np.ndarray) else value
            for name, value in self._encoder.items()
            if name != "kind"
        }
        return _kind(self._encoder["kind"])(**parts)

    @property
    def energy_(self):
        """The fitted `Energy`, on the device."""
        return Energy(
            self._stored_decoder, L1(positive=self._positive), self.lmbda_, self.encoder_, self._encoder_weight
        )

    def _placed(self, x):
        return to_device(x.astype(self.components_.dtype, copy=False), self.device)

    def score(self, X, y=None):
        """Minus the mean energy of the codes that `transform` gives; energies of different lmbdas do not compare.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Data.
        y : None
            Ignored.

        Returns
        -------
        float
            Higher is better; that of exact codes is the most there is.
        """
        return float(np.mean(self.score_samples(X)))


def refuse_cpu(device):
    """A torch module runs on torch alone."""
    if device == "cpu":
        raise ValueError("encoder= is a torch module: device= must be one of torch's, such as 'torch:cpu' or 'cuda'.")


def _kind(name):
    if name in _BY_HAND:
        return _BY_HAND[name]
    from skrlv import torch_modules  # torch is imported only where it is used

    return getattr(torch_modules, name)


def predicted(energy, y):
    """The encoder's codes as a `Solution`."""
    n = y.shape[0]
    return Solution(energy.encoder(y), np.zeros(n, dtype=np.int64), np.zeros(n), np.ones(n, dtype=bool))
