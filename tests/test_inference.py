"""Every method finds the same energy on every problem; the published counts; the certificate."""

import numpy as np
import pytest
from problems import random_dictionary, random_lasso
from sklearn.linear_model import Lasso

from skrlv.decoders import Dictionary
from skrlv.encoders import ZeroEncoder
from skrlv.energy import Energy
from skrlv.inference import (
    coordinate_descent,
    duality_gap,
    fista,
    fista_restart,
    homotopy,
    homotopy_path,
    ista,
    least_angle,
)
from skrlv.regularizers import L0, L1, ElasticNet, GroupL1

METHODS = [ista, fista, fista_restart, coordinate_descent, homotopy]
EXACT = METHODS[3:]
PROXIMAL = METHODS[:3]


def energies():
    tall, wide = random_dictionary(10, 30), random_dictionary(40, 12)
    twins = np.vstack([tall, tall[:4]])
    return {
        "more features": (Energy(Dictionary(tall), L1(), 0.2), 30),
        "more atoms": (Energy(Dictionary(wide), L1(), 0.3), 12),
        "positive": (Energy(Dictionary(wide), L1(positive=True), 0.3), 12),
        "weighted": (Energy(Dictionary(tall), L1(weights=np.linspace(0.1, 2, 10)), 0.4), 30),
        "unpenalised atom": (Energy(Dictionary(tall), L1(weights=np.r_[0.0, np.ones(9)]), 0.4), 30),
        "elastic net": (Energy(Dictionary(wide), ElasticNet(0.7), 0.5), 12),
        "ridge": (Energy(Dictionary(wide), L1(), 0.2, ZeroEncoder((40,)), 0.3), 12),
        "least squares": (Energy(Dictionary(tall), L1(), 0.0), 30),
        "duplicate atoms": (Energy(Dictionary(twins), L1(), 0.2), 30),
        "atoms not of unit norm": (Energy(Dictionary(tall * np.linspace(0.5, 2, 10)[:, None]), L1(), 0.2), 30),
        "one feature": (Energy(Dictionary(np.array([[1.0], [-2.0]])), L1(), 0.1), 1),
        "one atom": (Energy(Dictionary(random_dictionary(1, 5)), L1(), 0.1), 5),
    }


PROBLEMS = energies()


def rows_for(n_features, n_samples=12):
    y = np.random.default_rng(5).normal(size=(n_samples, n_features))
    y[3] = 0.0
    y[4] *= 30.0
    return y


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_reaches_the_same_energy(method, name):
    energy, n_features = PROBLEMS[name]
    landscape = energy.given(rows_for(n_features))
    # an independent judge: very many plain ISTA steps with an exact Lipschitz constant
    reference = landscape(ista(landscape, max_iter=50_000, tol=1e-13).z)
    found = method(landscape, max_iter=50_000, tol=1e-10)
    assert found.converged.all()
    unit = 1e-8 * np.maximum(reference, 0.5 * np.sum(rows_for(n_features) ** 2, axis=1))
    assert (np.abs(landscape(found.z) - reference) <= unit).all()


@pytest.mark.parametrize("method", PROXIMAL)
def test_a_row_stops_where_only_rounding_moves_it(method):
    y = rows_for(30).astype(np.float32)
    y[5] *= 1e9
    energies = [Energy(Dictionary(random_dictionary(10, 30).astype(t)), GroupL1(2), 0.2) for t in (np.float32, float)]
    z = [method(energy.given(y.astype(energy.decoder.atoms.dtype)), max_iter=20_000, tol=0.0) for energy in energies]
    assert z[0].n_iter.max() < 3_000
    unit = np.abs(z[1].z).max(axis=1, keepdims=True) + 1e-30
    assert (np.abs(z[0].z - z[1].z) <= 1e-6 * unit).all()


@pytest.mark.parametrize("method", PROXIMAL)
def test_a_slow_row_does_not_stop(method):
    steep = Energy(Dictionary(np.array([[1e3, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 1.0, 1.02]])), GroupL1(), 1e-6)
    landscape = steep.given(np.array([[1e3, 1.0, 2.0]]))
    found = method(landscape, max_iter=3_000, tol=1e-16)
    assert (found.n_iter == 3_000).all()
    assert found.error > 1e-16


