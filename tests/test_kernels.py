"""Each kernel against a plain NumPy twin."""

import numpy as np
import pytest
from problems import random_dictionary
from scipy.optimize import nnls

from skrlv.decoders import ConvolutionalDictionary, Dictionary
from skrlv.energy import Energy, lasso_energy
from skrlv.inference import coordinate_descent, duality_gap, gaps_at, tiled_descent
from skrlv.inference import proximal_gradient as pg
from skrlv.inference.homotopy import workspace
from skrlv.inference.least_angle import _whole_vectors
from skrlv.inference.problem import lasso_problem
from skrlv.kernels import adam, homotopy, lasso
from skrlv.regularizers import L1, ElasticNet

SCALES = (0.5, 0.9, 0.999, 4.0, 300.0, 1e-2, 1e-8, 0.0)  # of Adam
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@dtypes
@pytest.mark.parametrize("n_non_zero", range(10))
def test_add_columns(n_non_zero, dtype, rng):
    gram = rng.normal(size=(9, 9)).astype(dtype)
    gram, weights, out = gram + gram.T, np.zeros(9, dtype), rng.normal(size=9).astype(dtype)
    weights[rng.permutation(9)[:n_non_zero]] = rng.normal(size=n_non_zero)
    expected = out + gram @ weights
    lasso.add_columns(gram, weights, out)
    np.testing.assert_allclose(out, expected, rtol=100 * np.finfo(dtype).eps, atol=100 * np.finfo(dtype).eps)


@dtypes
def test_adam(dtype, rng):
    value, slope, mean = rng.normal(size=(3, 1003)).astype(dtype)
    square, (unit, decay, forget, mean_scale, square_scale, rate, least, _) = rng.random(1003).astype(dtype), SCALES
    moved = np.empty((3, 1003), dtype)
    adam.adam(value, slope, mean, square, tuple(map(dtype, SCALES)), *moved)
    mean = decay * mean + (1 - decay) * unit * slope
    square = forget * square + (1 - forget) * (unit * slope) ** 2
    twin = mean, square, value - rate * mean * mean_scale / (np.sqrt(square * square_scale) + least)
    np.testing.assert_allclose(moved, twin, rtol=100 * np.finfo(dtype).eps, atol=100 * np.finfo(dtype).eps)


@pytest.mark.parametrize("positive", [False, True])
def test_soft_threshold(positive):
    v = np.linspace(-3, 3, 25)
    twin = np.maximum(v - 1, 0) if positive else np.sign(v) * np.maximum(np.abs(v) - 1, 0)
    np.testing.assert_array_equal([lasso.soft_threshold(x, 1.0, positive) for x in v], twin)


@pytest.mark.parametrize(
    "regularizer", [L1(), L1(True), L1(weights=np.r_[0.0, np.linspace(0.2, 2, 29)]), ElasticNet(0.6)], ids=str
)
def test_gap_agrees_with_the_array_code(regularizer, rng):
    y = rng.normal(size=(10, 12))
    landscape = Energy(Dictionary(random_dictionary(30, 12)), regularizer, 0.3).given(y)
    for max_iter in (0, 1, 2, 5, 50):
        solution = coordinate_descent(landscape, max_iter=max_iter, tol=1e-14)
        twin = duality_gap(landscape, solution.z)
        np.testing.assert_allclose(solution.error, twin, rtol=1e-6, atol=1e-12)


