"""ZCA gives unit covariance, the filter is the one of its formula, and both treat any row as they treated the first."""

import pickle

import numpy as np
import pytest
from scipy.fft import dctn
from sklearn.base import clone
from sklearn_checks import NOT_GENERATED, scikit_learn_checks

from skrlv import SparseCoder
from skrlv.datasets import load_natural_patches
from skrlv.preprocessing import PatchWhitener, whitening

ZCAS = [PatchWhitener(), PatchWhitener(remove_mean=False, epsilon=0.0)]
WHITENERS = [
    *ZCAS,
    PatchWhitener("olshausen_field", patch_shape=(8, 9)),
    PatchWhitener("olshausen_field", patch_shape=(8, 3, 3), cutoff=0.25, remove_mean=False),
]
every_whitener = pytest.mark.parametrize("whitener", WHITENERS, ids=["zca", "zca0", "grey", "colour"])


@pytest.fixture(scope="module")
def patches():
    return load_natural_patches(2000, (8, 9), random_state=0)


@pytest.mark.filterwarnings("ignore")  # the checks' own data are offset, tiny or constant on purpose
@scikit_learn_checks(ZCAS)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("check", NOT_GENERATED, ids=lambda check: check.__name__)
@pytest.mark.parametrize("estimator", ZCAS, ids=["zca", "zca0"])
def test_checks_that_are_not_generated(estimator, check):
    check(type(estimator).__name__, clone(estimator))


def covariance(X):
    return np.cov(X.T, bias=True)


@pytest.mark.parametrize("remove_mean", [False, True])
@pytest.mark.parametrize("epsilon", [0.0, 1e-3, 0.1])
def test_zca_gives_unit_variance_above_epsilon_and_less_below(patches, epsilon, remove_mean):
    X = patches - patches.mean(axis=1, keepdims=True) if remove_mean else patches
    variances, directions = np.linalg.eigh(covariance(X))
    white = PatchWhitener(epsilon=epsilon, remove_mean=remove_mean).fit_transform(patches)
    expected = np.minimum(variances / max(epsilon * variances[-1], 1e-300), 1.0)
    expected[variances < 1e-12 * variances[-1]] = 0.0
    np.testing.assert_allclose(directions.T @ covariance(white) @ directions, np.diag(expected), atol=1e-8)
    np.testing.assert_allclose(white.mean(axis=0), 0.0, atol=1e-9)


def mirrored_filter(image, cutoff):
    """The published filter, by a plain DFT of the image with its mirror images on two sides."""
    whole = np.block([[image, image[:, ::-1]], [image[::-1], image[::-1, ::-1]]])
    frequency = np.hypot(*np.meshgrid(*(np.fft.fftfreq(side) for side in whole.shape), indexing="ij"))
    response = frequency * np.exp(-((frequency / cutoff) ** 4))
    return np.fft.ifft2(np.fft.fft2(whole) * response).real[: image.shape[0], : image.shape[1]]


@pytest.mark.parametrize("cutoff", [0.1, 0.4])
def test_the_filter_is_the_published_one_on_mirrored_patches(patches, cutoff):
    white = PatchWhitener("olshausen_field", patch_shape=(8, 9), cutoff=cutoff).fit_transform(patches)
    expected = np.array([mirrored_filter(patch.reshape(8, 9), cutoff).ravel() for patch in patches])
    np.testing.assert_allclose(white, expected / np.sqrt(np.mean(expected**2)), atol=1e-10)


def test_the_filter_works_on_each_channel():
    X = load_natural_patches(300, (6, 7), color=True, random_state=0)
    white = PatchWhitener("olshausen_field", patch_shape=(6, 7, 3), remove_mean=False).fit_transform(X)
    channels = X.reshape(-1, 6, 7, 3)
    expected = np.array(
        [np.stack([mirrored_filter(patch[..., c], 0.4) for c in range(3)], axis=-1) for patch in channels]
    )
    np.testing.assert_allclose(white, expected.reshape(300, -1) / np.sqrt(np.mean(expected**2)), atol=1e-10)


