"""Block coordinate descent on the atoms, from the statistics of codes and data."""

import math

from skrlv.kernels._jit import lean


@lean
def visit_atoms(ZtZ, start, residual, positive, moves, atoms):
    """Minimise over each atom of a block in turn, in the unit ball, non-negative if asked; in place.

    ZtZ (k, k) is that of all atoms, the block (b, n_features) begins at atom start; residual (b, n_features) is
    ZtY - ZtZ D of its rows on entry, and is overwritten. moves (b, n_features) is scratch. j is an atom, i an atom
    before it, f a feature, r a row of residual.
    """
    for j in range(len(atoms)):
        square, r, move, atom = ZtZ[start + j, start + j], residual[j], moves[j], atoms[j]
        if not square > 0.0:
            for f in range(r.size):  # compiles in a tenth of the time of move[:] = 0.0
                move[f] = 0.0
            continue
        for i in range(j):
            weight, earlier = ZtZ[start + j, start + i], moves[i]
            for f in range(r.size):
                r[f] -= weight * earlier[f]
        length = 0.0
        for f in range(r.size):
            r[f] = atom[f] + r[f] / square
            if positive and r[f] < 0.0:
                r[f] = 0.0
            length += r[f] * r[f]
        shrinkage = 1.0 / max(1.0, math.sqrt(length))
        for f in range(r.size):
            move[f] = shrinkage * r[f] - atom[f]
            atom[f] += move[f]
