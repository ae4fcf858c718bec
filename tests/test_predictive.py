"""Predictive sparse decomposition: its limits, what it learns, and what it refuses."""

import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from skrlv import PredictiveSparseDecomposition, SparseCoder, sparse_encode
from skrlv.decoders import Dictionary
from skrlv.encoders import TanhEncoder
from skrlv.inference import duality_gap

ENCODERS = ["tanh", "shrinkage", "lista"]
every_encoder = pytest.mark.parametrize("encoder", ENCODERS)


@pytest.fixture(scope="module")
def digits():
    return load_digits().data / 16.0


@pytest.fixture(scope="module")
def atoms(digits):
    return SparseCoder(80, lmbda=0.3, max_iter=10, random_state=0).fit(digits[:1200]).components_


def model(**options):
    return PredictiveSparseDecomposition(**{"lmbda": 0.3, "random_state": 0} | options)


# limits


@every_encoder
def test_without_weight_its_codes_are_those_of_sparse_coding(encoder, digits):
    fitted = model(n_components=40, encoder=encoder, encoder_weight=0.0, inference="argmin", max_iter=5).fit(
        digits[:600]
    )
    plain = SparseCoder(40, lmbda=0.3, max_iter=5, random_state=0).fit(digits[:600])
    np.testing.assert_allclose(fitted.components_, plain.components_, atol=1e-8)
    np.testing.assert_allclose(fitted.transform(digits), plain.transform(digits), atol=1e-7)
    little = model(dictionary=fitted.components_, encoder=encoder, encoder_weight=1e-9, inference="argmin", max_iter=2)
    np.testing.assert_allclose(little.fit(digits[:600]).transform(digits), plain.transform(digits), atol=1e-5)


@every_encoder
def test_at_a_large_weight_codes_are_predictions(encoder, digits, atoms):
    fitted = model(dictionary=atoms, encoder=encoder, encoder_weight=1e7, max_iter=3).fit(digits[:600])
    predicted = fitted.transform(digits)
    np.testing.assert_allclose(fitted.set_params(inference="argmin").transform(digits), predicted, atol=1e-5)


# what it learns


@every_encoder
def test_the_minimum_is_certified(encoder, digits, atoms):
    """The encoder term folds into the data: the gap is that of longer rows and atoms."""
    fitted = model(dictionary=atoms, encoder=encoder, encoder_weight=0.5, max_iter=5).fit(digits[:600])
    X = digits[600:700]
    prediction = fitted.transform(X)
    Z = fitted.set_params(inference="argmin").transform(X)
    longer = np.hstack([X, np.sqrt(0.5) * prediction])
    stacked = np.hstack([atoms, np.sqrt(0.5) * np.eye(80)])
    np.testing.assert_allclose(Z, sparse_encode(longer, stacked, 0.3), atol=1e-6)
    assert duality_gap(fitted.energy_.given(X), Z).max() < 1e-6
    assert (fitted.energy(X, Z) <= fitted.energy(X, prediction) + 1e-12).all()


@every_encoder
def test_predictions_come_nearer(encoder, digits):
    start = model(n_components=64, encoder=encoder, max_iter=1, learning_rate_init=1e-12).fit(digits[:1200])
    learned = model(n_components=64, encoder=encoder, tol=1e-4).fit(digits[:1200])
    test = digits[1200:]

    def error(fitted):
        predicted = fitted.set_params(inference="encoder").transform(test)
        return np.mean(np.sum((fitted.set_params(inference="argmin").transform(test) - predicted) ** 2, axis=1))

    assert error(learned) < error(start) / (2.0 if encoder == "tanh" else 5.0)
    history = learned.prediction_error_history_
    assert history[-5:].mean() < 0.5 * history[:5].mean()
    assert learned.energy_history_[-1] < learned.energy_history_[0]


def test_given_atoms_stay(digits, atoms):
    fitted = model(dictionary=atoms, max_iter=2).fit(digits[:600])
    np.testing.assert_array_equal(fitted.components_, atoms)
    assert fitted.n_iter_ == 2