def test_the_filter_flattens_the_spectrum_of_photos():
    """Amplitudes that fall as 1/f become level up to where the cutoff begins."""
    X = load_natural_patches(5000, (16, 16), random_state=0)
    white = PatchWhitener("olshausen_field", patch_shape=(16, 16)).fit_transform(X)

    def fall(rows):
        amplitudes = np.sqrt(np.mean(dctn(rows.reshape(-1, 16, 16), axes=(1, 2)) ** 2, axis=0))
        return amplitudes[1, 0] / amplitudes[8, 0]

    assert fall(X) > 5.0
    assert 0.8 < fall(white) < 1.25


@every_whitener
def test_inverse_gives_back_all_but_what_was_removed(whitener, patches):
    model = clone(whitener).fit(patches)
    back = model.inverse_transform(model.transform(patches))
    removed = patches - back
    if whitener.method == "zca" and not whitener.remove_mean:
        np.testing.assert_allclose(removed, 0.0, atol=1e-7)
    if whitener.method == "zca" or whitener.cutoff == 0.4:
        np.testing.assert_allclose(removed, np.broadcast_to(removed[:, :1], removed.shape), atol=1e-7)
    np.testing.assert_allclose(model.transform(removed), model.transform(np.zeros_like(removed)), atol=1e-4)


@every_whitener
def test_float32_stays_float32_and_close(whitener, patches):
    double = clone(whitener).fit_transform(patches)
    model = clone(whitener).fit(patches.astype(np.float32))
    single = model.transform(patches.astype(np.float32))
    assert single.dtype == model.inverse_transform(single).dtype == np.float32
    assert double.dtype == model.transform((255 * patches).astype(np.uint8)).dtype == np.float64
    tolerance = (
        1e-5 if whitener.epsilon or whitener.method != "zca" else 1e-2
    )  # without a floor rounding is whitened too
    np.testing.assert_allclose(single, double, atol=tolerance)


@every_whitener
def test_a_row_does_not_depend_on_its_batch(whitener, patches):
    model = clone(whitener).fit(patches)
    alone = np.vstack([model.transform(patch[None]) for patch in patches[:20]])
    np.testing.assert_allclose(alone, model.transform(patches)[:20], atol=1e-9)


@every_whitener
def test_memory_maps_are_read_and_no_bit_changes(whitener, patches, tmp_path):
    np.save(tmp_path / "X.npy", patches)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    expected = clone(whitener).fit(patches)
    model = pickle.loads(pickle.dumps(clone(whitener).fit(mapped)))
    np.testing.assert_array_equal(model.transform(mapped), expected.transform(patches))


@every_whitener
@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_constant_patches_become_zero_not_noise(whitener, value, patches):
    constant = np.full((50, 72), value)
    assert np.abs(clone(whitener).fit_transform(constant)).max() <= 1e-13 * max(value, 1.0)
    mixed = clone(whitener).fit(patches).transform(np.full((1, 72), value))
    assert np.isfinite(mixed).all()
    if whitener.remove_mean:
        shade = clone(whitener).fit(patches).transform(np.zeros((1, 72)))
        np.testing.assert_allclose(mixed, shade, atol=1e-11 * max(value, 1.0))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"method": "olshausen_field"}, "patch_shape=None.*needs"),
        ({"patch_shape": (8, 8)}, r"patch_shape=\(8, 8\) has 64 entries, but X has 72 features"),
        ({"patch_shape": (72,)}, r"patch_shape=\(72,\) must be"),
        ({"patch_shape": (8, 9.0)}, "whole numbers"),
        ({"patch_shape": (-8, -9)}, "whole numbers"),
        ({"epsilon": 1.0}, "'epsilon'"),
        ({"cutoff": 0.0}, "'cutoff'"),
        ({"method": "pca"}, "'method'"),
    ],
)
def test_wrong_parameters_are_named_and_leave_no_trace(params, message, patches):
    model = PatchWhitener(**params)
    before = dict(vars(model))
    with pytest.raises(ValueError, match=message):
        model.fit(patches)
    assert vars(model) == before


