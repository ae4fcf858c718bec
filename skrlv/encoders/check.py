"""Tests of an encoder that a user wrote, for what learning relies on."""

from dataclasses import fields

import numpy as np

from skrlv._arrays import to_device_of, to_numpy
from skrlv.encoders.encoder import Encoder

_STEP = 1e-6  # of finite differences, as a share of the largest entry of a parameter
_TOLERANCE = 1e-3
_CHECKED = 8  # entries of each parameter


def check_encoder(encoder, y, n_components):
    """Test an encoder on a few rows, and refuse one that returns wrong codes or wrong gradients.

    Parameters
    ----------
    encoder : Encoder
        The encoder to test.
    y : array of shape (n_samples, ...)
        A few rows, in the library and on the device of the encoder's arrays.
    n_components : int
        Number of entries of a code.

    Raises
    ------
    TypeError
        If it is not an `Encoder`.
    ValueError
        If it names parameters, units or axes of what is no field of it; if its codes do not have the shape
        (n_samples, ..., n_components) or are not finite; if `vjp` does not return one gradient of the right shape per
        parameter; or if a gradient differs from finite differences (which are computed in float64 only).

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.decoders import Dictionary
    >>> from skrlv.encoders import TanhEncoder, check_encoder
    >>> check_encoder(TanhEncoder.first_step(Dictionary(np.eye(3)), 1.0), np.ones((2, 3)), 3)
    """
    if not isinstance(encoder, Encoder):
        raise TypeError(f"encoder={encoder!r} must be an instance of skrlv.encoders.Encoder.")
    _check_names(encoder)
    z, tape = _checked_codes(encoder, y, n_components)
    units = encoder.scales(_rms(y), _rms(z))  # for parameters that are all zero
    _check_order(_in_general_position(encoder, units), y)
    direction = np.cos(np.arange(np.prod(z.shape), dtype=np.float64)).reshape(z.shape)
    gradients = _checked_gradients(encoder, tape, to_device_of(direction, z))
    for key, value in encoder.parameters.items():
        if str(value.dtype).endswith("float64"):
            _check_gradient(encoder, y, direction, key, gradients[key], units[key])


def _check_names(encoder):
    """Refuse names of what is no field, or no parameter."""
    name, parameters, own = type(encoder).__name__, set(encoder.parameters), {field.name for field in fields(encoder)}
    if not parameters <= own:
        raise ValueError(
            f"{name}.parameters names {sorted(parameters - own)}, which are no fields of it. The class must be "
            "decorated with @dataclass(frozen=True, eq=False), and have a field for each parameter."
        )
    for attribute, known in {"units": parameters, "non_negative": parameters, "code_axes": own}.items():
        unknown = set(getattr(encoder, attribute)) - known
        if unknown:
            raise ValueError(f"{name}.{attribute} names {sorted(unknown)}, but only {sorted(known)} are known.")


def _checked_codes(encoder, y, n_components):
    """Codes and tape of `forward`, whose shape, dtype and rows are as they must be."""
    name = type(encoder).__name__
    try:
        z, tape = encoder.forward(y)
    except ValueError as error:
        raise ValueError(f"{name}.forward fails for rows of shape {tuple(y.shape)}: {error}") from error
    if z.shape[0] != y.shape[0] or z.shape[-1] != n_components:
        raise ValueError(
            f"{name}.forward returns codes of shape {tuple(z.shape)}, but {y.shape[0]} rows must have codes of "
            f"{n_components} entries."
        )
    codes = to_numpy(z)
    if codes.dtype.kind != "f" or not np.isfinite(codes).all():
        raise ValueError(f"{name}.forward must return finite codes of floats, got {codes.dtype}.")
    if not _close(encoder(y[:1]), codes[:1], np.abs(codes).max()):
        raise ValueError(f"{name}.forward of a row depends on the other rows, or on chance.")
    return z, tape


def _checked_gradients(encoder, tape, direction):
    """The gradients of `vjp` as NumPy arrays, one per parameter, each of its shape and finite."""
    gradients, name = encoder.vjp(tape, direction), type(encoder).__name__
    if gradients.keys() != encoder.parameters.keys():
        raise ValueError(
            f"{name}.vjp returns gradients of {sorted(gradients)}, but the parameters are {sorted(encoder.parameters)}."
        )
    gradients = {key: to_numpy(gradient) for key, gradient in gradients.items()}
    for key, value in encoder.parameters.items():
        if gradients[key].shape != tuple(value.shape):
            raise ValueError(
                f"{name}.vjp returns a gradient of shape {gradients[key].shape} for {key!r}, whose shape is "
                f"{tuple(value.shape)}."
            )
        if not np.isfinite(gradients[key]).all():
            raise ValueError(f"{name}.vjp returns a gradient for {key!r} that is not finite.")
    return gradients


def _in_general_position(encoder, units):
    """The encoder with other parameters, no two entries of which are alike."""
    moved = {}
    for key, value in encoder.parameters.items():
        numbers = to_numpy(value)
        size = np.abs(numbers).max(initial=0.0) or units[key]
        moves = 0.1 * size * np.cos(np.arange(numbers.size)).reshape(numbers.shape)
        moved[key] = to_device_of(numbers + moves, value)
    return encoder.with_parameters(moved)


def _check_order(encoder, y):
    """Compare the codes of a reordered encoder with those of the encoder, reordered."""
    axes, name, codes = encoder.code_axes, type(encoder).__name__, to_numpy(encoder(y))
    if not axes:
        return
    order = np.roll(np.arange(codes.shape[-1]), 1)
    moved = encoder.mapped(to_numpy).reordered(order).mapped(lambda value: to_device_of(value, y))
    if not _close(moved(y), codes[..., order], np.abs(codes).max()):
        raise ValueError(f"{name}.code_axes does not name every axis that runs over the entries of a code.")


def _check_gradient(encoder, y, direction, key, gradient, unit):
    """Compare entries of a gradient with finite differences; those at a kink, where the two sides differ, pass."""
    value = to_numpy(encoder.parameters[key])
    step, scale = _STEP * (np.abs(value).max(initial=0.0) or unit), np.abs(gradient).max(initial=0.0)

    def at(place, move):
        moved = value.copy()
        moved.flat[place] += move
        codes = encoder.with_parameters({key: to_device_of(moved, encoder.parameters[key])})(y)
        return float(np.sum(to_numpy(codes) * direction))

    here = float(np.sum(to_numpy(encoder(y)) * direction))
    for place in np.linspace(0, value.size - 1, min(value.size, _CHECKED)).astype(int):
        sides = (at(place, step) - here) / step, (here - at(place, -step)) / step
        allowed = _TOLERANCE * max(scale, max(map(abs, sides)))
        is_kink = abs(sides[0] - sides[1]) > allowed
        if not is_kink and abs(0.5 * sum(sides) - gradient.flat[place]) > allowed:
            raise ValueError(
                f"{type(encoder).__name__}.vjp returns {gradient.flat[place]:.6g} at entry {place} of the gradient of "
                f"{key!r}, but finite differences give {0.5 * sum(sides):.6g}."
            )


def _close(found, expected, size):
    return np.allclose(to_numpy(found), expected, rtol=_TOLERANCE, atol=_TOLERANCE * size)


def _rms(x):
    return float(np.sqrt(np.mean(to_numpy(x).astype(np.float64) ** 2))) or 1.0
