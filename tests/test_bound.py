"""The bound of a variational autoencoder: its value, its gradients, and its equality where theory is exact."""

import numpy as np
import pytest
from scipy.integrate import trapezoid
from scipy.stats import multivariate_normal, norm

from skrlv._arrays import to_device, to_numpy
from skrlv._layers import ACTIVATIONS, Layers, Scaling
from skrlv.bound import VariationalBound, divergence, drawn, importance_bound
from skrlv.costs import CrossEntropy, GaussianError
from skrlv.decoders import Network
from skrlv.encoders import GaussianNetwork
from skrlv.learning import LearningState, VariationalStream, variational_slopes

M, K, N = 6, 3, 200  # N: more rows than one thread takes

COSTS = {
    "bernoulli": CrossEntropy(),
    "gaussian": GaussianError(np.asarray(0.3)),
    "gaussian, fixed scale": GaussianError(-0.4),
}
every_cost = pytest.mark.parametrize("cost", COSTS.values(), ids=COSTS)
every_activation = pytest.mark.parametrize("activation", ACTIVATIONS)


def model(cost, activation="tanh", learn_variance=True, scaled=False, beta=0.7):
    random, like = np.random.RandomState(0), np.empty(0)
    scaling = Scaling(random.standard_normal(M), 2.5) if scaled else None
    inward = Layers.drawn((M, 5, K * (2 if learn_variance else 1)), activation, random, like)
    outward = Layers.drawn((K, 4, 5, M), activation, random, like)
    encoder = GaussianNetwork(inward, K, learn_variance, scaling)
    bound = VariationalBound(encoder, Network(outward, scaling), cost, beta)
    return bound.with_parameters(
        {name: v + 0.2 * random.standard_normal(v.shape) for name, v in bound.parameters.items()}
    )


@pytest.fixture
def batch(rng):
    return rng.uniform(size=(N, M)), rng.normal(size=(N, K))


def on_torch(bound):
    """The same bound with parameters that autograd follows."""
    leaves = {name: to_device(np.asarray(v), "torch:cpu").requires_grad_() for name, v in bound.parameters.items()}
    moved = bound.with_parameters(leaves)
    if bound.decoder.scaling is not None:
        scaling = Scaling(to_device(bound.decoder.scaling.offset, "torch:cpu"), bound.decoder.scaling.unit)
        moved = VariationalBound(
            GaussianNetwork(moved.encoder.layers, K, moved.encoder.learn_variance, scaling),
            Network(moved.decoder.layers, scaling), moved.cost, moved.beta,
        )  # fmt: skip
    return moved, leaves


@every_cost
@pytest.mark.parametrize("learn_variance", [True, False])
def test_the_loss_is_that_of_torch_distributions(cost, learn_variance, batch):
    torch = pytest.importorskip("torch")
    from torch import distributions as laws

    bound, (y, noise) = model(cost, learn_variance=learn_variance), batch
    mean, log_variance = map(torch.as_tensor, bound.encoder(y))
    posterior = laws.Normal(mean, torch.exp(0.5 * log_variance))
    decoded = torch.as_tensor(bound.decoder(to_numpy(mean + posterior.scale * torch.as_tensor(noise))))
    if isinstance(cost, CrossEntropy):
        spread = torch.nn.functional.binary_cross_entropy_with_logits(decoded, torch.as_tensor(y), reduction="none")
    else:
        spread = -laws.Normal(decoded, float(np.exp(0.5 * bound.cost.log_variance))).log_prob(torch.as_tensor(y))
    apart = laws.kl_divergence(posterior, laws.Normal(torch.zeros_like(mean), torch.ones_like(mean)))
    expected = (spread.sum(dim=1) + 0.7 * apart.sum(dim=1)).numpy()
    np.testing.assert_allclose(bound.loss(y, noise), expected, rtol=1e-12)
    np.testing.assert_allclose(variational_slopes(bound, y, noise).losses, expected, rtol=1e-12)
    np.testing.assert_allclose(variational_slopes(bound, y, noise).divergences, apart.numpy().mean(axis=0), rtol=1e-12)


@every_cost
@every_activation
@pytest.mark.parametrize("learn_variance", [True, False])
def test_gradients_by_finite_differences(cost, activation, learn_variance, batch, rng):
    bound, (y, noise), h = model(cost, activation, learn_variance, scaled=True), batch, 1e-6
    gradients = variational_slopes(bound, y, noise).gradients
    assert gradients.keys() == bound.parameters.keys()
    for name, value in bound.parameters.items():
        move = rng.normal(size=value.shape)
        ahead, behind = (
            bound.with_parameters(bound.parameters | {name: value + sign * h * move}).loss(y, noise).mean()
            for sign in (1, -1)
        )
        np.testing.assert_allclose(np.sum(gradients[name] * move), (ahead - behind) / (2 * h), rtol=1e-6, atol=1e-8)


