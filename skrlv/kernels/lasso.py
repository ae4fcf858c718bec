"""Batch Lasso on (gram, correlations, half norms, thresholds), row by row: certificates, coordinate descent, FISTA.

Each row minimises  h - q.z + 1/2 z.G z + sum_j t_j |z_j|  over z, or over z >= 0 if ``positive``.

====  ===================================================================================
G, g  Gram matrix (k, k), symmetric, ``gram``; a row of it
q     correlations of the data with the atoms, (n, k) or a row of it
h     half norms (n,), the energy of the code zero, float64
t     thresholds (k,), >= 0
z     codes (n, k) or a row of them: the start on entry, the result on return
c     residual correlations q - G z
n, k  rows and atoms; in a kernel of a single row n is the number of entries in use
j, i  an entry of the code; all entries
a, b  places in a list of entries, of the support or of those near their thresholds
====  ===================================================================================
"""

import math

import numpy as np

from skrlv.kernels._jit import kernel, lean, merged
from skrlv.kernels._simd import LANES, any_above

SWEEPS = 10  # of coordinate descent within a cycle; measured best between 4 and 20 on digits
ROUNDED, STALLED = 1e-9, 100  # a gap below the first that has not fallen for so many cycles is rounding
NEGLIGIBLE = 1e-12  # a threshold below this share of norm(d_j) norm(y) is as good as none, and rounding hides it
STEPS, RESTRICTED_STEPS = 8, 16  # first lengths of FISTA's runs over all entries, and over those near their thresholds
MARGIN = 0.7  # of a threshold; nearer to 1, more restricted runs are in vain


@lean
def soft_threshold(v, threshold, positive):
    """Move v towards zero by threshold; to exactly zero if it is nearer, or negative and positive is asked."""
    above, below, zero = v - threshold, v + threshold, v * 0
    return (above if above > zero else zero) + (zero if positive or below > zero else below)


@lean
def assign(out, x):
    """out[:] = x; the loop compiles in a tenth of the time."""
    for i in range(out.size):
        out[i] = x[i]


@lean
def fill(out, value):
    """out[:] = value"""
    for i in range(out.size):
        out[i] = value


@lean
def largest_magnitude(x):
    top = abs(x[0])
    for i in range(1, x.size):
        top = max(top, abs(x[i]))
    return top


@lean
def add_columns(gram, weights, out):
    """out += weights @ gram, four non-zero weights at a time so that out is loaded and stored less often.

    Returns the number of non-zero weights.
    """
    k, n_found, a, b, c = out.size, 0, 0, 0, 0
    for d in range(weights.size):
        if weights[d] == 0.0:
            continue
        n_found += 1
        if n_found % 4 == 0:
            wa, wb, wc, wd = weights[a], weights[b], weights[c], weights[d]
            ga, gb, gc, gd = gram[a], gram[b], gram[c], gram[d]
            for i in range(k):
                out[i] += wa * ga[i] + wb * gb[i] + wc * gc[i] + wd * gd[i]
        a, b, c = b, c, d
    for left in range(n_found % 4):
        j = c if left == 0 else b if left == 1 else a
        w, g = weights[j], gram[j]
        for i in range(k):
            out[i] += w * g[i]
    return n_found


# ---------------------------------------------------------------------------------------------------------------------
# Certificates


