"""Exact convolutional Lasso on (table, correlations, thresholds), a tile of positions at a time.

A signal's codes minimise  h - q.z + 1/2 z.G z + sum_i t_i norm(z_i)_1  over maps z, or over z >= 0 if ``positive``.
Everything has three spatial axes; if there are fewer, the first have length one.

=======  ============================================================================================
kernels  (k, K0, K1, K2, n_channels)
table    (k, 2 K0 - 1, 2 K1 - 1, 2 K2 - 1, k): the entry of G for kernel i here and kernel j moved by each offset
z, c     codes, and residual correlations q - G z: (P0, P1, P2, k), both changed in place
t        thresholds (k,), >= 0
box      (6,): first position of a tile, and the position behind its last, axis by axis
p, q     a position; a position near it, both with an index per axis
u        an offset within a kernel, per axis
n0..n2   size K of the kernels; n alone counts entries
m0..m2   size P of the maps
r0..r2   how far kernels reach, K - 1
d1, d2   size of a box along the last two axes
i, j, k  a kernel, another kernel, their number
a, e     an entry of a working set; an entry of a contiguous segment
g        an entry of the diagonal of G
=======  ============================================================================================
"""

import numpy as np

from skrlv.kernels._jit import kernel, lean, merged

MAX_ENTRIES = 2048  # of a working set: its Gram matrix has at most the square of that
SWEEPS = 200  # over a working set
SHARE = 0.2  # of the largest violation of a tile, above which an entry at zero joins; measured best from 0.1 to 0.3
PRECISION = 0.1  # share of the largest violation to which a working set is solved


@lean
def soft_threshold(v, threshold, positive):
    """v without the part of it that lies within threshold, or for positive codes below it."""
    cut = min(v, threshold)
    return v - cut if positive else v - max(cut, -threshold)


def _violation(c, z, thresholds, positive):
    worst, used = thresholds[0] * 0, False
    for j in range(thresholds.size):
        worst = max(worst, abs(soft_threshold(c[j] + z[j], thresholds[j], positive) - z[j]))
        used |= z[j] != 0.0
    return worst if used or worst > 0.0 else worst - 1


# one position of `violations`; LLVM vectorises a maximum only if there is no NaN to keep
violation = kernel(_violation, fastmath={"reassoc", "contract", "nsz", "nnan"}, _nrt=False)


@merged
def violations(c, z, thresholds, positive, box, found):
    """By how much each position of a tile violates the conditions of a minimum; -1 if its codes are zero and stay so.

    That is the largest move of its entries in a step of ISTA of length one. found is (volume,). Returns the largest.
    """
    at, worst = 0, thresholds[0] * 0
    for p0 in range(box[0], box[1]):
        for p1 in range(box[2], box[3]):
            for p2 in range(box[4], box[5]):
                found[at] = violation(c[p0, p1, p2], z[p0, p1, p2], thresholds, positive)
                worst = max(worst, found[at])
                at += 1
    return worst


@merged
def choose_entries(c, z, thresholds, positive, box, found, level, begin, places, offsets):
    """A working set: entries that are not zero, or would move by more than level, from a tile's begin-th position on.

    places (4, n) takes their indices, offsets (volume + 1,) the number before each position. Returns their number,
    and the position behind the last for which there was room.
    """
    d1, d2, k, n = box[3] - box[2], box[5] - box[4], thresholds.size, 0
    for p in range(begin + 1):  # a loop compiles in a tenth of the time
        offsets[p] = 0
    for p in range(begin, found.size):
        if found[p] >= 0.0:
            p0, p1, p2 = box[0] + p // (d1 * d2), box[2] + p // d2 % d1, box[4] + p % d2
            here, codes = c[p0, p1, p2], z[p0, p1, p2]
            for j in range(k):
                if codes[j] != 0.0 or abs(soft_threshold(here[j], thresholds[j], positive)) > level:
                    places[0, n], places[1, n], places[2, n], places[3, n] = p0, p1, p2, j
                    n += 1
        offsets[p + 1] = n
        if n + k > places.shape[1]:
            for later in range(p + 2, offsets.size):
                offsets[later] = n
            return n, p + 1
    return n, found.size


