"""A test of a regularizer's value and prox, for those that users write."""

import math

import numpy as np

from skrlv._arrays import to_device_of, to_numpy
from skrlv.regularizers.penalties import Regularizer

MOST_CHANGED = 8  # entries that are changed alone
_TOLERANCE = 1e-4


def check_regularizer(regularizer, n_components, like=None):
    """Test the value and the prox of a regularizer on a few ordinary codes, and refuse a wrong one.

    Parameters
    ----------
    regularizer : Regularizer
        The regularizer to test; its value and prox are called.
    n_components : int
        Number of entries of a code.
    like : array or None, default=None
        The codes have its library, dtype and device; None is NumPy in float64.

    Raises
    ------
    TypeError
        If it is not a `Regularizer`, or its value or prox is not an array.
    ValueError
        If the value is not one number per sample, or is NaN or minus infinity; if prox changes the shape, writes into
        its argument, or returns codes that are not finite, whose value is infinite, or that codes nearby are better
        than; or if a row depends on others.

    Examples
    --------
    >>> from skrlv.regularizers import L1, check_regularizer
    >>> check_regularizer(L1(), 8)
    """
    if not isinstance(regularizer, Regularizer):
        raise TypeError(f"regularizer={regularizer!r} must be an instance of skrlv.regularizers.Regularizer.")
    n_samples = 3 if n_components != 3 else 4  # different lengths, so that a wrong axis changes the shape
    rows = 2.0 * np.cos(np.arange(n_samples * n_components, dtype=np.float64)).reshape(n_samples, n_components)
    rows[0] = 0.0
    like = rows if like is None else like
    _checked_value(regularizer, rows, like)
    for t in (0.0, 0.5, 0.1, 2.0):
        z = _checked_prox(regularizer, rows, t, like)
        value = _checked_value(regularizer, z, like)
        if np.isinf(value).any():
            raise ValueError(f"regularizer={regularizer!r}: prox(v, {t}) gives codes whose value is infinite.")
        _check_prox_is_minimum(regularizer, rows, t, z, value, like)


def _check_prox_is_minimum(regularizer, rows, t, z, value, like):
    """Refuse a prox with a larger objective than other codes, changed as a whole or in one entry."""
    reached = 0.5 * np.sum((z - rows) ** 2, axis=1) + t * value
    changed = (0.0 * rows, 0.5 * z, rows, 0.5 * (z + rows), 0.98 * z, 1.02 * z)
    entries = np.eye(rows.shape[1], dtype=bool)[:MOST_CHANGED]
    for other in (*changed, *(np.where(entry, code, z) for code in changed for entry in entries)):
        with np.errstate(invalid="ignore"):
            objective = 0.5 * np.sum((other - rows) ** 2, axis=1) + t * _checked_value(regularizer, other, like)
        if (reached > objective + _TOLERANCE * (1.0 + np.abs(objective))).any():
            raise ValueError(
                f"regularizer={regularizer!r}: prox(v, {t}) does not minimise 1/2 norm(z - v)^2 + {t} R(z): other "
                "codes have a lower value. Value and prox must belong to the same R."
            )


def _checked_value(regularizer, rows, like):
    value = _called(regularizer, "the value", regularizer, rows, like)
    if value.shape != (len(rows),):
        raise ValueError(
            f"regularizer={regularizer!r}: the value of codes of shape {rows.shape} has shape {value.shape}, but must "
            f"have shape ({len(rows)},), one number per sample. Sum over all axes but the first, as axis=-1 does."
        )
    if not (value > -math.inf).all():
        raise ValueError(f"regularizer={regularizer!r}: the value of ordinary codes is NaN or minus infinity.")
    _check_rows_are_independent(regularizer, "the value", regularizer, rows, like, value)
    return value


def _checked_prox(regularizer, rows, t, like):
    def prox(v):
        return regularizer.prox(v, t)

    what = f"prox(v, {t})"
    z = _called(regularizer, what, prox, rows, like)
    if z.shape != rows.shape:
        raise ValueError(
            f"regularizer={regularizer!r}: {what} has shape {z.shape} for codes v of shape {rows.shape}, "
            "but must keep the shape."
        )
    if not np.isfinite(z).all():
        raise ValueError(f"regularizer={regularizer!r}: {what} gives NaN or infinite codes for ordinary codes v.")
    _check_rows_are_independent(regularizer, what, prox, rows, like, z)
    return z


def _check_rows_are_independent(regularizer, what, function, rows, like, found):
    alone = np.concatenate([_called(regularizer, what, function, row[None], like) for row in rows])
    if not np.allclose(alone, found, rtol=1e-3, atol=1e-5):
        raise ValueError(f"regularizer={regularizer!r}: {what} of a sample depends on the other samples of its batch.")


def _called(regularizer, what, function, rows, like):
    """The function, called on a copy of the rows; as a NumPy array in float64."""
    given = to_device_of(rows.copy(), like)
    before = to_numpy(given).copy()
    found = function(given)
    if not hasattr(found, "shape"):
        raise TypeError(f"regularizer={regularizer!r}: {what} is {type(found).__name__}, but must be an array.")
    if not np.array_equal(to_numpy(given), before):
        raise ValueError(f"regularizer={regularizer!r}: {what} writes into the codes that it is given.")
    return to_numpy(found).astype(np.float64)
