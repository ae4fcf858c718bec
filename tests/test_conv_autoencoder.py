"""The convolutional sparse autoencoder: its encoder's gradients, its limits, and that predictions come nearer."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from skrlv import ConvSparseAutoencoder, ConvSparseCoder
from skrlv.decoders import ConvolutionalDictionary
from skrlv.encoders import ConvolutionalEncoder
from skrlv.inference import duality_gap


@pytest.fixture
def images(digits):
    return digits[:120].reshape(-1, 8, 8)


def model(**options):
    defaults = {"n_components": 6, "kernel_size": (4, 4), "lmbda": 0.3, "max_iter": 5, "random_state": 0}
    return ConvSparseAutoencoder(**(defaults | options))


@pytest.fixture(params=[((7,), (3,), 1), ((6, 7), (3, 2), 2), ((20, 19), (9, 9), 1)], ids=str)
def encoder_and_signals(request, rng):
    spatial, kernel, n_channels = request.param
    encoder = ConvolutionalEncoder(
        0.2 * rng.standard_normal((4, *kernel, n_channels)), rng.standard_normal(4), rng.standard_normal(4)
    )
    return encoder, rng.standard_normal((3, *spatial, n_channels))


def test_gradients_are_finite_differences(encoder_and_signals, rng):
    encoder, y = encoder_and_signals
    z, tape = encoder.forward(y)
    weights = rng.standard_normal(z.shape)
    gradients = encoder.vjp(tape, weights)
    assert gradients.keys() == encoder.parameters.keys()
    for name, value in encoder.parameters.items():
        for index in rng.permutation(value.size)[:8]:
            step = np.zeros(value.size)
            step[index] = 1e-6
            ends = [
                np.sum(weights * encoder.with_parameters({name: value + sign * step.reshape(value.shape)})(y))
                for sign in (1, -1)
            ]
            assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(gradients[name].flat[index], rel=1e-6, abs=1e-6)


def test_gradients_are_those_of_autograd(encoder_and_signals, rng):
    torch = pytest.importorskip("torch")
    encoder, y = encoder_and_signals
    z, tape = encoder.forward(y)
    weights = rng.standard_normal(z.shape)
    leaves = {name: torch.tensor(value, requires_grad=True) for name, value in encoder.parameters.items()}
    signals = torch.tensor(y)
    n_axes = y.ndim - 2
    convolution = (torch.nn.functional.conv1d, torch.nn.functional.conv2d)[n_axes - 1]
    maps = convolution(signals.movedim(-1, 1), leaves["kernels"].movedim(-1, 1)).movedim(1, -1)
    codes = leaves["gain"] * torch.tanh(maps + leaves["bias"])
    np.testing.assert_allclose(codes.detach(), z, atol=1e-12)
    (codes * torch.tensor(weights)).sum().backward()
    for name, gradient in encoder.vjp(tape, weights).items():
        np.testing.assert_allclose(gradient, leaves[name].grad, rtol=1e-10, atol=1e-10)


def test_it_begins_near_a_step_of_ista(rng):
    kernels = rng.standard_normal((4, 3, 3, 1))
    decoder = ConvolutionalDictionary(
        kernels / np.linalg.norm(kernels.reshape(4, -1), axis=1)[:, None, None, None], (9, 9)
    )
    y = 1e-3 * rng.standard_normal((2, 9, 9, 1))
    expected = decoder.adjoint(y) / decoder.lipschitz
    np.testing.assert_allclose(ConvolutionalEncoder.first_step(decoder, 1.0)(y), expected, rtol=1e-5, atol=1e-12)


def test_without_weight_its_codes_are_those_of_the_coder(images):
    fitted = model(encoder_weight=0.0, inference="argmin").fit(images)
    plain = ConvSparseCoder(6, (4, 4), lmbda=0.3, max_iter=5, random_state=0).fit(images)
    np.testing.assert_allclose(fitted.components_, plain.components_, atol=1e-6)
    np.testing.assert_allclose(fitted.transform(images), plain.transform(images), atol=1e-4)


def test_at_a_large_weight_codes_are_predictions(images):
    fitted = model(encoder_weight=1e7).fit(images)
    predicted = fitted.transform(images)
    np.testing.assert_allclose(fitted.set_params(inference="argmin").transform(images), predicted, atol=1e-5)


def test_the_minimum_is_certified(images):
    fitted = model(encoder_weight=0.7, inference="argmin").fit(images)
    maps = fitted.encode(images)
    energy = fitted.energy_
    gaps = duality_gap(energy.given(images[..., None]), maps)
    assert gaps.max() <= 1.01e-6
    np.testing.assert_allclose(energy(images[..., None], maps), fitted.energy(images), rtol=1e-9)
    assert (maps == 0).mean() > 0.3


def test_predictions_come_nearer_and_filters_look_alike(images):
    fitted = model(max_iter=40, batch_size=20, tol=0).fit(images)
    history = fitted.prediction_error_history_
    assert history[-6:].mean() < 0.8 * history[:6].mean()
    shape = fitted.n_components_, -1
    filters = fitted.encoder_.kernels.reshape(shape) * np.sign(fitted.encoder_.gain)[:, None]
    likeness = np.sum(filters * fitted.components_.reshape(shape), axis=1) / np.linalg.norm(filters, axis=1)
    assert np.median(likeness) > 0.7


def test_given_kernels_stay(images):
    kernels = ConvSparseCoder(6, (4, 4), lmbda=0.3, max_iter=5, random_state=0).fit(images).components_
    fitted = model(dictionary=kernels, max_iter=10, batch_size=30).fit(images)
    np.testing.assert_array_equal(fitted.components_, kernels)
    assert fitted.prediction_error_history_[-1] < fitted.prediction_error_history_[0]


def test_colour_rows_pools_lists_and_streams(images, rng):
    colour = rng.standard_normal((10, 9, 8, 3))
    fitted = model(pooling=2).fit(colour)
    assert fitted.components_.shape == (6, 4, 4, 3)
    assert fitted.transform(colour).shape == (10, 3 * 3 * 6)
    rows = model(signal_shape=(8, 8)).fit(images.reshape(120, -1))
    np.testing.assert_array_equal(rows.components_, model().fit(images).components_)
    assert rows.inverse_transform(rows.transform(images)).shape == (120, 64)
    several = [images[0], images[1][:6]]
    assert [z.shape for z in rows.encode(several)] == [(5, 5, 6), (3, 5, 6)]
    stream = model().partial_fit(images[:60]).partial_fit(images[60:]).partial_fit(several)
    assert stream.n_iter_ == 4


@pytest.mark.parametrize("inference", ["encoder", "argmin"])
def test_score_is_minus_the_mean_energy(inference, images):
    fitted = model(inference=inference).fit(images)
    assert fitted.score(images) == pytest.approx(-fitted.energy(images).mean())


def test_same_seed_same_bits(images):
    one, two = model(n_jobs=1).fit(images), model(n_jobs=2).fit(images)
    np.testing.assert_array_equal(one.components_, two.components_)
    np.testing.assert_array_equal(one.transform(images), two.transform(images))


def test_torch_learns_the_same(images):
    pytest.importorskip("torch")
    here = model(max_iter=3, tol=0).fit(images)
    there = model(max_iter=3, tol=0, device="torch:cpu", code_tol=1e-7).fit(images)
    np.testing.assert_allclose(there.components_, here.components_, atol=2e-2)
    np.testing.assert_allclose(there.energy_history_, here.energy_history_, rtol=1e-2)
    assert isinstance(there.transform(images), np.ndarray)
    exact = clone(there).set_params(inference="argmin", dictionary=here.components_).fit(images)
    assert (exact.encode(images) == 0).mean() > 0.3


def test_missing_pixels_at_the_minimum(images, rng):
    fitted = model(inference="argmin", max_iter=10).fit(images)
    seen = rng.random(images.shape) < 0.8
    decoded = fitted.inverse_transform(fitted.encode(np.where(seen, images, np.nan), mask=seen))
    assert np.sum((decoded - images)[~seen] ** 2) < 0.5 * np.sum(images[~seen] ** 2)


def test_a_prediction_needs_all_pixels(images):
    fitted = model().fit(images)
    with pytest.raises(ValueError, match="argmin"):
        fitted.encode(images, mask=np.ones((8, 8), bool))


@pytest.mark.parametrize("rate", [1.0, 0.3])
def test_no_rate_ends_in_nan(rate, images):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = model(learning_rate_init=rate, max_iter=20, batch_size=10).fit(images)
    assert np.isfinite(fitted.transform(images)).all()


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_learning_keeps_to_the_unit_of_the_data(scale, images):
    one = model().fit(images)
    other = model(lmbda=0.3 * scale).fit(images * scale)
    np.testing.assert_allclose(other.components_, one.components_, atol=1e-5)
    np.testing.assert_allclose(other.transform(images * scale), scale * one.transform(images), atol=1e-4 * scale)


@pytest.mark.parametrize(
    "bad",
    [{"encoder_weight": -1.0}, {"inference": "exact"}, {"learning_rate_init": 2.0}, {"device": "gpu"}],
    ids=str,
)
def test_bad_parameters_are_named(bad, images):
    with pytest.raises(ValueError, match=next(iter(bad))):
        model(**bad).fit(images)
