"""Statistics add up, atoms keep unit norm, no full-batch fit raises its energy, planted atoms are found."""

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
from skrlv.learning import add, decay, learn_dictionary, minibatches, statistics, unit_rows, update_atoms
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
    state, after = learn_dictionary({}, energy, y, z, memory=0.0, positive=positive)
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
    norms, prices = [], []
    for _ in range(5):
        z = coordinate_descent(Energy(Dictionary(atoms), L1(), 0.3).given(y)).z
        norms.append(np.linalg.norm(atoms))
        prices.append(np.abs(z).sum())
        used = z.any(axis=0)
        atoms = np.where(used[:, None], np.linalg.lstsq(z, y, rcond=None)[0], atoms)
    assert (np.diff(norms) > 0.0).all()
    assert (np.diff(prices) < 0.0).all()


def test_unused_atoms_become_the_worst_reconstructed_samples(rng):
    atoms = np.vstack([np.eye(5)[0], np.eye(5)[1]])
    y = np.array([[2.0, 0, 0, 0, 0], [1.0, 0, 0, 0, 0], [0, 0, 0, 3.0, 0]])
    energy = Energy(Dictionary(atoms), L1(), 0.1)
    z = coordinate_descent(energy.given(y)).z
    _, after = learn_dictionary({}, energy, y, z, memory=0.0)
    np.testing.assert_allclose(after.decoder.atoms[1], [0, 0, 0, 1.0, 0], atol=1e-15)


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
