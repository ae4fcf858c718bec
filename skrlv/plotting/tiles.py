"""Atoms as tiled pictures."""

import numpy as np


def plot_atoms(atoms, image_shape=None, *, n_columns=None, ax=None):
    """Draw atoms, or kernels, as tiled pictures, each scaled by its largest magnitude.

    Zero is mid-grey, or black if no entry is negative.

    Parameters
    ----------
    atoms : array-like of shape (n_atoms, n_pixels), (n_atoms, height, width) or (n_atoms, height, width, 3)
        For example ``coder.components_``. Three channels are red, green and blue.
    image_shape : tuple of int or None, default=None
        (height, width) or (height, width, 3) of one atom; not needed if atoms have these axes.
    n_columns : int or None, default=None
        Number of atoms per row of tiles; None makes the picture about square.
    ax : matplotlib.axes.Axes or None, default=None
        Axes to draw on; None makes a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes with the picture.

    Raises
    ------
    ValueError
        If atoms do not have the shape of pictures with one or three channels, or not the given ``image_shape``.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.plotting import plot_atoms
    >>> ax = plot_atoms(np.eye(6), (2, 3))
    """
    import matplotlib.pyplot as plt

    sheet = tiled(pictures(np.asarray(atoms, dtype=float), image_shape), n_columns)
    ax = ax or plt.subplots()[1]
    show(ax, sheet)
    ax.set_axis_off()
    return ax


def show(ax, sheet):
    """Draw a sheet (height, width, 1 or 3) of entries in -1..1, and NaN as gaps; zero is black if none is negative."""
    low = -1.0 if np.nanmin(sheet) < 0.0 else 0.0
    if sheet.shape[2] == 1:
        ax.imshow(sheet[..., 0], cmap="gray", vmin=low, vmax=1.0, interpolation="nearest")
    else:
        ax.imshow(np.nan_to_num((sheet - low) / (1.0 - low), nan=1.0), interpolation="nearest")


def pictures(atoms, image_shape):
    """Atoms as (n_atoms, height, width, n_channels)."""
    shape = atoms.shape[1:] if image_shape is None else tuple(image_shape)
    height, width, n_channels = (*shape, 1) if len(shape) == 2 else shape if len(shape) == 3 else (0, 0, 0)
    allowed = (shape, (height, width, n_channels), (height * width * n_channels,))
    if n_channels not in (1, 3) or atoms.shape[1:] not in allowed or not atoms.size:
        wanted = "" if image_shape is None else f" of image_shape={image_shape}"
        raise ValueError(f"atoms of shape {atoms.shape} are not pictures{wanted}, with one or three channels.")
    return atoms.reshape(len(atoms), height, width, n_channels)


def tiled(pictures, n_columns):
    """The pictures side by side on one sheet, with NaN between them, each scaled to -1..1."""
    n, height, width, n_channels = pictures.shape
    n_columns = n_columns or int(np.ceil(np.sqrt(n)))
    sheet = np.full((-(-n // n_columns) * (height + 1) + 1, n_columns * (width + 1) + 1, n_channels), np.nan)
    for index, picture in enumerate(pictures):
        top, left = (at * (side + 1) + 1 for at, side in zip(divmod(index, n_columns), (height, width), strict=True))
        sheet[top : top + height, left : left + width] = picture / (np.abs(picture).max() or 1.0)
    return sheet
