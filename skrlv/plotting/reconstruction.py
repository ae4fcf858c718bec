"""One sample as the sum of its atoms."""

import numpy as np

from skrlv.plotting.display import COLOURS, Display, check_atoms, dense, reach
from skrlv.plotting.tiles import pictures, show


class ReconstructionDisplay(Display):
    r"""A sample, its reconstruction, and the terms :math:`z_j d_j` of the sum, the largest first.

    Parameters
    ----------
    sample : array-like
        An image, or a row.
    reconstruction : array-like of the shape of sample
        The sum of all terms.
    terms : array-like of shape (n_terms, \*shape of sample)
        The terms to draw.
    coefficients : array-like of shape (n_terms,) or None, default=None
        Their coefficients, which are written below them.
    names : sequence of str or None, default=None
        Their names, which are written above the coefficients, such as "atom 3".

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes of the last `plot`.
    figure_ : matplotlib.figure.Figure
        Their figure.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skrlv import SparseCoder
    >>> from skrlv.plotting import ReconstructionDisplay
    >>> X = load_digits().data / 16
    >>> coder = SparseCoder(32, random_state=0).fit(X)
    >>> display = ReconstructionDisplay.from_estimator(coder, X[0], image_shape=(8, 8))
    """

    def __init__(self, sample, reconstruction, terms, *, coefficients=None, names=None):
        self.sample, self.reconstruction, self.terms = (
            np.asarray(x, dtype=float) for x in (sample, reconstruction, terms)
        )
        self.coefficients = None if coefficients is None else np.asarray(coefficients, dtype=float)
        self.names = None if names is None else list(names)

    @classmethod
    def from_estimator(cls, estimator, x, *, n_terms=8, image_shape=None, ax=None):
        """Draw how a fitted estimator with a linear decoder reconstructs one sample.

        Parameters
        ----------
        estimator : estimator with ``components_``
            Fitted.
        x : array-like
            One sample: a row, an image or a series, without an axis of samples.
        n_terms : int, default=8
            Maximum number of terms; those of the largest norm are drawn.
        image_shape : tuple of int or None, default=None
            (height, width) or (height, width, 3) of a row; None draws rows as lines.
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on; None makes a new figure.

        Returns
        -------
        ReconstructionDisplay
            With the picture.
        """
        check_atoms(estimator)
        x = np.asarray(x)
        if not hasattr(estimator, "kernel_size") and x.ndim != 1:
            raise ValueError(f"x has shape {x.shape}, but must be one sample, without an axis of samples: X[0].")
        if hasattr(estimator, "kernel_size"):
            maps = np.asarray(estimator.encode(x[None]))
            parts = np.stack([np.where(np.arange(maps.shape[-1]) == j, maps[0], 0.0) for j in range(maps.shape[-1])])
            whole, coefficients = estimator.inverse_transform(maps)[0], None
            names = [f"kernel {j}" for j in range(maps.shape[-1])]
        else:
            code = dense(estimator.transform(x[None]))[0]
            used = np.flatnonzero(code)
            parts = np.zeros((used.size, code.size), dtype=x.dtype)
            parts[np.arange(used.size), used], coefficients = code[used], code[used]
            whole = estimator.inverse_transform(code[None])[0]
            names = [f"atom {j % estimator.n_components_}" for j in used]  # split signs come one after the other
        terms = np.asarray(estimator.inverse_transform(parts)) if len(parts) else np.empty((0, *whole.shape))
        lengths = np.linalg.norm(terms.reshape(len(terms), int(np.prod(terms.shape[1:]))), axis=1)
        order = [i for i in np.argsort(-lengths, kind="stable") if lengths[i] > 0.0][:n_terms]
        coefficients = None if coefficients is None else coefficients[order]
        display = cls(x, whole, terms[order], coefficients=coefficients, names=[names[i] for i in order])
        return display.plot(image_shape=image_shape, ax=ax)

    def plot(self, *, image_shape=None, ax=None):
        """Draw the sum.

        Parameters
        ----------
        image_shape : tuple of int or None, default=None
            (height, width) or (height, width, 3) of a row; None draws rows as lines.
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on; None makes a new figure.

        Returns
        -------
        ReconstructionDisplay
            This display.
        """
        shape = self.sample.shape
        parts = np.concatenate(
            [self.sample[None], self.reconstruction.reshape(1, *shape), self.terms.reshape(-1, *shape)]
        )
        ax = self._begin(ax, figsize=(1.1 * len(parts), 1.6))
        marks = ["sample", "sum of atoms", *self._marks()]
        if image_shape is None and len(shape) < 2:
            _draw_lines(ax, parts, marks)
        else:
            _draw_images(ax, pictures(parts, image_shape), marks)
        return self

    def _marks(self):
        """What is written below each term."""
        n = len(self.terms)
        names = [""] * n if self.names is None else self.names
        numbers = [""] * n if self.coefficients is None else [f"{c:+.3g}" for c in self.coefficients]
        return ["\n".join(filter(None, pair)) for pair in zip(names, numbers, strict=True)]


def _draw_images(ax, images, marks):
    """Images side by side, all in one scale."""
    n, height, width, n_channels = images.shape
    sheet = np.full((height, n * (width + 1) - 1, n_channels), np.nan)
    for i, image in enumerate(images):
        sheet[:, i * (width + 1) : i * (width + 1) + width] = image / reach(images)
        ax.text(i * (width + 1) + 0.5 * (width - 1), 1.05 * height, marks[i], ha="center", va="top", fontsize=8)
    show(ax, sheet)
    ax.set_ylim(1.45 * height, -0.5)
    ax.set_axis_off()


def _draw_lines(ax, parts, marks):
    """Lines side by side, all in one scale."""
    length = parts.shape[1]
    for i, part in enumerate(parts):
        x = np.arange(length) + 1.1 * i * length
        ax.plot(x, part / reach(parts), color=COLOURS[0 if i else -1], linewidth=1.0)
        ax.text(x.mean(), -1.1, marks[i], ha="center", va="top", fontsize=8)
    ax.set_ylim(-1.8, 1.1)
    ax.set_axis_off()