@pytest.mark.parametrize("regularizer", [GroupL1(3), GroupL1(2, positive=True)], ids=str)
@pytest.mark.parametrize("method", PROXIMAL)
def test_group_problems_converge_to_fixed_points_of_the_prox_step(method, regularizer):
    landscape = Energy(Dictionary(random_dictionary(12, 9)), regularizer, 0.3).given(rows_for(9)[:4])
    z = method(landscape, max_iter=20_000, tol=1e-11).z
    step = 1.0 / landscape.lipschitz
    np.testing.assert_allclose(landscape.prox(z - step * landscape.grad(z), step), z, atol=1e-7)
    assert (z == 0).any()


@pytest.mark.parametrize("method", [ista, fista_restart])
def test_l0_ends_at_a_fixed_point_that_is_no_worse_than_zero(method):
    landscape = Energy(Dictionary(random_dictionary(12, 9)), L0(), 0.05).given(rows_for(9))
    solution = method(landscape, max_iter=20_000, tol=1e-10)
    assert solution.converged.all()
    assert (landscape(solution.z) <= landscape(np.zeros_like(solution.z)) + 1e-9).all()


@pytest.mark.parametrize(
    ("lmbda", "medians"), [(0.1, (611.5, 245, 93.5)), (0.4, (112.5, 72.5, 35)), (0.8, (39, 32, 16.5))]
)
def test_published_iteration_counts(lmbda, medians):
    counts, ratios = {method: [] for method in PROXIMAL}, []
    for seed in range(10):
        landscape = random_lasso(seed, lmbda)
        z = coordinate_descent(landscape, tol=1e-13).z
        lowest = landscape(z)[0]
        for method in PROXIMAL:
            trace = method(landscape, max_iter=1500, tol=0.0, record=True).energies[:, 0]
            counts[method].append(int(np.argmax(trace - lowest < 1e-8)))
            if method is ista:
                assert np.diff(trace).max() <= 1e-13
            if method is fista:
                k = np.arange(1, len(trace))
                bound = 2.0 * landscape.lipschitz * np.sum(z**2)
                ratios.append(np.max((trace[1:] - lowest) * (k + 1) ** 2 / bound))
    for method, median in zip(PROXIMAL, medians, strict=True):
        assert np.median(counts[method]) == pytest.approx(median, rel=0.05)
    assert max(ratios) <= 1.0
    assert np.median(counts[fista_restart]) <= 0.55 * np.median(counts[fista])


def test_the_page_s_energy_is_twice_ours_at_half_its_lambda():
    landscape = random_lasso(0, 0.3)
    energy = landscape.energy
    y = np.random.RandomState(0).randn(1, 100)
    z = coordinate_descent(energy.given(y), tol=1e-12).z
    page = np.sum((y - z @ energy.decoder.atoms) ** 2) + 2 * 0.3 * np.abs(z).sum()
    assert page == pytest.approx(2.0 * energy(y, z)[0], rel=1e-13)
    lasso = Lasso(alpha=0.3 / 100, fit_intercept=False, tol=1e-12, max_iter=100_000)
    lasso.fit(energy.decoder.atoms.T, y[0])
    np.testing.assert_allclose(z[0], lasso.coef_, atol=1e-5)


def test_ista_is_the_unrolled_graph_of_figure_2():
    landscape = random_lasso(1, 0.2)
    atoms, step = landscape.energy.decoder.atoms, 1.0 / landscape.lipschitz
    y = np.linalg.lstsq(atoms.T @ atoms, (landscape.quadratic().correlations @ atoms).T, rcond=None)[0].T
    S, b = np.eye(200) - step * atoms @ atoms.T, step * y @ atoms.T
    z = np.zeros((1, 200))
    for n_steps in range(1, 6):
        v = b + z @ S  # the sign of S z is +
        z = np.sign(v) * np.maximum(np.abs(v) - step * 0.2, 0.0)
        np.testing.assert_allclose(ista(landscape, max_iter=n_steps, tol=0.0).z, z, atol=1e-12)