def relative_gap(smooth, half_norm, penalty, fitted, scale, slack, n_nonzero):
    r"""The relative duality gap of one row from its parts: the only place where the formula stands.

    .. math:: \frac{(1 - s)^2 E_s + \max(R - s f, 0) + m \sqrt{2h}}{\max(\min(E_s + R, h), 10^{-3} h)}

    The unit is the energy of the code, but no more than that of the code zero, or a code that is far too large would
    make its own gap look small; and no less than a thousandth of it, for rows that are all but reproduced.

    Parameters
    ----------
    smooth : float
        E_s, the energy without its penalty.
    half_norm : float
        h, the energy of the code zero.
    penalty : float
        R = sum_j t_j |z_j|.
    fitted : float
        f = sum of z_j c_j over the penalised entries.
    scale : float
        s, the factor in (0, 1] that makes the residual dual feasible.
    slack : float
        m, the largest residual of the normal equations of entries without a penalty, or with one below 1e-12 of the
        norms of atom and row, for atoms of unit norm.
    n_nonzero : int
        Number of non-zero entries.

    Returns
    -------
    float
        Infinite if an overflow, or squares too small to be represented, leave it open.
    """
    shortfall = 1.0 - scale
    gap = shortfall * shortfall * smooth + max(penalty - scale * fitted, 0.0) + slack * math.sqrt(2.0 * half_norm)
    unit = max(min(smooth + penalty, half_norm), 1e-3 * half_norm)
    if unit == 0.0:
        return math.inf if scale < 1.0 or slack > 0.0 or n_nonzero > 0 else 0.0
    return gap / unit if gap < math.inf else math.inf


compiled_relative_gap = lean(relative_gap)


@lean
def row_gap(gram, q, half_norm, thresholds, positive, c, z):
    """Relative duality gap of one row with residual correlations c = q - G z; see inference.duality_gap."""
    inner, penalty, fitted, scale, slack, n_nonzero = 0.0, 0.0, 0.0, 1.0, 0.0, np.int64(0)
    size = math.sqrt(2.0 * half_norm)
    for j in range(z.size):
        n_nonzero += z[j] != 0.0
        reach = c[j] if positive else abs(c[j])
        inner += z[j] * (q[j] + c[j])
        if thresholds[j] > 0.0:
            penalty += thresholds[j] * abs(z[j])
            fitted += z[j] * c[j]
            if reach * scale > thresholds[j]:
                length = math.sqrt(gram[j, j])
                if thresholds[j] > NEGLIGIBLE * length * size:
                    scale = thresholds[j] / reach
                elif length > 0.0:
                    slack = max(slack, reach / length)
        elif gram[j, j] > 0.0:
            if z[j] != 0.0:
                reach = abs(c[j])
            slack = max(slack, reach / math.sqrt(gram[j, j]))
    if not abs(inner) + abs(fitted) < math.inf:
        return math.inf
    return compiled_relative_gap(max(half_norm - 0.5 * inner, 0.0), half_norm, penalty, fitted, scale, slack, n_nonzero)


@lean
def row_gaps(gram, correlations, half_norms, thresholds, positive, residual, z, gaps):
    """The relative gap of each row with its residual correlations."""
    for row in range(len(gaps)):
        gaps[row] = row_gap(gram, correlations[row], half_norms[row], thresholds, positive, residual[row], z[row])


@lean
def gap_of_float32(gram, norms, n_features, thresholds, positive, q, half_norm, c, z, support, excess):
    """The relative gap of one row in float64, though its code and residual correlations are float32.

    The correlations of atoms in use, or so near their thresholds that rounding may have hidden a violation, are
    computed again: rounding changes a sum by at most its number of terms times 2^-24 of what is summed. support and
    excess are scratch.
    """
    k, n_nonzero, size = z.size, 0, math.sqrt(2.0 * half_norm)
    length = size
    for j in range(k):
        if z[j] != 0.0:
            support[n_nonzero] = j
            length += norms[j] * abs(z[j])
            n_nonzero += 1
    rounding = 1.1 * 2.0**-24 * (n_features + n_nonzero + 8) * length
    for j in range(k):
        reach = c[j] if positive else abs(c[j])
        excess[j] = reach + rounding * norms[j] - thresholds[j]
    for a in range(n_nonzero):
        excess[support[a]] = math.inf
    inner, penalty, fitted, scale, slack = 0.0, 0.0, 0.0, 1.0, 0.0
    for at in range(0, excess.size, LANES):
        if not any_above(excess, at, 0.0):
            continue
        for j in range(at, min(at + LANES, k)):
            if excess[j] <= 0.0:
                continue
            fresh = q[j]
            for a in range(n_nonzero):
                fresh -= gram[j, support[a]] * z[support[a]]
            reach = fresh if positive else abs(fresh)
            inner += z[j] * (q[j] + fresh)
            if thresholds[j] > 0.0:
                penalty += thresholds[j] * abs(z[j])
                fitted += z[j] * fresh
                if reach * scale > thresholds[j]:
                    if thresholds[j] > NEGLIGIBLE * norms[j] * size:
                        scale = thresholds[j] / reach
                    elif norms[j] > 0.0:
                        slack = max(slack, reach / norms[j])
            elif norms[j] > 0.0:
                reach = abs(fresh) if z[j] != 0.0 else reach
                slack = max(slack, reach / norms[j])
    if not abs(inner) + abs(fitted) < math.inf:
        return math.inf
    return compiled_relative_gap(max(half_norm - 0.5 * inner, 0.0), half_norm, penalty, fitted, scale, slack, n_nonzero)