@every_cost
@every_activation
@pytest.mark.parametrize("learn_variance", [True, False])
def test_gradients_by_autograd(cost, activation, learn_variance, batch):
    pytest.importorskip("torch")
    bound, (y, noise) = model(cost, activation, learn_variance, scaled=True), batch
    followed, leaves = on_torch(bound)
    followed.loss(to_device(y, "torch:cpu"), to_device(noise, "torch:cpu")).mean().backward()
    gradients = variational_slopes(bound, y, noise).gradients
    for name, leaf in leaves.items():
        np.testing.assert_allclose(gradients[name], leaf.grad.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@every_cost
def test_torch_gives_the_same_slopes(cost, dtype, batch):
    pytest.importorskip("torch")
    bound = model(cost)
    bound = bound.with_parameters({
        name: v.astype(dtype) if name.split(".")[0] != "cost" else v for name, v in bound.parameters.items()
    })  # fmt: skip
    y, noise = (x.astype(dtype) for x in batch)
    ours = variational_slopes(bound, y, noise, warmth=0.5, free_bits=0.1)
    there = bound.with_parameters({name: to_device(np.asarray(v), "torch:cpu") for name, v in bound.parameters.items()})
    theirs = variational_slopes(there, *(to_device(x, "torch:cpu") for x in (y, noise)), warmth=0.5, free_bits=0.1)
    rtol = 1e-10 if dtype == np.float64 else 1e-4
    np.testing.assert_allclose(ours.losses, to_numpy(theirs.losses), rtol=rtol)
    for name, gradient in ours.gradients.items():
        np.testing.assert_allclose(gradient, to_numpy(theirs.gradients[name]), rtol=rtol, atol=rtol)
        assert gradient.dtype == bound.parameters[name].dtype


def test_slopes_do_not_depend_on_the_number_of_threads(batch):
    import joblib

    bound, (y, noise) = model(CrossEntropy()), batch
    many = variational_slopes(bound, y, noise)
    with joblib.parallel_config(backend="threading", n_jobs=1):
        one = variational_slopes(bound, y, noise)
    np.testing.assert_array_equal(many.losses, one.losses)
    for name, gradient in many.gradients.items():
        np.testing.assert_array_equal(gradient, one.gradients[name])


def test_a_warm_up_weighs_the_kl_term(batch):
    """Without the KL term, gradients are those of the cost; with half of it they lie half way."""
    bound, (y, noise) = model(CrossEntropy()), batch
    none, half, whole = (variational_slopes(bound, y, noise, warmth=warmth) for warmth in (0.0, 0.5, 1.0))
    free = variational_slopes(model(CrossEntropy(), beta=0.0), y, noise)
    for name, gradient in half.gradients.items():
        np.testing.assert_allclose(none.gradients[name], free.gradients[name], rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(gradient, 0.5 * (none.gradients[name] + whole.gradients[name]), atol=1e-14)
    np.testing.assert_array_equal(none.losses, whole.losses)


def test_free_bits_take_off_the_kl_term_of_entries_below_them(batch):
    bound, (y, noise) = model(CrossEntropy()), batch
    apart = variational_slopes(bound, y, noise).divergences
    order = np.argsort(apart)
    free_bits = 0.5 * (apart[order[0]] + apart[order[1]])
    some = variational_slopes(bound, y, noise, free_bits=free_bits)
    none = variational_slopes(bound, y, noise, warmth=0.0)
    whole = variational_slopes(bound, y, noise)
    at = "encoder.biases_1"  # of the means, then of the log variances
    for unit in range(K):
        for entry in (unit, K + unit):
            expected = none if unit == order[0] else whole
            np.testing.assert_allclose(some.gradients[at][entry], expected.gradients[at][entry], rtol=1e-10)
    np.testing.assert_array_equal(some.losses, whole.losses)


def test_divergence_is_zero_only_at_the_prior():
    """The notes ask for a variance near zero; it is one."""
    assert divergence(np.array([0.0]), np.array([0.0]))[0] == 0.0
    mean, variance = np.meshgrid(np.linspace(-2, 2, 9), np.geomspace(0.1, 10, 9))
    apart = divergence(mean, np.log(variance))
    assert (apart[(mean != 0) | (variance != 1)] > 0.0).all()
    grid = np.linspace(-40, 40, 400_001)
    law = norm(1.3, np.sqrt(0.4))
    expected = trapezoid(law.pdf(grid) * (law.logpdf(grid) - norm.logpdf(grid)), grid)
    assert divergence(np.array([1.3]), np.array([np.log(0.4)]))[0] == pytest.approx(expected, rel=1e-6)


def test_draws_have_the_distribution_of_the_posterior(rng):
    mean, log_variance = np.array([[1.0, -2.0]]), np.log([[0.25, 4.0]])
    z = drawn(mean, log_variance, rng.normal(size=(200_000, 2)))
    np.testing.assert_allclose(z.mean(axis=0), mean[0], atol=0.02)
    np.testing.assert_allclose(z.var(axis=0), [0.25, 4.0], rtol=0.02)


# Where theory is exact: a linear decoder with Gaussian noise is probabilistic PCA.


@pytest.fixture(scope="module")
def planted():
    """The data of the published identity, and their exact log likelihood."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 5)) @ (rng.normal(size=(5, 20)) * np.linspace(2, 0.5, 5)[:, None])
    X += 0.5 * rng.normal(size=(2000, 20))
    return X - X.mean(axis=0)


def probabilistic_pca(X, k):
    """The bound at the optimum, and the covariance of the data that it stands for."""
    values, vectors = np.linalg.eigh(X.T @ X / len(X))
    values, vectors = values[::-1], vectors[:, ::-1]
    noise = values[k:].mean()
    atoms = np.sqrt(values[:k] - noise)[:, None] * vectors[:, :k].T
    inward = np.hstack([(atoms / values[:k, None]).T, np.zeros((X.shape[1], k))])
    raw = 20.0 * np.arctanh(np.log(noise / values[:k]) / 20.0)
    encoder = GaussianNetwork(Layers((inward,), (np.concatenate([np.zeros(k), raw]),), "identity"), k)
    decoder = Network(Layers((atoms,), (np.zeros(X.shape[1]),), "identity"))
    covariance = atoms.T @ atoms + noise * np.eye(X.shape[1])
    return VariationalBound(encoder, decoder, GaussianError(np.log(noise))), covariance


@pytest.mark.parametrize("k", [1, 5])
def test_at_probabilistic_pca_the_bound_is_the_log_likelihood(planted, k, rng):
    bound, covariance = probabilistic_pca(planted, k)
    exact = multivariate_normal(np.zeros(20), covariance).logpdf(planted)
    weights = bound.log_weights(planted, rng.normal(size=(6, k)))
    if k == 5:
        assert exact.mean() == pytest.approx(-25.740504501343, abs=1e-11)
    for n_samples in (1, 2, 6):
        np.testing.assert_allclose(importance_bound(weights, n_samples), exact, atol=1e-9)


def test_there_the_gradient_vanishes(planted, rng):
    """On average over noise: that of antithetic, whitened draws is exact for a linear decoder."""
    bound, _ = probabilistic_pca(planted, 5)
    e = np.sqrt(5.0) * np.linalg.qr(rng.normal(size=(5, 5)))[0]
    total = dict.fromkeys(bound.parameters, 0.0)
    for row in np.vstack([e, -e]):
        slopes = variational_slopes(bound, planted, np.tile(row, (len(planted), 1)))
        total = {name: value + slopes.gradients[name] / 10 for name, value in total.items()}
    for name, value in total.items():
        assert np.abs(value).max() < 1e-9, name


def test_more_samples_bound_more_tightly(rng):
    bound = model(GaussianError(0.0))
    y, noise = rng.normal(size=(300, M)), rng.normal(size=(600, K))
    weights = bound.log_weights(y, noise)
    one, five, fifty = (importance_bound(weights, n).mean() for n in (1, 5, 50))
    assert one < five < fifty


def test_importance_bound_of_known_weights():
    weights = np.log([[1.0], [3.0], [2.0], [6.0]])
    assert importance_bound(weights, 2)[0] == pytest.approx(0.5 * (np.log(2.0) + np.log(4.0)), rel=1e-14)
    assert importance_bound(weights - 1e4, 4)[0] == pytest.approx(np.log(3.0) - 1e4, rel=1e-14)


def test_a_step_that_leads_nowhere_is_not_taken(batch):
    bound, (y, _) = model(GaussianError(np.asarray(0.0))), batch
    wild = bound.with_parameters(
        {name: (1e200 if "weights" in name else 1.0) * v for name, v in bound.parameters.items()}
    )
    stream = VariationalStream(wild, LearningState(), np.random.RandomState(0), rate=1e-3)
    assert not np.isfinite(stream.step(y))
    assert stream.state.adam == ({}, 0.1)
    assert stream.energy is wild
    assert "no step was taken" in stream.complaint


def test_steps_of_a_stream_go_downhill(batch):
    bound, (y, _) = model(GaussianError(np.asarray(0.0))), batch
    stream = VariationalStream(bound, LearningState(), np.random.RandomState(0), rate=1e-2)
    losses = [stream.step(y) for _ in range(100)]
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 1.0
