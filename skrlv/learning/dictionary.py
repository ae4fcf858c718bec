r"""Atoms that lower the mean energy, from the statistics of codes and data alone.

References
----------
Mairal, Bach, Ponce, Sapiro, Online Learning for Matrix Factorization and Sparse Coding, 2010.
"""

from dataclasses import replace

import numpy as np

from skrlv._arrays import squares_per_sample, to_device_of, to_numpy
from skrlv.decoders import Dictionary
from skrlv.learning.statistics import add, decay, statistics

ATOMS_PER_BLOCK = 32


def unit_rows(atoms):
    """Rows scaled to unit norm, and the norms they had; a zero row stays."""
    largest = np.abs(atoms).max(axis=1, initial=0.0, keepdims=True)
    largest[largest == 0.0] = 1.0  # and the squares below cannot overflow
    norms = largest[:, 0] * np.linalg.norm(atoms / largest, axis=1)
    return atoms / np.where(norms > 0.0, norms, 1.0)[:, None], norms


def update_atoms(atoms, ZtZ, ZtY, *, positive=False, n_sweeps=1):
    r"""Block coordinate descent on the atoms, each in the unit ball, with the codes held.

    .. math:: d_j \leftarrow \Pi\bigl(d_j + ((Z^\top Y)_j - (Z^\top Z)_j D) / (Z^\top Z)_{jj}\bigr)

    Parameters
    ----------
    atoms : array of shape (n_components, n_features), float64
        Where to begin.
    ZtZ, ZtY : arrays of shape (n_components, n_components) and (n_components, n_features)
        See `statistics`.
    positive : bool, default=False
        Whether atoms are non-negative.
    n_sweeps : int, default=1
        Visits to every atom.

    Returns
    -------
    array of shape (n_components, n_features)
        New atoms, of norm at most one; those never used (ZtZ_jj = 0) are unchanged.
    """
    atoms = atoms.copy()
    for _ in range(n_sweeps):
        # The residual is kept by GEMMs over blocks of atoms; inside a block only its own changes are added.
        residual = ZtY - ZtZ @ atoms
        for start in range(0, len(atoms), ATOMS_PER_BLOCK):
            block = slice(start, start + ATOMS_PER_BLOCK)
            before = atoms[block].copy()
            _update_block(atoms[block], ZtZ[block, block], residual[block], positive)
            residual -= ZtZ[:, block] @ (atoms[block] - before)
    return atoms


def _update_block(atoms, ZtZ, residual, positive):
    """Update a block of atoms in place; residual is ZtY - ZtZ D for its rows, at entry."""
    moves = np.zeros_like(atoms)
    for j in np.flatnonzero(ZtZ.diagonal() > 0.0):
        atom = atoms[j] + (residual[j] - ZtZ[j] @ moves) / ZtZ[j, j]
        if positive:
            atom = np.maximum(atom, 0.0)
        atom /= max(1.0, np.linalg.norm(atom))
        moves[j] = atom - atoms[j]
        atoms[j] = atom


def learn_dictionary(state, energy, y, z, *, memory, positive=False, n_sweeps=1):
    r"""One step of learning: add the batch to the statistics, move the atoms, give each unit norm.

    Codes take the old norm of their atom, at most one, so that every reconstruction is unchanged and no R
    that grows with the codes rises. Atoms unused for as long as the statistics remember
    are replaced by the worst reconstructed samples of the batch.

    Parameters
    ----------
    state : dict
        Statistics so far, or empty; entries of other learners pass through.
    energy : Energy
        With a `Dictionary`.
    y, z : arrays of shape (n_samples, n_features) and (n_samples, n_components)
        A batch and its codes.
    memory : float in [0, 1]
        Factor on the old statistics; 0 drops them.
    positive : bool, default=False
        Whether atoms are non-negative.
    n_sweeps : int, default=1
        Visits to every atom.

    Returns
    -------
    state : dict
        Statistics in terms of the new atoms, and ``scale`` (n_components,): what codes of the batch
        are to be multiplied by.
    energy : Energy
        With the new atoms.
    """
    seen = statistics(y, z)
    if "ZtZ" in state:
        old = {name: state[name] for name in seen}
        seen = add(decay(old, memory), seen)
    old_atoms = energy.decoder.atoms
    atoms = update_atoms(
        to_numpy(old_atoms).astype(np.float64), seen["ZtZ"], seen["ZtY"], positive=positive, n_sweeps=n_sweeps
    )
    atoms, norms = unit_rows(atoms)
    atoms[norms == 0.0] = to_numpy(old_atoms)[norms == 0.0]
    unused = np.flatnonzero((seen["usage"] < 0.5) | (norms == 0.0))  # forgetting leaves fractions of a use
    norms[unused] = 0.0
    if unused.size:
        atoms = replace_atoms(atoms, unused, to_numpy(y - energy.decoder(z)), to_numpy(y), positive)
    state = state | {
        "ZtZ": seen["ZtZ"] * norms[:, None] * norms,
        "ZtY": seen["ZtY"] * norms[:, None],
        "usage": seen["usage"] * (norms > 0.0),
        "count": seen["count"],
        "scale": norms,
    }
    return state, replace(energy, decoder=Dictionary(to_device_of(atoms, old_atoms)))


def replace_atoms(atoms, unused, residual, y, positive):
    """Unused atoms become the worst reconstructed samples that are not zero, as many as there are."""
    errors = squares_per_sample(residual)
    worst = np.argsort(-errors, kind="stable")[: unused.size]
    fresh = np.maximum(y[worst], 0.0) if positive else y[worst]
    fresh, norms = unit_rows(fresh.astype(np.float64))
    usable = norms > 0.0
    atoms = atoms.copy()
    atoms[unused[: worst.size][usable]] = fresh[usable]
    return atoms
