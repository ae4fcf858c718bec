"""What models with an encoder do alike, as functions."""

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skrlv.inference import Solution
from skrlv.learning import Alternation, learn_prediction
from skrlv.models.warning import warn_user


def refuse_cpu(device):
    """Refuse NumPy for a torch module."""
    if device == "cpu":
        raise ValueError("encoder= is a torch module: device= must be one of torch's, such as 'torch:cpu' or 'cuda'.")


def predicted(encoder, y):
    """The encoder's codes as a `Solution`."""
    n = y.shape[0]
    return Solution(encoder(y), np.zeros(n, dtype=np.int64), np.zeros(n), np.ones(n, dtype=bool))


def predicts(model):
    """Whether `transform` gives predictions; ``inference`` may have been set since `fit`."""
    if model.inference not in ("encoder", "argmin"):
        raise ValueError(f"inference={model.inference!r} must be 'encoder' or 'argmin'.")
    return model.inference == "encoder"


def predictive_alternation(model, energy, *, infer, first_encoder, **passes):
    """The learner of a model whose codes are drawn to predictions: codes, then atoms, then the encoder."""

    def update(state, energy, y, z, whole):
        return learn_prediction(
            state, energy, y, z, whole, learn_atoms=model._learn_atoms if model.dictionary is None else None,
            first_encoder=first_encoder, rate=model.learning_rate_init, data_unit=model._data_unit,
        )  # fmt: skip

    return Alternation(
        energy, model._state, infer=infer, update=update, spend=model._spend, remedy=model._remedy, **passes
    )  # fmt: skip


def warn_of_divergence(model):
    """Warn if the encoder diverged and started again at a lower rate."""
    factor = model._state.adam.rate_factor
    if factor < 1.0:
        warn_user(
            "The encoder's predictions diverged, and it started again at a tenth of the rate, at last "
            f"{factor * model.learning_rate_init:.1g}. Lower learning_rate_init.",
            ConvergenceWarning,
        )
