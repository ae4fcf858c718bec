"""A dictionary learned from an array that is spread over a cluster."""

import math
from functools import partial, reduce
from itertools import accumulate

import dask
import dask.array as da
import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_is_fitted

from skrlv._rows import Rows
from skrlv._threads import row_blocks
from skrlv.inference import exact_codes, joined
from skrlv.learning import (
    MOST_RESAMPLED,
    Alternation,
    add,
    learn_from_statistics,
    statistics,
    update_atoms,
    worst_reconstructed,
)
from skrlv.models.base import ROWS_PER_STEP, rows_per_step
from skrlv.models.energies import check_temperature
from skrlv.models.frozen import warn_of_frozen
from skrlv.models.validation import resolved_tol
from skrlv.sparse_coding import SparseCoder

_ROWS_AT_ONCE = 1024  # of a chunk: their codes are held
_MOST_STEPS = 32  # of a pass, with batch_size="auto": each is a round over all chunks


class DaskRows(Rows):
    """Rows of a dask array, looked at where they lie."""

    def map(self, part):
        return list(dask.compute(*(dask.delayed(_part_of_finite)(part, chunk) for chunk in _chunks(self._X))))

    def take(self, chosen):
        return np.ascontiguousarray(self._X[chosen].compute())


class DaskSparseCoder(SparseCoder, auto_wrap_output_keys=None):  # type: ignore[call-arg]  # no table is lazy
    r"""`SparseCoder` for a ``dask.array``: each chunk of rows sends its statistics, and the sums move the atoms.

    .. math:: Z^\top Z = \sum_b Z_b^\top Z_b, \qquad Z^\top X = \sum_b Z_b^\top X_b

    A step is one round over all chunks, and its batch is every k-th row of X, so the atoms are the same whatever the
    chunks, up to the rounding of sums. With ``batch_size=n_samples`` `fit` takes the steps of
    ``SparseCoder(batch_size=n_samples)``. Codes never leave the workers. Chunks that a worker takes down with it are
    computed again elsewhere, as far as the scheduler retries.

    Parameters
    ----------
    n_components, lmbda, positive, positive_dictionary, l2, dictionary, dictionary_init
        The model, as for `SparseCoder`.
    max_iter, tol, code_tol, split_sign, random_state
        As for `SparseCoder`.
    batch_size : int or "auto", default="auto"
        Rows per update of the atoms, from all chunks together; "auto" is 256, or more such that a pass has no more than
        32 steps.
    sparse_output, n_jobs
        Of the local coder (`to_local`); here codes are dense, and a chunk takes one thread.

    Attributes
    ----------
    components_, n_components_, lmbda_, energy_history_, n_iter_, atom_usage_, n_resampled_, n_features_in_
        As of `SparseCoder`, as NumPy arrays and numbers on this machine.

    See Also
    --------
    SparseCoder : The same on one machine.

    Notes
    -----
    Runs on the current ``dask.distributed`` client, or on dask's default scheduler where there is none. Chunks are read
    once per step: persist X where memory allows, or give a large ``batch_size``. Sparse chunks are made dense. Sizes
    must be known: take ``frame.to_dask_array(lengths=True)`` of a dask dataframe, and ``X.compute_chunk_sizes()`` after
    a filter.

    Examples
    --------
    >>> import dask.array as da
    >>> from sklearn.datasets import load_digits
    >>> from skrlv.dask import DaskSparseCoder
    >>> X = da.from_array(load_digits().data / 16, chunks=(500, 64))
    >>> coder = DaskSparseCoder(32, random_state=0).fit(X)
    >>> coder.transform(X)
    dask.array<...shape=(1797, 32)...>
    >>> coder.to_local()
    SparseCoder(n_components=32, random_state=0)
    """

    _rows = DaskRows

    def to_local(self):
        """The same model as a `SparseCoder`, fitted if this is.

        Returns
        -------
        SparseCoder
        """
        local = SparseCoder(**self.get_params(deep=False))
        for name, value in vars(self).items():
            setattr(local, name, value)
        return local

    def fit(self, X, y=None):
        """Learn the atoms from a ``dask.array`` of shape (n_samples, n_features); see `SparseCoder.fit`.

        Parameters
        ----------
        X : dask.array.Array of shape (n_samples, n_features)
            Data, float32 or float64; float16 becomes float32, other dtypes float64. Chunks of rows stay as they are.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted estimator. A fit that fails leaves it as it was.

        Raises
        ------
        TypeError
            If X is no dask array.
        ValueError
            If X is not a finite matrix with rows, or a parameter is out of its range.
        """
        return super().fit(X, y)

    def partial_fit(self, X, y=None):
        """Not for arrays on a cluster: always raises TypeError. `to_local` gives the coder that learns from streams."""
        raise TypeError("partial_fit is for batches in memory: use to_local().partial_fit(batch).")

    def transform(self, X):
        """Lazy codes; nothing is computed here.

        Parameters
        ----------
        X : dask.array.Array of shape (n_samples, n_features)
            Data.

        Returns
        -------
        dask.array.Array of shape (n_samples, n_features_out)
            Codes, chunks of rows as those of X.
        """
        X = self._validated(X)
        return X.map_blocks(
            self._worker().transform, dtype=X.dtype, chunks=(X.chunks[0], (self._n_features_out,)),
            meta=np.empty((0, 0), X.dtype),
        )  # fmt: skip

    def inverse_transform(self, X):
        """Lazy reconstructions of codes.

        Parameters
        ----------
        X : dask.array.Array of shape (n_samples, n_features_out)
            Codes, as from `transform`.

        Returns
        -------
        dask.array.Array of shape (n_samples, n_features)
            Decoded.
        """
        check_is_fitted(self)
        X = _as_matrix(X)
        return X.map_blocks(
            self._worker().inverse_transform, dtype=X.dtype, chunks=(X.chunks[0], (self.n_features_in_,)),
            meta=np.empty((0, 0), X.dtype),
        )  # fmt: skip

    def energy(self, X, Z=None):
        """Lazy energies of samples, with codes inferred for them where Z is None.

        Parameters
        ----------
        X : dask.array.Array of shape (n_samples, n_features)
            Data.
        Z : None
            Given codes are for the local coder.

        Returns
        -------
        dask.array.Array of shape (n_samples,)
            E(x, z), float64.
        """
        if Z is not None:
            raise TypeError("The energy of given codes is for the local coder: use to_local().energy(X, Z).")
        X = self._validated(X)
        return X.map_blocks(self._worker().energy, dtype=np.float64, drop_axis=1, meta=np.empty(0))

    def free_energy(self, X, temperature=0.0, *, return_std=False):
        """Lazy free energies of samples; standard errors are for the local coder, see `SparseCoder.free_energy`.

        Parameters
        ----------
        X : dask.array.Array of shape (n_samples, n_features)
            Data.
        temperature : float, default=0.0
            Of the free energy.
        return_std : bool, default=False
            Not for arrays on a cluster: True raises TypeError.

        Returns
        -------
        dask.array.Array of shape (n_samples,)
            F(x), float64.
        """
        check_temperature(temperature)
        if return_std:
            raise TypeError("Standard errors are for the local coder: use to_local().free_energy(X, return_std=True).")
        X, search = self._validated(X), partial(self._worker().free_energy, temperature=temperature)
        return X.map_blocks(search, dtype=np.float64, drop_axis=1, meta=np.empty(0))

    def score(self, X, y=None):
        """R^2 on held-out features, of rows that fit in memory; see `SparseCoder.score`."""
        return self.to_local().score(X.compute() if isinstance(X, da.Array) else X)

    def _worker(self):
        """The local coder as a chunk uses it: one thread, since a worker runs a chunk in each of its own."""
        return self.to_local().set_params(n_jobs=1, sparse_output=False)

    def _validated(self, X, reset=False):
        if not reset:
            check_is_fitted(self)
            warn_of_frozen(self)
        X = _as_matrix(X)
        if reset:
            self.n_features_in_ = X.shape[1]
        elif X.shape[1] != self.n_features_in_:
            raise ValueError(f"X has {X.shape[1]} features, but {type(self).__name__} expects {self.n_features_in_}.")
        return X

    def _learner(self, energy, rng, X=None, **given):
        if self.dictionary is not None:
            return None
        n_samples = X.shape[0]
        size = max(ROWS_PER_STEP, math.ceil(n_samples / _MOST_STEPS))
        return ChunkedAlternation(
            energy, self._state, X, batch_size=rows_per_step(self, n_samples, auto=size), tol=self.tol,
            remedy=self._remedy, code_tol=resolved_tol(self.code_tol, X.dtype), positive=self.positive_dictionary,
        )  # fmt: skip

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        return tags


