"""Exact batch Lasso by homotopy, row by row, on (gram, correlations, thresholds).

Each row minimises  -q.z + 1/2 z.G z + sum_j t_j |z_j|  over z, or over z >= 0 where ``positive``.

At the minimum  c = q - G z  is t_j sign(z_j) on the support and within -t_j .. t_j elsewhere. A start that breaks these
conditions by at most e meets those of a neighbour problem: elsewhere the thresholds are t_j + e, on the support c may
be off its target by its present share of e. As e falls to zero the minimum moves along straight lines, and bends where
an atom reaches its threshold or a code reaches zero. From zero that is least angle regression; from any other code it
takes only the bends that are missing.

A walk looks at few atoms, packed together so that they stay in cache. At its end, before e is zero where many are left
out, all are looked at, and those that break the conditions most join.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from skrlv.kernels._jit import inlined, lean
from skrlv.kernels._simd import (
    LANES,
    any_above,
    count_above,
    largest,
    outer_1,
    outer_2,
    outer_4,
    outer_8,
    sum_1,
    sum_2,
    sum_4,
    sum_8,
    where_least,
)

FEW = 16  # atoms that join at a time, about; measured best between 8 and 128
DEPTH = 0.3  # of the most by which an atom left out breaks the conditions; there a walk but the first ends
WALKS = 200  # most walks of a row
BENDS = 4  # most bends of a walk, per atom


class Walk(NamedTuple):
    """A row's problem on the atoms it looks at, and the present support. All widths are whole vectors."""

    atoms: Any  # (k,) which atoms of the dictionary
    gram: Any  # flat, their Gram matrix
    thresholds: Any  # (k,) theirs; infinite for an atom that depends on the support
    c: Any  # (k,) q - G z
    support: Any  # (k,) which of them are on the support
    code: Any  # (k,) z on the support
    sign: Any  # (k,) its sign
    pull: Any  # (k,) share of e by which c on the support is off its target
    inverse: Any  # flat, inverse of the support's Gram matrix
    velocity: Any  # (k,) inverse @ pull: how the code moves as e falls
    drift: Any  # (k,) gram @ velocity: how c moves
    until: Any  # (k,) by how much e falls before an atom reaches its threshold
    column: Any  # (k,) scratch
    solved: Any  # (k,) scratch
    order: Any  # (k,) 0, 1, 2 ...


@lean
def padded(n):
    """n rounded up to whole vectors."""
    return (n + LANES - 1) // LANES * LANES


@lean
def sum_rows(flat, stride, which, weights, n, out):
    """out = sum of n rows of a flat matrix, which[i] times weights[i]; out[:] is as long as is asked of the rows."""
    at, whole = 0, out.size - out.size % LANES
    while at + 8 * LANES <= whole:
        sum_8(out, at, flat, stride, which, weights, n)
        at += 8 * LANES
    if at + 4 * LANES <= whole:
        sum_4(out, at, flat, stride, which, weights, n)
        at += 4 * LANES
    if at + 2 * LANES <= whole:
        sum_2(out, at, flat, stride, which, weights, n)
        at += 2 * LANES
    if at < whole:
        sum_1(out, at, flat, stride, which, weights, n)
    for j in range(whole, out.size):
        out[j] = 0.0
        for i in range(n):
            out[j] += weights[i] * flat[which[i] * stride + j]


@inlined
def add_scaled(out, weight, x):
    for i in range(out.size):
        out[i] += weight * x[i]


@lean
def fill(x, start, stop, value):
    """x[start:stop] = value; the loop compiles in a tenth of the time."""
    for i in range(start, stop):
        x[i] = value


@lean
def magnitude(x):
    """The largest magnitude in x; NaN where an entry is not finite."""
    top, nothing = largest(x), x[0] * 0
    for j in range(x.size - x.size % LANES, x.size):
        top, nothing = max(top, abs(x[j])), nothing + (x[j] - x[j])
    return top + nothing