@pytest.mark.parametrize("encoder", ["shrinkage", "lista"])
def test_positive_codes_are(encoder, digits):
    fitted = model(n_components=20, encoder=encoder, positive=True, max_iter=5).fit(digits[:600])
    for inference in ("encoder", "argmin"):
        assert (fitted.set_params(inference=inference).transform(digits) >= 0.0).all()


# the face


@every_encoder
def test_same_seed_same_bits_also_pickled(encoder, digits):
    first, second = (model(n_components=16, encoder=encoder, max_iter=3).fit(digits[:500]) for _ in range(2))
    again = pickle.loads(pickle.dumps(first))
    for other in (second, again):
        np.testing.assert_array_equal(first.transform(digits), other.transform(digits))


@every_encoder
def test_torch_learns_the_same(encoder, digits):
    pytest.importorskip("torch")
    options = {"n_components": 16, "encoder": encoder, "max_iter": 3, "code_tol": 1e-9}
    here = model(**options).fit(digits[:400])
    there = model(**options, device="torch:cpu").fit(digits[:400])
    np.testing.assert_allclose(there.components_, here.components_, atol=1e-4)
    np.testing.assert_allclose(there.transform(digits), here.transform(digits), atol=1e-3)
    pickle.dumps(there)


def test_a_stream_is_learned_as_it_comes(digits):
    stream = model(n_components=16)
    for start in range(0, 1200, 200):
        stream.partial_fit(digits[start : start + 200])
    assert stream.n_iter_ == len(stream.prediction_error_history_) == 6
    assert np.isfinite(stream.transform(digits)).all()


@pytest.mark.parametrize("inference", ["encoder", "argmin"])
def test_score_is_minus_the_mean_energy(inference, digits):
    fitted = model(n_components=16, max_iter=3, inference=inference).fit(digits[:400])
    Z, encoder = fitted.transform(digits), fitted.encoder_
    predicted = encoder.gain * np.tanh(digits @ encoder.weights.T + encoder.bias)
    energy = 0.5 * np.sum((digits - Z @ fitted.components_) ** 2, axis=1) + 0.3 * np.abs(Z).sum(axis=1)
    energy += 0.5 * np.sum((Z - predicted) ** 2, axis=1)
    np.testing.assert_allclose(fitted.energy(digits), energy, rtol=1e-10)
    assert fitted.score(digits) == pytest.approx(-energy.mean())


@pytest.mark.parametrize(
    "bad",
    [
        {"encoder": "mlp"},
        {"inference": "both"},
        {"encoder_weight": -1.0},
        {"positive": True},
        {"device": "tpu"},
        {"learning_rate_init": 2.0},
    ],
)
def test_bad_parameters_are_named(bad, digits):
    with pytest.raises(ValueError, match=next(iter(bad))):
        PredictiveSparseDecomposition(4, **bad).fit(digits[:50])


@dataclass(frozen=True, eq=False)
class Own(TanhEncoder):
    """A tanh encoder of a user's own."""


@pytest.mark.parametrize("device", ["cpu", "torch:cpu"])
def test_an_encoder_of_one_s_own_is_learned_as_ours(device, digits):
    if device != "cpu":
        pytest.importorskip("torch")
    options = {"lmbda": 0.5, "max_iter": 3, "tol": 0, "random_state": 0, "device": device}
    ours = PredictiveSparseDecomposition(8, **options).fit(digits[:200])
    own = PredictiveSparseDecomposition(8, encoder=lambda d, lmbda, unit: Own.first_step(d, unit), **options)
    own.fit(digits[:200])
    assert type(own.encoder_) is Own
    np.testing.assert_array_equal(own.transform(digits[:50]), ours.transform(digits[:50]))
    start = Own.first_step(Dictionary(np.asarray(ours.components_)), ours._data_unit)
    atoms = PredictiveSparseDecomposition(encoder=start, dictionary=ours.components_, **options).fit(digits[:200])
    assert type(pickle.loads(pickle.dumps(atoms)).encoder_) is Own


