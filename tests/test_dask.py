"""A cluster learns and finds what one machine does, also when a worker dies."""

import os
import signal

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.utils import gen_batches

from skrlv import SparseCoder
from skrlv.datasets import make_sparse_signals
from skrlv.learning import learn_from_statistics

da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")
annex = pytest.importorskip("skrlv.dask")

OPTIONS = {"n_components": 24, "max_iter": 6, "tol": 0.0, "batch_size": 10_000, "random_state": 0}


@pytest.fixture(scope="module")
def client():
    with (
        distributed.LocalCluster(2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def fitted(X, **options):
    """One machine, with all rows in each batch."""
    return SparseCoder(**OPTIONS | {"batch_size": len(X)} | options).fit(X)


def chunked(X, rows=200):
    return da.from_array(X, chunks=(rows, -1))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lmbda": 0.5, "positive": True, "positive_dictionary": True},
        {"dictionary_init": "k-means++", "l2": 0.1, "split_sign": True},
    ],
)
def test_a_cluster_gives_the_model_of_one_machine(options, client, digits):
    X = digits[:900]
    there, here = annex.DaskSparseCoder(**OPTIONS | options).fit(chunked(X)), fitted(X, **options)
    assert there.lmbda_ == pytest.approx(here.lmbda_, rel=1e-12)
    np.testing.assert_allclose(there.energy_history_, here.energy_history_, rtol=1e-10)
    np.testing.assert_allclose(there.components_, here.components_, atol=1e-8)
    np.testing.assert_allclose(there.atom_usage_, here.atom_usage_, atol=1e-12)
    lazy = there.transform(chunked(X))
    np.testing.assert_allclose(lazy.compute(), here.transform(X), atol=1e-7)
    np.testing.assert_allclose(there.energy(chunked(X)).compute(), here.energy(X), rtol=1e-8)
    np.testing.assert_allclose(there.free_energy(chunked(X)).compute(), here.free_energy(X), rtol=1e-8)
    np.testing.assert_allclose(
        there.inverse_transform(lazy).compute(), here.inverse_transform(here.transform(X)), atol=1e-7
    )
    assert there.score(chunked(X[:100])) == pytest.approx(here.score(X[:100]), abs=1e-7)


def test_float32_stays_float32(client, digits):
    X = digits[:600].astype(np.float32)
    there = annex.DaskSparseCoder(**OPTIONS).fit(chunked(X))
    assert there.components_.dtype == np.float32
    assert there.transform(chunked(X)).dtype == there.transform(chunked(X)).compute().dtype == np.float32
    np.testing.assert_allclose(there.energy_history_, fitted(X).energy_history_, rtol=1e-4)


@pytest.mark.parametrize("batch_size", [100, 10_000])
def test_chunks_do_not_matter(batch_size, digits):
    """Without a client, on dask's own threads."""
    X, options = digits[:700], OPTIONS | {"batch_size": batch_size}
    models = [annex.DaskSparseCoder(**options).fit(chunked(X, rows)) for rows in (37, 256, 700)]
    for other in models[1:]:
        np.testing.assert_allclose(other.components_, models[0].components_, atol=1e-9)


def test_a_worker_may_die_in_the_middle_of_a_fit(client, digits, monkeypatch):
    X, steps = digits[:900], []

    def kill_one_after_the_second_pass(*arguments, **options):
        steps.append(client.scheduler_info()["workers"])
        if len(steps) == 2:
            os.kill(client.run(os.getpid).popitem()[1], signal.SIGKILL)
        return learn_from_statistics(*arguments, **options)

    monkeypatch.setattr(annex, "learn_from_statistics", kill_one_after_the_second_pass)
    there = annex.DaskSparseCoder(**OPTIONS).fit(chunked(X).persist())
    assert len(steps) == OPTIONS["max_iter"]
    np.testing.assert_allclose(there.components_, fitted(X).components_, atol=1e-8)


def test_planted_atoms_are_found_by_rounds_over_all_chunks():
    X, _, atoms = make_sparse_signals(2000, 20, 30, random_state=0)
    options = {"lmbda": 0.1, "max_iter": 100, "tol": 0.0, "batch_size": len(X), "random_state": 0}
    coder = annex.DaskSparseCoder(30, **options).fit(chunked(X, 500))
    here = SparseCoder(30, **options).fit(X)
    found = [np.sum(np.abs(atoms @ model.components_.T).max(axis=1) >= 0.99) for model in (coder, here)]
    assert found[0] == found[1] >= 28


def test_to_local_is_the_plain_coder(digits):
    X = digits[:300]
    there = annex.DaskSparseCoder(**OPTIONS).fit(chunked(X))
    local = there.to_local()
    assert type(local) is SparseCoder
    assert local.get_params() == there.get_params()
    np.testing.assert_array_equal(local.transform(X), there.transform(chunked(X, 300)).compute())
    for rows in gen_batches(300, 100):  # and it goes on learning
        local.partial_fit(X[rows])
    assert local.n_iter_ == there.n_iter_ + 3


@pytest.mark.parametrize(
    ("X", "error", "word"),
    [
        (np.eye(4), TypeError, "dask array"),
        (lambda: da.zeros((3, 4, 5)), ValueError, "matrix"),
        (lambda: da.from_array(np.array([[1.0, np.nan], [1.0, 2.0]])), ValueError, "NaN"),
        (lambda: da.ones((4, 4))[da.ones(4) > 0], ValueError, "compute_chunk_sizes"),
        (lambda: 1j * da.ones((4, 4)), ValueError, "Complex"),
    ],
)
def test_bad_data(X, error, word):
    coder = annex.DaskSparseCoder(2)
    with pytest.raises(error, match=word):
        coder.fit(X() if callable(X) else X)
    assert not hasattr(coder, "n_features_in_")
    with pytest.raises(NotFittedError):
        coder.transform(da.ones((4, 4)))


def test_chunks_without_rows_are_passed_over(digits):
    X = chunked(np.vstack([digits[:200] - 9.0, digits[200:600]]))
    X = X[X[:, 20] > -5.0].compute_chunk_sizes()
    assert 0 in X.chunks[0]
    coder = annex.DaskSparseCoder(**OPTIONS).fit(X)
    np.testing.assert_allclose(coder.components_, fitted(digits[200:600]).components_, atol=1e-8)
    assert coder.transform(X).compute().shape == (400, 24)
    assert coder.energy(X).compute().shape == (400,)


def test_lazy_codes_are_no_pandas_table(digits):
    assert not hasattr(annex.DaskSparseCoder(), "set_output")


def test_another_width_is_refused(digits):
    coder = annex.DaskSparseCoder(**OPTIONS).fit(chunked(digits[:300]))
    with pytest.raises(ValueError, match="features"):
        coder.transform(da.ones((4, 4)))
    with pytest.raises(TypeError, match="to_local"):
        coder.partial_fit(digits)


def test_free_energies_at_a_temperature(digits):
    coder = annex.DaskSparseCoder(2, max_iter=1, tol=0, random_state=0).fit(chunked(digits[:60], 30))
    X = chunked(digits[:4], 2)
    np.testing.assert_allclose(coder.free_energy(X, 0.5), coder.to_local().free_energy(digits[:4], 0.5), rtol=1e-8)
    with pytest.raises(TypeError, match="to_local"):
        coder.free_energy(X, 0.5, return_std=True)
    with pytest.raises(ValueError, match="temperature"):
        coder.free_energy(X, -1.0)