@lean
def add_outer(flat, stride, n, width, weight, x):
    """Add weight x x^T to the first n rows and width columns of a flat matrix; width is whole vectors."""
    at = 0
    while at + 8 * LANES <= width:
        outer_8(flat, stride, at, weight, x, n)
        at += 8 * LANES
    if at + 4 * LANES <= width:
        outer_4(flat, stride, at, weight, x, n)
        at += 4 * LANES
    if at + 2 * LANES <= width:
        outer_2(flat, stride, at, weight, x, n)
        at += 2 * LANES
    if at < width:
        outer_1(flat, stride, at, weight, x, n)


@lean
def spread(flat, n, stride, wider, scratch):
    """Move the rows of a flat matrix, n by n, apart to a wider stride."""
    for i in range(n - 1, 0, -1):
        for j in range(n):
            scratch[j] = flat[i * stride + j]
        for j in range(n):
            flat[i * wider + j] = scratch[j]


@inlined
def admit(walk, stride, inverse_stride, n, place, code, sign, pull, thin):
    """Put an atom on the support of n atoms: border the inverse, turn the velocity. False where it depends on them."""
    inverse, column, solved, width, wider = walk.inverse, walk.column, walk.solved, padded(n), padded(n + 1)
    for i in range(n):
        column[i] = walk.gram[place * stride + walk.support[i]]
    sum_rows(inverse, inverse_stride, walk.order, column, n, solved[:width])
    norm, off = walk.gram[place * stride + place], -pull
    rest = norm
    for i in range(n):
        rest -= column[i] * solved[i]
        off += solved[i] * walk.pull[i]
    if not rest > thin * norm:
        return False
    if n == width:  # a new vector: beyond the support everything stays zero
        for part in (solved, walk.code, walk.velocity):
            fill(part, n, wider, 0.0)
        for i in range(n):
            fill(inverse, i * inverse_stride + n, i * inverse_stride + wider, 0.0)
    fill(inverse, n * inverse_stride, n * inverse_stride + wider, 0.0)
    solved[n] = -1.0
    add_outer(inverse, inverse_stride, n + 1, wider, 1.0 / rest, solved)
    add_scaled(walk.velocity[:wider], off / rest, solved[:wider])
    walk.support[n], walk.code[n], walk.sign[n], walk.pull[n] = place, code, sign, pull
    return True


@lean
def roomy(walk, n, inverse_stride):
    """The stride of an inverse that has room for one more row than n."""
    if padded(n + 1) <= inverse_stride:
        return inverse_stride
    wider = min(2 * inverse_stride + LANES, walk.c.size)
    spread(walk.inverse, n, inverse_stride, wider, walk.drift)
    return wider


@lean
def expel(walk, inverse_stride, n, i):
    """Take the i-th atom off the support of n atoms; the last takes its place."""
    inverse, solved, width, last = walk.inverse, walk.solved, padded(n), n - 1
    for j in range(width):
        solved[j] = inverse[i * inverse_stride + j]
    share = 1.0 / solved[i]
    add_scaled(walk.velocity[:width], -walk.velocity[i] * share, solved[:width])
    add_outer(inverse, inverse_stride, n, width, -share, solved)
    for j in range(width):
        inverse[i * inverse_stride + j] = inverse[last * inverse_stride + j]
    for j in range(n):
        inverse[j * inverse_stride + i] = inverse[j * inverse_stride + last]
    for part in (walk.code, walk.sign, walk.pull, walk.velocity):
        part[i] = part[last]
    walk.support[i] = walk.support[last]
    walk.code[last], walk.velocity[last] = 0.0, 0.0
    for j in range(width):
        inverse[last * inverse_stride + j], inverse[j * inverse_stride + last] = 0.0, 0.0


@inlined
def first_least(x):
    """Smallest entry, at least zero, and where it is first."""
    where = where_least(x)
    return max(x[where], 0.0), where


