"""Statistics add up, atoms keep unit norm, no full-batch fit raises its energy, planted atoms are found."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import random_dictionary

from skrlv import SparseCoder
from skrlv.datasets import make_sparse_signals
from skrlv.decoders import Dictionary
from skrlv.energy import Energy
from skrlv.inference import coordinate_descent
from skrlv.learning import (
    add,
    decay,
    gradient_step,
    learn_dictionary,
    learn_from_statistics,
    minibatches,
    remembered,
    statistics,
    unit_rows,
    update_atoms,
    worst_reconstructed,
)
from skrlv.regularizers import L1


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.integers(0, 1000), st.data())
def test_statistics_of_parts_add_up(n_samples, seed, data):
    rng = np.random.default_rng(seed)
    y, z = rng.normal(size=(n_samples, 5)), np.maximum(rng.normal(size=(n_samples, 4)), 0.0)
    cut = data.draw(st.integers(1, n_samples - 1))
    whole, parts = statistics(y, z), add(statistics(y[:cut], z[:cut]), statistics(y[cut:], z[cut:]))
    for name, value in whole.items():
        np.testing.assert_allclose(parts[name], value, rtol=1e-12, atol=1e-13)
    assert decay(whole, 0.5)["count"] == n_samples / 2


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 500), st.integers(1, 500))
def test_a_pass_visits_every_row_once(n_samples, batch_size):
    batches = list(minibatches(n_samples, batch_size, np.random.RandomState(0)))
    np.testing.assert_array_equal(np.sort(np.concatenate(batches)), np.arange(n_samples))
    sizes = [batch.size for batch in batches]
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_unit_rows_at_the_ends_of_the_range(dtype, rng):
    limits, rows = np.finfo(dtype), rng.normal(size=(4, 50)).astype(dtype)
    rows /= np.abs(rows).max(axis=1, keepdims=True)
    expected = unit_rows(rows)[0]
    for size in (limits.max, limits.tiny, 1e4 * limits.smallest_subnormal):
        found, norms = unit_rows(rows * dtype(size))
        rounding = 1e-4 if size < limits.tiny else 10 * limits.eps
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, rtol=10 * limits.eps)
        np.testing.assert_allclose(found, expected, rtol=0, atol=rounding)
        assert found.dtype == dtype
        assert np.isinf(norms).all() if size == limits.max else (norms > 0.0).all()
    assert not unit_rows(np.zeros((2, 3), dtype))[0].any()


@settings(max_examples=20, deadline=None)
@given(st.integers(-300, 300), st.booleans(), st.booleans())
def test_a_step_does_not_depend_on_the_unit(exponent, whole, positive):
    """To the bit: atoms and which of them are replaced; statistics and codes in their units."""
    rng, results = np.random.default_rng(0), []
    atoms, y = unit_rows(np.abs(rng.normal(size=(12, 8))))[0], rng.normal(size=(60, 8))
    atoms[3], atoms[7] = atoms[5], unit_rows(-np.ones((1, 8)))[0][0]  # duplicate, and one of little use
    z = coordinate_descent(Energy(Dictionary(atoms), L1(positive=positive), 0.3).given(y)).z
    for unit in (1.0, 2.0**exponent):
        energy = Energy(Dictionary(atoms), L1(positive=positive), 0.3 * unit)
        state, after = learn_dictionary({}, energy, unit * y, unit * z, whole=whole, positive=positive)
        state, after = learn_dictionary(state, after, unit * y, unit * z, whole=whole, positive=positive)
        stepped = gradient_step(after, unit * y, unit * z, learning_rate=0.1 / unit / unit)
        worst = worst_reconstructed(energy, unit * y, unit * z, 5)
        results.append(
            [
                after.decoder.atoms, stepped.decoder.atoms, state["usage"], state["idle"], state["scale"],
                state["n_resampled"], state["ZtZ"] / unit / unit, state["ZtY"] / unit / unit, worst[0] / unit,
                worst[1] / unit / unit,
            ]
        )  # fmt: skip
    assert results[0][5] > 0
    for here, there in zip(*results, strict=True):
        np.testing.assert_array_equal(here, there)


def test_a_step_writes_into_nothing_that_it_was_given(digits):
    atoms, y = unit_rows(digits[:30])[0], digits[100:200]
    atoms[5], atoms[9] = atoms[4], np.eye(64)[0]
    energy = Energy(Dictionary(atoms), L1(), 0.5)
    z = coordinate_descent(energy.given(y)).z
    state, _ = learn_dictionary({}, energy, y, z)
    for array in (atoms, y, z, *(value for value in state.values() if isinstance(value, np.ndarray))):
        array.flags.writeable = False
    for whole in (False, True):
        later, after = learn_dictionary(state, energy, y, z, whole=whole)
        assert later["n_resampled"] > 0
        assert not np.shares_memory(after.decoder.atoms, atoms)
    gradient_step(energy, y, z, learning_rate=0.1)
    update_atoms(atoms, state["ZtZ"], state["ZtY"])
    add(state, state)
    decay(state, 0.5)


@pytest.mark.parametrize("size", [1e-150, 1e-155, 1e-160, 1e-170])
def test_codes_whose_squares_vanish_give_finite_atoms(size, rng):
    atoms, y, z = random_dictionary(4, 6), rng.normal(size=(20, 6)), rng.normal(size=(20, 4))
    z[:, 2] *= size
    seen = statistics(1e10 * y, z)
    moved = update_atoms(atoms, seen["ZtZ"], seen["ZtY"])
    assert np.isfinite(moved).all()
    if size < 1e-154:
        np.testing.assert_array_equal(moved[2], atoms[2])


@pytest.mark.parametrize("wrong", [0.0, -1.0, np.nan, np.inf])
def test_learning_rates_out_of_range(wrong, digits):
    energy = Energy(Dictionary(unit_rows(digits[:5])[0]), L1(), 0.5)
    with pytest.raises(ValueError, match="must be positive and finite"):
        gradient_step(energy, digits[:9], np.ones((9, 5)), learning_rate=wrong)


def plain_update(atoms, ZtZ, ZtY):
    """One atom after the other, as the paper writes it."""
    atoms = atoms.copy()
    for j in range(len(atoms)):
        if ZtZ[j, j] > 0.0:
            atom = atoms[j] + (ZtY[j] - ZtZ[j] @ atoms) / ZtZ[j, j]
            atoms[j] = atom / max(1.0, np.linalg.norm(atom))
    return atoms


@pytest.mark.parametrize("n_components", [1, 5, 32, 33, 100])
def test_blocks_of_atoms_move_as_single_atoms_do(n_components, rng):
    y, z = rng.normal(size=(200, 10)), rng.normal(size=(200, n_components)) * (rng.random((200, n_components)) < 0.3)
    z[:, n_components // 2] = 0.0
    seen, atoms = statistics(y, z), random_dictionary(n_components, 10)
    expected = plain_update(atoms, seen["ZtZ"], seen["ZtY"])
    np.testing.assert_allclose(update_atoms(atoms, seen["ZtZ"], seen["ZtY"]), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("positive", [False, True])
def test_an_update_keeps_every_reconstruction_as_it_rescales(positive, rng):
    atoms, y = np.abs(random_dictionary(12, 8)), np.abs(rng.normal(size=(60, 8)))
    energy = Energy(Dictionary(atoms), L1(), 0.3)
    z = coordinate_descent(energy.given(y)).z
    moved = update_atoms(atoms, *(statistics(y, z)[name] for name in ("ZtZ", "ZtY")), positive=positive)
    state, after = learn_dictionary({}, energy, y, z, whole=True, positive=positive)
    used = state["usage"] > 0
    np.testing.assert_allclose((z * state["scale"]) @ after.decoder.atoms, z @ moved, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(np.linalg.norm(after.decoder.atoms, axis=1), 1.0, rtol=1e-12)
    assert after(y, z * state["scale"]).sum() <= energy(y, z).sum()
    assert not positive or (after.decoder.atoms >= 0.0).all()
    again = statistics(y, z * state["scale"])
    np.testing.assert_allclose(state["ZtZ"][np.ix_(used, used)], again["ZtZ"][np.ix_(used, used)], rtol=1e-12)
    np.testing.assert_allclose(state["ZtY"][used], again["ZtY"][used], rtol=1e-12)


def test_without_normalisation_the_atoms_grow_and_the_codes_vanish(digits):
    """Why columns are normalised: the plain minimiser over atoms escapes along (cW, z / c)."""
    atoms, y = unit_rows(digits[:20])[0], digits[:300]
    norms, penalties = [], []
    for _ in range(5):
        z = coordinate_descent(Energy(Dictionary(atoms), L1(), 0.3).given(y)).z
        norms.append(np.linalg.norm(atoms))
        penalties.append(np.abs(z).sum())
        used = z.any(axis=0)
        atoms = np.where(used[:, None], np.linalg.lstsq(z, y, rcond=None)[0], atoms)
    assert (np.diff(norms) > 0.0).all()
    assert (np.diff(penalties) < 0.0).all()


def test_unused_atoms_become_the_worst_reconstructed_samples(rng):
    atoms = np.vstack([np.eye(5)[0], np.eye(5)[1]])
    y = np.array([[2.0, 0, 0, 0, 0], [1.0, 0, 0, 0, 0], [0, 0, 0, 3.0, 0]])
    energy = Energy(Dictionary(atoms), L1(), 0.1)
    z = coordinate_descent(energy.given(y)).z
    _, after = learn_dictionary({}, energy, y, z, whole=True)
    np.testing.assert_allclose(after.decoder.atoms[1], [0, 0, 0, 1.0, 0], atol=1e-15)


def step(state, atoms, y, *, whole=False, positive=False, lmbda=0.1):
    """One step of learning: -> (state, atoms)."""
    energy = Energy(Dictionary(atoms), L1(positive=positive), lmbda)
    z = coordinate_descent(energy.given(y)).z
    state, energy = learn_dictionary(state, energy, y, z, whole=whole)
    return state, energy.decoder.atoms


@pytest.mark.parametrize("n_parts", [2, 7])
def test_steps_from_statistics_of_parts_are_steps_on_the_whole(n_parts, digits):
    atoms, y = unit_rows(digits[:30])[0], digits[100:400]
    energy = Energy(Dictionary(atoms), L1(), 0.5)
    z = coordinate_descent(energy.given(y)).z
    parts = [statistics(y[rows], z[rows]) for rows in np.array_split(np.arange(len(y)), n_parts)]
    summed = parts[0]
    for part in parts[1:]:
        summed = add(summed, part)
    for name, value in statistics(y, z).items():
        np.testing.assert_allclose(summed[name], value, rtol=1e-10, atol=1e-12)
    there = learn_from_statistics({}, energy, summed, lambda n: worst_reconstructed(energy, y, z, n), whole=True)
    here = learn_dictionary({}, energy, y, z, whole=True)
    np.testing.assert_allclose(there[1].decoder.atoms, here[1].decoder.atoms, atol=1e-10)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_the_past_fades_with_its_age_whatever_the_batches(sizes):
    """Of what was there after 10 samples as much is left after 10 + n, however these n came."""
    n_seen, left = 10, 1.0
    for size in sizes:
        n_seen += size
        left *= remembered(n_seen, size, 7)
    assert left == pytest.approx(remembered(n_seen, sum(sizes), 7), rel=1e-9)
    assert 0.0 < left < 1.0
    assert remembered(10**6, 1, 7) == pytest.approx(1.0 - 3e-6 - 0.5 / math.sqrt(7 * 10**6), rel=1e-6)


def test_a_step_forgets_as_it_says(digits):
    atoms, batches = unit_rows(digits[:10])[0], (digits[100:150], digits[150:250])
    state, moved = step({}, atoms, batches[0])
    later, _ = step(state, moved, batches[1])
    assert later["n_seen"] == 150
    assert later["count"] == pytest.approx(100 + 50 * remembered(150, 100, 10))


@pytest.mark.parametrize("positive", [False, True])
def test_atoms_that_coincide_are_replaced(positive, rng):
    """To signed codes an atom is the same as its opposite, to non-negative ones it is not."""
    atoms = np.eye(6)[[0, 0, 1, 1]]
    atoms[3] *= -1.0
    y = np.vstack([rng.normal(size=(40, 6)), 9.0 * np.eye(6)[[4]], 7.0 * np.eye(6)[[5]]])
    state, after = step({}, atoms, y, whole=True, positive=positive)
    assert state["n_resampled"] == (1 if positive else 2)
    closeness = np.triu(after @ after.T if positive else np.abs(after @ after.T), 1)
    assert closeness.max() < 0.999
    assert np.abs(after @ np.eye(6)[4]).max() == 1.0  # the worst reconstructed sample


def test_merging_atoms_keeps_what_their_codes_say(rng):
    from skrlv.learning.dictionary import merged

    atoms = unit_rows(rng.normal(size=(5, 8)))[0]
    atoms[3] = -atoms[1]
    z, y = rng.normal(size=(30, 5)), rng.normal(size=(30, 8))
    joined = z.copy()
    joined[:, 1] -= z[:, 3]
    joined[:, 3] = 0.0
    found, gone = merged(statistics(y, z), atoms @ atoms.T, signed=True)
    np.testing.assert_array_equal(gone, [False, False, False, True, False])
    for name in ("ZtZ", "ZtY"):
        np.testing.assert_allclose(found[name], statistics(y, joined)[name], atol=1e-12)
    assert not merged(statistics(y, z), atoms @ atoms.T, signed=False)[1].any()


def test_an_atom_has_time_to_be_used(digits):
    """Small first batches do not throw idle atoms away; in the end they go."""
    atoms, state = unit_rows(digits[:60])[0], {}
    atoms[0] = np.eye(64)[0]  # a corner pixel that is always white
    for rows in range(100, 130, 5):
        state, atoms = step(state, atoms, digits[rows : rows + 5], lmbda=1.0)
    np.testing.assert_array_equal(atoms[0], np.eye(64)[0])
    for rows in range(130, 1000, 50):
        state, atoms = step(state, atoms, digits[rows : rows + 50], lmbda=1.0)
    assert state["n_resampled"] >= 1
    assert np.abs(atoms[0] - np.eye(64)[0]).max() > 0.1


def test_zero_data_move_nothing():
    atoms = np.eye(4)[:2]
    state, after = step({}, atoms, np.zeros((5, 4)), whole=True)
    np.testing.assert_array_equal(after, atoms)
    assert state["n_resampled"] == 0


def test_a_gradient_step_is_what_the_lecture_writes(digits):
    atoms, y = unit_rows(digits[:20])[0], digits[100:200]
    energy = Energy(Dictionary(atoms), L1(), 0.5)
    z = coordinate_descent(energy.given(y)).z
    moved = atoms + 0.1 / 100 * z.T @ (y - z @ atoms)
    after = gradient_step(energy, y, z, learning_rate=0.1).decoder.atoms
    np.testing.assert_allclose(after, moved / np.linalg.norm(moved, axis=1, keepdims=True), atol=1e-14)


def test_the_lecture_s_algorithm_learns_and_is_slower(digits):
    rng = np.random.RandomState(0)
    energies = {}
    for name in ("gradient", "statistics"):
        energy, state = Energy(Dictionary(unit_rows(digits[:40])[0]), L1(), 0.5), {}
        for _ in range(3):
            for rows in minibatches(len(digits), 256, rng):
                z = coordinate_descent(energy.given(digits[rows])).z
                if name == "gradient":
                    energy = gradient_step(energy, digits[rows], z, learning_rate=0.2)
                else:
                    state, energy = learn_dictionary(state, energy, digits[rows], z)
        energies[name] = energy(digits, coordinate_descent(energy.given(digits)).z).mean()
    start = Energy(Dictionary(unit_rows(digits[:40])[0]), L1(), 0.5)
    at_first = start(digits, coordinate_descent(start.given(digits)).z).mean()
    assert energies["statistics"] < energies["gradient"] < 0.95 * at_first


@pytest.mark.parametrize(
    "options", [{}, {"positive": True}, {"l2": 0.1}, {"positive": True, "positive_dictionary": True}]
)
def test_full_batch_energy_never_rises(options, digits):
    X = digits[:600]
    coder = SparseCoder(40, lmbda=0.3, batch_size=len(X), tol=0.0, max_iter=40, random_state=0, **options).fit(X)
    assert coder.n_iter_ == len(coder.energy_history_) == 40
    assert np.diff(coder.energy_history_).max() <= 1e-9
    np.testing.assert_allclose(np.linalg.norm(coder.components_, axis=1), 1.0, atol=1e-6)
    assert not options.get("positive_dictionary") or (coder.components_ >= 0.0).all()


@pytest.mark.parametrize("batch_size", ["auto", "all"])
@pytest.mark.parametrize(("n_samples", "n_atoms", "snr_db", "at_least"), [(2000, 30, None, 29), (1500, 50, 20.0, 44)])
def test_planted_dictionary_is_recovered(n_samples, n_atoms, snr_db, at_least, batch_size):
    found = []
    for seed in range(5):
        X, _, atoms = make_sparse_signals(n_samples, 20, n_atoms, snr_db=snr_db, random_state=seed)
        size = n_samples if batch_size == "all" else "auto"
        coder = SparseCoder(n_atoms, lmbda=0.1, max_iter=100, tol=0.0, batch_size=size, random_state=seed).fit(X)
        found.append(np.sum(np.abs(atoms @ coder.components_.T).max(axis=1) >= 0.99))
    assert np.median(found) >= at_least
