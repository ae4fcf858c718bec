"""What dictionary models share whose codes are found by a search, not by an encoder."""

from dataclasses import replace
from typing import Any

import numpy as np

from skrlv._arrays import to_numpy
from skrlv._rows import sample_rows
from skrlv._threads import dense
from skrlv.decoders import Dictionary
from skrlv.inference import Solution, blockwise, joined, useful_range
from skrlv.learning import Alternation
from skrlv.models.base import batches_of
from skrlv.models.dictionary import DictionaryModel, warn_of_many_atoms, warns_of_offset
from skrlv.models.hold_out import hold_out, mixed, r_squared
from skrlv.models.warning import warn_unless_converged, warn_user
from skrlv.regularizers import LassoFamily


class Coder(DictionaryModel):
    """A dictionary model without an encoder: `fit` finds codes as `transform` does."""

    _frozen: tuple[str, ...] = ()
    n_components: Any = None
    lmbda: Any = "auto"
    dictionary: Any = None
    dictionary_init: Any = None
    batch_size: Any = "auto"
    tol = 1e-3
    max_iter = 100
    random_state: Any = None

    def _learner(self, energy, rng, X=None, **given):
        if self.dictionary is not None:
            return None
        if X is not None and self._warns:
            warn_of_many_atoms(self, X.shape[0])
        return Alternation(
            energy, self._state, infer=blockwise(self._infer, self.n_jobs), update=self._learn_atoms,
            spend=self._spend, remedy=self._remedy, **({} if X is None else batches_of(self, X)),
        )  # fmt: skip

    def score(self, X, y=None):
        r"""R^2 on held-out features, which ranks lmbda: energies cannot, since a smaller lmbda always wins.

        .. math:: 1 - \sum (x - \hat x)^2 / \sum (x - \bar x)^2

        The features are mixed by a fixed orthonormal transform, under which the squared error stays what it is, and
        the mixtures are cut in ten fixed folds. For each fold, codes are inferred from the other nine at the same
        lmbda, and :math:`\hat x` is what they say of those held out; :math:`\bar x` is the mean row of X.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Data. With a single feature nothing can be held out, and the reconstruction itself is scored.
        y : None
            Ignored.

        Returns
        -------
        float
            At most 1; 0 is as good as predicting the means. A zero code predicts zero, so data that are not
            centred can score far below 0.

        Notes
        -----
        Rows that the atoms were learned on favour a small lmbda; score others. What the atoms cannot predict counts
        as noise, so where noise is weaker than that the lmbda of the best score is larger than that of the best
        denoising. Were the features hidden as they are, the same would be true of all that is local, and of each
        feature that few atoms reach. Golub, Heath and Wahba (1979) mix for this reason.

        References
        ----------
        Golub, Heath, Wahba, Generalized Cross-Validation as a Method for Choosing a Good Ridge Parameter, 1979.
        Ward, Compressed Sensing with Cross Validation, 2009.
        """
        X = self._validated(X)
        return float(r_squared(self._errors(X, [self.lmbda_]), X)[0])

    def _errors(self, X, lmbdas):
        """Squared error on held-out features of validated rows at each of these lmbdas, best in decreasing order."""
        folds = hold_out(self.energy_)

        def predict(rows):
            x, errors, searches = mixed(dense(X[rows])), np.zeros(len(lmbdas)), []
            for fold in folds:
                seen = self._placed(np.ascontiguousarray(x[:, fold.seen]))
                for i, solution in enumerate(self._infer_path(fold.energy, seen, lmbdas)):
                    errors[i] += fold.errors(x, to_numpy(solution.z)).sum()
                    searches.append(solution)
            return errors, _worst(searches)

        errors, searches = zip(*self._each_block(predict, X.shape[0]), strict=True)
        warn_unless_converged(joined(searches), self._remedy)
        return np.sum(errors, axis=0)

    def _infer_path(self, energy, y, lmbdas):
        """`_infer` at each of these lmbdas: a list of `Solution`; coders that follow a path do so in one run."""
        return [self._infer(replace(energy, lmbda=lmbda), y) for lmbda in lmbdas]

    def _warn_about_fit(self, X):
        """Warn once if the data or lmbda give codes that are nearly all zero or all dense."""
        rows = self._rows(X)
        summary = rows.summary()
        if warns_of_offset(summary):
            return
        energy, sample = self.energy_, sample_rows(rows, summary)
        complaint = self._complaint(energy, sample) if sample.size else None
        if complaint:
            warn_user(f"With lmbda={self.lmbda_:.3g} nearly all codes are {complaint}. {_advice(energy, sample)}")

    def _complaint(self, energy, sample):
        """What is wrong with nearly all codes, if anything; a model of few dimensions may well be dense."""
        used = np.count_nonzero(self._infer_rows(energy, sample).z, axis=1)
        if np.mean(used == 0) > 0.9:
            return "zero"
        rank = min(self.n_components_, np.linalg.matrix_rank(sample))
        few_rows = len(sample) <= rank  # their rank says nothing about the data
        if _is_sparse(energy) and rank >= 10 and not few_rows and np.median(used) >= 0.9 * rank:
            return "dense"
        return None


def _worst(searches):
    """How several searches for the same rows went, without their codes: at worst, row by row."""
    _, n_iter, error, converged, _ = zip(*searches, strict=True)
    return Solution(np.empty(0), np.max(n_iter, axis=0), np.max(error, axis=0), np.all(converged, axis=0))


def _is_sparse(energy):
    """Whether codes should have fewer non-zeros than the data have dimensions; groups and ridges may have more."""
    regularizer, n_components = energy.regularizer, energy.decoder.atoms.shape[0]
    return isinstance(regularizer, LassoFamily) and regularizer.thresholds(1.0, n_components).any()


def _advice(energy, sample):
    """Where lmbda is useful, which is known for the L1 family alone; other codes can only be all zero."""
    if not isinstance(energy.regularizer, LassoFamily):
        return "Lower lmbda."
    atoms = to_numpy(energy.decoder.atoms).astype(np.float64)
    ends = useful_range(replace(energy, decoder=Dictionary(atoms)), sample.astype(np.float64))
    if ends is None:
        return "So they are at any lmbda: no atom points where the data are."
    first, dense = ends
    return (
        f"For these data and atoms lmbda is useful between about {dense:.3g} (dense codes) and {first:.3g} "
        "(the first non-zeros)."
    )
