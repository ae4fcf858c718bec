"""Local contrast normalisation: its formula pixel by pixel, in every shape that images come in."""

import pickle

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_sample_images
from sklearn.exceptions import NotFittedError

from skrlv.preprocessing import LocalContrastNormalizer, local_contrast


@pytest.fixture(scope="module")
def photos():
    return np.stack(load_sample_images().images)[:, 100:160, 200:280] / 255.0


def by_formula(image, sigma, floor):
    def blur(channel):
        return gaussian_filter(channel, sigma, mode="mirror")

    centred = np.stack([c - blur(c) for c in np.moveaxis(image, -1, 0)], axis=-1)
    deviation = np.sqrt(np.mean([blur(c**2) for c in np.moveaxis(centred, -1, 0)], axis=0))
    return centred / np.maximum(deviation, floor)[..., None]


@pytest.mark.parametrize(("sigma", "floor"), [(2.0, 0.05), (1.0, 0.2), (4.0, "mean")])
def test_formula(sigma, floor, photos):
    normalizer = LocalContrastNormalizer(sigma, floor=floor).fit(photos)
    found = normalizer.transform(photos)
    np.testing.assert_allclose(found, [by_formula(x, sigma, normalizer.floor_) for x in photos], atol=1e-12)


def test_the_floor_is_the_mean_deviation_of_the_images_of_fit(photos):
    deviations = []
    for image in photos:
        centred = image - gaussian_filter(image, 2.0, axes=(0, 1), mode="mirror")
        deviations.append(np.sqrt(gaussian_filter((centred**2).mean(axis=-1), 2.0, mode="mirror")))
    normalizer = LocalContrastNormalizer().fit(photos)
    assert normalizer.floor_ == pytest.approx(np.mean(deviations))
    dim = normalizer.transform(0.1 * photos[:1])  # the floor does not follow
    assert np.abs(dim).max() < 0.5 * np.abs(normalizer.transform(photos[:1])).max()


def test_every_shape_gives_the_same(photos):
    grey = photos.mean(axis=-1)
    normalizer = LocalContrastNormalizer().fit(grey)
    expected = normalizer.transform(grey)
    as_list = normalizer.transform(list(grey))
    np.testing.assert_array_equal(as_list, expected)
    with_channel = normalizer.transform(grey[..., None])
    np.testing.assert_array_equal(with_channel[..., 0], expected)
    rows = grey.reshape(2, -1)
    of_rows = LocalContrastNormalizer(signal_shape=grey.shape[1:]).fit(rows)
    np.testing.assert_array_equal(of_rows.transform(rows), expected.reshape(2, -1))
    assert of_rows.n_features_in_ == normalizer.n_features_in_ == rows.shape[1]
    several = LocalContrastNormalizer(floor=normalizer.floor_).fit([grey[0], grey[1][:30]])
    parts = several.transform([grey[0], grey[1][:30]])
    np.testing.assert_array_equal(parts[0], expected[0])
    assert parts[1].shape == (30, 80)


def test_dtypes_and_pickles(photos):
    normalizer = LocalContrastNormalizer().fit(photos.astype(np.float32))
    found = normalizer.transform(photos.astype(np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, LocalContrastNormalizer().fit_transform(photos), atol=1e-5)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(normalizer)).transform(photos), normalizer.transform(photos)
    )
    counts = (255 * photos).round().astype(np.uint8)
    assert LocalContrastNormalizer().fit_transform(counts).dtype == np.float64


def test_flat_images_stay_flat():
    flat = np.full((2, 9, 9), 0.3)
    np.testing.assert_allclose(LocalContrastNormalizer().fit_transform(flat), 0.0, atol=1e-12)


@pytest.mark.parametrize(
    ("params", "X", "message"),
    [
        ({}, np.ones((3, 12)), "signal_shape=None"),
        ({"signal_shape": (3, 5)}, np.ones((3, 12)), "15 entries"),
        ({"signal_shape": (3, 0)}, np.ones((3, 12)), "whole numbers"),
        ({"sigma": 0.0}, np.ones((3, 5, 5)), "sigma"),
        ({"floor": -1.0}, np.ones((3, 5, 5)), "floor"),
        ({}, np.ones((2, 3, 4, 5, 6)), "images of shape"),
        ({}, np.full((2, 4, 4), np.nan), "NaN"),
        ({}, [np.ones((4, 4)), np.full((3, 3), np.inf)], r"X\[1\]"),
        ({}, np.full((2, 4, 4), 1e200), "overflow"),
        ({}, np.full((2, 4, 4), 1e-200), "vanish"),
        ({}, np.ma.MaskedArray(np.ones((2, 4, 4)), mask=np.eye(4)[None] * [[[1]], [[0]]]), "masked array"),
        ({}, [np.ones((4, 4)), np.ma.MaskedArray(np.ones((4, 4)), mask=np.eye(4))], "masked array"),
    ],
)
def test_wrong_input_is_refused(params, X, message):
    normalizer = LocalContrastNormalizer(**params)
    with pytest.raises(ValueError, match=message):
        normalizer.fit(X)
    assert not hasattr(normalizer, "n_features_in_")
    with pytest.raises(NotFittedError):
        normalizer.transform(np.ones((2, 5, 5)))


@pytest.mark.parametrize("level", [0.1, 200.0, 1e20])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_of_a_flat_image_is_no_contrast(dtype, level):
    X = np.full((2, 16, 16), level, dtype=dtype)
    assert np.abs(LocalContrastNormalizer().fit_transform(X)).max() <= 0.05


@pytest.mark.parametrize("where", ["validate_data", "_mean_floor", "largest"])
def test_an_interrupt_leaves_all_as_it_was(where, photos, monkeypatch):
    function = getattr(local_contrast, where)

    def interrupted(*args, **kwargs):
        function(*args, **kwargs)
        raise KeyboardInterrupt

    fresh, fitted = LocalContrastNormalizer(), LocalContrastNormalizer().fit(photos)
    before = dict(vars(fitted))
    monkeypatch.setattr(local_contrast, where, interrupted)
    for model in (fresh, fitted):
        with pytest.raises(KeyboardInterrupt):
            model.fit(3.0 * photos[:, :20])
    assert vars(fresh) == vars(LocalContrastNormalizer())
    assert vars(fitted) == before


def test_a_list_of_images_has_no_number_of_features(photos):
    normalizer = LocalContrastNormalizer().fit(photos)
    assert normalizer.n_features_in_ == photos[0].size
    assert not hasattr(normalizer.fit(list(photos)), "n_features_in_")


@pytest.mark.parametrize("exponent", [-400, -40, 40, 400])
def test_normalised_images_have_no_unit(exponent, photos):
    expected = LocalContrastNormalizer().fit_transform(photos)
    np.testing.assert_array_equal(LocalContrastNormalizer().fit_transform(2.0**exponent * photos), expected)


def test_nothing_of_the_caller_is_written(photos):
    X = photos.copy()
    X.flags.writeable = False
    LocalContrastNormalizer().fit(X).transform(X)
    LocalContrastNormalizer().fit(list(X)).transform(list(X))
    np.testing.assert_array_equal(X, photos)