@lean
def sparse_gram(table, box, places, offsets, starts, columns, values):
    """G of a working set, as CSR (starts, columns, values); if columns are empty only starts are written."""
    r0, r1, r2 = table.shape[1] // 2, table.shape[2] // 2, table.shape[3] // 2
    d1, d2, size = box[3] - box[2], box[5] - box[4], 0
    for a in range(starts.size - 1):
        starts[a] = size
        p0, p1, p2, i = places[0, a], places[1, a], places[2, a], places[3, a]
        first, last = max(box[4], p2 - r2) - box[4], min(box[5], p2 + r2 + 1) - box[4]
        for q0 in range(max(box[0], p0 - r0), min(box[1], p0 + r0 + 1)):
            for q1 in range(max(box[2], p1 - r1), min(box[3], p1 + r1 + 1)):
                line = ((q0 - box[0]) * d1 + q1 - box[2]) * d2
                begin, end = offsets[line + first], offsets[line + last]
                if columns.size:
                    row = table[i, q0 - p0 + r0, q1 - p1 + r1]
                    for at in range(begin, end):
                        columns[size + at - begin] = at
                        values[size + at - begin] = row[places[2, at] - p2 + r2, places[3, at]]
                size += end - begin
    starts[-1] = size


@merged
def coordinate_descent(starts, columns, values, squares, thresholds, positive, tol, c, z):
    """Cyclic coordinate descent on a working set until no move changes c by more than tol; c stays q - G z."""
    for _ in range(SWEEPS):
        largest = tol * 0
        for a in range(z.size):
            g = squares[a]
            if g <= 0.0:
                continue
            move = soft_threshold(c[a] + g * z[a], thresholds[a], positive) / g - z[a]
            if move == 0.0:
                continue
            z[a] += move
            largest = max(largest, abs(move) * g)
            for at in range(starts[a], starts[a + 1]):
                c[columns[at]] -= move * values[at]
        if largest <= tol:
            return


@lean
def subtract(table, place, move, c):
    """c -= move times the column of G of the entry at that place."""
    r0, r1, r2 = table.shape[1] // 2, table.shape[2] // 2, table.shape[3] // 2
    p0, p1, p2, i = place[0], place[1], place[2], place[3]
    first, last = max(0, p2 - r2), min(c.shape[2], p2 + r2 + 1)
    for q0 in range(max(0, p0 - r0), min(c.shape[0], p0 + r0 + 1)):
        for q1 in range(max(0, p1 - r1), min(c.shape[1], p1 + r1 + 1)):
            segment = c[q0, q1, first:last].reshape(-1)
            row = table[i, q0 - p0 + r0, q1 - p1 + r1, first - p2 + r2 : last - p2 + r2].reshape(-1)
            for e in range(segment.size):
                segment[e] -= move * row[e]


@merged
def solve_working_set(table, thresholds, positive, box, places, offsets, tol, c, z):
    """Minimise over a working set with the rest held."""
    n = places.shape[1]
    r0, r1, r2 = table.shape[1] // 2, table.shape[2] // 2, table.shape[3] // 2
    starts = np.empty(n + 1, np.int32)
    sparse_gram(table, box, places, offsets, starts, np.empty(0, np.int32), np.empty(0, c.dtype))
    columns, values = np.empty(starts[n], np.int32), np.empty(starts[n], c.dtype)
    sparse_gram(table, box, places, offsets, starts, columns, values)
    correlations, codes = np.empty(n, c.dtype), np.empty(n, c.dtype)
    squares, own_thresholds = np.empty(n, c.dtype), np.empty(n, c.dtype)
    for a in range(n):
        p0, p1, p2, i = places[0, a], places[1, a], places[2, a], places[3, a]
        correlations[a], codes[a] = c[p0, p1, p2, i], z[p0, p1, p2, i]
        squares[a], own_thresholds[a] = table[i, r0, r1, r2, i], thresholds[i]
    coordinate_descent(starts, columns, values, squares, own_thresholds, positive, tol, correlations, codes)
    for a in range(n):
        p0, p1, p2, i = places[0, a], places[1, a], places[2, a], places[3, a]
        move = codes[a] - z[p0, p1, p2, i]
        if move != 0.0:
            z[p0, p1, p2, i] = codes[a]
            subtract(table, places[:, a], move, c)


@kernel
def solve_tile(table, thresholds, positive, box, tol, c, z):
    """Lower the energy over one tile, with the rest held, unless its largest violation is at most tol. Return it.

    Only working sets move: the entries that are not zero, and those that would move most. Each is solved on a Gram
    matrix of its own, so a move updates its neighbours in the set, and not all kernels at all positions around it.
    """
    found = np.empty((box[1] - box[0]) * (box[3] - box[2]) * (box[5] - box[4]), c.dtype)
    worst = violations(c, z, thresholds, positive, box, found)
    if worst <= tol:
        return worst
    places = np.empty((4, max(MAX_ENTRIES, thresholds.size)), np.int32)
    offsets, begin = np.empty(found.size + 1, np.int32), 0
    level = thresholds.dtype.type(SHARE) * worst
    while begin < found.size:
        n, begin = choose_entries(c, z, thresholds, positive, box, found, level, begin, places, offsets)
        if n > 0:
            precision = thresholds.dtype.type(PRECISION) * worst
            solve_working_set(table, thresholds, positive, box, places[:, :n], offsets, precision, c, z)
    return worst