@inlined
def next_atom(walk, m, n, e, positive, left, thin):
    """By how much e falls until an atom off the support reaches its threshold, and which; not who just left.

    An atom that is all but one of the support keeps its distance, and never does.
    """
    c, drift, thresholds, until = walk.c, walk.drift, walk.thresholds, walk.until
    number = c.dtype.type  # a Python number would turn float32 into float64
    one, far, e, thin = number(1.0), number(np.inf), number(e), number(thin)
    if positive:
        for j in range(m):
            closing = one - drift[j]
            until[j] = (thresholds[j] + e - c[j]) / closing if closing > thin else far
    else:
        for j in range(m):
            reach = thresholds[j] + e
            above = c[j] > reach * drift[j]  # which of the two thresholds comes first
            gap, closing = reach - c[j] if above else reach + c[j], one - drift[j] if above else one + drift[j]
            until[j] = gap / closing if closing > thin else far
    for i in range(n):
        until[walk.support[i]] = far
    if left >= 0:
        until[left] = far
    return first_least(until[:m])


@inlined
def next_zero(walk, n):
    """By how much e falls until a code on the support reaches zero, and which."""
    code, sign, velocity, until = walk.code, walk.sign, walk.velocity, walk.until
    none, far, width = code.dtype.type(0.0), code.dtype.type(np.inf), padded(n + 1)  # never empty
    for i in range(n):
        closing = -sign[i] * velocity[i]
        until[i] = sign[i] * code[i] / closing if closing > none else far
    fill(until, n, width, np.inf)
    return first_least(until[:width])


@lean
def blocked_by(walk, n, sign):
    """How far an atom that depends on the support may take its place before a code is zero, and which.

    admit has left the atom's weights on the support in walk.solved. While it trades itself for them neither the
    reconstruction nor the price changes.
    """
    furthest, which = np.inf, -1
    for i in range(n):
        share = sign * walk.solved[i] * walk.sign[i]
        if share > 0.0 and abs(walk.code[i]) < furthest * share:
            furthest, which = abs(walk.code[i]) / share, i
    return furthest, which


@lean
def follow(walk, stride, inverse_stride, m, n, e, floor, positive, thin):
    """Let e fall to the floor. Returns the inverse's stride, the support's size, the bends, and what is left of e."""
    left, width = np.int64(-1), padded(m)
    for bends in range(BENDS * m):
        sum_rows(walk.gram, stride, walk.support, walk.velocity, n, walk.drift[:width])
        enters, place = next_atom(walk, width, n, e, positive, left, thin)
        leaves, which = next_zero(walk, n)
        fall = min(e - floor, enters, leaves)
        add_scaled(walk.code[: padded(n)], fall, walk.velocity[: padded(n)])
        add_scaled(walk.c[:width], -fall, walk.drift[:width])
        e -= fall
        if e <= floor:
            return inverse_stride, n, bends, e
        if leaves <= enters:
            left = walk.support[which]
            expel(walk, inverse_stride, n, which)
            n -= 1
        else:
            left, inverse_stride = np.int64(-1), roomy(walk, n, inverse_stride)
            sign = 1.0 if positive or walk.c[place] > 0.0 else -1.0
            if admit(walk, stride, inverse_stride, n, place, 0.0, sign, sign, thin):
                n += 1
                continue
            step, which = blocked_by(walk, n, sign)
            if which < 0 or walk.thresholds[place] == 0.0:  # without a price it has nothing to offer
                walk.thresholds[place] = np.inf
                continue
            left = walk.support[which]
            add_scaled(walk.code[:n], -sign * step, walk.solved[:n])
            expel(walk, inverse_stride, n, which)
            if not admit(walk, stride, inverse_stride, n - 1, place, sign * step, sign, sign, thin):
                return inverse_stride, n - 1, bends, e
    return inverse_stride, n, BENDS * m, e


@lean
def level_of_few(excess):
    """What about FEW of the violations exceed; 0 where they are not many more."""
    top = largest(excess)
    level = top * 0  # of its dtype
    for _ in range(32):  # ties cannot be parted
        if count_above(excess, level) <= FEW + FEW // 2:
            break
        level += 0.15 * (top - level)
    return level


