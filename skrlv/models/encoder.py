"""What models with an encoder do alike, as functions."""

from dataclasses import replace

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skrlv._arrays import double, is_numpy, to_device_of, to_numpy, zeros
from skrlv.decoders import Dictionary
from skrlv.encoders import Encoder, check_encoder
from skrlv.inference import exact_codes, fista_restart, solved
from skrlv.learning import Alternation, learn_prediction
from skrlv.models.warning import warn_user


def refuse_cpu(device):
    """Refuse NumPy for a torch module."""
    if device == "cpu":
        raise ValueError("encoder= is a torch module: device= must be one of torch's, such as 'torch:cpu' or 'cuda'.")


def is_module(encoder):
    """Whether it is a torch module, told without torch."""
    return hasattr(encoder, "state_dict") and hasattr(encoder, "named_parameters")


def own_encoder(model, decoder, lmbda):
    """The user's own encoder, as ``encoder=`` gives or makes it, checked on the atoms that learning starts from."""
    given = model.encoder
    if isinstance(given, type):
        raise TypeError(f"encoder={given.__name__} is a class: pass an instance, or a function that makes one.")
    made = given if isinstance(given, Encoder) else given(decoder, lmbda, model._data_unit)
    if not isinstance(made, Encoder):
        raise TypeError(f"encoder={given!r} must return an instance of skrlv.encoders.Encoder, got {made!r}.")
    made = made.mapped(lambda value: to_device_of(to_numpy(value), decoder.atoms))
    n_components, n_features = decoder.atoms.shape
    rows = model._data_unit * np.random.RandomState(0).standard_normal((3, n_features))
    rows = to_device_of(rows, decoder.atoms)
    check_encoder(made, rows, n_components)
    if model._shape["positive"] and (to_numpy(made(rows)) < 0.0).any():
        raise ValueError(f"positive=True needs an encoder without negative codes, but {type(made).__name__} has them.")
    return made


def predicted(encoder, y):
    """The encoder's codes as a `Solution`."""
    return solved(encoder(y))


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


def least(energy, y, tol):
    """The codes of least energy, as a `Solution`.

    They do not depend on the start: the exact path is quickest from zero, FISTA from the prediction.
    """
    if not is_numpy(y):
        return fista_restart(energy.given(y), tol=tol)
    decoder = Dictionary(double(energy.decoder.atoms))
    start = zeros((len(y), *decoder.code_shape), like=y)
    return exact_codes(replace(energy, decoder=decoder), y, start, tol=tol)