@kernel
def gaps_of_float32(gram, n_features, correlations, half_norms, thresholds, positive, residual, z, gaps):
    """The relative gap of each row in float64, for float32 codes and residual correlations; all else is float64.

    ``n_features`` is the number of terms in the sum that each correlation is.
    """
    k = len(gram)
    norms, support, excess = np.empty(k), np.empty(k, np.int64), np.zeros((k + LANES - 1) // LANES * LANES)
    for j in range(k):
        norms[j] = math.sqrt(gram[j, j])
    for row in range(len(gaps)):
        gaps[row] = gap_of_float32(
            gram,
            norms,
            n_features,
            thresholds,
            positive,
            correlations[row],
            half_norms[row],
            residual[row],
            z[row],
            support,
            excess,
        )


# ---------------------------------------------------------------------------------------------------------------------
# Coordinate descent


@lean
def minimise_entry(gram, j, thresholds, positive, c, z):
    """Minimise over entry j with the others held; c stays q - G z. Return the move in units of the data."""
    if gram[j, j] <= 0.0:
        return 0.0
    move = soft_threshold(c[j] + gram[j, j] * z[j], thresholds[j], positive) / gram[j, j] - z[j]
    if move == 0.0:
        return 0.0
    z[j] += move
    g = gram[j]
    for i in range(z.size):
        c[i] -= move * g[i]
    return abs(move) * math.sqrt(gram[j, j])


@lean
def refresh_correlations(gram, q, half_norm, thresholds, positive, minus_z, c, z):
    """Compute c = q - G z again, since its updates add up rounding, and return the gap; minus_z is scratch."""
    for j in range(z.size):
        c[j], minus_z[j] = q[j], -z[j]
    add_columns(gram, minus_z, c)
    return row_gap(gram, q, half_norm, thresholds, positive, c, z)


@merged
def cycle(gram, thresholds, positive, max_sweeps, support, c, z):
    """Sweep once over all entries, then over the non-zero entries until their moves are ten times smaller.

    support is scratch. Returns the number of sweeps.
    """
    largest, n_support = 0.0, 0
    for j in range(z.size):
        largest = max(largest, minimise_entry(gram, j, thresholds, positive, c, z))
        if z[j] != 0.0:
            support[n_support] = j
            n_support += 1
    for sweeps in range(1, min(SWEEPS, max_sweeps)):
        moved = 0.0
        for at in range(n_support):
            moved = max(moved, minimise_entry(gram, support[at], thresholds, positive, c, z))
        if moved <= 0.1 * largest:
            return sweeps + 1
    return min(SWEEPS, max_sweeps)


@lean
def cholesky(gram, support, factor):
    """Cholesky factor of the Gram matrix of some atoms, in the lower corner of factor.

    Stops at the first atom that depends on the atoms before it; its row of the factor is complete but for the
    diagonal. Returns the number of atoms before it, and what they leave of its squared norm.
    """
    rest = 0.0
    for a in range(support.size):
        for b in range(a):
            rest = gram[support[a], support[b]]
            for i in range(b):
                rest -= factor[a, i] * factor[b, i]
            factor[a, b] = rest / factor[b, b]
        rest = gram[support[a], support[a]]
        for i in range(a):
            rest -= factor[a, i] * factor[a, i]
        if rest <= 1e-10 * gram[support[a], support[a]]:
            return a, max(rest, 0.0)
        factor[a, a] = math.sqrt(rest)
    return support.size, rest


@lean
def solve_upper(factor, x):
    """Overwrite x with L^-T x, L the lower corner of factor."""
    for a in range(x.size - 1, -1, -1):
        for i in range(a + 1, x.size):
            x[a] -= factor[i, a] * x[i]
        x[a] /= factor[a, a]


@lean
def solve(factor, x):
    """Overwrite x with (L L^T)^-1 x."""
    for a in range(x.size):
        for i in range(a):
            x[a] -= factor[a, i] * x[i]
        x[a] /= factor[a, a]
    solve_upper(factor, x)


@merged
def newton_direction(gram, support, rounding, factor, slope, direction):
    """Direction (in place) and longest step that lower the quadratic of this support and these signs.

    With independent atoms the step of length 1 ends at its minimum. If an atom depends on the atoms before it, there
    is a direction that leaves the reconstruction unchanged, along which the penalty falls until an entry is zero. If
    the penalty is constant up to rounding, the step is 0.
    """
    n, rest = cholesky(gram, support, factor)
    if n == support.size:
        assign(direction, slope)
        solve(factor, direction)
        return 1.0
    fill(direction[n:], 0.0)
    direction[n] = 1.0
    for a in range(n):
        direction[a] = -factor[n, a]
    solve_upper(factor, direction[:n])
    gain, uncertainty = 0.0, 0.0
    for a in range(n + 1):
        gain += slope[a] * direction[a]
        uncertainty += (1e-9 * abs(slope[a]) + rounding) * abs(direction[a])
    if abs(gain) <= uncertainty:
        return 0.0
    if gain < 0.0:
        for a in range(n + 1):
            direction[a] = -direction[a]
    return abs(gain) / rest if rest > 0.0 else math.inf


@merged
def newton_step(gram, q, thresholds, support, factor, slope, direction, c, z):
    """Go straight to the minimum for the present support and signs, or to the first entry that reaches zero.

    On one orthant the energy is a quadratic, so this never raises it; coordinate descent alone would be slow there.
    support, factor, slope and direction are scratch. Returns whether an entry reached zero, so that the next step
    is from a smaller support.
    """
    n = 0
    for j in range(z.size):
        if z[j] != 0.0:
            support[n] = j
            slope[n] = c[j] - math.copysign(thresholds[j], z[j])
            n += 1
    if n == 0:
        return False
    rounding, first = 1e-14 * largest_magnitude(q), -1
    step = newton_direction(gram, support[:n], rounding, factor, slope[:n], direction[:n])
    for a in range(n):
        j = support[a]
        if z[j] * direction[a] < 0.0 and abs(z[j]) < step * abs(direction[a]):
            step, first = abs(z[j] / direction[a]), a
    if step == 0.0 or step == math.inf:
        return False
    for a in range(n):
        j = support[a]
        move = step * direction[a]
        if a == first or (z[j] + move > 0.0) != (z[j] > 0.0):  # rounding may carry others past zero
            move = -z[j]
        if move != 0.0:
            z[j] += move
            g = gram[j]
            for i in range(z.size):
                c[i] -= move * g[i]
    return first >= 0


@kernel
def coordinate_descent(gram, correlations, half_norms, thresholds, positive, tol, max_iter, n_iter, gaps, z):
    """Sweep each row until its duality gap is at most tol, or only rounding is left, or max_iter sweeps are over."""
    n, k = correlations.shape
    c, minus_z, support = np.empty(k, gram.dtype), np.empty(k, gram.dtype), np.empty(k, np.int64)
    factor, slope, direction = np.empty((k, k), gram.dtype), np.empty(k, gram.dtype), np.empty(k, gram.dtype)
    best = np.empty(k, gram.dtype)
    for row in range(n):
        q, zr = correlations[row], z[row]
        gap, sweeps = refresh_correlations(gram, q, half_norms[row], thresholds, positive, minus_z, c, zr), 0
        cycles, gained, best_gap = 0, 0, gap
        assign(best, zr)
        while gap > tol and sweeps < max_iter and (gap < math.inf or sweeps == 0):
            if best_gap < ROUNDED and cycles - gained >= STALLED:
                break
            sweeps += cycle(gram, thresholds, positive, max_iter - sweeps, support, c, zr)
            cycles += 1
            for _ in range(cycles):  # easy rows need one, hard ones get more and more
                if not newton_step(gram, q, thresholds, support, factor, slope, direction, c, zr):
                    break
            gap = row_gap(gram, q, half_norms[row], thresholds, positive, c, zr)
            if gap <= tol or sweeps >= max_iter:
                gap = refresh_correlations(gram, q, half_norms[row], thresholds, positive, minus_z, c, zr)
            if gap < best_gap:
                best_gap, gained = gap, cycles
                assign(best, zr)
        if best_gap < gap or best_gap == math.inf:  # the last updates only added rounding
            gap = best_gap
            assign(zr, best)
        n_iter[row], gaps[row] = sweeps, gap


# ---------------------------------------------------------------------------------------------------------------------
# FISTA


@lean
def next_momentum(momentum):
    return (1.0 + math.sqrt(1.0 + 4.0 * momentum * momentum)) / 2.0


@kernel
def fista_steps(gram, q, thresholds, positive, step, at_zero, tol, n_steps, momentum, z, gz, z_before, gz_before):
    """Up to n_steps of FISTA with restart on one row: z, gz = G z, and both as they were one step ago, in place.

    Returns the steps taken, the largest entry of the last gradient mapping as a share of the gradient at zero, and
    the momentum. Many arrays in one loop would need more checks for overlap than the compiler is willing to make, and
    it would not vectorise: hence the short loops, and no two-dimensional array to hold the four.
    """
    new, weight, share = np.empty_like(z), np.empty(1, z.dtype), math.inf  # weight in z's dtype, or float32 is promoted
    bound = tol * step * at_zero
    for taken in range(1, n_steps + 1):
        following = next_momentum(momentum)
        weight[0] = (momentum - 1.0) / following
        w, uphill, n_moving = weight[0], z[0] * 0, 0
        for j in range(z.size):
            slope = gz[j] + w * (gz[j] - gz_before[j]) - q[j]
            new[j] = soft_threshold(z[j] + w * (z[j] - z_before[j]) - step * slope, step * thresholds[j], positive)
        for j in range(z.size):
            ahead = z[j] + w * (z[j] - z_before[j])
            uphill += (ahead - new[j]) * (new[j] - z[j])
            n_moving += abs(ahead - new[j]) > bound
        if n_moving == 0 or taken == n_steps:
            largest = 0.0
            for j in range(z.size):
                largest = max(largest, abs(z[j] + w * (z[j] - z_before[j]) - new[j]))
            share = largest / (step * at_zero) if largest > 0.0 else 0.0
        for j in range(z.size):
            z_before[j], z[j] = z[j], new[j]
        for j in range(z.size):
            gz_before[j], gz[j] = gz[j], 0.0
        add_columns(gram, z, gz)
        momentum = 1.0 if uphill > 0.0 else following
        if n_moving == 0:
            return taken, share, momentum
    return n_steps, share, momentum


@kernel
def near_thresholds(q, thresholds, positive, step, momentum, margin, iterate):
    """Entries that are non-zero, or that the next step would make so with thresholds times margin; ascending."""
    z, gz, z_before, gz_before = iterate
    weight, near, n_near = (momentum - 1.0) / next_momentum(momentum), np.empty(z.size, np.int64), 0
    for j in range(z.size):
        ahead = z[j] + weight * (z[j] - z_before[j])
        v = ahead - step * (gz[j] + weight * (gz[j] - gz_before[j]) - q[j])
        if z[j] != 0.0 or z_before[j] != 0.0 or soft_threshold(v, margin * step * thresholds[j], positive) != 0.0:
            near[n_near] = j
            n_near += 1
    return near[:n_near]


@kernel
def empty_iterate(k, dtype):
    """Room for z, G z, and both as they were one step ago."""
    return np.empty(k, dtype), np.empty(k, dtype), np.empty(k, dtype), np.empty(k, dtype)


@merged
def restricted_steps(gram, q, thresholds, positive, step, at_zero, tol, n_steps, momentum, near, iterate, found):
    """Steps of FISTA over the entries near alone; found becomes the iterate of all entries that they end at."""
    n = near.size
    sub, part = np.empty((n, n), gram.dtype), np.empty((6, n), gram.dtype)
    for a in range(n):
        g, j = gram[near[a]], near[a]
        part[4, a], part[5, a] = q[j], thresholds[j]
        for at in range(4):
            part[at, a] = iterate[at][j]
        for b in range(n):
            sub[a, b] = g[near[b]]
    taken, share, momentum = fista_steps(
        sub, part[4], part[5], positive, step, at_zero, tol, n_steps, momentum, part[0], part[1], part[2], part[3]
    )
    for at in range(4):
        fill(found[at], 0.0)
    for a in range(n):
        found[0][near[a]], found[2][near[a]] = part[0, a], part[2, a]
    add_columns(gram, found[0], found[1])
    add_columns(gram, found[2], found[3])
    return taken, share, momentum


@lean
def contains(near, others):
    """Whether near contains all others; both ascend."""
    a = 0
    for j in others:
        while a < near.size and near[a] < j:
            a += 1
        if a == near.size or near[a] != j:
            return False
    return True


@kernel
def fista_restart(gram, correlations, half_norms, thresholds, positive, step, tol, max_iter, n_iter, error, z):
    """FISTA with restart on each row, until its gradient mapping is a small share of its gradient at zero.

    Most steps of a long run move few entries. So steps over all entries take turns with restricted steps, over the
    entries near their thresholds. Restricted steps count only if no entry outside is near its threshold at their end:
    then they are the same as steps over all entries, and the next restricted run is longer. Otherwise more steps over
    all entries come first.
    """
    n, k = correlations.shape
    iterate, found = empty_iterate(k, gram.dtype), empty_iterate(k, gram.dtype)
    for row in range(n):
        q = correlations[row]
        assign(iterate[0], z[row])
        fill(iterate[1], 0.0)
        add_columns(gram, iterate[0], iterate[1])
        assign(iterate[2], iterate[0])
        assign(iterate[3], iterate[1])
        at_zero = largest_magnitude(q)
        momentum, share, steps, n_all, n_restricted = 0.0, math.inf, 0, STEPS, RESTRICTED_STEPS
        while steps < max_iter and share > tol:
            n_steps = min(n_all, max_iter - steps)
            taken, share, momentum = fista_steps(
                gram, q, thresholds, positive, step, at_zero, tol, n_steps, momentum,
                iterate[0], iterate[1], iterate[2], iterate[3],
            )  # fmt: skip
            steps += taken
            near = near_thresholds(q, thresholds, positive, step, momentum, MARGIN, iterate)
            if share <= tol or steps + n_restricted > max_iter or near.size == 0 or near.size > k // 2:
                continue
            taken, new_share, new_momentum = restricted_steps(
                gram, q, thresholds, positive, step, at_zero, tol, n_restricted, momentum, near, iterate, found
            )
            if contains(near, near_thresholds(q, thresholds, positive, step, new_momentum, 1.0, found)):
                iterate, found = found, iterate
                steps, share, momentum, n_all, n_restricted = (
                    steps + taken,
                    new_share,
                    new_momentum,
                    2,
                    2 * n_restricted,
                )
            else:
                n_all, n_restricted = 2 * n_all, RESTRICTED_STEPS
        assign(z[row], iterate[0])
        n_iter[row], error[row] = steps, share