@lean
def draw(kernels, z, out):
    """out += sum of the kernels, each at the positions and times the codes of z; out (S0, S1, S2, n_channels)."""
    n0, n1, n2 = kernels.shape[1:4]
    for p0 in range(z.shape[0]):
        for p1 in range(z.shape[1]):
            for p2 in range(z.shape[2]):
                for i in range(z.shape[3]):
                    value = z[p0, p1, p2, i]
                    if value == 0.0:
                        continue
                    for u0 in range(n0):
                        for u1 in range(n1):
                            segment = out[p0 + u0, p1 + u1, p2 : p2 + n2].reshape(-1)
                            row = kernels[i, u0, u1].reshape(-1)
                            for e in range(segment.size):
                                segment[e] += value * row[e]


@lean
def add_gap_parts(c, z, thresholds, lengths, positive, parts):
    """Add what entries contribute to a duality gap to parts (5,): see `skrlv.kernels.lasso.relative_gap`.

    The parts are the penalty, fitted, scale, slack and the number of non-zeros; lengths (k,) are the norms of the
    kernels.
    """
    penalty, fitted, scale, slack, n_nonzero = parts
    for p0 in range(z.shape[0]):
        for p1 in range(z.shape[1]):
            for p2 in range(z.shape[2]):
                here, codes = c[p0, p1, p2], z[p0, p1, p2]
                for i in range(thresholds.size):
                    code, correlation = codes[i], here[i]
                    reach = correlation if positive else abs(correlation)
                    if thresholds[i] > 0.0:
                        if reach * scale > thresholds[i]:
                            scale = thresholds[i] / reach
                        penalty += thresholds[i] * abs(code)
                        fitted += code * correlation
                    elif lengths[i] > 0.0:
                        slack = max(slack, (abs(correlation) if code != 0.0 else reach) / lengths[i])
                    n_nonzero += code != 0.0
    parts[0], parts[1], parts[2], parts[3], parts[4] = penalty, fitted, scale, slack, n_nonzero


@kernel
def lag_products(z, products):
    """Add to products[i, j, d] the sum over positions p of z_i[p] z_j[p + d]; (k, k, 2 K0 - 1, 2 K1 - 1, 2 K2 - 1)."""
    m0, m1, m2, k = z.shape
    r0, r1, r2 = products.shape[2] // 2, products.shape[3] // 2, products.shape[4] // 2
    size = 0
    for value in z.flat:
        size += value != 0.0
    offsets, which, n = np.empty(m0 * m1 * m2 + 1, np.int64), np.empty(size, np.int32), 0
    for p in range(offsets.size - 1):
        offsets[p] = n
        codes = z[p // (m1 * m2), p // m2 % m1, p % m2]
        for i in range(k):
            if codes[i] != 0.0:
                which[n] = i
                n += 1
    offsets[-1] = n
    for p in range(offsets.size - 1):
        p0, p1, p2 = p // (m1 * m2), p // m2 % m1, p % m2
        if offsets[p] == offsets[p + 1]:
            continue
        for q0 in range(max(0, p0 - r0), min(m0, p0 + r0 + 1)):
            for q1 in range(max(0, p1 - r1), min(m1, p1 + r1 + 1)):
                line = (q0 * m1 + q1) * m2
                for q2 in range(max(0, p2 - r2), min(m2, p2 + r2 + 1)):
                    for there in range(offsets[line + q2], offsets[line + q2 + 1]):
                        j = which[there]
                        other = z[q0, q1, q2, j]
                        for at in range(offsets[p], offsets[p + 1]):
                            i = which[at]
                            value = z[p0, p1, p2, i] * other
                            products[i, j, q0 - p0 + r0, q1 - p1 + r1, q2 - p2 + r2] += value


@lean
def window_products(z, y, products):
    """Add to products[i, u, c] the sum over positions p of z_i[p] y_c[p + u]; (k, K0, K1, K2, n_channels)."""
    n0, n1, n2 = products.shape[1:4]
    for p0 in range(z.shape[0]):
        for p1 in range(z.shape[1]):
            for p2 in range(z.shape[2]):
                for i in range(z.shape[3]):
                    value = z[p0, p1, p2, i]
                    if value == 0.0:
                        continue
                    for u0 in range(n0):
                        for u1 in range(n1):
                            segment = y[p0 + u0, p1 + u1, p2 : p2 + n2].reshape(-1)
                            row = products[i, u0, u1].reshape(-1)
                            for e in range(segment.size):
                                row[e] += value * segment[e]