def gaps_by_every_method(atoms, y, lmbda, positive, z):
    """The relative gaps that the array code and each kernel find for the same float32 codes z."""
    energy = Energy(Dictionary(atoms), L1(positive), lmbda)
    landscape, (n_rows, k) = energy.given(y), z.shape
    problem = lasso_problem(landscape)
    found = {"arrays": duality_gap(landscape, z), "rows": np.empty(n_rows), "float32": np.empty(n_rows)}
    lasso.row_gaps(*problem.arrays, problem.correlations - z @ problem.gram, z, found["rows"])
    single = (problem.correlations - z @ problem.gram).astype(np.float32)
    gram, *rest = problem.arrays
    lasso.gaps_of_float32(gram, atoms.shape[1], *rest, single, z.astype(np.float32), found["float32"])
    found["descent"] = coordinate_descent(landscape, z, max_iter=0).error
    found["own lmbda"] = gaps_at(landscape, z, np.full(n_rows, lmbda))
    kernels = ConvolutionalDictionary(atoms[:, :, None], atoms.shape[1:])  # each fits at one place
    maps = Energy(kernels, L1(positive), lmbda).given(y[:, :, None])
    return found | {"tiles": tiled_descent(maps, z.reshape(n_rows, 1, k), max_iter=0).error}


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("size", [0.0, 1.0, 10.0, 1e3, 1e6])
def test_all_gaps_are_the_distance_to_the_dual_also_of_codes_that_are_far_too_large(size, positive, rng):
    atoms, y, lmbda = random_dictionary(30, 20), rng.normal(size=(10, 20)), 0.2
    z = coordinate_descent(Energy(Dictionary(atoms), L1(positive), lmbda).given(y), tol=1e-3).z
    z = (size * (z + 0.1 * rng.random(z.shape))).astype(np.float32).astype(np.float64)
    residual, at_zero = y - z @ atoms, 0.5 * np.sum(y**2, axis=1)
    pulls = residual @ atoms.T if positive else np.abs(residual @ atoms.T)
    dual_point = residual * np.minimum(1.0, lmbda / pulls.max(axis=1, keepdims=True))
    energy = 0.5 * np.sum(residual**2, axis=1) + lmbda * np.abs(z).sum(axis=1)
    dual = at_zero - 0.5 * np.sum((y - dual_point) ** 2, axis=1)
    expected = (energy - dual) / np.maximum(np.minimum(energy, at_zero), 1e-3 * at_zero)
    for name, gaps in gaps_by_every_method(atoms, y, lmbda, positive, z).items():
        np.testing.assert_allclose(gaps, expected, rtol=1e-6, err_msg=name)


def plain_coordinate_descent(gram, q, thresholds, positive, n_sweeps=20_000):
    z, c = np.zeros_like(q), q.copy()
    for _ in range(n_sweeps):
        before = z.copy()
        for j in range(q.size):
            v = c[j] + gram[j, j] * z[j]
            new = max(v - thresholds[j], 0.0) if positive else np.sign(v) * max(abs(v) - thresholds[j], 0.0)
            new /= gram[j, j]
            c -= (new - z[j]) * gram[j]
            z[j] = new
        if (z == before).all():
            break
    return z


@pytest.mark.parametrize("positive", [False, True])
def test_coordinate_descent_finds_what_a_plain_implementation_finds(positive, rng):
    atoms, y = random_dictionary(15, 12), rng.normal(size=(4, 12))
    landscape = Energy(Dictionary(atoms), L1(positive), 0.2).given(y)
    gram, correlations, _ = landscape.quadratic()
    z = coordinate_descent(landscape, tol=1e-13).z
    for row in range(4):
        twin = plain_coordinate_descent(gram, correlations[row], np.full(15, 0.2), positive, 3000)
        np.testing.assert_allclose(z[row], twin, atol=1e-10)


@dtypes
@pytest.mark.parametrize("width", [1, 8, 13, 64, 123, 264])
def test_sum_rows(width, dtype, rng):
    flat, which, weights = rng.normal(size=40 * width).astype(dtype), rng.permutation(40), rng.normal(size=40)
    out = np.full(width, np.nan, dtype)
    for n in (0, 1, 7, 40):
        homotopy.sum_rows(flat, width, which, weights.astype(dtype), n, out)
        expected = weights[:n] @ flat.reshape(40, width)[which[:n]]
        np.testing.assert_allclose(out, expected, atol=1e-12 if dtype == np.float64 else 1e-4)


