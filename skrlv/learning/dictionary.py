r"""Atoms that lower the mean energy, computed from the statistics of codes and data.

References
----------
Mairal, Bach, Ponce, Sapiro, Online Learning for Matrix Factorization and Sparse Coding, 2010.
"""

import math
from dataclasses import replace
from functools import partial

import numpy as np

from skrlv._arrays import as_kernel_takes, double, is_numpy, namespace, squares_per_sample, to_device_of, to_numpy
from skrlv._threads import one_blas_thread, product, row_blocks

ATOMS_PER_BLOCK = 32
MOST_RESAMPLED = 32  # maximum number of atoms that one step replaces
DUPLICATE = 1e-4  # atoms whose cosine is this close to one are duplicates


def unit_rows(atoms):
    """Rows scaled to unit norm, and their norms before; rows of zeros are left as they are.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.learning import unit_rows
    >>> units, norms = unit_rows(np.array([[3.0, 4.0]]))
    >>> units.tolist(), norms.tolist()
    ([[0.6, 0.8]], [5.0])
    """
    largest = np.abs(atoms).max(axis=1, initial=0.0, keepdims=True)
    largest[largest == 0.0] = 1.0
    scaled = atoms / largest
    lengths = np.linalg.norm(scaled, axis=1)
    with np.errstate(over="ignore"):
        norms = largest[:, 0] * lengths
    units = atoms / np.where(norms > 0.0, norms, 1.0)[:, None]
    limits = np.finfo(norms.dtype)
    imprecise = (norms > limits.max) | (norms < limits.tiny) & (lengths > 0.0)  # infinite or subnormal
    units[imprecise] = scaled[imprecise] / lengths[imprecise, None]
    return units, norms


def statistics(y, z, n_jobs=None):
    r"""Sums over samples: ZtZ = sum of z z^T, ZtY = sum of z y^T, the number of uses of each atom, and n.

    Parameters
    ----------
    y : array of shape (n_samples, n_features)
        Data.
    z : array of shape (n_samples, n_components)
        Their codes.
    n_jobs : int or None, default=None
        Number of threads for NumPy arrays; None is all cores of the process, or a joblib worker's share.

    Returns
    -------
    dict of NumPy arrays, float64
        ZtZ (n_components, n_components), ZtY (n_components, n_features), usage (n_components,) and count.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.learning import statistics
    >>> found = statistics(np.array([[1.0, 2.0]]), np.array([[3.0, 0.0]]))
    >>> found["ZtZ"].tolist(), found["ZtY"].tolist(), found["usage"].tolist(), found["count"]
    ([[9.0, 0.0], [0.0, 0.0]], [[3.0, 6.0], [0.0, 0.0]], [1.0, 0.0], 1.0)
    """
    xp = namespace(y, z)
    y, z = double(y), double(z)
    products = [product(z.T, x, n_jobs) if is_numpy(z) else to_numpy(z.T @ x) for x in (z, y)]
    return {
        "ZtZ": products[0],
        "ZtY": products[1],
        "usage": to_numpy(xp.sum(double(z != 0), axis=0)),
        "count": float(y.shape[0]),
    }


def add(a, b):
    """The statistics of two sets of samples together.

    Examples
    --------
    >>> from skrlv.learning import add
    >>> add({"count": 2.0}, {"count": 3.0})
    {'count': 5.0}
    """
    return {name: a[name] + b[name] for name in a}


def decay(state, factor):
    """Statistics with all samples weighted by a factor.

    Examples
    --------
    >>> from skrlv.learning import decay
    >>> decay({"count": 2.0}, 0.5)
    {'count': 1.0}
    """
    return {name: factor * value for name, value in state.items()}


def update_atoms(atoms, ZtZ, ZtY, *, positive=False, n_sweeps=1):
    r"""Block coordinate descent on the atoms, each in the unit ball, codes held fixed.

    .. math:: d_j \leftarrow \Pi\bigl(d_j + ((Z^\top Y)_j - (Z^\top Z)_j D) / (Z^\top Z)_{jj}\bigr)

    Parameters
    ----------
    atoms : array of shape (n_components, n_features), float64
        The initial atoms.
    ZtZ, ZtY : arrays of shape (n_components, n_components) and (n_components, n_features)
        See `statistics`.
    positive : bool, default=False
        Whether atoms are non-negative.
    n_sweeps : int, default=1
        Number of updates of every atom.

    Returns
    -------
    array of shape (n_components, n_features)
        New atoms, of norm at most one; unused atoms (ZtZ_jj = 0) are unchanged.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.learning import update_atoms
    >>> update_atoms(np.eye(2), np.eye(2), np.array([[0.6, 0.8], [0.0, 1.0]])).tolist()
    [[0.6, 0.8], [0.0, 1.0]]
    """
    from skrlv.kernels.dictionary import visit_atoms

    atoms = np.array(atoms, dtype=np.float64, order="C")
    ZtZ, moves = as_kernel_takes(_without_subnormal_squares(ZtZ)), np.empty((ATOMS_PER_BLOCK, atoms.shape[1]))
    with one_blas_thread():
        for block in n_sweeps * row_blocks(len(atoms), ATOMS_PER_BLOCK):
            residual = ZtY[block] - ZtZ[block] @ atoms
            visit_atoms(ZtZ, block.start, residual, positive, moves, atoms[block])
    return atoms


