"""The graph of an unrolled search for a code, with the energy after each layer."""

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skrlv.plotting.display import UNSIGNED, Display

LONGEST = 12  # layers in one picture


class UnrolledDisplay(Display):
    r"""The graph of ISTA or a learned encoder, unrolled in layers, with the mean energy of the codes after each.

    .. math:: z_0 = \mathrm{sh}(W x), \qquad z_t = \mathrm{sh}(W x + S z_{t-1})

    W maps the sample to the codes, S is the influence of the entries of a code on each other, sh is the shrinkage.

    Parameters
    ----------
    energies : array-like of shape (n_layers + 1,)
        The mean energy after each layer, from :math:`z_0` on.
    least : float or None, default=None
        The mean energy at the best codes.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes of the last `plot`.
    figure_ : matplotlib.figure.Figure
        Their figure.

    References
    ----------
    Gregor, LeCun, Learning Fast Approximations of Sparse Coding, 2010.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skrlv import LISTAEncoder
    >>> from skrlv.plotting import UnrolledDisplay
    >>> X = load_digits().data[:500] / 16
    >>> encoder = LISTAEncoder(16, lmbda=0.3, max_iter=5, tol=0, random_state=0).fit(X)
    >>> display = UnrolledDisplay.from_estimator(encoder, X)
    """

    def __init__(self, energies, *, least=None):
        self.energies, self.least = np.asarray(energies, dtype=float), least
        if self.energies.ndim != 1 or not 1 <= len(self.energies) <= LONGEST:
            raise ValueError(f"energies has shape {self.energies.shape}, but must be 1 to {LONGEST} numbers.")

    @classmethod
    def from_estimator(cls, estimator, X, *, ax=None):
        """Draw the layers of a learned encoder.

        Parameters
        ----------
        estimator : LISTAEncoder
            Fitted; any other model whose encoder has layers as well.
        X : array-like of shape (n_samples, n_features)
            Samples over which energies are averaged.
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on; None makes a new figure.

        Returns
        -------
        UnrolledDisplay
            With the picture.
        """
        check_is_fitted(estimator)
        encoder: Any = getattr(estimator, "encoder_", None)
        if not hasattr(encoder, "by_layer"):
            raise TypeError(f"The encoder of {type(estimator).__name__} has no layers of shrinkage to draw.")
        X = np.asarray(X, dtype=estimator.components_.dtype)
        if estimator.device != "cpu":
            raise ValueError("Call set_params(device='cpu') first: the picture is made of NumPy arrays.")
        energies = [estimator.energy(X, z).mean() for z in encoder.by_layer(X)]
        return cls(energies, least=float(estimator.free_energy(X).mean())).plot(ax=ax)

    @classmethod
    def from_inference(cls, landscape, *, n_layers=3, ax=None):
        """Draw ISTA from a code of zero.

        Parameters
        ----------
        landscape : Landscape
            ``energy.given(X)`` of a batch of NumPy rows.
        n_layers : int, default=3
            The number of uses of S; it takes one step more.
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on; None makes a new figure.

        Returns
        -------
        UnrolledDisplay
            With the picture.
        """
        from skrlv.inference import fista_restart, ista

        start = np.zeros_like(landscape.start())
        energies = ista(landscape, start, max_iter=n_layers + 1, tol=0.0, record=True).energies.mean(axis=1)[1:]
        least = landscape(fista_restart(landscape, start, max_iter=20_000, tol=1e-9).z).mean()
        missing = n_layers + 1 - len(energies)  # if no row moves any more
        return cls(np.append(energies, np.full(missing, energies[-1])), least=float(least)).plot(ax=ax)

    def plot(self, *, ax=None):
        """Draw the graph.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on; None makes a new figure.

        Returns
        -------
        UnrolledDisplay
            This display.
        """
        n = len(self.energies)
        ax = self._begin(ax, figsize=(1.6 + 1.9 * n, 2.6))
        self._nodes(ax)
        _box(ax, -0.9, 1.0, "x", "white")
        _box(ax, -0.45, 1.0, "W", "white")
        _arrow(ax, (-0.82, 1.0), (-0.53, 1.0))
        ax.plot([-0.37, n - 1.0], [1.0, 1.0], color="black", linewidth=0.8)
        title = "mean energy after each layer"
        ax.set_title(title if self.least is None else f"{title}; at the best codes {self.least:.4g}", fontsize=10)
        ax.set(xlim=(-1.1, n - 0.6), ylim=(-0.75, 1.3))
        ax.axis("off")
        return self

    def _nodes(self, ax):
        import matplotlib.pyplot as plt

        colours = plt.get_cmap(UNSIGNED)(_between_zero_and_one(self.energies))
        for t, (energy, colour) in enumerate(zip(self.energies, colours, strict=True)):
            _arrow(ax, (t, 1.0), (t, 0.58))
            _box(ax, t, 0.5, "sh" if t == 0 else "+ sh", "white")
            _arrow(ax, (t, 0.42), (t, 0.1))
            dark = colour[:3].mean() < 0.5
            _box(ax, t, 0.0, f"$z_{{{t}}}$", colour, "white" if dark else "black")
            ax.text(t, -0.35, f"{energy:.4g}", ha="center", va="center", fontsize=9)
            if t < len(self.energies) - 1:
                _box(ax, t + 0.5, 0.25, "S", "white")
                _arrow(ax, (t + 0.1, 0.05), (t + 0.43, 0.22))
                _arrow(ax, (t + 0.57, 0.28), (t + 0.86, 0.46))


def _between_zero_and_one(values):
    extent = values.max() - values.min()
    return (values - values.min()) / extent if extent > 0.0 else np.zeros(len(values))


def _box(ax, x, y, text, colour, ink="black"):
    style = {"boxstyle": "round,pad=0.3", "facecolor": colour, "edgecolor": "black", "linewidth": 0.8}
    ax.text(x, y, text, ha="center", va="center", fontsize=10, color=ink, bbox=style)


def _arrow(ax, start, end):
    ax.annotate("", xy=end, xytext=start, arrowprops={"arrowstyle": "->", "linewidth": 0.8})