def test_widths_are_checked(patches):
    model = PatchWhitener().fit(patches)
    with pytest.raises(ValueError, match="72"):
        model.transform(patches[:, :5])
    with pytest.raises(ValueError, match="X has 5 features, but whitened patches have 72"):
        model.inverse_transform(patches[:, :5])


def test_atoms_of_whitened_patches_are_local_and_pca_is_not():
    """What is to be seen in the gallery, at a smaller scale: half of the pixels hold nearly all of an atom."""
    fine = load_natural_patches(6000, (16, 16), random_state=0)
    patches = fine.reshape(-1, 8, 2, 8, 2).mean(axis=(2, 4)).reshape(-1, 64)
    X = PatchWhitener("olshausen_field", patch_shape=(8, 8)).fit_transform(patches)
    X /= np.sqrt(np.mean(X**2, axis=1, keepdims=True) + 0.01)
    atoms = SparseCoder(64, max_iter=10, random_state=0).fit(X).components_
    linear = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)[2]

    def concentration(rows):
        return np.median(np.sort(rows**2, axis=1)[:, 48:].sum(axis=1))

    assert concentration(atoms) > 0.85 > 0.8 > concentration(linear)


def interrupted(function):
    """Runs it, and then Ctrl-C comes."""

    def run(*args, **kwargs):
        function(*args, **kwargs)
        raise KeyboardInterrupt

    return run


@every_whitener
@pytest.mark.parametrize("where", ["validate_data", "_rounding", "largest", "check_image_shape"])
def test_an_interrupt_leaves_all_as_it_was(whitener, where, patches, monkeypatch):
    fresh, fitted = clone(whitener), clone(whitener).fit(patches)
    before, expected = dict(vars(fitted)), fitted.transform(patches)
    monkeypatch.setattr(whitening, where, interrupted(getattr(whitening, where)))
    for model in (fresh, fitted):
        with pytest.raises(KeyboardInterrupt):
            model.fit(3.0 * patches[:, ::-1] + 1.0)
    monkeypatch.undo()
    assert vars(fresh) == vars(clone(whitener))
    assert vars(fitted).keys() == before.keys()
    assert all(vars(fitted)[name] is value for name, value in before.items())
    np.testing.assert_array_equal(fitted.transform(patches), expected)


@every_whitener
def test_nothing_of_the_caller_is_written(whitener, patches):
    X = patches.copy()
    X.flags.writeable = False
    model = clone(whitener).fit(X)
    white = model.transform(X)
    white.flags.writeable = False
    model.inverse_transform(white)
    np.testing.assert_array_equal(X, patches)


@every_whitener
@pytest.mark.parametrize("exponent", [-400, -300, -30, 30, 300, 400])
def test_whitened_patches_have_no_unit(whitener, exponent, patches):
    unit = 2.0**exponent
    model, same = clone(whitener).fit(patches), clone(whitener).fit(unit * patches)
    np.testing.assert_allclose(same.transform(unit * patches), model.transform(patches), rtol=1e-9, atol=1e-9)
    white = model.transform(patches)
    np.testing.assert_allclose(same.inverse_transform(white) / unit, model.inverse_transform(white), atol=1e-9)


@every_whitener
@pytest.mark.parametrize(("unit", "message"), [(1e200, "overflow"), (1e-200, "vanish")])
def test_data_whose_squares_leave_the_range_are_refused(whitener, unit, message, patches):
    with pytest.raises(ValueError, match=message):
        clone(whitener).fit(unit * patches)


@every_whitener
def test_masked_entries_are_refused(whitener, patches):
    model = clone(whitener).fit(np.ma.MaskedArray(patches, mask=False))
    hidden = np.ma.MaskedArray(patches, mask=patches > 0.5)
    for call in (clone(whitener).fit, model.transform, model.inverse_transform):
        with pytest.raises(ValueError, match="masked array"):
            call(hidden)
    np.testing.assert_array_equal(model.transform(np.ma.MaskedArray(patches)), model.transform(patches))