def _without_subnormal_squares(ZtZ):
    """ZtZ in which atoms whose codes are too small for a division by their squares count as unused."""
    squares = ZtZ.diagonal()
    vanishing = np.flatnonzero((squares > 0.0) & (squares < np.finfo(np.float64).tiny))
    if not vanishing.size:
        return ZtZ
    ZtZ = ZtZ.copy()
    ZtZ[vanishing, vanishing] = 0.0
    return ZtZ


def remembered(n_seen, n_batch, n_components):
    r"""The factor on the statistics of m samples when a batch brings the number of samples to n.

    .. math:: \Bigl(\frac{m}{n}\Bigr)^3 \exp \frac{\sqrt m - \sqrt n}{\sqrt k}

    The product over several batches is the factor of one batch of all their samples. The cubic factor discounts early
    codes, which were inferred with poor atoms. The exponential keeps the memory at about 2 sqrt(k n) samples: a memory
    in proportion to n freezes the atoms before they are right, and a fixed memory does not average its noise out.

    Examples
    --------
    >>> from skrlv.learning import remembered
    >>> round(remembered(n_seen=2000, n_batch=1000, n_components=100), 4)
    0.0337
    """
    before = n_seen - n_batch
    return (before / n_seen) ** 3 * math.exp((math.sqrt(before) - math.sqrt(n_seen)) / math.sqrt(n_components))


def learn_dictionary(state, energy, y, z, *, whole=False, positive=False, n_sweeps=1, n_jobs=None):
    r"""One step of learning: add the batch to the statistics, update the atoms, scale each to unit norm.

    Codes are multiplied by the norm of their atom before scaling, which is at most one. So no reconstruction changes,
    and no R that grows with the codes rises. Unused atoms, and duplicates of others, are replaced by the worst
    reconstructed samples of the batch. Under a ridge, and any other R that favours sharing, duplicates are kept.

    Parameters
    ----------
    state : dict
        The state that the last step returned, or an empty dict. It is not changed; entries of other learners are
        passed on.
    energy : Energy
        Its decoder is a `Dictionary`.
    y, z : arrays of shape (n_samples, n_features) and (n_samples, n_components)
        A batch and its codes.
    whole : bool, default=False
        Whether the batch holds all data: then earlier statistics are dropped, unless they come from more rows, and no
        pass raises the energy.
    positive : bool, default=False
        Whether atoms are non-negative.
    n_sweeps : int, default=1
        Number of updates of every atom.
    n_jobs : int or None, default=None
        Number of threads, see `statistics`.

    Returns
    -------
    state : dict
        ZtZ, ZtY, usage and count, statistics in terms of the new atoms, with earlier samples discounted; n_seen, the
        number of samples so far; idle (n_components,), the number of samples since an atom was used; n_resampled, the
        number of atoms replaced so far; scale (n_components,), the factors by which to multiply codes of the batch.
    energy : Energy
        The same energy with the new atoms.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.energy import lasso_energy
    >>> from skrlv.inference import exact_codes
    >>> from skrlv.learning import learn_dictionary
    >>> energy, y = lasso_energy(np.eye(2), 0.1), np.array([[1.0, 0.2], [0.1, 1.0]])
    >>> z = exact_codes(energy, y, tol=1e-6).z
    >>> state, energy = learn_dictionary({}, energy, y, z)
    >>> energy.decoder.atoms.round(3).tolist()
    [[0.995, 0.1], [0.11, 0.994]]
    """
    return learn_from_statistics(
        state, energy, statistics(y, z, n_jobs), partial(worst_reconstructed, energy, y, z),
        whole=whole, positive=positive, move=partial(update_atoms, positive=positive, n_sweeps=n_sweeps),
    )  # fmt: skip


