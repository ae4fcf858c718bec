"""Between base and the roof: what all models with a dense dictionary under squared error share."""

from dataclasses import replace
from functools import partial

import numpy as np
from sklearn.cluster import kmeans_plusplus

from skrlv._arrays import is_numpy, to_device, to_numpy
from skrlv._rows import sample_rows
from skrlv._threads import dense, each_block, one_blas_thread
from skrlv.decoders import Dictionary
from skrlv.inference import Solution, gather, joined, useful_range
from skrlv.learning import learn_dictionary, unit_rows
from skrlv.models.alternating import AlternatingModel
from skrlv.models.base import warn_unless_converged, warn_user
from skrlv.models.hold_out import hold_out, mixed, r_squared
from skrlv.models.linear import LinearModel
from skrlv.models.validation import check_dictionary
from skrlv.regularizers import LassoFamily

_DRAWN_PER_ATOM = 16  # rows that k-means++ chooses from
ROWS_PER_THREAD = 64  # of a batch


class DictionaryModel(LinearModel):
    """A model whose decoder is a `Dictionary`."""

    positive_dictionary = False

    def _first_atoms(self, X, survey, rng):
        rows, spread_out = self._rows(X), isinstance(self.dictionary_init, str)
        if not spread_out and self.dictionary_init is not None:
            return unit_rows(self._given_atoms("dictionary_init", rows))[0]
        n_components = min(rows.shape[1], 256) if self.n_components is None else self.n_components
        return _drawn_atoms(rows, survey, n_components, spread_out, self.positive_dictionary, rng)

    def _given_atoms(self, name, X):
        if getattr(self, name) is None:
            return None
        atoms = check_dictionary(getattr(self, name), X.shape[1], name, dtype=X.dtype)
        if self.n_components not in (None, len(atoms)):
            raise ValueError(
                f"n_components={self.n_components}, but {name} has {len(atoms)} atoms; give one of the two."
            )
        if self.positive_dictionary and (atoms < 0.0).any():
            raise ValueError(f"{name} has negative entries, but positive_dictionary=True.")
        return atoms

    def _update(self, state, energy, y, z, whole):
        positive, n_jobs = self.positive_dictionary, self.n_jobs
        return learn_dictionary(state, energy, y, z, whole=whole, positive=positive, n_jobs=n_jobs)

    @property
    def _stored_decoder(self):
        return Dictionary(to_device(self.components_, self.device))

    def _store(self, energy, dtype):
        self.components_ = to_numpy(energy.decoder.atoms).astype(dtype)
        self.n_components_ = len(self.components_)
        self.lmbda_ = energy.lmbda


class Coder(DictionaryModel, AlternatingModel):
    """A dictionary model without an encoder: its codes are searched for, in `fit` as in `transform`."""

    def _infer(self, energy, y, z0, rng):
        if not is_numpy(y):  # a device is kept busy by the whole batch
            return self._encode(energy, y, z0)

        def search(rows):
            return self._encode(energy, y[rows], None if z0 is None else z0[rows])

        return gather(search, len(y), partial(each_block, n_jobs=self.n_jobs, size=ROWS_PER_THREAD))

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
                for i, solution in enumerate(self._encode_path(fold.energy, seen, lmbdas)):
                    errors[i] += fold.errors(x, to_numpy(solution.z)).sum()
                    searches.append(solution)
            return errors, _worst(searches)

        errors, searches = zip(*self._each_block(predict, X.shape[0]), strict=True)
        warn_unless_converged(joined(searches), self._remedy)
        return np.sum(errors, axis=0)

    def _encode_path(self, energy, y, lmbdas):
        """`_encode` at each of these lmbdas: a list of `Solution`; a coder that can pass them in one walk does."""
        return [self._encode(replace(energy, lmbda=lmbda), y) for lmbda in lmbdas]

    def _review(self, X):
        """Say once where the data or lmbda make codes that tell nothing, and what to do."""
        rows = self._rows(X)
        survey = rows.survey()
        if warn_of_offset(survey):
            return
        energy, sample = self.energy_, sample_rows(rows, survey)
        complaint = self._complaint(energy, sample) if sample.size else None
        if complaint:
            warn_user(f"With lmbda={self.lmbda_:.3g} nearly all codes are {complaint}. {_advice(energy, sample)}")

    def _complaint(self, energy, sample):
        """What is wrong with nearly all codes, if anything; a model of few dimensions may well be dense."""
        used = np.count_nonzero(self._solve(energy, sample).z, axis=1)
        if np.mean(used == 0) > 0.9:
            return "zero"
        with one_blas_thread():
            rank = min(self.n_components_, np.linalg.matrix_rank(sample))
        if _has_a_price(energy) and rank >= 10 and np.median(used) >= 0.9 * rank:
            return "dense"
        return None


def warn_of_offset(survey):
    """Say so, and return True, where rows differ little from their mean."""
    if survey.is_offset:
        warn_user(
            "X is almost constant next to its offset: the mean of the rows holds over 99 % of its energy, so the "
            "codes describe the offset. Remove it first, for example X - X.mean(axis=0) or "
            "StandardScaler(with_std=False)."
        )
    return survey.is_offset


def _worst(searches):
    """How several searches for the same rows went, without their codes: at worst, row by row."""
    _, n_iter, error, converged, _ = zip(*searches, strict=True)
    return Solution(np.empty(0), np.max(n_iter, axis=0), np.max(error, axis=0), np.all(converged, axis=0))


def _has_a_price(energy):
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


def _drawn_atoms(rows, survey, wanted, spread_out, positive, rng):
    """Random rows as unit atoms, or those of more rows that k-means++ finds; random directions where rows run out."""
    usable = np.flatnonzero(survey.positive if positive else survey.nonzero)
    drawn = rows.take(np.sort(rng.permutation(usable)[: wanted * (_DRAWN_PER_ATOM if spread_out else 1)]))
    if positive:
        drawn = np.maximum(drawn, 0.0)
    if spread_out and len(drawn) > wanted:
        drawn = kmeans_plusplus(unit_rows(drawn)[0], wanted, random_state=rng)[0]
    atoms = rng.standard_normal((wanted, rows.shape[1]))
    if positive:
        atoms = np.abs(atoms)
    atoms[: len(drawn)] = drawn
    return unit_rows(atoms)[0].astype(rows.dtype)
