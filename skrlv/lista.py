"""Codes predicted by an unrolled solver (LISTAEncoder)."""

from functools import partial
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from skrlv._arrays import to_numpy
from skrlv._compat import Interval, StrOptions, _fit_context
from skrlv._threads import dense, each_block
from skrlv.decoders import Dictionary
from skrlv.encoders import ALISTA, LISTA, HyperLISTA, StepLISTA
from skrlv.energy import Energy, lasso_energy
from skrlv.inference import Solution, duality_gap, exact_codes, gather
from skrlv.learning import LearningState, NumberLearner, WeightLearner
from skrlv.models.base import rows_per_step
from skrlv.models.dictionary import DictionaryModel
from skrlv.models.encoder import least, predicted
from skrlv.models.validation import ENCODING_PARAMETERS, check_codes, resolved_tol
from skrlv.models.warning import warn_unless_converged
from skrlv.regularizers import L1
from skrlv.sparse_coding import SparseCoder

_ARCHITECTURES: dict[str, Any] = {"lista": LISTA, "step": StepLISTA, "alista": ALISTA, "hyperlista": HyperLISTA}
_REFINE = "refine gives codes with a certificate."


class LISTAEncoder(DictionaryModel):
    r"""Learned ISTA: an encoder of a few layers, unrolled from ISTA, that predicts sparse codes.

    .. math:: z_0 = \mathrm{sh}_{\theta}(W x), \qquad z_t = \mathrm{sh}_{\theta}(W x + S z_{t-1}), \quad t = 1..T

    `transform` returns :math:`z_T`: a few matrix products, the same for every row. These predictions approximate the
    codes of `SparseCoder` on the same atoms; `refine` makes them exact.

    Parameters
    ----------
    n_components : int or None, default=None
        Number of atoms; None is min(n_features, 256).
    lmbda : float or "auto", default="auto"
        Weight of the L1 term, >= 0, in the unit of X, as in `SparseCoder`.
    n_layers : int, default=3
        T, the number of uses of S, at least 0. More layers predict better with "lista" and "step"; with the others a
        few may be enough.
    architecture : {"lista", "step", "alista", "hyperlista"}, default="lista"
        What is learned. "lista": W, S and a threshold per atom. "step": a step size per layer of ISTA. "alista": a
        step size and a threshold per layer, while W and S follow from the atoms in closed form. "hyperlista": three
        numbers, which together with each row determine step sizes, thresholds and momentum of all layers.
    objective : {"codes", "energy"}, default="codes"
        Loss of the predictions: half the squared error to exact codes, or the energy, which needs no exact codes.
    tied : bool, default=True
        Whether all layers of "lista" share one W, S and set of thresholds, as in the paper.
    positive : bool, default=False
        Whether codes are non-negative.
    dictionary : array-like of shape (n_components, n_features) or None, default=None
        Atoms to use as they are; None learns them first, as `SparseCoder` does.
    max_iter : int, default=200
        Maximum number of passes over the data. A pass of the other architectures than "lista" is one layer learned.
    batch_size : int or "auto", default="auto"
        Rows per step of "lista"; "auto" is 256.
    learning_rate_init : float, default=2e-3
        First learning rate of Adam, for "lista"; it falls when the loss on held-out rows stalls.
    tol : float, default=1e-3
        A pass improves if the loss on held-out rows falls by more than this share.
    n_iter_no_change : int, default=5
        Number of passes without improvement before the rate falls to a third; after four such falls learning ends.
    validation_fraction : float, default=0.1
        Share of the rows held out; the weights with the smallest loss on them are kept. With 0 the loss is that of all
        rows.
    device : str, default="cpu"
        "cpu" is NumPy; "cuda", "cuda:1" and "torch:cpu" run the same code on torch. Exact codes are found on the CPU.
    n_jobs : int or None, default=None
        Number of threads; None is all cores of the process, or a joblib worker's share.
    random_state : int, RandomState instance or None, default=None
        Draws the initial atoms, the rows held out and the batches.

    Attributes
    ----------
    components_ : array of shape (n_components, n_features)
        Atoms, of the dtype of X.
    n_components_ : int
        Number of atoms.
    lmbda_ : float
        Weight of the regularizer in use.
    encoder_ : Encoder
        The layers, see `skrlv.encoders`.
    energy_history_ : array of shape (n_iter_,)
        Mean energy per sample of the predictions in each pass; each batch is measured before its own step.
    validation_loss_history_ : array of shape (n_iter_,)
        Mean loss of the rows held out, after each pass.
    n_iter_ : int
        Number of passes over the data, without those that learned the atoms.
    n_features_in_ : int
        Number of features of X.
    feature_names_in_ : array of shape (n_features_in_,)
        Column names of X, if it has names that are strings.

    See Also
    --------
    SparseCoder : Exact codes.

    References
    ----------
    Gregor, LeCun, Learning Fast Approximations of Sparse Coding, 2010.
    Ablin, Moreau, Massias, Gramfort, Learning Step Sizes for Unfolded Sparse Coding, 2019.
    Liu, Chen, Wang, Yin, ALISTA: Analytic Weights Are As Good As Learned Weights in LISTA, 2019.
    Chen, Liu, Wang, Yin, Hyperparameter Tuning is All You Need for LISTA, 2021.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skrlv import LISTAEncoder, SparseCoder
    >>> X = load_digits().data / 16
    >>> train, test = X[:1400], X[1400:]
    >>> encoder = LISTAEncoder(32, lmbda=0.3, random_state=0).fit(train)
    >>> exact = SparseCoder(dictionary=encoder.components_, lmbda=0.3).fit(train)
    >>> predicted, least = encoder.energy(test).mean(), exact.energy(test).mean()
    >>> bool(least < predicted < 1.1 * least)
    True
    """

    _parameter_constraints = {
        **{name: SparseCoder._parameter_constraints[name] for name in ("n_components", "lmbda", "positive")},
        "n_layers": [Interval(Integral, 0, None, closed="left")],
        "architecture": [StrOptions(set(_ARCHITECTURES))],
        "objective": [StrOptions({"codes", "energy"})],
        "tied": ["boolean"],
        **{name: SparseCoder._parameter_constraints[name] for name in ("dictionary", "max_iter", "batch_size", "tol")},
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "device": [str],
        "n_jobs": ENCODING_PARAMETERS["n_jobs"],
        "random_state": ["random_state"],
    }
    dictionary_init = None
    _has_encoder = True
    _streams = False
    _remedy = _REFINE

    def __init__(
        self,
        n_components: int | None = None,
        *,
        lmbda: float | str = "auto",
        n_layers: int = 3,
        architecture: str = "lista",
        objective: str = "codes",
        tied: bool = True,
        positive: bool = False,
        dictionary: ArrayLike | None = None,
        max_iter: int = 200,
        batch_size: int | str = "auto",
        learning_rate_init: float = 2e-3,
        tol: float = 1e-3,
        n_iter_no_change: int = 5,
        validation_fraction: float = 0.1,
        device: str = "cpu",
        n_jobs: int | None = None,
        random_state: Any = None,
    ):
        self.n_components = n_components
        self.lmbda = lmbda
        self.n_layers = n_layers
        self.architecture = architecture
        self.objective = objective
        self.tied = tied
        self.positive = positive
        self.dictionary = dictionary
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.validation_fraction = validation_fraction
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, *, codes=None) -> Self:
        """Learn the atoms, unless they are given, and to predict codes on them.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Data, float32 or float64; float16 becomes float32, other dtypes float64.
        y : None
            Ignored, for scikit-learn's pipelines.
        codes : array-like or sparse matrix of shape (n_samples, n_components) or None, default=None
            Codes to predict, on the atoms of ``dictionary``, in place of the exact ones. Scikit-learn's metadata
            routing passes them on.

        Returns
        -------
        self : object
            The fitted estimator. A fit that fails leaves it as it was.

        Raises
        ------
        ValueError
            If X is not a finite matrix, codes do not fit it, or a parameter is out of its range.
        """
        if codes is not None and self.dictionary is None:
            raise ValueError("codes= are codes on given atoms: give these as dictionary=.")
        if codes is not None and self.objective == "energy":
            raise ValueError("objective='energy' needs no codes=; leave one of them out.")
        return self._fit(X, y, codes=codes)

    def _first_atoms(self, X, summary, rng):
        names = ("n_components", "lmbda", "positive", "n_jobs")
        coder = SparseCoder(**{name: getattr(self, name) for name in names}, random_state=rng).fit(X)
        self._use_of_atoms = {name: coder._state.atoms[name] for name in ("usage", "count", "n_resampled")}
        return coder.components_

    def _energy(self, atoms, lmbda, encoder=None):
        decoder = Dictionary(atoms)
        if encoder is None:
            encoder = _first_encoder(self, decoder, lmbda)
        return Energy(decoder, L1(positive=encoder.positive), lmbda, encoder)

    def _learner(self, energy, rng, X=None, **given):
        targets = self._targets(X, given["codes"])

        def load(rows):
            target = None if targets is None else self._placed(dense(targets[rows]).astype(X.dtype, copy=False))
            return self._placed(dense(X[rows])), target

        state = LearningState(atoms={} if self.dictionary is not None else self._use_of_atoms)
        held_out = {"state": state, "validation_fraction": self.validation_fraction, "rng": rng}
        shared = held_out | {"data_unit": self._data_unit}
        if self.architecture != "lista":
            return NumberLearner(energy, load, X.shape[0], **shared)
        return WeightLearner(
            energy, load, X.shape[0], rate=self.learning_rate_init, tol=self.tol, patience=self.n_iter_no_change,
            batch_size=rows_per_step(self, X.shape[0]), **shared,
        )  # fmt: skip

    def _targets(self, X, codes):
        """What to predict: codes as a matrix that rows are taken from, None if the loss is the energy."""
        if codes is not None:
            codes = check_codes(codes, "codes", self.n_components_, X.shape[0])
            if self.positive and (codes < 0.0).any():
                raise ValueError("codes has negative entries, but positive=True.")
            return codes
        if self.objective == "energy":
            return None
        exact, tol = self._exact_energy(), resolved_tol("auto", X.dtype)

        def search(rows):
            solution = exact_codes(exact, dense(X[rows]), None, tol=tol)
            return solution._replace(z=sparse.csr_matrix(solution.z))

        return gather(search, X.shape[0], partial(each_block, n_jobs=self.n_jobs)).z

    def _exact_energy(self):
        return lasso_energy(self.components_, self.lmbda_, positive=self._shape["positive"])

    def _infer(self, energy, y, z0=None):
        return predicted(energy.encoder, y)

    def _argmin(self, energy, y, z0=None):
        return least(energy, y, resolved_tol("auto", self.components_.dtype))

    def refine(self, X, *, code_tol="auto"):
        """Predictions where they are near enough, exact codes where they are not.

        Rows whose relative duality gap is above ``code_tol`` are searched for as in `SparseCoder`: from zero, since the
        path from there is two to ten times as fast as a search from the prediction.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Data.
        code_tol : float or "auto", default="auto"
            Largest relative duality gap of a code, as in `SparseCoder`: 1e-6 for float64 and 1e-4 for float32 data.

        Returns
        -------
        array of shape (n_samples, n_components)
            Codes, of the dtype of X.

        Warns
        -----
        ConvergenceWarning
            Once, if codes did not reach ``code_tol``.
        """
        X, exact, encoder = self._validated(X), self._exact_energy(), self.encoder_
        tol = resolved_tol(code_tol, X.dtype)

        def refined(rows):
            y = dense(X[rows])
            z = to_numpy(encoder(self._placed(y))).astype(y.dtype, copy=False)
            gaps = duality_gap(exact.given(y.astype(np.float64, copy=False)), z.astype(np.float64, copy=False))
            n_iter, converged, missed = np.zeros(len(y), dtype=np.int64), gaps <= tol, gaps > tol
            if missed.any():
                rest = exact_codes(exact, y[missed], None, tol=tol)
                z[missed], n_iter[missed], gaps[missed], converged[missed] = rest[:4]
            return Solution(z, n_iter, gaps, converged)

        solution = gather(refined, X.shape[0], partial(each_block, n_jobs=self.n_jobs))
        warn_unless_converged(solution, "Raise code_tol.")
        return solution.z


def _first_encoder(model, decoder, lmbda):
    """The layers that learning starts from: steps of ISTA."""
    options = {"positive": bool(model.positive)}
    if model.architecture == "lista":
        options["tied"] = bool(model.tied)
    return _ARCHITECTURES[model.architecture].unrolled(decoder, lmbda, model.n_layers, **options)