@lean
def pack(walk, gram, m_before, m, stride_before, stride):
    """Fill the walk's Gram matrix with the atoms from m_before on, and move the earlier apart."""
    if stride > stride_before:
        spread(walk.gram, m_before, stride_before, stride, walk.drift)
    for i in range(m_before, m):
        row = gram[walk.atoms[i]]
        for j in range(m):
            walk.gram[i * stride + j] = row[walk.atoms[j]]
        for j in range(m_before):
            walk.gram[j * stride + i] = walk.gram[i * stride + j]
    width = padded(m)
    for i in range(m):
        fill(walk.gram, i * stride + m, i * stride + width, 0.0)
    fill(walk.thresholds, m, width, np.inf)
    fill(walk.c, m, width, 0.0)


@lean
def resume(walk, gram, thresholds, code, stride, inverse_stride):
    """Take up a code: its atoms join, and form the support, but for those that depend on others.

    Returns the number of atoms, their stride, that of the inverse, and the size of the support.
    """
    m = n = none = np.int64(0)  # a literal 0 would compile all that is called here once more
    if magnitude(code) > 0.0:
        for j in range(code.size):
            if code[j] != 0.0:
                walk.atoms[m], walk.thresholds[m] = j, thresholds[j]
                m += 1
    stride = max(stride, padded(m))
    pack(walk, gram, none, m, stride, stride)
    for i in range(m):
        inverse_stride, start = roomy(walk, n, inverse_stride), code[walk.atoms[i]]
        if admit(walk, stride, inverse_stride, n, i, start, math.copysign(1.0, start), 0.0, thinnest(code)):
            n += 1
    return m, stride, inverse_stride, n


@lean
def thinnest(x):
    """An atom of which the support leaves no more than this share depends on it."""
    return 0.1 * math.sqrt(np.finfo(x.dtype).eps)


@lean
def residual_correlations(walk, flat, q, n, chosen, weights, c):
    """c = q - G z over all atoms."""
    for i in range(n):
        chosen[i], weights[i] = walk.atoms[walk.support[i]], walk.code[i]
    sum_rows(flat, q.size, chosen, weights, n, c)
    for j in range(q.size):
        c[j] = q[j] - c[j]


@lean
def broken_by(walk, m, n, c, thresholds, positive, excess):
    """By how much each atom that is not in the walk breaks the conditions. Returns the most of all, the walk's too.

    walk.pull is left as c minus its target.
    """
    for j in range(c.size):
        excess[j] = max((c[j] if positive else abs(c[j])) - thresholds[j], 0.0)
    for i in range(m):
        if walk.thresholds[i] == np.inf:
            excess[walk.atoms[i]] = 0.0
    for i in range(n):
        j = walk.atoms[walk.support[i]]
        walk.pull[i] = c[j] - walk.sign[i] * thresholds[j]
        excess[j] = 0.0
    e = largest(excess)
    for i in range(n):
        e = max(e, abs(walk.pull[i]))
    for i in range(m):
        excess[walk.atoms[i]] = 0.0
    return e


