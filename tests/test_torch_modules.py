"""A user's torch module as the encoder: right gradients, learned in place of ours, never changed itself."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone

from skrlv import PredictiveSparseDecomposition, VariationalAutoencoder
from skrlv.decoders import Dictionary
from skrlv.encoders import TanhEncoder

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from skrlv._layers import Layers  # noqa: E402
from skrlv.torch_modules import ModuleEncoder, ModuleLayers  # noqa: E402

K, M, N = 5, 7, 11


class Squashed(nn.Module):
    """The formula of TanhEncoder."""

    def __init__(self, encoder):
        super().__init__()
        self.linear = nn.Linear(M, K, dtype=torch.float64)
        self.gain = nn.Parameter(torch.as_tensor(encoder.gain))
        self.linear.weight.data, self.linear.bias.data = map(torch.as_tensor, (encoder.weights, encoder.bias))

    def forward(self, y):
        return self.gain * torch.tanh(self.linear(y))


def network(n_features=64, n_components=16, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(n_features, 32), nn.ReLU(), nn.Linear(32, n_components))


class Detached(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, y):
        return self.inner(y).detach()


def filled(module, value):
    for parameter in module.parameters():
        nn.init.constant_(parameter, value)
    return module


def model(module, **options):
    return PredictiveSparseDecomposition(
        **{"n_components": 16, "lmbda": 0.3, "encoder": module, "device": "torch:cpu", "max_iter": 8, "tol": 0.0}
        | {"code_tol": 1e-4, "random_state": 0}
        | options
    )


def atoms_of(rng, dtype=torch.float64):
    return Dictionary(torch.as_tensor(rng.standard_normal((K, M)), dtype=dtype))


def test_it_is_the_encoder_that_it_computes(rng):
    ours = TanhEncoder(rng.standard_normal((K, M)), rng.standard_normal(K), rng.standard_normal(K))
    theirs = ModuleEncoder.of(Squashed(ours), atoms_of(rng))
    y, dz = rng.standard_normal((N, M)), rng.standard_normal((N, K))
    (z, tape), (same, their_tape) = ours.forward(y), theirs.forward(torch.as_tensor(y))
    np.testing.assert_allclose(same.numpy(), z, rtol=1e-12)
    gradients = ours.vjp(tape, dz)
    flat = np.concatenate([gradients[name].ravel() for name in ("gain", "weights", "bias")])  # as the module lists them
    np.testing.assert_allclose(theirs.vjp(their_tape, torch.as_tensor(dz))["weights"].numpy(), flat, rtol=1e-10)


def test_moved_weights_go_back_into_a_module(rng):
    module = network(M, K).double()
    encoder = ModuleEncoder.of(module, atoms_of(rng))
    moved = encoder.with_parameters({"weights": encoder.weights + 0.1})
    y = torch.as_tensor(rng.standard_normal((N, M)))
    torch.testing.assert_close(moved(y), moved.to_module()(y))
    torch.testing.assert_close(encoder(y), module(y))
    assert not torch.allclose(moved(y), encoder(y))


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), nn.BatchNorm1d(M)])
def test_it_runs_as_in_evaluation(layer, rng):
    module = nn.Sequential(layer, network(M, K))
    assert module.training
    encoder, y = ModuleEncoder.of(module, atoms_of(rng, torch.float32)), torch.randn(N, M)
    torch.testing.assert_close(encoder(y), module.eval()(y))
    torch.testing.assert_close(encoder(y[:1]), encoder(y)[:1])


def test_layers_that_share_weights_go_on_to(rng):
    module = nn.Sequential(nn.Linear(M, M), nn.Tanh(), nn.Linear(M, M), nn.Linear(M, K))
    module[2].weight = module[0].weight
    encoder = ModuleEncoder.of(module, atoms_of(rng, torch.float32))
    moved = encoder.with_parameters({"weights": encoder.weights + 0.1}).to_module()
    torch.testing.assert_close(moved[2].weight, module[0].weight + 0.1)
    y = torch.randn(N, M)
    torch.testing.assert_close(encoder(y), module(y))


def test_what_is_frozen_stays(digits):
    module = network()
    module[0].requires_grad_(False)
    fitted = model(module, max_iter=2).fit(digits[:300])
    learned = fitted.encoder_.to_module()
    torch.testing.assert_close(learned[0].weight, module[0].weight.double())
    assert not torch.allclose(learned[2].weight, module[2].weight.double())


def test_it_learns_and_the_module_given_stays(digits):
    module = network()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    fitted = model(module).fit(digits[:800])
    history = fitted.prediction_error_history_
    assert history[-3:].mean() < 0.3 * history[:3].mean()
    assert fitted.energy_history_[-1] < fitted.energy_history_[0]
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, before[name])
    learned = fitted.encoder_.to_module()
    np.testing.assert_allclose(learned(torch.as_tensor(digits)).detach().numpy(), fitted.transform(digits), atol=1e-12)


def test_same_start_same_bits_also_cloned_and_pickled(digits):
    first = model(network(), max_iter=2).fit(digits[:300])
    again = pickle.loads(pickle.dumps(first))
    for other in (clone(first).fit(digits[:300]), again):
        np.testing.assert_array_equal(first.transform(digits), other.transform(digits))
    again.partial_fit(digits[300:500])
    assert not np.array_equal(first.transform(digits), again.transform(digits))


@pytest.mark.parametrize("inference", ["encoder", "argmin"])
def test_positive_codes_are(inference, digits):
    fitted = model(network(), positive=True, inference=inference, max_iter=3).fit(digits[:300])
    assert (fitted.transform(digits) >= 0.0).all()
    assert np.isfinite(fitted.score_samples(digits)).all()


def test_a_class_is_refused(digits):
    with pytest.raises(TypeError, match="not its class"):
        model(nn.Linear).fit(digits[:300])


def test_a_fitted_module_stays_on_torch(digits):
    fitted = model(network(), max_iter=1).fit(digits[:300]).set_params(device="cpu")
    with pytest.raises(ValueError, match="device= must be one of torch's"):
        fitted.transform(digits)


def test_float32_stays(digits):
    fitted = model(network(), max_iter=2).fit(digits[:300].astype(np.float32))
    assert fitted.transform(digits[:5].astype(np.float32)).dtype == np.float32
    assert fitted.encoder_.weights.dtype == torch.float32


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (network(), {"device": "cpu"}, "device= must be one of torch's"),
        (network(64, 15), {}, r"codes of shape \(1, 15\)"),
        (network(63), {}, "fails on 1 rows of 64 features"),
        (nn.Sequential(network(), nn.Flatten(0)), {}, r"codes of shape \(16,\)"),
        (nn.LSTM(64, 16), {}, "gives tuple"),
        (Detached(network()), {}, "without a gradient"),
        (filled(network(), float("nan")), {}, "NaN or infinite"),
        (filled(network(), 1e30), {}, "describe the data 10 times worse"),
        (nn.ReLU(), {}, "nothing to learn"),
    ],
)
def test_what_does_not_fit_is_refused(module, options, message, digits):
    fitted = model(module, **options)
    with pytest.raises(ValueError, match=message):
        fitted.fit(digits[:300])
    assert not hasattr(fitted, "components_")


class Pair(nn.Module):
    """Means and log variances, as many write them."""

    def __init__(self, n_features=64, n_components=3):
        super().__init__()
        self.mean, self.log_variance = nn.Linear(n_features, n_components), nn.Linear(n_features, n_components)

    def forward(self, y):
        return self.mean(y), self.log_variance(y)


def vae(**options):
    return VariationalAutoencoder(
        3, **{"likelihood": "bernoulli", "device": "torch:cpu", "max_iter": 8, "tol": 0, "random_state": 0} | options
    )


def test_module_layers_are_the_layers_that_they_compute(rng):
    ours = Layers.drawn((M, 6, K), "relu", np.random.RandomState(0), np.empty(0))
    module = nn.Sequential(nn.Linear(M, 6), nn.ReLU(), nn.Linear(6, K)).double()
    for layer, weights, biases in zip((module[0], module[2]), ours.weights, ours.biases, strict=True):
        layer.weight.data, layer.bias.data = torch.as_tensor(weights.T.copy()), torch.as_tensor(biases)
    theirs = ModuleLayers.of(module, M, K, torch.zeros(1, dtype=torch.float64), "encoder")
    x, slope = rng.standard_normal((N, M)), rng.standard_normal((N, K))
    (out, tape), (same, their_tape) = ours.forward(x), theirs.forward(torch.as_tensor(x))
    np.testing.assert_allclose(same.numpy(), out, rtol=1e-12)
    (dx, gradients), (their_dx, their_gradients) = ours.vjp(tape, slope), theirs.vjp(their_tape, torch.as_tensor(slope))
    np.testing.assert_allclose(their_dx.numpy(), dx, rtol=1e-10)
    names = [(f"weights_{at}", f"biases_{at}") for at in range(2)]
    flat = np.concatenate([part for w, b in names for part in (gradients[w].T.ravel(), gradients[b])])
    np.testing.assert_allclose(their_gradients["weights"].numpy(), flat, rtol=1e-10, atol=1e-14)
    alone = theirs.gradients(their_tape, torch.as_tensor(slope))["weights"]
    torch.testing.assert_close(alone, their_gradients["weights"])


@pytest.mark.parametrize(
    "modules",
    [
        {"encoder": network(64, 6)},
        {"encoder": Pair()},
        {"decoder": network(3, 64)},
        {"encoder": network(64, 6), "decoder": network(3, 64)},
        {"encoder": network(64, 3), "learn_variance": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.filterwarnings("ignore:No entry of the code")  # few passes
def test_modules_as_networks_of_a_variational_autoencoder(modules, likelihood, digits):
    torch.manual_seed(0)
    fitted = vae(likelihood=likelihood, learning_rate_init=1e-2, **modules).fit(digits[:600])
    assert fitted.energy_history_[-1] < fitted.energy_history_[0] - 1.0
    copy = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(copy.score_samples(digits), fitted.score_samples(digits))
    if "encoder" in modules:
        learned = fitted.encoder_.layers.to_module()
        out = learned(torch.as_tensor(digits))
        mean = out[0] if isinstance(out, tuple) else out[:, :3]
        np.testing.assert_allclose(mean.detach().numpy(), fitted.transform(digits), atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": network(64, 6), "device": "cpu"}, "device= must be one of torch's"),
        ({"encoder": network(64, 3)}, r"codes of shape \(1, 3\)"),
        ({"decoder": network(3, 63)}, r"data of shape \(1, 63\)"),
        ({"decoder": Detached(network(3, 64))}, "without a gradient"),
    ],
)
def test_networks_that_do_not_fit_are_refused(options, message, digits):
    fitted = vae(**options)
    with pytest.raises(ValueError, match=message):
        fitted.fit(digits[:300])
    assert not hasattr(fitted, "n_iter_")