@dtypes
def test_the_inverse_follows_the_support(dtype, rng):
    atoms = random_dictionary(20, 30)
    gram = (atoms @ atoms.T).astype(dtype)
    working, sizes = workspace(20, gram.dtype)[0], homotopy.Sizes(24, 40, 20, 0)
    working.atoms[:20] = np.arange(20)
    homotopy.pack(working, gram, 0, 20, 0, 24)
    support = []
    for step, place in enumerate([3, 7, 1, 19, 4, 0, 12, 8, 15, 9, 2]):
        sizes = homotopy.add_atom(working, sizes, place, 0.1, 1.0, 0.5)
        support.append(place)
        if step in (4, 9, 10):
            sizes = homotopy.remove_atom(working, sizes, 2)
            support[2] = support[-1]
            support.pop()
        n = len(support)
        assert sizes == (24, 40, 20, n)
        assert working.support[:n].tolist() == support
        inverse = np.linalg.inv(atoms[support] @ atoms[support].T)
        tolerance = 1e-10 if dtype == np.float64 else 2e-4
        np.testing.assert_allclose(working.inverse[: 40 * n].reshape(n, 40)[:, :n], inverse, atol=tolerance)
        np.testing.assert_allclose(working.velocity[:n], inverse @ working.offset[:n], atol=tolerance)
    assert homotopy.add_atom(working, sizes, support[0], 0.1, 1.0, 0.5) == sizes  # a duplicate depends on the support


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("l2", [0.0, 0.3])
@pytest.mark.parametrize("weights", [None, np.repeat([0.0, 1.0, 2.0], [2, 18, 10])])
def test_gaps_of_float32_codes_are_those_of_float64(positive, l2, weights, rng):
    atoms, y = random_dictionary(30, 20).astype(np.float32), rng.normal(size=(40, 20)).astype(np.float32)
    energy = lasso_energy(atoms, 0.2, positive=positive, l2=l2, weights=weights)
    z = coordinate_descent(energy.given(y.astype(np.float64)), tol=1e-9).z.astype(np.float32)
    z[5], z[10:20] = 0.0, np.where(z[10:20] == 0.0, 0.0, z[10:20] + np.float32(1e-3))
    exact, single, gaps = energy.given(y.astype(np.float64)), energy.single.given(y).quadratic(), np.empty(40)
    residual = single.correlations - z @ single.gram - np.float32(l2) * z
    gram, *rest = lasso_problem(exact).arrays
    lasso.gaps_of_float32(gram, 20, *rest, residual, z, gaps)
    expected = duality_gap(exact, z.astype(np.float64))
    np.testing.assert_allclose(gaps, expected, rtol=1e-6, atol=1e-12)
    residual[0, z[0] == 0.0] = np.nan  # what overflowed is formed anew
    lasso.gaps_of_float32(gram, 20, *rest, residual, z, gaps)
    np.testing.assert_allclose(gaps[0], expected[0], rtol=1e-6, atol=1e-12)


def plain_least_angle(gram, q, lmbda):
    """Bends one after the other, each from a fresh solution on the support; no atom leaves."""
    z, support, e = np.zeros_like(q), [int(np.argmax(np.abs(q)))], np.abs(q).max()
    while True:
        c = q - gram @ z
        velocity = np.zeros_like(q)
        velocity[support] = np.linalg.solve(gram[np.ix_(support, support)], np.sign(c[support]))
        drift, others = gram @ velocity, [j for j in range(q.size) if j not in support]
        falls = [
            (np.where(s * drift[j] < 1, e - s * c[j], np.inf) / (1 - s * drift[j]), j) for s in (1, -1) for j in others
        ]
        fall, j = min(f for f in falls if f[0] > 0)
        if e - fall <= lmbda:
            return z + (e - lmbda) * velocity
        z, e = z + fall * velocity, e - fall
        support.append(j)


@pytest.mark.parametrize("lmbda", [2.0, 1.0, 0.5])
def test_least_angle_follows_the_path_of_its_plain_version(lmbda):
    atoms, y = random_dictionary(30, 400, 1), np.random.default_rng(0).normal(size=(6, 400))
    gram, correlations, norms = atoms @ atoms.T, y @ atoms.T, np.linalg.norm(y, axis=1)
    codes, ends, bends = np.empty((6, 30)), np.empty(6), np.empty(6, np.int64)
    working = workspace(30, gram.dtype)[0]._replace(gram=_whole_vectors(gram))
    target = homotopy.Target(lmbda, 30, 0.0)
    homotopy.least_angle(working, correlations, norms, np.zeros(30), False, target, bends, ends, codes)
    assert (ends == lmbda).all()
    for q, z in zip(correlations, codes, strict=True):  # rows too long for an atom to leave
        twin = plain_least_angle(gram, q, lmbda) if np.abs(q).max() > lmbda else 0.0
        np.testing.assert_allclose(z, twin, atol=1e-12)
    np.testing.assert_array_equal(bends, np.count_nonzero(codes, axis=1))


