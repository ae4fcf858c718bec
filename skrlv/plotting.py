"""Beside the house: pictures of what was learned. Needs matplotlib, the extra [plot]."""

import numpy as np


def plot_atoms(atoms, image_shape, *, n_columns=None, ax=None):
    """Tile atoms as pictures: mid-grey is zero, and each atom is scaled by its own largest entry.

    Parameters
    ----------
    atoms : array-like of shape (n_atoms, n_pixels)
        For example ``coder.components_``.
    image_shape : tuple of int
        (height, width) of one atom.
    n_columns : int or None, default=None
        Atoms per line; None makes the picture about square.
    ax : matplotlib.axes.Axes or None, default=None
        Where to draw; None makes a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        With the picture.

    Raises
    ------
    ValueError
        If an atom does not have height x width entries.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.plotting import plot_atoms
    >>> ax = plot_atoms(np.eye(6), (2, 3))
    """
    import matplotlib.pyplot as plt

    atoms = np.asarray(atoms, dtype=float)
    height, width = image_shape
    if atoms.ndim != 2 or atoms.shape[1] != height * width:
        raise ValueError(f"atoms of shape {atoms.shape} are not pictures of {height} x {width} pixels.")
    n_columns = n_columns or int(np.ceil(np.sqrt(len(atoms))))
    n_lines = -(-len(atoms) // n_columns)
    sheet = np.full((n_lines * (height + 1) + 1, n_columns * (width + 1) + 1), np.nan)
    for index, atom in enumerate(atoms):
        top, left = (at * (side + 1) + 1 for at, side in zip(divmod(index, n_columns), (height, width), strict=True))
        largest = np.abs(atom).max() or 1.0
        sheet[top : top + height, left : left + width] = atom.reshape(height, width) / largest
    ax = ax or plt.subplots()[1]
    ax.imshow(sheet, cmap="gray", vmin=-1.0, vmax=1.0, interpolation="nearest")
    ax.set_axis_off()
    return ax
