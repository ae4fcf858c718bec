"""Checks of shapes and magnitudes, shared by the transformers of images."""

from math import prod

import numpy as np

from skrlv._threads import dense_blocks

LARGEST, SMALLEST = 1e140, 1e-140  # magnitudes whose squares neither overflow nor vanish


def check_image_shape(name, patch_shape, n_features, *, needed):
    """Refuse a shape of images that does not fit rows of that width."""
    if patch_shape is None:
        if needed:
            raise ValueError(f"{name}=None, but this transform needs the (height, width[, n_channels]) of a row.")
        return
    whole = all(isinstance(side, int | np.integer) and side > 0 for side in patch_shape)
    if len(patch_shape) not in (2, 3) or not whole:
        raise ValueError(f"{name}={patch_shape!r} must be (height, width[, n_channels]), whole numbers > 0.")
    if prod(patch_shape) != n_features:
        raise ValueError(f"{name}={patch_shape!r} has {prod(patch_shape)} entries, but X has {n_features} features.")


def largest(X):
    """The largest magnitude of an entry, computed in blocks of rows."""
    return max(float(np.abs(x).max()) for x in dense_blocks(X))


def check_magnitude(magnitude):
    """Refuse data whose squares leave the range of float64."""
    if magnitude > LARGEST:
        raise ValueError(f"X has entries above {LARGEST:.0e}, whose squares overflow. Divide X by a constant first.")
    if 0.0 < magnitude < SMALLEST:
        raise ValueError(
            f"X has no entries above {SMALLEST:.0e}, and the squares of smaller entries vanish. Multiply X by "
            "a constant first."
        )
