"""Exact convolutional Lasso on (table, correlations, thresholds), a tile of positions at a time.

A signal's codes minimise  h - q.z + 1/2 z.G z + sum_i t_i norm(z_i)_1  over maps z, or over z >= 0 where ``positive``.
Everything has three spatial axes, the first of length one where there are fewer. Shapes throughout: kernels
(k, K0, K1, K2, n_channels); table (k, 2 K0 - 1, 2 K1 - 1, 2 K2 - 1, k), the entry of G for kernel i here and kernel j
moved by each offset; codes z and residual correlations c = q - G z (P0, P1, P2, k), both changed in place; thresholds
t (k,), >= 0; box (6,), the first position of a tile and the one behind its last, axis by axis.
"""

import numpy as np

from skrlv.kernels._jit import kernel, lean

MOST_ENTRIES = 2048  # of a working set: its Gram matrix holds at most their square
SWEEPS = 200  # over a working set, in one visit
SHARE = 0.2  # of the worst fault of a tile, from which on an entry at zero joins; measured best between 0.1 and 0.3
PRECISION = 0.1  # as a share of that, to which a visit solves its working set


@lean
def shrink(v, threshold, positive):
    """v without the part of it that lies within threshold, or for codes that must be positive below it."""
    cut = min(v, threshold)
    return v - cut if positive else v - max(cut, -threshold)


def _fault(c, z, thresholds, positive):
    worst, used = thresholds[0] * 0, False
    for j in range(thresholds.size):
        worst = max(worst, abs(shrink(c[j] + z[j], thresholds[j], positive) - z[j]))
        used |= z[j] != 0.0
    return worst if used or worst > 0.0 else worst - 1


# one position of `survey`; LLVM makes vectors of a maximum only where there is no NaN to keep
fault = kernel(_fault, fastmath={"reassoc", "contract", "nsz", "nnan"}, _nrt=False)


@kernel
def survey(c, z, thresholds, positive, box, faults):
    """How far each position of a tile is from the conditions of a minimum; -1 where its codes are zero and stay so.

    That is the largest move of its entries in a step of ISTA of length one. faults is (volume,). Returns the largest.
    """
    at, worst = 0, thresholds[0] * 0
    for p0 in range(box[0], box[1]):
        for p1 in range(box[2], box[3]):
            for p2 in range(box[4], box[5]):
                faults[at] = fault(c[p0, p1, p2], z[p0, p1, p2], thresholds, positive)
                worst = max(worst, faults[at])
                at += 1
    return worst


@kernel
def collect(c, z, thresholds, positive, box, faults, level, begin, places, offsets):
    """A working set: entries that are not zero, or would move by more than level, from a tile's begin-th position on.

    places (4, most) gets their indices, offsets (volume + 1,) the number before each position. Returns how many there
    are, and the position behind the last that there was room for.
    """
    d1, d2, k, n = box[3] - box[2], box[5] - box[4], thresholds.size, 0
    offsets[: begin + 1] = 0
    for p in range(begin, faults.size):
        if faults[p] >= 0.0:
            p0, p1, p2 = box[0] + p // (d1 * d2), box[2] + p // d2 % d1, box[4] + p % d2
            here, codes = c[p0, p1, p2], z[p0, p1, p2]
            for j in range(k):
                if codes[j] != 0.0 or abs(shrink(here[j], thresholds[j], positive)) > level:
                    places[0, n], places[1, n], places[2, n], places[3, n] = p0, p1, p2, j
                    n += 1
        offsets[p + 1] = n
        if n + k > places.shape[1]:
            offsets[p + 2 :] = n
            return n, p + 1
    return n, faults.size


@kernel
def neighbours(table, box, places, offsets, starts, columns, values):
    """G of a working set, as CSR (starts, columns, values); where columns are empty only starts are written."""
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


@kernel
def descend(starts, columns, values, squares, thresholds, positive, tol, c, z):
    """Cyclic coordinate descent on a working set until no move changes c by more than tol; c stays q - G z."""
    for _ in range(SWEEPS):
        largest = tol * 0
        for a in range(z.size):
            g = squares[a]
            if g <= 0.0:
                continue
            move = shrink(c[a] + g * z[a], thresholds[a], positive) / g - z[a]
            if move == 0.0:
                continue
            z[a] += move
            largest = max(largest, abs(move) * g)
            for at in range(starts[a], starts[a + 1]):
                c[columns[at]] -= move * values[at]
        if largest <= tol:
            return