class WrongGradient(Own):
    def vjp(self, tape, dz):
        found = super().vjp(tape, dz)
        return found | {"gain": 2.0 * found["gain"]}


class MissingGradient(Own):
    def vjp(self, tape, dz):
        return {"weights": super().vjp(tape, dz)["weights"]}


class WrongShape(Own):
    def vjp(self, tape, dz):
        found = super().vjp(tape, dz)
        return found | {"weights": found["weights"].T}


class TooWide(Own):
    def forward(self, y):
        z, tape = super().forward(y)
        return np.concatenate([z, z[:, :1]], axis=1), tape


class MixedRows(Own):
    def forward(self, y):
        z, tape = super().forward(y)
        return z - z.mean(axis=0), tape


class WrongAxes(Own):
    @property
    def code_axes(self):
        return {"weights": (0,)}


class NoNumber(Own):
    def vjp(self, tape, dz):
        return {name: np.nan * value for name, value in super().vjp(tape, dz).items()}


@pytest.mark.parametrize("unit", [1e-12, 1e8])
def test_the_check_of_an_encoder_does_not_depend_on_the_unit(unit, digits):
    own = PredictiveSparseDecomposition(8, encoder=lambda d, lmbda, unit: Own.first_step(d, unit), max_iter=1, tol=0)
    assert type(own.fit(unit * digits[:100]).encoder_) is Own


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (MixedRows, "depends on the other rows"),
        (WrongAxes, "code_axes does not name every axis"),
        (NoNumber, "not finite"),
        (WrongGradient, "finite differences give"),
        (MissingGradient, "the parameters are"),
        (WrongShape, "a gradient of shape"),
        (TooWide, "codes of 8 entries"),
    ],
)
def test_a_wrong_encoder_of_one_s_own_is_refused(kind, message, digits):
    model = PredictiveSparseDecomposition(8, encoder=lambda d, lmbda, unit: kind.first_step(d, unit), max_iter=1)
    with pytest.raises(ValueError, match=message):
        model.fit(digits[:50])
    assert not hasattr(model, "components_")


def test_what_makes_no_encoder_is_refused(digits):
    with pytest.raises(TypeError, match=r"must return an instance of skrlv.encoders.Encoder"):
        PredictiveSparseDecomposition(8, encoder=lambda *_: 3.0, max_iter=1).fit(digits[:50])
    with pytest.raises(ValueError, match="positive=True needs an encoder"):
        PredictiveSparseDecomposition(8, positive=True, encoder=lambda d, lmbda, unit: Own.first_step(d, unit)).fit(
            digits[:50]
        )


@pytest.mark.parametrize("encoder", ["shrinkage", "lista"])
def test_an_encoder_that_diverges_starts_again(encoder, digits):
    with pytest.warns(ConvergenceWarning, match="Lower learning_rate_init"):
        fitted = model(n_components=16, encoder=encoder, learning_rate_init=1.0, max_iter=20, tol=0).fit(digits[:400])
    assert fitted.energy(digits[:400]).mean() < 0.5 * np.mean(np.sum(digits[:400] ** 2, axis=1))


@pytest.mark.filterwarnings("ignore:The encoder's predictions")
@pytest.mark.parametrize("rate", [1e-6, 0.1, 0.3, 1.0])
def test_no_rate_ends_in_nan(rate, digits):
    fitted = model(n_components=16, learning_rate_init=rate, max_iter=5).fit(digits[:400])
    for inference in ("encoder", "argmin"):
        assert np.isfinite(fitted.set_params(inference=inference).transform(digits)).all()


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_learning_keeps_to_the_unit_of_the_data(scale, digits):
    plain = model(n_components=16, max_iter=4).fit(digits[:400])
    scaled = model(n_components=16, max_iter=4, lmbda=0.3 * scale).fit(scale * digits[:400])
    np.testing.assert_allclose(scaled.transform(scale * digits) / scale, plain.transform(digits), atol=1e-6)
