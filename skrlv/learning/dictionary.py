r"""Atoms that lower the mean energy, from the statistics of codes and data alone.

References
----------
Mairal, Bach, Ponce, Sapiro, Online Learning for Matrix Factorization and Sparse Coding, 2010.
"""

import math
from dataclasses import replace
from functools import partial

import numpy as np

from skrlv._arrays import as_kernel_takes, squares_per_sample, to_device_of, to_numpy
from skrlv._threads import one_blas_thread, row_blocks
from skrlv.learning.statistics import add, decay, statistics

ATOMS_PER_BLOCK = 32
MOST_RESAMPLED = 32  # atoms in one step
TWIN = 1e-4  # atoms whose cosine is this close to one coincide


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
    from skrlv.kernels.dictionary import visit_atoms

    atoms = np.array(atoms, dtype=np.float64, order="C")
    ZtZ, moves = as_kernel_takes(ZtZ), np.empty((ATOMS_PER_BLOCK, atoms.shape[1]))
    with one_blas_thread():
        for block in n_sweeps * row_blocks(len(atoms), ATOMS_PER_BLOCK):
            residual = ZtY[block] - ZtZ[block] @ atoms
            visit_atoms(ZtZ, block.start, residual, positive, moves, atoms[block])
    return atoms


def remembered(n_seen, n_batch, n_components):
    r"""Factor on the statistics of m samples as a batch makes them n.

    .. math:: \Bigl(\frac{m}{n}\Bigr)^3 \exp \frac{\sqrt m - \sqrt n}{\sqrt k}

    It is the same however the samples between come in. The power lets the first codes fade, which are of poor atoms.
    The exponential keeps the memory at about 2 sqrt(k n) samples: with a fixed share of all that was seen the atoms
    freeze before they are right, and a fixed number never averages its noise out.
    """
    before = n_seen - n_batch
    return (before / n_seen) ** 3 * math.exp((math.sqrt(before) - math.sqrt(n_seen)) / math.sqrt(n_components))


def learn_dictionary(state, energy, y, z, *, whole=False, positive=False, n_sweeps=1, n_jobs=None):
    r"""One step of learning: add the batch to the statistics, move the atoms, give each unit norm.

    Codes take the old norm of their atom, at most one, so that every reconstruction is unchanged and no R that grows
    with the codes rises. Atoms that nothing uses, and all but one of those that coincide, become the worst
    reconstructed samples of the batch. Under a ridge, and other R that favour sharing, those that coincide stay.

    Parameters
    ----------
    state : dict
        What earlier steps returned, or empty; entries of other learners pass through.
    energy : Energy
        With a `Dictionary`.
    y, z : arrays of shape (n_samples, n_features) and (n_samples, n_components)
        A batch and its codes.
    whole : bool, default=False
        Whether the batch is all of the data: then nothing that was seen before counts, and no pass raises the energy.
    positive : bool, default=False
        Whether atoms are non-negative.
    n_sweeps : int, default=1
        Visits to every atom.
    n_jobs : int or None, default=None
        Threads, see `statistics`.

    Returns
    -------
    state : dict
        Statistics in terms of the new atoms: ZtZ, ZtY, usage, count, all forgetting; n_seen and idle (n_components,),
        samples so far and since an atom was used; n_resampled, atoms replaced so far; and scale (n_components,), what
        codes of the batch are to be multiplied by.
    energy : Energy
        With the new atoms.
    """
    return learn_from_statistics(
        state, energy, statistics(y, z, n_jobs), partial(worst_reconstructed, energy, y, z),
        whole=whole, positive=positive, move=partial(update_atoms, positive=positive, n_sweeps=n_sweeps),
    )  # fmt: skip


