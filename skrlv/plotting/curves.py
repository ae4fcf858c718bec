"""Energies over passes or steps, and quantities over lmbda."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skrlv.plotting.display import COLOURS, Display

FEW_POINTS = 20  # up to which points of a curve are marked


class EnergyDisplay(Display):
    """Energies over the passes of learning, or over the steps of inference.

    Parameters
    ----------
    curves : dict of str to array-like
        Energies by the name of their line.
    xlabel : str, default="pass"
        What the energies are counted by.
    above : float, default=0.0
        Lowest energy: if it is not 0, energies are drawn above it on a logarithmic axis.

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
    >>> from skrlv.plotting import EnergyDisplay
    >>> X = load_digits().data / 16
    >>> coder = SparseCoder(32, random_state=0).fit(X)
    >>> history = EnergyDisplay.from_estimator(coder)
    >>> steps = EnergyDisplay.from_inference(coder.energy_.given(X[:20]))
    """

    def __init__(self, curves, *, xlabel="pass", above=0.0):
        self.curves = {name: np.asarray(values, dtype=float) for name, values in curves.items()}
        self.xlabel, self.above = xlabel, above

    @classmethod
    def from_estimator(cls, estimator, *, ax=None):
        """Draw the history of a fit: mean energies, and the mean losses of rows held out if there are any.

        Parameters
        ----------
        estimator : estimator
            Fitted.
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on; None makes a new figure.

        Returns
        -------
        EnergyDisplay
            With the picture.
        """
        check_is_fitted(estimator, "energy_history_")
        curves = {"energy": estimator.energy_history_}
        held_out = getattr(estimator, "validation_loss_history_", None)
        if held_out is not None:
            curves["loss of rows held out"] = held_out
        return cls(curves).plot(ax=ax)

    @classmethod
    def from_inference(cls, landscape, *, methods=("ista", "fista", "fista_restart"), max_iter=200, ax=None):
        """Draw how inference methods lower the mean energy of a batch above its minimum.

        Parameters
        ----------
        landscape : Landscape
            ``energy.given(X)`` of a batch.
        methods : sequence of {"ista", "fista", "fista_restart"}
            Methods of `skrlv.inference`.
        max_iter : int, default=200
            Number of steps to draw.
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on; None makes a new figure.

        Returns
        -------
        EnergyDisplay
            With the picture.
        """
        from skrlv import inference

        known = ("ista", "fista", "fista_restart")
        if isinstance(methods, str) or not methods or not set(methods) <= set(known):
            raise ValueError(f"methods={methods!r} must be some of {known}.")
        found = {
            name: getattr(inference, name)(landscape, max_iter=max_iter, tol=0.0, record=True).energies.mean(axis=1)
            for name in methods
        }
        best = inference.fista_restart(landscape, max_iter=20 * max_iter, tol=1e-9, record=True).energies.mean(axis=1)
        least = min(best.min(), *(energies.min() for energies in found.values()))
        return cls(found, xlabel="step", above=float(least)).plot(ax=ax)

    def plot(self, *, ax=None):
        """Draw the energies.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on; None makes a new figure.

        Returns
        -------
        EnergyDisplay
            This display.
        """
        ax = self._begin(ax)
        for i, (name, values) in enumerate(self.curves.items()):
            values = values - self.above
            values = np.where(values > 0.0, values, np.nan) if self.above else values
            x = np.arange(len(values)) + (self.xlabel == "pass")
            line = {"color": COLOURS[i % len(COLOURS)], "linestyle": ("-", "--", ":", "-.")[i % 4]}
            ax.plot(x, values, label=name, marker="." if len(x) <= FEW_POINTS else None, **line)
        ax.set(xlabel=self.xlabel, ylabel="mean energy above the minimum" if self.above else "mean energy")
        ax.xaxis.get_major_locator().set_params(integer=True)
        if self.above:
            ax.set_yscale("log")
        if len(self.curves) > 1:
            ax.legend()
        return self


class LmbdaPathDisplay(Display):
    """Score, density and error of codes over lmbda.

    Parameters
    ----------
    lmbdas : array-like of shape (n_lmbdas,)
        Values of lmbda.
    scores : array-like of shape (n_lmbdas,) or None, default=None
        R^2 on held-out features.
    densities : array-like of shape (n_lmbdas,) or None, default=None
        Share of entries that are not zero.
    errors : array-like of shape (n_lmbdas,) or None, default=None
        Mean relative error of the reconstructions.
    chosen : float or None, default=None
        The lmbda in use, drawn as a vertical line.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes of the last `plot`.
    figure_ : matplotlib.figure.Figure
        Their figure.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skrlv import SparseCoder, lmbda_path
    >>> from skrlv.plotting import LmbdaPathDisplay
    >>> X = load_digits().data / 16
    >>> coder = SparseCoder(32, random_state=0).fit(X)
    >>> display = LmbdaPathDisplay.from_path(lmbda_path(X[:200], coder.components_), chosen=coder.lmbda_)
    """

    def __init__(self, lmbdas, *, scores=None, densities=None, errors=None, chosen=None):
        named = {"score": scores, "share of non-zeros": densities, "relative error": errors}
        self.lmbdas, self.chosen = np.asarray(lmbdas, dtype=float), chosen
        self.curves = {name: np.asarray(values, dtype=float) for name, values in named.items() if values is not None}
        if not self.curves:
            raise ValueError("Give at least one of scores, densities and errors.")
        for name, values in self.curves.items():
            if values.shape != self.lmbdas.shape:
                raise ValueError(f"The values of {name} have shape {values.shape}, lmbdas {self.lmbdas.shape}.")

    @classmethod
    def from_estimator(cls, estimator, *, ax=None):
        """Draw the scores of a fitted `SparseCoderCV`, or of a grid search over one parameter named ``lmbda``.

        Parameters
        ----------
        estimator : SparseCoderCV, or a search of scikit-learn
            Fitted.
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on; None makes a new figure.

        Returns
        -------
        LmbdaPathDisplay
            With the picture.
        """
        check_is_fitted(estimator)
        if not hasattr(estimator, "cv_results_") and not hasattr(estimator, "lmbdas_"):
            raise TypeError(f"{type(estimator).__name__} has not chosen lmbda; pass a SparseCoderCV or a grid search.")
        if not hasattr(estimator, "cv_results_"):
            return cls(estimator.lmbdas_, scores=estimator.scores_, chosen=estimator.lmbda_).plot(ax=ax)
        results = estimator.cv_results_
        names = [name for name in results if name.startswith("param_")]
        if len(names) != 1 or not names[0].endswith("lmbda"):
            raise ValueError(f"A search over lmbda alone can be drawn, not one over {', '.join(names)}.")
        lmbdas = np.array([float(value) for value in results[names[0]]])
        order = np.argsort(-lmbdas, kind="stable")
        chosen = estimator.best_params_[names[0].removeprefix("param_")]
        return cls(lmbdas[order], scores=np.asarray(results["mean_test_score"])[order], chosen=chosen).plot(ax=ax)

    @classmethod
    def from_path(cls, path, *, chosen=None, ax=None):
        """Draw density and mean error of an `LmbdaPath`.

        Parameters
        ----------
        path : LmbdaPath
            From `lmbda_path`.
        chosen : float or None, default=None
            The lmbda in use.
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on; None makes a new figure.

        Returns
        -------
        LmbdaPathDisplay
            With the picture.
        """
        errors = np.asarray(path.errors).mean(axis=1)
        return cls(path.lmbdas, densities=path.densities, errors=errors, chosen=chosen).plot(ax=ax)

    def plot(self, *, ax=None):
        """Draw the curves over lmbda, on a logarithmic axis; lmbda = 0 is left out.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on; None makes a new figure.

        Returns
        -------
        LmbdaPathDisplay
            This display.
        """
        ax, order = self._begin(ax), np.argsort(-self.lmbdas, kind="stable")
        shown = order[self.lmbdas[order] > 0.0]
        for i, (name, values) in enumerate(self.curves.items()):
            ax.plot(self.lmbdas[shown], values[shown], marker="osv"[i], label=name, color=COLOURS[i])
        if self.chosen:
            ax.axvline(self.chosen, color="0.3", linestyle=":", label=f"lmbda = {self.chosen:.3g}")
        ax.set(xscale="log", xlabel="lmbda")
        ax.legend()
        return self