class ChunkedAlternation(Alternation):
    """Each chunk sends the statistics of its rows in a batch, and their sums move the atoms."""

    def __init__(self, energy, state, X, *, batch_size, tol, remedy, code_tol, positive):
        super().__init__(
            energy, state, infer=None, update=None, spend=None, remedy=remedy, n_samples=X.shape[0], tol=tol
        )  # fmt: skip
        self._chunks, self._code_tol, self._positive = _chunks(X), code_tol, positive
        self._starts = [0, *accumulate(X.chunks[0])]
        self._n_batches = math.ceil(X.shape[0] / batch_size)

    def run_pass(self, rng, report):
        total, self._searches = 0.0, []
        for first in rng.permutation(self._n_batches):
            batch, spent, search, *worst = self._round(first)
            self._searches.append(search)
            self._update_atoms(batch, *worst)
            total += spent
            report(spent, int(batch["count"]))
        return total / self._n_samples

    def _round(self, first):
        """Return the summed results of all chunks for the batch of rows first, first + n_batches, ..."""
        energy, every = dask.delayed(self.energy, pure=False), self._n_batches
        found = [
            dask.delayed(_found)(chunk, (first - start) % every, every, energy, self._code_tol)
            for chunk, start in zip(self._chunks, self._starts, strict=False)
        ]
        while len(found) > 1:
            found = [dask.delayed(_together)(found[i : i + 8]) for i in range(0, len(found), 8)]
        return dask.compute(found[0])[0]

    def _update_atoms(self, batch, samples, errors):
        atoms, self.energy = learn_from_statistics(
            self.state.atoms, self.energy, batch, lambda n: (samples[:n], errors[:n]), whole=self._n_batches == 1,
            move=partial(update_atoms, positive=self._positive), positive=self._positive,
        )  # fmt: skip
        self.state = self.state._replace(n_steps=self.state.n_steps + 1, atoms=atoms)