def learn_from_statistics(state, energy, batch, worst, *, move=update_atoms, whole=False, positive=False):
    """`learn_dictionary` for a batch known by its `statistics`, and by worst(n), its n worst reconstructed samples.

    move(rows, ZtZ, ZtY) lowers the energy of these statistics over the atoms, which are rows here, each in the unit
    ball; ZtZ may have more axes behind its first two.
    """
    state = _begun(len(batch["usage"])) | state
    n_seen = state["n_seen"] + batch["count"]
    idle = np.where(batch["usage"] > 0.0, 0.0, state["idle"] + batch["count"])
    seen = batch
    if "ZtZ" in state and not whole:
        seen = add(decay({name: state[name] for name in batch}, remembered(n_seen, batch["count"], len(idle))), batch)

    old = to_numpy(energy.decoder.rows).astype(np.float64)
    twins = np.zeros(len(idle), dtype=bool)
    if energy.regularizer.merges and not energy.encoder_weight:
        seen, twins = merged(seen, old @ old.T, signed=not energy.regularizer.positive)
    atoms, norms = unit_rows(move(old, seen["ZtZ"], seen["ZtY"]))
    atoms[norms == 0.0] = old[norms == 0.0]
    patience = seen["count"] if whole else max(seen["count"], len(atoms))  # a sample per atom, at least
    lost = twins | (norms == 0.0)
    replaced = replace_atoms(atoms, np.flatnonzero(lost | (idle >= patience)), worst, positive)
    lost[replaced] = True
    norms[lost], idle[lost] = 0.0, 0.0
    state = state | {
        **rescaled(seen, norms),
        "count": seen["count"],
        "n_seen": n_seen,
        "idle": idle,
        "n_resampled": state["n_resampled"] + replaced.size,
        "scale": norms,
    }
    return state, replace(energy, decoder=energy.decoder.with_rows(to_device_of(atoms, energy.decoder.rows)))


def rescaled(state, factors):
    """Statistics of codes with one factor per atom; a factor of zero forgets it."""
    return {
        "ZtZ": per_atom(per_atom(state["ZtZ"], factors).swapaxes(0, 1), factors).swapaxes(0, 1),
        "ZtY": per_atom(state["ZtY"], factors),
        "usage": state["usage"] * (factors > 0.0),
    }


def per_atom(x, factors):
    """x with one factor for each of its first indices."""
    return x * factors.reshape(-1, *(1,) * (x.ndim - 1))


def _begun(n_components):
    return {"n_seen": 0.0, "idle": np.zeros(n_components), "n_resampled": 0}


def merged(seen, gram, *, signed):
    """Statistics as if, of atoms that coincide but for their sign, one had all the codes; and which have none now.

    The reconstruction stays as it is, to the square root of TWIN, and the price of an L1 norm cannot rise.
    Non-negative codes (``signed=False``) cannot pass from an atom to its opposite.
    """
    norms = np.sqrt(gram.diagonal())
    near = (np.abs(gram) if signed else gram) > (1.0 - TWIN) * norms[:, None] * norms
    gone = np.zeros(len(gram), dtype=bool)
    if np.count_nonzero(near) <= len(gram):
        return seen, gone
    ZtZ, ZtY, usage = seen["ZtZ"].copy(), seen["ZtY"].copy(), seen["usage"].copy()
    for kept, lost in np.argwhere(np.triu(near, 1)):
        if gone[kept] or gone[lost]:
            continue
        sign = np.sign(gram[kept, lost])
        ZtZ[kept] += sign * ZtZ[lost]
        ZtZ[:, kept] += sign * ZtZ[:, lost]
        ZtY[kept] += sign * ZtY[lost]
        usage[kept] = min(usage[kept] + usage[lost], seen["count"])
        ZtZ[lost], ZtZ[:, lost], ZtY[lost], usage[lost], gone[lost] = 0.0, 0.0, 0.0, 0.0, True
    return seen | {"ZtZ": ZtZ, "ZtY": ZtY, "usage": usage}, gone


def worst_reconstructed(energy, y, z, n):
    """The n samples with the largest squared error, the worst first, and these errors; NumPy, float64."""
    errors = squares_per_sample(to_numpy(y - energy.decoder(z)))
    worst = np.argsort(-errors, kind="stable")[:n]
    return to_numpy(y)[worst].astype(np.float64), errors[worst]


def replace_atoms(atoms, gone, worst, positive):
    """Put the worst reconstructed samples that are not zero in the place of atoms, as many as there are.

    In place. Returns which were replaced.
    """
    if not gone.size:
        return gone
    fresh, errors = worst(min(gone.size, MOST_RESAMPLED))
    fresh, norms = unit_rows(np.maximum(fresh, 0.0) if positive else fresh)
    usable = (norms > 0.0) & (errors > 0.0)
    replaced = gone[: len(fresh)][usable]
    atoms[replaced] = fresh[usable]
    return replaced