def learn_from_statistics(state, energy, batch, worst, *, move=update_atoms, whole=False, positive=False):
    """`learn_dictionary` for a batch given by its `statistics` and by worst(n), its n worst reconstructed samples.

    ``move(rows, ZtZ, ZtY)`` returns atoms of lower energy, as rows, each in the unit ball. ZtZ may have more than two
    axes.
    """
    state = _first_state(len(batch["usage"])) | state
    n_seen = state["n_seen"] + batch["count"]
    idle = np.where(batch["usage"] > 0.0, 0.0, state["idle"] + batch["count"])
    seen = batch
    of_more_rows = state.get("count", 0.0) > batch["count"]  # a warm start with fewer rows than before
    if "ZtZ" in state and (not whole or of_more_rows):
        seen = add(decay({name: state[name] for name in batch}, remembered(n_seen, batch["count"], len(idle))), batch)

    old = to_numpy(energy.decoder.rows).astype(np.float64)
    duplicates = np.zeros(len(idle), dtype=bool)
    if energy.regularizer.merges and not energy.encoder_weight:
        seen, duplicates = merged(seen, old @ old.T, signed=not energy.regularizer.positive)
    atoms, norms = unit_rows(move(old, seen["ZtZ"], seen["ZtY"]))
    atoms[norms == 0.0] = old[norms == 0.0]
    patience = seen["count"] if whole else max(seen["count"], len(atoms))  # at least one sample per atom
    without_codes = duplicates | (norms == 0.0)
    replaced = replace_atoms(atoms, np.flatnonzero(without_codes | (idle >= patience)), worst, positive)
    without_codes[replaced] = True
    norms[without_codes], idle[without_codes] = 0.0, 0.0
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
    """Statistics of codes multiplied by one factor per atom; a factor of zero drops the atom's statistics."""
    return {
        "ZtZ": per_atom(per_atom(state["ZtZ"], factors).swapaxes(0, 1), factors).swapaxes(0, 1),
        "ZtY": per_atom(state["ZtY"], factors),
        "usage": state["usage"] * (factors > 0.0),
    }


def reordered(state, order):
    """What `learn_dictionary` keeps, for atoms in another order."""
    moved = {name: state[name][order] for name in ("ZtY", "usage", "idle", "scale") if name in state}
    if "ZtZ" in state:
        moved["ZtZ"] = state["ZtZ"][order][:, order]
    return state | moved


def per_atom(x, factors):
    """x multiplied by one factor per index of its first axis."""
    return x * factors.reshape(-1, *(1,) * (x.ndim - 1))


def _first_state(n_components):
    return {"n_seen": 0.0, "idle": np.zeros(n_components), "n_resampled": 0}


def merged(seen, gram, *, signed):
    """Give all codes of duplicate atoms to one of them: -> (statistics, mask of the atoms that have no codes left).

    Atoms are duplicates if they coincide up to their sign. Reconstructions change by the square root of DUPLICATE at
    most, and an L1 norm cannot rise. Non-negative codes (``signed=False``) cannot move to an atom of opposite sign.
    """
    norms = np.sqrt(gram.diagonal())
    near = (np.abs(gram) if signed else gram) > (1.0 - DUPLICATE) * norms[:, None] * norms
    gone = np.zeros(len(gram), dtype=bool)
    if np.count_nonzero(near) <= len(gram):
        return seen, gone
    ZtZ, ZtY, usage = seen["ZtZ"].copy(), seen["ZtY"].copy(), seen["usage"].copy()
    for kept, dropped in np.argwhere(np.triu(near, 1)):
        if gone[kept] or gone[dropped]:
            continue
        sign = np.sign(gram[kept, dropped])
        ZtZ[kept] += sign * ZtZ[dropped]
        ZtZ[:, kept] += sign * ZtZ[:, dropped]
        ZtY[kept] += sign * ZtY[dropped]
        usage[kept] = min(usage[kept] + usage[dropped], seen["count"])
        ZtZ[dropped], ZtZ[:, dropped], ZtY[dropped], usage[dropped], gone[dropped] = 0.0, 0.0, 0.0, 0.0, True
    return seen | {"ZtZ": ZtZ, "ZtY": ZtY, "usage": usage}, gone


def worst_reconstructed(energy, y, z, n):
    """The n samples with the largest squared errors, in decreasing order, and these errors; NumPy, float64."""
    errors = squares_per_sample(to_numpy(y - energy.decoder(z)))
    worst = np.argsort(-errors, kind="stable")[:n]
    return to_numpy(y)[worst].astype(np.float64), errors[worst]


def replace_atoms(atoms, gone, worst, positive):
    """Replace atoms, in place, by the worst reconstructed samples that are not zero, as far as there are any.

    Returns the indices of the atoms that were replaced, among those given as ``gone``.
    """
    if not gone.size:
        return gone
    fresh, errors = worst(min(gone.size, MOST_RESAMPLED))
    fresh, norms = unit_rows(np.maximum(fresh, 0.0) if positive else fresh)
    usable = (norms > 0.0) & (errors > 0.0)
    replaced = gone[: len(fresh)][usable]
    atoms[replaced] = fresh[usable]
    return replaced