def test_coordinate_descent_never_raises_the_energy():
    landscape = Energy(Dictionary(random_dictionary(60, 20)), L1(), 0.05).given(rows_for(20))
    z, energy = landscape.start(), landscape(landscape.start())
    for sweeps in (1, 1, 1, 2, 3, 5, 8, 13, 21, 34):
        z = coordinate_descent(landscape, z, max_iter=sweeps, tol=1e-14).z
        lower = landscape(z)
        assert (lower <= energy + 1e-14 * energy[4]).all()
        energy = lower


@pytest.mark.parametrize("positive", [False, True])
def test_gap_bounds_the_suboptimality_of_any_code(positive, rng):
    energy = Energy(Dictionary(random_dictionary(30, 12)), L1(positive=positive), 0.3)
    y = rows_for(12)
    landscape = energy.given(y)
    best = coordinate_descent(landscape, tol=1e-13).z
    lowest = landscape(best)
    at_zero = 0.5 * np.sum(y**2, axis=1)
    for size in (0.0, 1e-3, 1e-1, 1.0, 10.0):
        z = best + size * rng.normal(size=best.shape)
        z = np.maximum(z, 0.0) if positive else z
        above = landscape(z) - lowest
        unit, gaps = np.maximum(np.minimum(landscape(z), at_zero), 1e-3 * at_zero), duality_gap(landscape, z)
        some = at_zero > 0.0
        assert (gaps[some] * unit[some] >= (above - 1e-9 * unit)[some]).all()
        assert np.isinf(gaps[~some & (above > 0.0)]).all()  # no code but zero is near the minimum of a row of zeros
    assert duality_gap(landscape, best).max() <= 1e-10


def test_gap_of_a_negative_code_is_infinite_where_codes_are_positive():
    landscape = Energy(Dictionary(random_dictionary(5, 5)), L1(positive=True), 0.3).given(rows_for(5))
    z = np.zeros((12, 5))
    z[2, 1] = -0.1
    assert np.flatnonzero(np.isinf(duality_gap(landscape, z))).tolist() == [2]


@pytest.mark.parametrize("regularizer", [L1(weights=np.r_[0.0, 0.0, np.ones(3)]), L1()], ids=["free", "paid"])
def test_a_zero_atom_changes_no_gap(regularizer, rng):
    atoms, y = random_dictionary(5, 8), rng.normal(size=(6, 8))
    atoms[0] = 0.0
    without = Energy(Dictionary(atoms[1:]), L1(weights=regularizer.thresholds(1.0, 5)[1:]), 0.3)
    landscape = Energy(Dictionary(atoms), regularizer, 0.3).given(y)
    for z in (rng.normal(size=(6, 5)), coordinate_descent(landscape, tol=1e-12).z):
        z[:, 0] = 0.0
        np.testing.assert_allclose(duality_gap(landscape, z), duality_gap(without.given(y), z[:, 1:]), atol=1e-12)


def test_kkt_conditions_at_the_exact_code(digits):
    atoms, lmbda = random_dictionary(100, 64), 0.2
    landscape = Energy(Dictionary(atoms), L1(), lmbda).given(digits[:200])
    z = coordinate_descent(landscape, tol=1e-13).z
    c = -landscape.grad(z)
    assert np.abs(c).max() <= lmbda * (1 + 1e-9)
    np.testing.assert_allclose(c[z != 0], lmbda * np.sign(z[z != 0]), atol=1e-9 * lmbda)


@pytest.mark.parametrize("method", EXACT)
def test_the_gap_is_checked_before_the_first_sweep(method):
    landscape = Energy(Dictionary(np.eye(3)), L1(), 2.0).given(np.ones((2, 3)))
    solution = method(landscape)
    assert not solution.n_iter.any()
    assert not solution.z.any()


