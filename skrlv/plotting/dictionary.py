"""The atoms of a dictionary: pictures, lines or spectra."""

import numpy as np

from skrlv.plotting.display import COLOURS, Display, check_atoms, reach
from skrlv.plotting.tiles import plot_atoms

ROWS_OF_LINES = 12  # of atoms below each other


class DictionaryDisplay(Display):
    """Atoms of a dictionary, the most used first.

    Parameters
    ----------
    atoms : array-like of shape (n_atoms, ...)
        Atoms as rows, or kernels with their axes.
    usage : array-like of shape (n_atoms,) or None, default=None
        Share of the samples that use each atom: atoms are sorted by it. None keeps their order.

    Attributes
    ----------
    order_ : array of int
        The atoms that are drawn, in their order.
    ax_ : matplotlib.axes.Axes
        The axes of the last `plot`.
    figure_ : matplotlib.figure.Figure
        Their figure.

    See Also
    --------
    plot_atoms : The pictures alone, in the order in which they are given.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skrlv import SparseCoder
    >>> from skrlv.plotting import DictionaryDisplay
    >>> coder = SparseCoder(16, random_state=0).fit(load_digits().data / 16)
    >>> display = DictionaryDisplay.from_estimator(coder, image_shape=(8, 8))
    """

    def __init__(self, atoms, *, usage=None):
        self.atoms = np.asarray(atoms, dtype=float)
        self.usage = None if usage is None else np.asarray(usage, dtype=float)
        if self.usage is not None and self.usage.shape != self.atoms.shape[:1]:
            raise ValueError(f"usage has shape {self.usage.shape}, but there are {len(self.atoms)} atoms.")

    @classmethod
    def from_estimator(cls, estimator, *, kind="auto", image_shape=None, n_atoms=100, positions=None, ax=None):
        """Draw the atoms of a fitted estimator, sorted by use if they were learned.

        Parameters
        ----------
        estimator : estimator with ``components_``
            Fitted.
        kind, image_shape, n_atoms, positions, ax
            As for `plot`.

        Returns
        -------
        DictionaryDisplay
            With the picture.
        """
        check_atoms(estimator)
        display = cls(estimator.components_, usage=getattr(estimator, "atom_usage_", None))
        return display.plot(kind=kind, image_shape=image_shape, n_atoms=n_atoms, positions=positions, ax=ax)

    def plot(self, *, kind="auto", image_shape=None, n_atoms=100, positions=None, ax=None):
        """Draw the atoms.

        Parameters
        ----------
        kind : {"auto", "image", "line", "spectrum"}, default="auto"
            "image" is tiled pictures, see `plot_atoms`; "line" is one line per atom, and per channel of a kernel;
            "spectrum" fills the area between the line and zero. "auto" is "image" if ``image_shape`` is given or the
            atoms have two axes or more, and "line" otherwise.
        image_shape : tuple of int or None, default=None
            (height, width) or (height, width, 3) of one atom.
        n_atoms : int, default=100
            Maximum number of atoms to draw.
        positions : array-like of shape (n_features,) or None, default=None
            For lines and spectra, where the features are: times, or wavelengths. None counts them.
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on; None makes a new figure.

        Returns
        -------
        DictionaryDisplay
            This display.
        """
        if kind not in ("auto", "image", "line", "spectrum"):
            raise ValueError(f"kind={kind!r} must be 'auto', 'image', 'line' or 'spectrum'.")
        order = np.arange(len(self.atoms)) if self.usage is None else np.argsort(-self.usage, kind="stable")
        self.order_ = order[:n_atoms]
        atoms = self.atoms[self.order_]
        if kind == "auto":
            kind = "image" if image_shape is not None or atoms.ndim > 3 or _is_picture(atoms) else "line"
        ax = self._begin(ax)
        if kind == "image":
            plot_atoms(atoms, image_shape, ax=ax)
        else:
            _draw_lines(ax, atoms, positions, filled=kind == "spectrum")
        return self


def _is_picture(atoms):
    return atoms.ndim == 3 and min(atoms.shape[1:]) > 1


def _draw_lines(ax, atoms, positions, *, filled):
    """Atoms as lines below each other, in columns, each scaled to its largest magnitude."""
    atoms = atoms if atoms.ndim == 3 else atoms[..., None]
    if atoms.ndim != 3:
        raise ValueError(f"atoms of shape {atoms.shape} are no lines: they need one axis, or one and channels.")
    length = atoms.shape[1]
    x = np.arange(length, dtype=float) if positions is None else np.asarray(positions, dtype=float)
    if x.shape != (length,):
        raise ValueError(f"positions has shape {x.shape}, but atoms have {length} features.")
    step = 1.12 * (np.ptp(x) or 1.0)
    for i, atom in enumerate(atoms):
        column, row = divmod(i, ROWS_OF_LINES)
        shifted, base = x + column * step, -float(row)
        for channel, values in enumerate(atom.T):
            colour, height = COLOURS[channel % len(COLOURS)], 0.45 * values / reach(atom)
            ax.plot(shifted, base + height, color=colour, linewidth=1.0)
            if filled:
                ax.fill_between(shifted, base, base + height, color=colour, alpha=0.3, linewidth=0.0)
        ax.plot(shifted[[0, -1]], [base, base], color="0.8", linewidth=0.5, zorder=0)
    ax.set_yticks([])
    if len(atoms) > ROWS_OF_LINES:
        ax.set_xticks([])
    for side in ("left", "top", "right"):
        ax.spines[side].set_visible(False)
