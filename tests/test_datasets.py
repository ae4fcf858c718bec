"""Patches are cut from photos, planted signals are what their formula says, and digits load with no network."""

import sys

import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from skrlv import datasets
from skrlv.datasets import fetch_mnist, load_handwritten_digits, load_natural_patches, make_sparse_signals


@pytest.mark.parametrize("color", [False, True])
def test_patches_are_windows_of_the_photos(color):
    photos = [image / 255.0 for image in load_sample_images().images]
    if not color:
        photos = [photo @ [0.299, 0.587, 0.114] for photo in photos]
    patches = load_natural_patches(200, (5, 7), color=color, random_state=0)
    assert patches.min() >= 0.0
    assert patches.max() <= 1.0
    for patch in patches[:3].reshape(3, 5, 7, -1).squeeze():
        windows = (np.lib.stride_tricks.sliding_window_view(photo, (5, 7), axis=(0, 1)) for photo in photos)
        corners = (np.isclose(window[..., 0, 0], patch[0, 0]) for window in windows)
        places = [
            (photo, top, left)
            for photo, corner in zip(photos, corners, strict=True)
            for top, left, *_ in np.argwhere(corner)
        ]
        assert any(np.allclose(photo[top : top + 5, left : left + 7], patch) for photo, top, left in places)


def test_patches_come_from_both_photos_and_all_places():
    """Means over many random pixels are those of the photos."""
    photos = np.stack(load_sample_images().images) / 255.0
    pixels = load_natural_patches(40_000, (1, 1), color=True, random_state=0)
    np.testing.assert_allclose(pixels.mean(axis=0), photos.mean(axis=(0, 1, 2)), atol=0.01)
    whole = load_natural_patches(4, (427, 640), random_state=0)
    assert whole.shape == (4, 427 * 640)


def test_seeds_decide():
    first, again, other = (load_natural_patches(20, random_state=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    for a, b in zip(make_sparse_signals(random_state=0), make_sparse_signals(random_state=0), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("patch_size", [(428, 3), (3, 641), (0, 3), (3,), (3, 3, 3), (3.0, 3)])
def test_patches_that_do_not_fit_are_refused(patch_size):
    with pytest.raises(ValueError, match=r"patch_size=.* must be \(height, width\), from \(1, 1\) to \(427, 640\)"):
        load_natural_patches(5, patch_size)


def test_without_pillow_the_error_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match="needs pillow"):
        load_natural_patches(5)


@pytest.mark.parametrize("positive", [False, True])
def test_planted_signals_are_what_their_formula_says(positive):
    X, Z, dictionary = make_sparse_signals(4000, 15, 30, n_nonzero=4, positive=positive, random_state=0)
    np.testing.assert_allclose(X, Z @ dictionary, atol=1e-13)
    np.testing.assert_allclose(np.linalg.norm(dictionary, axis=1), 1.0, rtol=1e-13)
    assert (np.count_nonzero(Z, axis=1) == 4).all()
    assert np.abs((Z != 0).mean(axis=0) - 4 / 30).max() < 0.03
    values = Z[Z != 0]
    assert np.mean(values**2) == pytest.approx(1.0, abs=0.05)
    assert (values > 0).all() if positive else abs(values.mean()) < 0.05
    assert not positive or (dictionary < 0).any()


@pytest.mark.parametrize("snr_db", [-5.0, 10, 20.0])
def test_noise_is_as_loud_as_asked(snr_db):
    X, Z, dictionary = make_sparse_signals(200, snr_db=snr_db, random_state=0)
    signal = Z @ dictionary
    assert 20 * np.log10(np.linalg.norm(signal) / np.linalg.norm(X - signal)) == pytest.approx(snr_db)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_nonzero": 51}, "n_nonzero=51 exceeds n_components=50"),
        ({"n_nonzero": 0}, "n_nonzero"),
        ({"snr_db": "a"}, "snr_db"),
    ],
)
def test_impossible_signals_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        make_sparse_signals(**params)


@pytest.fixture
def digits28():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, size=(10, 784), dtype=np.uint8), rng.integers(0, 10, size=10, dtype=np.uint8)


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    def unreachable(*args, **kwargs):
        raise OSError("no network in tests")

    monkeypatch.setattr(datasets, "fetch_openml", unreachable)
    monkeypatch.setenv("SKRLV_DATA", str(tmp_path))


def write_plain(file, X, y):
    np.savez(file, X=X, y=y)


def write_keras(file, X, y):
    images = X.reshape(-1, 28, 28)
    np.savez(file, x_train=images[:6], y_train=y[:6], x_test=images[6:], y_test=y[6:])


@pytest.mark.parametrize("write", [write_plain, write_keras])
@pytest.mark.parametrize("name", ["mnist.npz", "mnist10.npz"])
def test_mnist_is_read_from_the_folder(write, name, digits28, tmp_path, monkeypatch):
    write(tmp_path / name, *digits28)
    found = [fetch_mnist(), load_handwritten_digits()]
    monkeypatch.delenv("SKRLV_DATA")
    for X, y in [*found, fetch_mnist(data_home=tmp_path)]:
        np.testing.assert_array_equal(np.round(X * 255), digits28[0])
        np.testing.assert_array_equal(y, digits28[1])
        assert (X.dtype, y.dtype) == (np.float32, np.int64)
        assert X.max() <= 1.0


def test_the_plain_name_comes_first(digits28, tmp_path):
    write_plain(tmp_path / "mnist-a.npz", digits28[0][:3], digits28[1][:3])
    write_plain(tmp_path / "mnist.npz", *digits28)
    assert len(fetch_mnist()[0]) == 10


def test_mnist_is_downloaded_once(digits28, tmp_path, monkeypatch):
    folder = tmp_path / "new"
    X, y = digits28[0].astype(np.int64), digits28[1].astype(str).astype(object)
    monkeypatch.setattr(datasets, "fetch_openml", lambda *args, **kwargs: (X, y))
    first = fetch_mnist(data_home=folder)
    monkeypatch.setattr(datasets, "fetch_openml", None)
    for a, b, raw in zip(first, fetch_mnist(data_home=folder), (X / 255, digits28[1]), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, raw, rtol=1e-6)
    assert [file.name for file in folder.iterdir()] == ["mnist.npz"]


def test_without_file_and_network_the_error_names_the_way_out(tmp_path):
    with pytest.raises(OSError, match=r"neither in .* nor could it be fetched .*no network.*SKRLV_DATA"):
        fetch_mnist()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros(3)}, r"holds \['images'\], but must hold X and y"),
        ({"X": np.zeros((3, 784)), "y": np.zeros(3)}, "dtype float64"),
        ({"X": np.zeros((3, 64), np.uint8), "y": np.zeros(3)}, r"shape \(3, 64\)"),
        ({"X": np.zeros((3, 784), np.uint8), "y": np.zeros(4)}, r"labels of shape \(4,\)"),
    ],
)
def test_a_file_with_other_things_is_refused(arrays, message, tmp_path):
    np.savez(tmp_path / "mnist.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        fetch_mnist()


def test_small_digits_stand_in_without_a_download(monkeypatch):
    monkeypatch.setattr(datasets, "fetch_openml", None)
    X, y = load_handwritten_digits()
    assert (X.shape, X.dtype, y.dtype) == ((1797, 64), np.float32, np.int64)
    assert (X.min(), X.max()) == (0.0, 1.0)
