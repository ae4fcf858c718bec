"""ConvSparseCoder: signals of every shape, kernels that are found again, codes that say what they are."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skrlv import ConvSparseCoder
from skrlv.models.signals import crops, pooled

SHAPES = {  # n_axes, signal shape, kernel size
    "series": ((60,), 5),
    "series of channels": ((60, 2), (5,)),
    "images": ((20, 17), (4, 5)),
    "colour images": ((20, 17, 3), (4, 5)),
    "volumes": ((9, 8, 10), (3, 2, 3)),
}
every_shape = pytest.mark.parametrize(("shape", "kernel"), SHAPES.values(), ids=SHAPES)


@pytest.fixture
def images(digits):
    return digits[:60].reshape(-1, 8, 8)


def some(shape, rng, n=6):
    return rng.standard_normal((n, *shape))


def coder(kernel, **params):
    return ConvSparseCoder(4, kernel, **({"lmbda": 1.0, "max_iter": 3, "random_state": 0} | params))


@every_shape
def test_shapes_of_all_that_comes_out(shape, kernel, rng):
    X = some(shape, rng)
    model = coder(kernel).fit(X)
    sizes = (kernel,) if isinstance(kernel, int) else kernel
    spatial, channels = shape[: len(sizes)], shape[len(sizes) :]
    places = tuple(s - k + 1 for s, k in zip(spatial, sizes, strict=True))
    assert model.components_.shape == (4, *sizes, *channels)
    assert model.signal_shape_ == shape
    assert model.n_features_in_ == np.prod(shape)
    np.testing.assert_allclose(np.linalg.norm(model.components_.reshape(4, -1), axis=1), 1.0)
    maps, rows = model.encode(X), model.transform(X)
    assert maps.shape == (6, *places, 4)
    np.testing.assert_array_equal(rows, maps.reshape(6, -1))
    assert len(model.get_feature_names_out()) == rows.shape[1]
    decoded = model.inverse_transform(rows)
    assert decoded.shape == X.shape
    np.testing.assert_array_equal(model.inverse_transform(maps), decoded)
    errors = 0.5 * np.sum((X - decoded).reshape(6, -1) ** 2, axis=1)
    np.testing.assert_allclose(model.energy(X), errors + np.abs(rows).sum(axis=1), rtol=1e-9)
    np.testing.assert_allclose(model.energy(X, rows), model.energy(X), rtol=1e-9)
    np.testing.assert_array_equal(model.score_samples(X), -model.energy(X))


@every_shape
def test_rows_are_signals_too(shape, kernel, rng):
    X = some(shape, rng)
    rows = X.reshape(6, -1)
    model, same = coder(kernel).fit(X), coder(kernel, signal_shape=shape).fit(rows)
    np.testing.assert_array_equal(same.components_, model.components_)
    np.testing.assert_array_equal(same.transform(rows), model.transform(X))
    np.testing.assert_array_equal(same.transform(X), model.transform(X))
    assert same.inverse_transform(same.transform(rows)).shape == rows.shape


def test_decoding_is_the_full_convolution(rng):
    X = some((40,), rng)
    model = coder(7).fit(X)
    maps = model.encode(X)
    expected = [sum(np.convolve(z[:, i], k) for i, k in enumerate(model.components_)) for z in maps]
    np.testing.assert_allclose(model.inverse_transform(maps), expected, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_codes_are_certified(dtype, images):
    from skrlv.inference import duality_gap

    model = ConvSparseCoder(6, (3, 3), lmbda=0.2, max_iter=3, random_state=0).fit(images.astype(dtype))
    z = model.encode(images.astype(dtype)).astype(np.float64)
    y = images.astype(dtype).astype(np.float64)[..., None]
    energy = model.energy_
    decoder = energy.decoder.with_rows(energy.decoder.rows.astype(np.float64))
    gaps = duality_gap(type(energy)(decoder, energy.regularizer, energy.lmbda).given(y), z)
    assert gaps.max() <= 1.01 * (1e-4 if dtype == np.float32 else 1e-6)


def planted(rng, n_signals=20, length=1000, n_atoms=3, width=64, n_each=4, snr_db=10):
    atoms = rng.standard_normal((n_atoms, width))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    X = np.zeros((n_signals, length))
    for x in X:
        for atom in atoms:
            for at in rng.choice(length - width + 1, n_each, replace=False):
                x[at : at + width] += atom * (rng.standard_normal() + rng.choice([-1, 1]))
    noise = rng.standard_normal(X.shape)
    return X + noise * np.linalg.norm(X) / np.linalg.norm(noise) * 10 ** (-snr_db / 20), atoms


@pytest.mark.parametrize("seed", range(4))
def test_planted_motifs_are_recovered(seed):
    X, atoms = planted(np.random.default_rng(seed))
    model = ConvSparseCoder(3, 64, random_state=0, tol=1e-4).fit(X)
    for atom in atoms:
        likeness = [np.abs(np.correlate(atom, kernel, "full")).max() for kernel in model.components_]
        assert max(likeness) >= 0.95


def test_no_pass_over_all_data_raises_the_energy(images):
    model = ConvSparseCoder(8, (4, 4), lmbda=0.3, max_iter=15, tol=0, random_state=0).fit(images)
    history = model.energy_history_
    assert len(history) == 15
    assert (np.diff(history) <= 1e-3 * history[:-1]).all()  # the gap that codes may have while learning
    assert history[-1] < 0.9 * history[0]
    assert (model.atom_usage_ > 0.0).all()


def test_mini_batches_reach_about_the_same(images):
    whole = ConvSparseCoder(8, (4, 4), lmbda=0.3, max_iter=20, tol=0, random_state=0).fit(images)
    batches = clone(whole).set_params(batch_size=10).fit(images)
    assert batches.energy(images).mean() < 1.05 * whole.energy(images).mean()


def test_kernels_that_nothing_uses_become_what_is_missing(rng):
    X, _ = planted(rng, n_signals=5, length=400, width=20)
    flat = np.concatenate([X[:1, :20], np.ones((1, 20)), np.ones((1, 20))])
    model = ConvSparseCoder(3, 20, dictionary_init=flat, lmbda=2.0, max_iter=20, tol=0, random_state=0).fit(X)
    assert model.n_resampled_ >= 1
    gram = np.abs(model.components_ @ model.components_.T)
    assert gram[np.triu_indices(3, 1)].max() < 0.999


def test_positive_codes(images):
    model = ConvSparseCoder(6, (3, 3), lmbda=0.2, positive=True, max_iter=3, random_state=0).fit(images)
    assert model.encode(images).min() >= 0.0


def test_given_kernels_stay(images, rng):
    kernels = 3.0 * rng.standard_normal((5, 3, 2))
    model = ConvSparseCoder(kernel_size=(9, 9), dictionary=kernels, lmbda=0.5).fit(images)
    np.testing.assert_array_equal(model.components_, kernels)
    assert (model.n_components_, model.n_iter_) == (5, 0)
    assert model.encode(images).shape == (60, 6, 7, 5)
    with pytest.raises(AttributeError, match="were given"):
        model.atom_usage_  # noqa: B018


def test_csr_rows(images):
    model = ConvSparseCoder(6, (3, 3), lmbda=0.3, sparse_output=True, max_iter=2, random_state=0).fit(images)
    rows = model.transform(images)
    assert sparse.issparse(rows)
    np.testing.assert_array_equal(
        rows.toarray(), clone(model).set_params(sparse_output=False).fit(images).transform(images)
    )
    np.testing.assert_allclose(model.inverse_transform(rows), model.inverse_transform(rows.toarray()))


def test_pooling_is_the_mean_magnitude_of_windows(images, rng):
    z = rng.standard_normal((3, 5, 4, 2))
    found = pooled(z, (2, 3))
    assert found.shape == (3, 3, 2, 2)
    np.testing.assert_allclose(found[:, 1, 0], np.abs(z[:, 2:4, 0:3]).mean(axis=(1, 2)))
    np.testing.assert_allclose(found[:, 2, 1], np.abs(z[:, 4:, 3:]).mean(axis=(1, 2)))
    model = ConvSparseCoder(6, (3, 3), lmbda=0.3, pooling=(2, 3), max_iter=2, random_state=0).fit(images)
    features = model.transform(images)
    np.testing.assert_allclose(features, pooled(model.encode(images), (2, 3)).reshape(60, -1))
    assert features.shape[1] == len(model.get_feature_names_out()) == 3 * 2 * 6
    with pytest.raises(ValueError, match="pooling"):
        model.inverse_transform(features)


def test_pooled_codes_in_a_pipeline_and_a_search(digits):
    from sklearn.datasets import load_digits

    y = load_digits().target
    pipeline = make_pipeline(
        ConvSparseCoder(8, (4, 4), signal_shape=(8, 8), lmbda=0.2, pooling=3, max_iter=3, random_state=0),
        LogisticRegression(max_iter=1000),
    )
    assert pipeline.fit(digits[:900], y[:900]).score(digits[900:], y[900:]) > 0.8
    search = GridSearchCV(
        ConvSparseCoder(8, (4, 4), signal_shape=(8, 8), max_iter=2, random_state=0), {"lmbda": [0.05, 2.0]}, cv=2
    )
    assert search.fit(digits[:100]).best_params_ == {"lmbda": 0.05}


def test_lists_of_signals_of_different_sizes(images, rng):
    model = ConvSparseCoder(6, (3, 3), lmbda=0.3, max_iter=2, random_state=0).fit(images)
    several = [images[0], images[1][:5], images[2][:, :4], images[3]]
    maps = model.encode(several)
    assert [z.shape for z in maps] == [(6, 6, 6), (3, 6, 6), (6, 2, 6), (6, 6, 6)]
    np.testing.assert_array_equal(maps[3], model.encode(images)[3])
    decoded = model.inverse_transform(maps)
    assert [x.shape for x in decoded] == [x.shape for x in several]
    np.testing.assert_array_equal(model.encode(np.stack([images[1][:5]]))[0], maps[1])
    stream = clone(model).partial_fit(several)
    assert stream.n_iter_ == 3
    stream.partial_fit(images)
    stream.partial_fit(images[:, :6])
    assert stream.n_iter_ == len(stream.energy_history_) == 5
    with pytest.warns(UserWarning, match=r"cropped to \(5, 4\), the size of the smallest"):
        learned = clone(model).fit(several)
    assert learned.signal_shape_ == (5, 4)
    assert [z.shape for z in learned.encode(several)] == [z.shape for z in maps]
    series = [rng.standard_normal(50), rng.standard_normal(40)]
    assert [z.shape for z in coder(5).fit(series).encode(series)] == [(46, 4), (36, 4)]


def test_no_container_loses_a_signal(images):
    model = ConvSparseCoder(6, (3, 3), lmbda=0.3, max_iter=2, random_state=0).fit(images)
    several = [images[0], images[1][:5], images[2]]
    objects = np.empty(3, dtype=object)
    objects[:] = several
    expected = model.encode(several)
    for held in (objects, (x for x in several), dict(enumerate(several)).values(), tuple(several)):
        for found, z in zip(model.encode(held), expected, strict=True):
            np.testing.assert_array_equal(found, z)
    np.testing.assert_array_equal(model.transform(x for x in images), model.transform(images))


def test_series_may_have_another_length_than_those_of_fit(rng):
    model = coder(5).fit(some((60,), rng))
    others = list(rng.standard_normal((3, 40)))
    for n in (1, 3):
        maps = model.encode(others[:n])
        assert [z.shape for z in maps] == [(36, 4)] * n
        assert [x.shape for x in model.inverse_transform(maps)] == [(40,)] * n
    for more in (others, others[:1], [others[0], others[1][:30]]):
        model.partial_fit(more)
    assert model.n_iter_ == 3 + 4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lists_keep_the_dtype_of_their_signals(dtype, images):
    X = list(images.astype(dtype))
    model = ConvSparseCoder(6, (3, 3), lmbda=0.3, max_iter=2, random_state=0).fit(X)
    assert model.components_.dtype == model.transform(X).dtype == model.encode(X)[0].dtype == dtype


def test_columns_are_checked_beside_a_mask(images):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(images.reshape(60, -1), columns=[f"pixel {i}" for i in range(64)])
    model = ConvSparseCoder(6, (3, 3), lmbda=0.3, signal_shape=(8, 8), max_iter=2, random_state=0).fit(frame)
    with pytest.raises(ValueError, match="feature names"):
        model.encode(frame[frame.columns[::-1]], mask=np.ones((8, 8), bool))


def test_stream_of_batches_learns(images):
    stream = ConvSparseCoder(8, (4, 4), lmbda=0.3, random_state=0)
    for _ in range(10):
        for batch in np.array_split(images, 6):
            stream.partial_fit(batch)
    whole = ConvSparseCoder(8, (4, 4), lmbda=0.3, max_iter=20, tol=0, random_state=0).fit(images)
    assert stream.energy(images).mean() < 1.05 * whole.energy(images).mean()


def test_large_signals_are_cut_in_crops(rng):
    X = rng.standard_normal((2, 50, 41, 1))
    pieces = crops(X, (20, 41), np.random.RandomState(3))
    assert pieces.shape == (4, 20, 41, 1)
    top = next(at for at in range(11) if (X[0, at : at + 20] == pieces[0]).all())
    np.testing.assert_array_equal(pieces[1], X[0, top + 20 : top + 40])
    model = ConvSparseCoder(4, (3, 3), crop_size=16, lmbda=2.0, max_iter=2, random_state=0).fit(X[..., 0])
    assert model.signal_shape_ == (50, 41)
    assert model.encode(X[..., 0]).shape == (2, 48, 39, 4)
    uncut = clone(model).set_params(crop_size=None).fit(X[..., 0])
    assert uncut.energy_history_[0] > 5 * model.energy_history_[0]  # of an image, and of a crop


def test_missing_pixels(images):
    model = ConvSparseCoder(12, (4, 4), lmbda=0.05, max_iter=20, random_state=0).fit(images)
    seen = np.random.default_rng(0).random(images.shape) < 0.7
    holes = np.where(seen, images, np.nan)
    decoded = model.inverse_transform(model.encode(holes, mask=seen))
    hidden = ~seen
    assert np.sum((decoded - images)[hidden] ** 2) < 0.3 * np.sum(images[hidden] ** 2)
    everything = model.set_params(code_tol=1e-6).encode(images, mask=np.ones_like(seen))
    np.testing.assert_allclose(model.energy(images, everything.reshape(60, -1)), model.energy(images), rtol=1e-5)
    nothing = model.encode(holes[:2], mask=np.zeros((8, 8), bool))
    assert not nothing.any()
    as_list = model.encode(list(holes[:2]), mask=list(seen[:2]))
    np.testing.assert_allclose(as_list[1], model.encode(holes[:2], mask=seen[:2])[1])


def test_a_mask_falls_where_it_is_meant(rng):
    X = rng.standard_normal((4, 4, 4, 4))  # every mask could be laid over the wrong axes
    model = ConvSparseCoder(4, (2, 2), lmbda=0.5, max_iter=2, random_state=0).fit(X)
    seen = rng.random((4, 4)) < 0.6
    full = np.broadcast_to(seen[..., None], X.shape)
    holes = np.where(full, X, np.nan)
    expected = model.encode(holes, mask=full)
    np.testing.assert_array_equal(model.encode(holes, mask=seen), expected)
    rows = ConvSparseCoder(signal_shape=(4, 4, 4), kernel_size=(2, 2), dictionary=model.components_, lmbda=0.5)
    rows.fit(X.reshape(4, -1))
    for mask in (seen, full.reshape(4, -1)):
        np.testing.assert_array_equal(rows.encode(holes.reshape(4, -1), mask=mask), expected)
    with pytest.raises(ValueError, match="60 features"):
        rows.encode(np.ones((4, 60)), mask=seen)


def test_hidden_pixels_never_matter(images, rng):
    model = ConvSparseCoder(6, (3, 3), lmbda=0.1, max_iter=2, random_state=0).fit(images)
    seen = rng.random((8, 8)) < 0.6
    one, other = (np.where(seen, images, fill) for fill in (7.0, np.inf))
    np.testing.assert_array_equal(model.encode(one, mask=seen), model.encode(other, mask=seen))


def test_score_falls_where_lmbda_is_far_off(images):
    scores = [
        ConvSparseCoder(8, (4, 4), lmbda=lmbda, max_iter=10, random_state=0).fit(images).score(images)
        for lmbda in (0.1, 1.5)
    ]
    assert scores[1] < scores[0]
    assert 0.0 < scores[0] < 1.0


def test_torch_finds_the_same(images):
    pytest.importorskip("torch")
    here = ConvSparseCoder(4, (3, 3), lmbda=0.3, max_iter=3, tol=0, random_state=0).fit(images)
    there = clone(here).set_params(device="torch:cpu", code_tol=1e-8).fit(images)
    np.testing.assert_allclose(there.energy_history_, here.energy_history_, rtol=1e-2)
    same = clone(here).set_params(dictionary=here.components_, device="torch:cpu", code_tol=1e-8).fit(images)
    np.testing.assert_allclose(same.energy(images), here.energy(images), rtol=1e-5)
    assert isinstance(there.encode(images), np.ndarray)


def test_threads_never_change_a_bit(images):
    one = ConvSparseCoder(6, (3, 3), lmbda=0.2, max_iter=3, n_jobs=1, random_state=0).fit(images)
    two = clone(one).set_params(n_jobs=2).fit(images)
    np.testing.assert_array_equal(one.components_, two.components_)
    np.testing.assert_array_equal(one.transform(images), two.transform(images))


@pytest.mark.parametrize(
    ("params", "shape", "message"),
    [
        ({}, (5, 64), "signal_shape"),
        ({}, (5, 8, 2), "does not fit"),
        ({"signal_shape": (8, 9)}, (5, 64), "72 entries"),
        ({"signal_shape": (8, 9)}, (5, 8, 8), r"signal_shape=\(8, 9\)"),
        ({"signal_shape": 64}, (5, 64), "signal_shape"),
        ({"signal_shape": (8, 8, 1, 1)}, (5, 64), "signal_shape"),
        ({"kernel_size": (3, 0)}, (5, 8, 8), "kernel_size"),
        ({"kernel_size": (3, 3, 3, 3)}, (5, 8, 8, 8, 8), "kernel_size"),
        ({"pooling": (2,)}, (5, 8, 8), "pooling"),
        ({"pooling": 0}, (5, 8, 8), "pooling"),
        ({"dictionary": np.ones((2, 3, 3, 3))}, (5, 8, 8), "1 channels"),
        ({"dictionary": np.ones((2, 3, 3))}, (5, 8, 8, 3), "3 channels"),
        ({"dictionary": np.ones((2, 9, 3))}, (5, 8, 8), "does not fit"),
        ({"dictionary": np.zeros((2, 3, 3))}, (5, 8, 8), "no entries but zeros"),
        ({"dictionary_init": np.eye(3) * np.array([1, 0])[:, None, None]}, (5, 8, 8), "1 zero atoms"),
        ({"dictionary": np.ones((2, 3))}, (5, 8, 8), "dimensions"),
        ({"n_components": np.ones((2, 3, 3))}, (5, 8, 8), "dictionary="),
        ({"device": "gpu"}, (5, 8, 8), "device"),
    ],
)
def test_wrong_input_is_refused(params, shape, message, rng):
    model = ConvSparseCoder(**({"kernel_size": (3, 3)} | params))
    with pytest.raises(ValueError, match=message):
        model.fit(rng.standard_normal(shape))
    assert not hasattr(model, "n_features_in_")
    assert not hasattr(model, "signal_shape_")


@every_shape
def test_one_signal_alone_is_refused(shape, kernel, rng):
    X = some(shape, rng)
    model = coder(kernel).fit(X)
    for method in (model.encode, model.transform, model.score):
        with pytest.raises(ValueError, match=r"one signal; pass X\[None\]"):
            method(X[0])
    assert len(model.encode([X[0]])) == 1


def test_a_warning_is_not_judged_by_what_is_dark(rng, recwarn):
    X = np.zeros((1, 80, 80))
    X[0, 60:, 60:] = rng.standard_normal((20, 20))
    ConvSparseCoder(4, (3, 3), lmbda=0.5, crop_size=16, max_iter=2, random_state=0).fit(X)
    assert not [warning for warning in recwarn if "all codes are zero" in str(warning.message)]


def test_wrong_input_to_a_fitted_model_is_refused(images):
    model = ConvSparseCoder(4, (3, 3), lmbda=0.3, max_iter=2).fit(images)
    for X, message in (
        (images[:, :6], "signals of shape"),
        (images.reshape(60, -1)[:, :48], "48 features"),
        ([images[0], images[1][:5]], "different shapes"),
    ):
        with pytest.raises(ValueError, match=message):
            model.transform(X)
    with pytest.raises(ValueError, match="channels"):
        model.encode([np.ones((8, 8, 3))])
    with pytest.raises(ValueError, match="does not fit"):
        model.encode([images[0], np.ones((2, 9))])
    with pytest.raises(ValueError, match="dimensions"):
        model.encode([np.ones(8), np.ones((8, 8))])
    with pytest.raises(ValueError, match="NaN"):
        model.encode(np.where(images > 0.9, np.nan, images))
    with pytest.raises(ValueError, match="mask has shape"):
        model.encode(images, mask=np.ones((7, 8), bool))
    with pytest.raises(ValueError, match="bool"):
        model.encode(images, mask=np.ones((8, 8)))
    with pytest.raises(ValueError, match="maps of shape"):
        model.inverse_transform(np.ones((2, 6, 6, 5)))
    model.set_params(pooling=(3,))
    with pytest.raises(ValueError, match="pooling"):
        model.transform(images)
    model.set_params(pooling=None)
    history = model.energy_history_.copy()
    with pytest.raises(ValueError, match="does not fit"):
        model.partial_fit([images[0], np.ones((2, 9))])
    np.testing.assert_array_equal(model.energy_history_, history)


def test_useless_fits_are_warned_of(images, rng):
    with pytest.warns(UserWarning, match="all codes are zero"):
        ConvSparseCoder(4, (3, 3), lmbda=100.0, max_iter=2).fit(images)
    with pytest.warns(UserWarning, match="as many non-zeros"):
        ConvSparseCoder(8, (3, 3), lmbda=1e-3, max_iter=2, code_tol=0.1).fit(rng.standard_normal((2, 8, 8)))
    with pytest.warns(UserWarning, match="mostly offset"):
        ConvSparseCoder(4, (3, 3), max_iter=2).fit(images + 10.0)


def test_zero_signals_have_zero_codes(images):
    model = ConvSparseCoder(4, (3, 3), lmbda=0.3, max_iter=2, random_state=0).fit(images)
    blank = np.zeros((2, 8, 8))
    assert not model.encode(blank).any()
    np.testing.assert_array_equal(model.energy(blank), 0.0)
    assert np.isfinite(ConvSparseCoder(4, (3, 3), max_iter=2).fit(blank).components_).all()


def test_energies_of_lists_and_of_maps(images, rng):
    """Each signal's own, whatever the others' sizes, with codes as rows or as maps."""
    model = ConvSparseCoder(4, (3, 3), lmbda=0.3, max_iter=2, random_state=0).fit(images)
    np.testing.assert_array_equal(model.energy(images, model.encode(images)), model.energy(images))
    signals = [images[0], rng.random((9, 12)), images[1], rng.random((9, 12))]
    maps = model.encode(signals)
    expected = [
        0.5 * np.sum((x - model.inverse_transform(z[None])[0]) ** 2) + 0.3 * np.abs(z).sum()
        for x, z in zip(signals, maps, strict=True)
    ]
    np.testing.assert_allclose(model.energy(signals, maps), expected, rtol=1e-9)
    np.testing.assert_allclose(model.energy(signals), expected, rtol=1e-9)
    np.testing.assert_allclose(model.score_samples(signals), -np.array(expected), rtol=1e-9)
    with pytest.raises(ValueError, match="4 signals"):
        model.energy(signals, maps[:2])
    with pytest.raises(ValueError, match="must have"):
        model.energy(signals, maps[::-1])


def test_what_cannot_be_learned_from_is_warned_of(images):
    for X, message in (
        ([], "empty list"),
        ([images[0], np.ones((8, 8, 3))], "differ in their channels"),
        ((1e25 * images).astype(np.float32), "overflow"),
    ):
        with pytest.raises(ValueError, match=message):
            ConvSparseCoder(4, (3, 3)).fit(X)
    with pytest.raises(ValueError, match="empty list"):
        ConvSparseCoder(4, (3, 3)).partial_fit([])
    with pytest.warns(UserWarning, match="no scale to be derived from"):
        ConvSparseCoder(4, (3, 3)).partial_fit(np.zeros_like(images[:4]))


def test_a_tolerance_set_after_fit_is_checked(images):
    model = ConvSparseCoder(4, (3, 3), lmbda=0.3, max_iter=2, random_state=0).fit(images)
    for tol in (-1.0, 0, True, "high"):
        with pytest.raises(ValueError, match="code_tol"):
            model.set_params(code_tol=tol).encode(images)


def test_a_flat_mask_is_that_of_rows(images):
    rows = images.reshape(len(images), -1)
    model = ConvSparseCoder(4, (3, 3), lmbda=0.3, signal_shape=(8, 8), max_iter=2, random_state=0).fit(rows)
    seen = np.arange(64) % 3 > 0
    expected = model.encode(rows, mask=seen.reshape(8, 8))
    np.testing.assert_array_equal(model.encode(rows, mask=seen), expected)
