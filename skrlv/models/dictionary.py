"""What models with a dense dictionary under squared error share."""

import numpy as np
from sklearn.cluster import kmeans_plusplus

from skrlv.learning import learn_dictionary, unit_rows
from skrlv.models.linear import LinearModel
from skrlv.models.validation import check_dictionary, refuse_zero_atoms
from skrlv.models.warning import warn_user

_DRAWN_PER_ATOM = 16  # rows that k-means++ chooses from


class DictionaryModel(LinearModel):
    """A model whose decoder is a `Dictionary`."""

    positive_dictionary = False

    def _first_atoms(self, X, summary, rng):
        rows, spread_out = self._rows(X), isinstance(self.dictionary_init, str)
        if not spread_out and self.dictionary_init is not None:
            atoms = self._given_atoms("dictionary_init", rows)
            refuse_zero_atoms(atoms, "dictionary_init")
            return unit_rows(atoms)[0]
        n_components = min(rows.shape[1], 256) if self.n_components is None else self.n_components
        return _drawn_atoms(rows, summary, n_components, spread_out, self.positive_dictionary, rng)

    def _given_atoms(self, name, X):
        if getattr(self, name) is None:
            return None
        atoms = check_dictionary(getattr(self, name), X.shape[1], name, dtype=X.dtype)
        if self.n_components not in (None, len(atoms)):
            raise ValueError(f"n_components={self.n_components}, but {name} has {len(atoms)} atoms; give one.")
        if self.positive_dictionary and (atoms < 0.0).any():
            raise ValueError(f"{name} has negative entries, but positive_dictionary=True.")
        return atoms

    def _learn_atoms(self, state, energy, y, z, whole):
        positive = self.positive_dictionary
        atoms, energy = learn_dictionary(
            state.atoms, energy, y, z, whole=whole, positive=positive, n_jobs=self.n_jobs
        )  # fmt: skip
        return state._replace(atoms=atoms), energy


def warns_of_offset(summary):
    """Whether rows differ little from their mean; warns if so."""
    if summary.is_offset:
        warn_user(
            "X is almost constant next to its offset: the mean of the rows holds over 99 % of its energy, so the "
            "codes describe the offset. Remove it first, for example X - X.mean(axis=0) or "
            "StandardScaler(with_std=False)."
        )
    return summary.is_offset


def warn_of_many_atoms(model, n_samples):
    """Warn of a default number of atoms that passes over so few rows cannot learn."""
    drawn = model.dictionary_init is None or isinstance(model.dictionary_init, str)
    if model.n_components is None and drawn and model.n_components_ > n_samples:
        warn_user(
            f"n_components=None makes {model.n_components_} atoms, more than the {n_samples} rows of X: most of them "
            "can only copy a row, or stay as they were drawn. Pass n_components."
        )


def _drawn_atoms(rows, summary, wanted, spread_out, positive, rng):
    """Random rows as unit atoms, or those of more rows that k-means++ finds; random directions where rows run out."""
    usable = np.flatnonzero(summary.positive if positive else summary.nonzero)
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