@lean
def join(walk, gram, thresholds, excess, m, stride):
    """Let those atoms join the walk that break the conditions most.

    Returns how many it has now, the stride, and how far e may fall before all atoms should be looked at again.
    """
    level, m_before, stride_before = level_of_few(excess), m, stride
    for at in range(0, excess.size, LANES):
        if any_above(excess, at, level):
            for j in range(at, at + LANES):
                if excess[j] > level:
                    walk.atoms[m], walk.thresholds[m] = j, thresholds[j]
                    m += 1
    if padded(m) > stride:  # room for more, and an odd number of vectors: rows do not share the sets of a cache
        stride = min(padded(m + m // 2) // LANES | 1, walk.c.size // LANES) * LANES
    if m > m_before:
        pack(walk, gram, m_before, m, stride_before, stride)
    return m, stride, DEPTH * level if m_before > 0 else 0.0


@lean
def write_down(walk, n, code):
    """Write the code of a walk out, without entries that rounding carried past zero. Whether there were none."""
    fill(code, 0, code.size, 0.0)
    clean = True
    for i in range(n):
        if walk.code[i] * walk.sign[i] > 0.0:
            code[walk.atoms[walk.support[i]]] = walk.code[i]
        else:
            walk.code[i], clean = 0.0, False
    return clean


@lean
def settle(
    walk, excess, weights, chosen, gram, flat, q, thresholds, positive, nothing, stride, inverse_stride, m, n, c,
    current,
):  # fmt: skip
    """Walk until no atom breaks the conditions by more than rounding.

    c is q - G z where it is current. Returns the strides of both matrices, how many atoms the walk looks at, the size
    of the support, the bends, and whether c is current.
    """
    before, n_bends = np.inf, 0
    for _ in range(WALKS):
        if not current:
            residual_correlations(walk, flat, q, n, chosen, weights, c)
            current = True
        e, m_before = broken_by(walk, m, n, c, thresholds, positive, excess), m
        m, stride, floor = join(walk, gram, thresholds, excess, m, stride)
        if not e > nothing or (m == m_before and e > 0.5 * before):
            break
        for i in range(m):
            walk.c[i] = c[walk.atoms[i]]
        for i in range(n):
            walk.pull[i] /= e
        sum_rows(walk.inverse, inverse_stride, walk.order, walk.pull, n, walk.velocity[: padded(n)])
        before, current = e, False
        inverse_stride, n, bends, e = follow(walk, stride, inverse_stride, m, n, e, floor, positive, thinnest(q))
        n_bends += bends + 1
        if e > floor:
            break
    return stride, inverse_stride, m, n, n_bends, current


@lean
def homotopy(walk, excess, weights, chosen, gram, correlations, thresholds, positive, n_iter, residual, z):
    """Walk each row from its code in z[0] to its minimum under thresholds[0], from there to that under the next, ...

    thresholds (n_points, k), z and residual (n_points, n, k): residual is q - G z at the end; n_iter (n_points, n)
    counts the bends. Where atoms depend on each other, or rounding wins, a row may end a little above: certify what
    comes out. walk, excess, weights and chosen are scratch, of whole vectors.
    """
    n_points, n_rows, k = z.shape
    flat = gram.reshape(k * k)
    fill(excess, k, excess.size, 0.0)
    stride = inverse_stride = min(9 * LANES, walk.c.size)  # what a row needed is kept for the next
    for row in range(n_rows):
        q, current = correlations[row], False
        nothing = 64.0 * np.finfo(q.dtype).eps * magnitude(q)  # rounding
        m, stride, inverse_stride, n = resume(walk, gram, thresholds[0], z[0, row], stride, inverse_stride)
        for point in range(n_points):
            t, c = thresholds[point], residual[point, row]
            if not nothing < np.inf:
                fill(c, 0, k, np.nan)
                n_iter[point, row] = 0
                continue
            if point > 0:
                for j in range(k):
                    c[j] = residual[point - 1, row, j]
                for i in range(m):
                    walk.thresholds[i] = t[walk.atoms[i]]
            stride, inverse_stride, m, n, n_iter[point, row], current = settle(
                walk, excess, weights, chosen, gram, flat, q, t, positive, nothing, stride, inverse_stride, m, n, c,
                current,
            )  # fmt: skip
            if not (write_down(walk, n, z[point, row]) and current):
                residual_correlations(walk, flat, q, n, chosen, weights, c)
            current = True


@lean
def until_error(walk, n, e, ridges, squares, goal):
    """By how much e falls until the squared error is down to the goal; and the two numbers by which it changes.

    While e falls by s it changes by s (s bend - 2 slope). The ridges are no part of what is reconstructed.
    """
    slope = bend = 0.0
    for i in range(n):
        v, ridge = walk.velocity[i], ridges[walk.support[i]]
        slope += (e * walk.sign[i] + ridge * walk.code[i]) * v
        bend += (walk.sign[i] - ridge * v) * v
    left = squares - goal
    root = slope * slope - bend * left
    meets = left / (slope + math.sqrt(root)) if goal > 0.0 and slope > 0.0 and root >= 0.0 else np.inf
    return meets, slope, bend


@lean
def enter(walk, stride, inverse_stride, n, place, positive, thin):
    """Put an atom that has reached its threshold on the support, in exchange where it depends on it.

    Returns the size of the support and who left.
    """
    sign = 1.0 if positive or walk.c[place] > 0.0 else -1.0
    if admit(walk, stride, inverse_stride, n, place, 0.0, sign, sign, thin):
        return n + 1, np.int64(-1)
    step, which = blocked_by(walk, n, sign)
    if which < 0:
        walk.thresholds[place] = np.inf
        return n, np.int64(-1)
    left = walk.support[which]
    add_scaled(walk.code[:n], -sign * step, walk.solved[:n])
    expel(walk, inverse_stride, n, which)
    if not admit(walk, stride, inverse_stride, n - 1, place, sign * step, sign, sign, thin):
        walk.thresholds[place] = np.inf
        n -= 1
    return n, left


@lean
def is_lost(walk, at_zero, norm, stride, n, e):
    """Whether rounding has taken over: the last atom is off its threshold, or the energy above that of zero.

    at_zero (k,) are the correlations of the data, in units of 1 / norm.
    """
    if n == 0:
        return False
    j, size = walk.support[n - 1], 0.0
    c = at_zero[j] / norm
    for i in range(n):
        c -= walk.code[i] * walk.gram[j * stride + walk.support[i]]
        size += abs(walk.code[i])
    return not (abs(walk.sign[n - 1] * c - e) <= 1e-4 * e + 1e-12 and e * size <= 0.5000001)


@lean
def descend(
    walk, at_zero, norm, ridges, stride, inverse_stride, n, e, floor, nothing, positive, most, goal, thin
):  # fmt: skip
    """Follow the minimum under equal thresholds e down to the floor, to the last bend before more than `most` atoms
    are on the support, or to a squared error, whichever is first. From e = nothing on it is straight.

    It begins where the support is empty and the squared error is one, and ends early, a bend back, where atoms
    depend on each other so much that rounding takes over. Returns the inverse's stride, the support's size, e, the
    bends, and whether it arrived at the floor.
    """
    left, bends, squares = np.int64(-1), 0, 1.0
    while e > floor and bends < 2 * BENDS * stride:
        sum_rows(walk.gram, stride, walk.support, walk.velocity, n, walk.drift[:stride])
        enters, place = next_atom(walk, stride, n, e, positive, left, thin)
        leaves, which = next_zero(walk, n)
        meets, slope, bend = until_error(walk, n, e, ridges, squares, goal)
        if e - min(enters, leaves) <= nothing:  # rounding would bend it
            enters = leaves = np.inf
        fall = min(e - floor, enters, leaves, meets)
        add_scaled(walk.code[: padded(n)], fall, walk.velocity[: padded(n)])
        add_scaled(walk.c[:stride], -fall, walk.drift[:stride])
        squares += fall * (fall * bend - 2.0 * slope)
        if is_lost(walk, at_zero, norm, stride, n, e - fall):
            add_scaled(walk.code[: padded(n)], -fall, walk.velocity[: padded(n)])
            return inverse_stride, n, e, bends, False
        if fall == e - floor:
            return inverse_stride, n, floor, bends, True
        e -= fall
        bends += 1
        if fall == meets or (n == most and enters < leaves):
            return inverse_stride, n, e, bends, False
        if leaves <= enters:
            left = walk.support[which]
            expel(walk, inverse_stride, n, which)
            n -= 1
        else:
            inverse_stride = roomy(walk, n, inverse_stride)
            n, left = enter(walk, stride, inverse_stride, n, place, positive, thin)
    return inverse_stride, n, e, bends, e <= floor


@lean
def least_angle(walk, correlations, norms, ridges, positive, lmbda, most, max_error, n_iter, ends, z):
    """Walk each row, in units of its norm, from zero down the path of its minima with equal thresholds.

    The walk ends at lmbda, or before with `most` atoms, or at max_error, relative to the norm; ends (n,) takes the
    lmbda that the code is for. ridges (k,) is the part of the Gram's diagonal that does not come from the atoms.
    n_iter counts the bends. The walk is scratch, but for its Gram matrix: of all atoms, in rows of whole vectors.
    """
    n_rows, k = correlations.shape
    stride, none = padded(k), np.int64(0)
    fill(walk.thresholds, k, stride, np.inf)
    fill(walk.c, k, stride, 0.0)
    inverse_stride = min(9 * LANES, walk.c.size)
    for row in range(n_rows):
        q, norm, e = correlations[row], norms[row], 0.0
        if not 0.0 < norm < np.inf:
            norm = np.inf
        for j in range(k):
            walk.c[j], walk.thresholds[j] = q[j] / norm, 0.0
            e = max(e, walk.c[j] if positive else abs(walk.c[j]))
        nothing = 1e4 * np.finfo(q.dtype).eps * e
        inverse_stride, n, e, n_iter[row], arrived = descend(
            walk, q, norm, ridges, stride, inverse_stride, none, e, lmbda / norm, nothing, positive, most,
            max_error * max_error, thinnest(q),
        )  # fmt: skip
        ends[row] = lmbda if arrived else e * norm
        fill(z[row], 0, k, 0.0)
        for j in range(n):
            if walk.code[j] * walk.sign[j] > 0.0:
                z[row, walk.support[j]] = walk.code[j] * norm


@lean
def tally(decoded, chosen, entries, atoms, factors, y, z, squares, counts, prices, lengths):
    """Of each row, for codes with few non-zeros: the squared norm of y - z D, how many entries are not zero,
    sum_j factors_j |z_j|, and the squared norm of z. The first three are scratch.
    """
    (n_rows, k), width = z.shape, y.shape[1]
    flat = atoms.reshape(k * width)
    for row in range(n_rows):
        n, squares[row], prices[row], lengths[row] = 0, 0.0, 0.0, 0.0
        for j in range(k):
            if z[row, j] != 0.0:
                chosen[n], entries[n] = j, z[row, j]
                prices[row] += factors[j] * abs(entries[n])
                lengths[row] += entries[n] * entries[n]
                n += 1
        sum_rows(flat, width, chosen, entries, n, decoded)
        for i in range(width):
            squares[row] += (y[row, i] - decoded[i]) ** 2
        counts[row] = n


@lean
def refit(walk, residual, weights, chosen, gram, correlations, thresholds, positive, z):
    """Least squares on the non-zero entries of each row, non-negative where asked; entries that depend go to zero.

    walk, residual, weights and chosen are scratch, thresholds are zeros.
    """
    n_rows, k = correlations.shape
    flat, c = gram.reshape(k * k), residual[:k]
    stride = inverse_stride = min(9 * LANES, walk.c.size)
    for row in range(n_rows):
        code = z[row]
        m, stride, inverse_stride, n = resume(walk, gram, thresholds, code, stride, inverse_stride)
        for _ in range(2):  # what rounding has left the first time
            residual_correlations(walk, flat, correlations[row], n, chosen, weights, c)
            e = 0.0
            for i in range(m):
                walk.c[i] = c[walk.atoms[i]]
                e = max(e, abs(walk.c[i]))
            if not 0.0 < e < np.inf:
                break
            for i in range(n):
                walk.pull[i] = c[chosen[i]] / e
            sum_rows(walk.inverse, inverse_stride, walk.order, walk.pull, n, walk.velocity[: padded(n)])
            if positive:
                inverse_stride, n, _, e = follow(walk, stride, inverse_stride, m, n, e, 0.0, positive, thinnest(code))
            else:
                add_scaled(walk.code[: padded(n)], e, walk.velocity[: padded(n)])
        fill(code, 0, k, 0.0)
        for i in range(n):
            if walk.code[i] > 0.0 or not positive:
                code[walk.atoms[walk.support[i]]] = walk.code[i]