@kernel
def subtract(table, place, move, c):
    """c -= move times what the entry at that place has in common with all others."""
    r0, r1, r2 = table.shape[1] // 2, table.shape[2] // 2, table.shape[3] // 2
    p0, p1, p2, i = place[0], place[1], place[2], place[3]
    first, last = max(0, p2 - r2), min(c.shape[2], p2 + r2 + 1)
    for q0 in range(max(0, p0 - r0), min(c.shape[0], p0 + r0 + 1)):
        for q1 in range(max(0, p1 - r1), min(c.shape[1], p1 + r1 + 1)):
            segment = c[q0, q1, first:last].reshape(-1)
            row = table[i, q0 - p0 + r0, q1 - p1 + r1, first - p2 + r2 : last - p2 + r2].reshape(-1)
            for e in range(segment.size):
                segment[e] -= move * row[e]


@kernel
def solve(table, thresholds, positive, box, places, offsets, tol, c, z):
    """Minimise over a working set with the rest held."""
    n = places.shape[1]
    r0, r1, r2 = table.shape[1] // 2, table.shape[2] // 2, table.shape[3] // 2
    starts = np.empty(n + 1, np.int32)
    neighbours(table, box, places, offsets, starts, np.empty(0, np.int32), np.empty(0, c.dtype))
    columns, values = np.empty(starts[n], np.int32), np.empty(starts[n], c.dtype)
    neighbours(table, box, places, offsets, starts, columns, values)
    pull, codes = np.empty(n, c.dtype), np.empty(n, c.dtype)
    squares, prices = np.empty(n, c.dtype), np.empty(n, c.dtype)
    for a in range(n):
        p0, p1, p2, i = places[0, a], places[1, a], places[2, a], places[3, a]
        pull[a], codes[a] = c[p0, p1, p2, i], z[p0, p1, p2, i]
        squares[a], prices[a] = table[i, r0, r1, r2, i], thresholds[i]
    descend(starts, columns, values, squares, prices, positive, tol, pull, codes)
    for a in range(n):
        p0, p1, p2, i = places[0, a], places[1, a], places[2, a], places[3, a]
        move = codes[a] - z[p0, p1, p2, i]
        if move != 0.0:
            z[p0, p1, p2, i] = codes[a]
            subtract(table, places[:, a], move, c)


@kernel
def visit(table, thresholds, positive, box, tol, c, z):
    """Lower the energy over one tile, with the rest held, unless its worst fault is at most tol. Return that.

    Only working sets move, what is not zero and what would move most: solved on a Gram matrix of their own, a move
    costs its neighbours in the set, and not all kernels at all places around it.
    """
    faults = np.empty((box[1] - box[0]) * (box[3] - box[2]) * (box[5] - box[4]), c.dtype)
    worst = survey(c, z, thresholds, positive, box, faults)
    if worst <= tol:
        return worst
    places = np.empty((4, max(MOST_ENTRIES, thresholds.size)), np.int32)
    offsets, begin = np.empty(faults.size + 1, np.int32), 0
    level = thresholds.dtype.type(SHARE) * worst
    while begin < faults.size:
        n, begin = collect(c, z, thresholds, positive, box, faults, level, begin, places, offsets)
        if n > 0:
            precision = thresholds.dtype.type(PRECISION) * worst
            solve(table, thresholds, positive, box, places[:, :n], offsets, precision, c, z)
    return worst


@kernel
def draw(kernels, z, out):
    """out += the sum of all kernels wherever z has an entry; out (S0, S1, S2, n_channels)."""
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


@kernel
def tally(c, z, thresholds, lengths, positive, found):
    """Add the entries' part of a certificate to found (5,): see `inference.duality_gap`.

    They are the price, what z and c have in common, the scale that makes c feasible, the slack of entries without a
    price, whose kernels have these lengths, and the number of non-zeros.
    """
    price, used, scale, slack, n_used = found
    for p0 in range(z.shape[0]):
        for p1 in range(z.shape[1]):
            for p2 in range(z.shape[2]):
                here, codes = c[p0, p1, p2], z[p0, p1, p2]
                for i in range(thresholds.size):
                    code, pull = codes[i], here[i]
                    reach = pull if positive else abs(pull)
                    if thresholds[i] > 0.0:
                        if reach * scale > thresholds[i]:
                            scale = thresholds[i] / reach
                        price += thresholds[i] * abs(code)
                        used += code * pull
                    elif lengths[i] > 0.0:
                        slack = max(slack, (abs(pull) if code != 0.0 else reach) / lengths[i])
                    n_used += code != 0.0
    found[0], found[1], found[2], found[3], found[4] = price, used, scale, slack, n_used


@kernel
def lag_products(z, products):
    """Add to products[i, j, d] the sum over positions p of z_i[p] z_j[p + d]; (k, k, 2 K0 - 1, 2 K1 - 1, 2 K2 - 1)."""
    m0, m1, m2, k = z.shape
    r0, r1, r2 = products.shape[2] // 2, products.shape[3] // 2, products.shape[4] // 2
    offsets, which, n = np.empty(m0 * m1 * m2 + 1, np.int64), np.empty(np.count_nonzero(z), np.int32), 0
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


@kernel
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