def _part_of_finite(part, x):
    if not np.isfinite(x).all():
        raise ValueError("X contains NaN or infinity.")
    return part(x)


def _as_matrix(X):
    """The array with all features in each chunk, float32 or float64."""
    if not isinstance(X, da.Array):
        way_out = "pass X.to_dask_array(lengths=True)" if hasattr(X, "to_dask_array") else "for others use to_local()"
        raise TypeError(f"X must be a dask array, got {type(X).__name__}; {way_out}.")
    if X.ndim != 2 or np.isnan(X.shape).any() or 0 in X.shape:
        raise ValueError(
            f"X must be a matrix of known shape with rows and columns, got shape {X.shape}; where rows are not counted "
            "yet use X.compute_chunk_sizes()."
        )
    if X.dtype.kind == "c":
        raise ValueError("Complex data not supported; give real and imaginary parts as features.")
    if not isinstance(X._meta, np.ndarray):
        X = da.map_blocks(_as_array, X, dtype=X.dtype, meta=np.empty((0, 0), X.dtype))
    rows = tuple(size for size in X.chunks[0] if size)  # a filter leaves chunks without any
    return X.astype(X.dtype if X.dtype in (np.float32, np.float64) else np.float64).rechunk({0: rows, 1: -1})


def _chunks(X):
    return X.to_delayed().ravel()


def _as_array(chunk):
    return chunk.toarray() if sparse.issparse(chunk) else np.asarray(chunk)


def _found(chunk, first, every, energy, tol):
    """Return the result of a chunk for its rows first, first + every, ...; None if it has no such rows.

    The result is the statistics, the energy, how the codes were found, and the worst reconstructed rows.
    """
    x, parts = chunk[first::every], []
    for rows in row_blocks(len(x), _ROWS_AT_ONCE):
        y = np.ascontiguousarray(x[rows])
        solution = exact_codes(energy, y, None, tol=tol)
        z = solution.z
        parts.append(
            (statistics(y, z, n_jobs=1), float(energy(y, z).sum()), solution._replace(z=np.empty(0)),
             *worst_reconstructed(energy, y, z, MOST_RESAMPLED))
        )  # fmt: skip
    return _together(parts)


def _together(parts):
    """Sum the results of several chunks."""
    parts = [part for part in parts if part is not None]
    if not parts:
        return None
    batches, spent, solutions, *worst = zip(*parts, strict=True)
    samples, errors = map(np.concatenate, worst)
    order = np.argsort(-errors, kind="stable")[:MOST_RESAMPLED]
    return reduce(add, batches), sum(spent), joined(solutions), samples[order], errors[order]
