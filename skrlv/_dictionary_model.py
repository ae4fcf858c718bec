"""Between base and the roof: what all models with a dense dictionary under squared error share."""

from abc import abstractmethod
from dataclasses import replace

import numpy as np

from skrlv._arrays import is_numpy, to_device, to_device_of, to_numpy
from skrlv._hold_out import hold_out, mixed
from skrlv._threads import dense, dense_blocks, each_block
from skrlv._validation import check_dictionary
from skrlv.base import LatentVariableModel, warn_unless_converged, warn_user
from skrlv.decoders import Dictionary
from skrlv.inference import Gathered, Solution, joined
from skrlv.learning import learn_dictionary, unit_rows
from skrlv.metrics import sample_rows, useful_range
from skrlv.regularizers import LassoFamily


class DictionaryModel(LatentVariableModel):
    """A model whose decoder is a `Dictionary`, learned or given."""

    positive_dictionary = False

    @abstractmethod
    def _energy(self, atoms, lmbda):
        """The Energy with these atoms (an array on the device), from the constructor's parameters."""

    def _validate_params(self):
        if np.ndim(self.n_components) > 0:
            raise ValueError("n_components is a number of atoms; to give the atoms themselves use dictionary=.")
        super()._validate_params()

    def _initial_energy(self, X, rng):
        atoms = self._given_atoms("dictionary", X)
        lmbda = _auto_lmbda(X, atoms) if self.lmbda == "auto" else float(self.lmbda)
        if atoms is None:
            atoms = self._initial_atoms(X, rng)
        return self._energy(to_device(atoms, self.device), lmbda)

    def _initial_atoms(self, X, rng):
        atoms = self._given_atoms("dictionary_init", X)
        if atoms is not None:
            return unit_rows(atoms)[0]
        n_components = min(X.shape[1], 256) if self.n_components is None else self.n_components
        return _atoms_from_rows(X, n_components, self.positive_dictionary, rng)

    def _given_atoms(self, name, X):
        """The atoms of that parameter, None where it is, after a check against X and the other parameters."""
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

    def _update(self, state, energy, y, z, share):
        # Statistics are remembered for about one pass; a batch that holds all rows replaces them.
        return learn_dictionary(state, energy, y, z, memory=1.0 - share, positive=self.positive_dictionary)

    def _carried(self, state, z):
        return z * to_device_of(state["scale"], z)

    def _store(self, energy, dtype):
        self.components_ = to_numpy(energy.decoder.atoms).astype(dtype)
        self.n_components_ = len(self.components_)
        self.lmbda_ = energy.lmbda


class Coder(DictionaryModel):
    """A dictionary model without an encoder: its codes are searched for, in `fit` as in `transform`."""

    def _infer(self, energy, y, z0, rng):
        if not is_numpy(y):  # a device is kept busy by the whole batch
            return self._encode(energy, y, z0)

        def search(rows):
            gathered.add(rows, self._encode(energy, y[rows], None if z0 is None else z0[rows]))

        gathered = Gathered(len(y))
        each_block(search, len(y), self.n_jobs)
        return gathered.solution()

    def _learn(self, X, energy, rng):
        if self.dictionary is None:
            super()._learn(X, energy, rng)
        self._warn_of_a_useless_fit(X)

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
        return float(self._scores(X, [self.lmbda_])[0])

    def _scores(self, X, lmbdas):
        """`score` of validated rows at each of these lmbdas, best in decreasing order."""
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
        error, spread = np.sum(errors, axis=0), _spread(X)
        return 1.0 - error / spread if spread > 0.0 else (error == 0.0).astype(np.float64)

    def _encode_path(self, energy, y, lmbdas):
        """`_encode` at each of these lmbdas: a list of `Solution`; a coder that can pass them in one walk does."""
        return [self._encode(replace(energy, lmbda=lmbda), y) for lmbda in lmbdas]

    def _warn_of_a_useless_fit(self, X):
        """Say once where the data or lmbda make codes that tell nothing, and what to do."""
        if _is_offset(X):
            warn_user(
                "X is almost constant next to its offset: the mean of the rows holds over 99 % of its energy, so the "
                "codes describe the offset. Remove it first, for example X - X.mean(axis=0) or "
                "StandardScaler(with_std=False)."
            )
            return
        energy, sample = self.energy_, sample_rows(X)
        complaint = self._complaint(energy, sample) if sample.size else None
        if complaint:
            warn_user(f"With lmbda={self.lmbda_:.3g} nearly all codes are {complaint}. {_advice(energy, sample)}")

    def _complaint(self, energy, sample):
        """What is wrong with nearly all codes, if anything; a model of few dimensions may well be dense."""
        used = np.count_nonzero(self._solve(energy, sample).z, axis=1)
        if np.mean(used == 0) > 0.9:
            return "zero"
        rank = min(self.n_components_, np.linalg.matrix_rank(sample))
        if _has_a_price(energy) and rank >= 10 and np.median(used) >= 0.9 * rank:
            return "dense"
        return None


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


def _auto_lmbda(X, atoms):
    """1.2 x the root mean square of the entries of X, x the rms norm of given atoms (Mairal et al. 2010)."""
    return 1.2 * (_rms(X) or 1.0) * (1.0 if atoms is None else _rms(atoms) * np.sqrt(atoms.shape[1]))


def _rms(X):
    """Root mean square of the entries, without overflow and without a copy of X."""
    largest = float(np.max([np.abs(x).max() for x in dense_blocks(X)]))
    if largest == 0.0:
        return 0.0
    squares = sum(float(np.sum((x / largest) ** 2, dtype=np.float64)) for x in dense_blocks(X))
    return largest * np.sqrt(squares / (X.shape[0] * X.shape[1]))


def _is_offset(X):
    """Whether nearly all of the energy of X is that of its mean row, and X is not constant altogether."""
    mean = _mean_row(X)
    offset, total = float(mean @ mean), _rms(X) ** 2 * X.shape[1]
    return 0.99 * total < offset < (1.0 - 1e-12) * total


def _atoms_from_rows(X, wanted, positive, rng):
    """Random rows of X as unit atoms, then random directions where rows run out."""
    rows = np.flatnonzero(np.concatenate([((x > 0.0) if positive else x).any(axis=1) for x in dense_blocks(X)]))
    chosen = np.sort(rng.permutation(rows)[:wanted])
    atoms = rng.standard_normal((wanted, X.shape[1]))
    atoms[: chosen.size] = dense(X[chosen])
    return unit_rows(_nonnegative(atoms) if positive else atoms)[0].astype(X.dtype)


def _nonnegative(atoms):
    clipped = np.maximum(atoms, 0.0)
    return np.where(clipped.any(axis=1, keepdims=True), clipped, np.abs(atoms))


def _mean_row(X):
    return sum(x.sum(axis=0, dtype=np.float64) for x in dense_blocks(X)) / X.shape[0]


def _spread(X):
    """Sum of squared distances to the mean row."""
    mean = _mean_row(X)
    return sum(float(np.sum((x - mean) ** 2)) for x in dense_blocks(X))