@pytest.mark.parametrize("method", PROXIMAL)
def test_frozen_rows_do_not_depend_on_their_batch(method):
    energy = Energy(Dictionary(random_dictionary(40, 12)), GroupL1(2), 0.3)
    y = rows_for(12, 30)
    whole = method(energy.given(y), max_iter=3000, tol=1e-6)
    for i in range(30):
        alone = method(energy.given(y[i : i + 1]), max_iter=3000, tol=1e-6)
        assert alone.n_iter[0] == whole.n_iter[i]
        np.testing.assert_allclose(alone.z[0], whole.z[i], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("method", PROXIMAL)
def test_recorded_energies_start_at_the_start_and_freeze(method):
    energy = Energy(Dictionary(random_dictionary(40, 12)), L1(), 0.3)
    landscape = energy.given(rows_for(12))
    solution = method(landscape, max_iter=500, tol=1e-5, record=True)
    assert solution.energies.shape == (solution.n_iter.max() + 1, 12)
    np.testing.assert_allclose(solution.energies[0], landscape(landscape.start()), rtol=1e-13)
    np.testing.assert_allclose(solution.energies[-1], landscape(solution.z), rtol=1e-12, atol=1e-12)
    for row, stop in enumerate(solution.n_iter):
        assert (solution.energies[stop:, row] == solution.energies[stop, row]).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_warm_start_at_the_answer_is_over_at_once(method):
    landscape = Energy(Dictionary(random_dictionary(20, 12)), L1(), 0.3).given(rows_for(12))
    z = coordinate_descent(landscape, tol=1e-14, max_iter=3000).z
    assert method(landscape, z, tol=1e-8).n_iter.max() <= 1


@pytest.mark.parametrize("positive", [False, True])
def test_homotopy_from_any_code_ends_at_the_minimum(positive, rng):
    landscape = Energy(Dictionary(random_dictionary(60, 20)), L1(positive), 0.2).given(rows_for(20))
    exact = coordinate_descent(landscape, tol=1e-14).z
    for density in (0.05, 0.3, 1.0):  # the last: more atoms than can be independent
        start = np.abs(rng.normal(size=exact.shape)) * (rng.random(exact.shape) < density)
        np.testing.assert_allclose(homotopy(landscape, start).z, exact, atol=1e-9)


def test_homotopy_has_one_breakpoint_per_atom_where_atoms_are_orthogonal(rng):
    y = rng.normal(size=(5, 30))
    solution = homotopy(Energy(Dictionary(np.eye(30)), L1(), 0.5).given(y))
    np.testing.assert_allclose(solution.z, np.sign(y) * np.maximum(np.abs(y) - 0.5, 0.0), atol=1e-14)
    assert (solution.n_iter <= (solution.z != 0).sum(axis=1) + 3).all()  # and one for the end of each walk


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_path_passes_the_codes_of_each_lmbda(name):
    energy, n_features = PROBLEMS[name]
    landscape = energy.given(rows_for(n_features))
    lmbdas = np.array([1.0, 0.4, 0.1])
    if energy.regularizer.ridge(1.0):
        with pytest.raises(TypeError, match="changes with lmbda"):
            homotopy_path(landscape, lmbdas)
        return
    for lmbda, solution in zip(lmbdas, homotopy_path(landscape, lmbdas, tol=1e-10), strict=True):
        at = landscape.at(lmbda)
        exact = coordinate_descent(at, tol=1e-12, max_iter=100_000)
        assert solution.converged.all()
        np.testing.assert_allclose(at(solution.z), at(exact.z), rtol=1e-9, atol=1e-9)


def test_least_angle_tells_the_lmbda_of_each_row():
    landscape = PROBLEMS["more atoms"][0].given(rows_for(12))
    solution, lmbdas = least_angle(landscape, n_nonzero=3)
    for i, lmbda in enumerate(lmbdas):
        alone = landscape.take(np.array([i])).at(lmbda)
        np.testing.assert_allclose(solution.z[i], coordinate_descent(alone, tol=1e-13).z[0], atol=1e-6)
    assert (lmbdas >= landscape.energy.lmbda).all()


@pytest.mark.parametrize("name", ["unpenalised atom", "elastic net"])
def test_a_target_needs_a_path(name):
    energy, n_features = PROBLEMS[name]
    with pytest.raises(TypeError, match="A path to a target needs L1"):
        least_angle(energy.given(rows_for(n_features)), n_nonzero=2)


@pytest.mark.parametrize("method", EXACT)
def test_exact_methods_refuse_what_they_cannot_do(method):
    landscape = Energy(Dictionary(np.eye(4)), GroupL1(2), 0.1).given(np.ones((2, 4)))
    with pytest.raises(TypeError, match="L1 family"):
        method(landscape)
    with pytest.raises(TypeError, match="L1 family"):
        duality_gap(landscape, np.zeros((2, 4)))