@dtypes
@pytest.mark.parametrize("width", [1, 8, 13, 123])
def test_summarize(width, dtype, rng):
    atoms, y = rng.normal(size=(9, width)), rng.normal(size=(5, width)).astype(dtype)
    z, factors = rng.normal(size=(5, 9)).astype(dtype), rng.random(9)
    z[rng.random(z.shape) < 0.6], out = 0.0, np.empty((4, 5))
    homotopy.summarize(np.empty(width), np.empty(9, np.int64), np.empty(9), atoms, factors, y, z, *out)
    y, z = y.astype(np.float64), z.astype(np.float64)
    np.testing.assert_allclose(out[0], np.sum((y - z @ atoms) ** 2, axis=1), rtol=1e-12)
    np.testing.assert_array_equal(out[1], np.count_nonzero(z, axis=1))
    np.testing.assert_allclose(out[2], np.abs(z) @ factors, rtol=1e-13)
    np.testing.assert_allclose(out[3], np.sum(z**2, axis=1), rtol=1e-13)


@pytest.mark.parametrize("positive", [False, True])
def test_refit_is_least_squares_on_the_support(positive, rng):
    atoms, y, z = random_dictionary(40, 20), rng.normal(size=(30, 20)), np.abs(rng.normal(size=(30, 40)))
    z[rng.random(z.shape) < 0.7], z[4] = 0.0, 0.0
    refitted = z.copy()
    homotopy.refit(*workspace(40, z.dtype), atoms @ atoms.T, y @ atoms.T, np.zeros(40), positive, refitted)
    for row, before, after in zip(y, z, refitted, strict=True):
        kept = before != 0
        assert not after[~kept].any()
        if not kept.any():
            continue
        fit = nnls(atoms[kept].T, row)[0] if positive else np.linalg.lstsq(atoms[kept].T, row, rcond=None)[0]
        np.testing.assert_allclose(after[kept], fit, atol=1e-9)


@dtypes
@pytest.mark.parametrize("regularizer", [L1(), L1(positive=True), L1(weights=np.linspace(0.2, 2, 30))], ids=str)
def test_fista_kernel_takes_the_steps_of_the_array_code(regularizer, dtype, rng):
    atoms, y = random_dictionary(30, 20).astype(dtype), rng.normal(size=(25, 20)).astype(dtype)
    if regularizer.weights is not None:
        regularizer = L1(weights=regularizer.weights.astype(dtype))
    landscape = Energy(Dictionary(atoms), regularizer, 0.2).given(y)
    kernel = pg._fista_kernel(landscape, None, max_iter=3000, tol=1e-4)
    array = pg._iterate(landscape, None, pg._restarted, max_iter=3000, tol=1e-4, record=False)
    assert kernel.z.dtype == array.z.dtype == dtype
    assert kernel.converged.all()
    tolerance = 1e-10 if dtype == np.float64 else 1e-3
    np.testing.assert_allclose(kernel.z, array.z, atol=tolerance)
    if dtype == np.float64:
        np.testing.assert_array_equal(kernel.n_iter, array.n_iter)


def test_kernels_have_two_specialisations_at_most(rng):
    for dtype in (np.float32, np.float64):
        for order in "CF":
            y = np.asarray(rng.normal(size=(5, 20)), dtype=dtype, order=order)
            y.flags.writeable = False
            landscape = Energy(Dictionary(random_dictionary(30, 20).astype(dtype)), L1(), 0.2).given(y)
            coordinate_descent(landscape)
            pg.fista_restart(landscape)
    assert len(lasso.coordinate_descent.signatures) <= 2
    assert len(lasso.fista_restart.signatures) <= 2


def test_a_folder_that_cannot_be_written_costs_only_the_cache(monkeypatch):
    import numba

    from skrlv.kernels import _jit

    real = numba.njit

    def njit(*args, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function")
        return real(*args, **options)

    monkeypatch.setattr(_jit.numba, "njit", njit)
    assert _jit.kernel(lambda x: x + 1)(1) == 2
