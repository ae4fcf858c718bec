"""LISTAEncoder: what it predicts, how it learns, and what it refuses."""

import pickle

import numpy as np
import pytest
import sklearn
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrlv import LISTAEncoder, SparseCoder, sparse_encode
from skrlv.decoders import Dictionary
from skrlv.energy import Energy
from skrlv.inference import ista
from skrlv.learning import NumberLearner, WeightLearner
from skrlv.regularizers import L1

pytestmark = pytest.mark.filterwarnings("ignore:The predictions are no better")  # short fits on coherent atoms

ARCHITECTURES = ["lista", "step", "alista", "hyperlista"]
every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)


@pytest.fixture(scope="module")
def atoms(digits):
    return SparseCoder(100, lmbda=0.3, max_iter=10, random_state=0).fit(digits[:1200]).components_


@pytest.fixture(scope="module")
def encoder(digits, atoms):
    return LISTAEncoder(lmbda=0.3, dictionary=atoms, random_state=0).fit(digits[:1200])


def exact(digits, encoder):
    return sparse_encode(digits, encoder.components_, encoder.lmbda_, positive=encoder.positive)


def unlearned(atoms, X, n_layers):
    """Codes after as many steps of ISTA."""
    return ista(Energy(Dictionary(atoms), L1(), 0.3).given(X), max_iter=n_layers + 1, tol=0.0).z


def code_error(encoder, X):
    return np.mean(np.sum((encoder.transform(X) - exact(X, encoder)) ** 2, axis=1))


# what it predicts


@pytest.mark.parametrize("architecture", ["lista", "step"])
def test_learning_brings_predictions_nearer_than_as_many_steps_of_ista(architecture, digits, atoms):
    learned = LISTAEncoder(lmbda=0.3, dictionary=atoms, architecture=architecture, random_state=0).fit(digits[:1200])
    test = digits[1200:]
    error = np.mean(np.sum((unlearned(atoms, test, 3) - exact(test, learned)) ** 2, axis=1))
    assert code_error(learned, test) < (0.3 if architecture == "lista" else 0.8) * error


def test_more_layers_predict_better(digits, atoms):
    settings = {"lmbda": 0.3, "dictionary": atoms, "random_state": 0}
    learned = [LISTAEncoder(n_layers=n, **settings).fit(digits[:1200]) for n in (0, 1, 3)]
    errors = [code_error(encoder, digits[1200:]) for encoder in learned]
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("positive", [False, True])
def test_without_a_teacher_the_energy_falls_as_well(positive, digits, atoms):
    settings = {"lmbda": 0.3, "dictionary": atoms, "positive": positive, "random_state": 0}
    encoder, taught = (LISTAEncoder(objective=o, **settings).fit(digits[:1200]) for o in ("energy", "codes"))
    best = SparseCoder(dictionary=atoms, lmbda=0.3, positive=positive).fit(digits)
    least, found, other = (model.energy(digits[1200:]).mean() for model in (best, encoder, taught))
    assert least < found < other
    assert found < 1.1 * least
    if positive:
        assert (encoder.transform(digits) >= 0.0).all()


def test_steps_learned_on_the_energy_are_better_than_those_of_ista_at_every_depth(digits, atoms):
    """Ablin, Moreau, Massias and Gramfort (2019); and the steps lie between 1/L and what two atoms would allow."""
    L, test = np.linalg.norm(atoms, 2) ** 2, digits[1200:]
    for n_layers in (0, 2, 5):
        settings = {"lmbda": 0.3, "dictionary": atoms, "n_layers": n_layers, "random_state": 0}
        learned = LISTAEncoder(architecture="step", objective="energy", **settings).fit(digits[:1200])
        assert learned.energy(test).mean() < learned.energy(test, unlearned(atoms, test, n_layers)).mean()
        assert (learned.encoder_.steps > 0.9 / L).all()


def planted(n):
    rng = np.random.RandomState(0)
    atoms = rng.normal(size=(200, 100))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    rng = np.random.RandomState(1)
    codes = rng.normal(size=(n, 200)) * (rng.random_sample((n, 200)) < 0.05)
    return codes @ atoms, codes, atoms


@pytest.mark.parametrize(("architecture", "gain"), [("alista", 2.5), ("hyperlista", 4.0)])
def test_true_codes_are_found_at_a_linear_rate(architecture, gain, digits):
    X, codes, atoms = planted(800)
    encoder = LISTAEncoder(dictionary=atoms, lmbda=0.1, architecture=architecture, n_layers=9, random_state=0)
    encoder.fit(X[:600], codes=codes[:600])
    error = np.sum((encoder.transform(X[600:]) - codes[600:]) ** 2) / np.sum(codes[600:] ** 2)
    assert -10.0 * np.log10(error) > 10 * gain


# refinement


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_refined_codes_are_exact(dtype, digits, atoms):
    X = digits.astype(dtype)
    encoder = LISTAEncoder(lmbda=0.3, dictionary=atoms.astype(dtype), max_iter=20, random_state=0).fit(X[:1200])
    wanted = sparse_encode(X[1200:], encoder.components_, 0.3)
    np.testing.assert_allclose(encoder.refine(X[1200:]), wanted, atol=1e-3 if dtype == np.float32 else 1e-6)
    np.testing.assert_array_equal(encoder.refine(X[1200:], code_tol=1e9), encoder.transform(X[1200:]))


# learning


def test_the_best_weights_on_rows_held_out_are_kept(digits, atoms):
    encoder = LISTAEncoder(lmbda=0.3, dictionary=atoms, random_state=0, max_iter=30).fit(digits[:1200])
    history = encoder.validation_loss_history_
    assert len(history) == len(encoder.energy_history_) == encoder.n_iter_
    order = np.random.RandomState(0).permutation(1200)
    held_out = digits[:1200][order[:120]]
    assert 0.5 * code_error(encoder, held_out) == pytest.approx(history.min(), rel=1e-9)


@pytest.mark.parametrize("architecture", ["lista", "step"])
def test_interrupted_it_keeps_its_last_pass(architecture, digits, atoms, monkeypatch):
    settings = {"lmbda": 0.3, "dictionary": atoms, "architecture": architecture, "random_state": 0}
    whole, passes = LISTAEncoder(**settings, max_iter=2).fit(digits[:300]), []
    learner = WeightLearner if architecture == "lista" else NumberLearner
    real = learner.run_pass

    def stop(self, *args):
        if len(passes) == 2:
            raise KeyboardInterrupt
        passes.append(1)
        return real(self, *args)

    monkeypatch.setattr(learner, "run_pass", stop)
    encoder = LISTAEncoder(**settings)
    with pytest.raises(KeyboardInterrupt):
        encoder.fit(digits[:300])
    np.testing.assert_array_equal(encoder.transform(digits), whole.transform(digits))
    again = LISTAEncoder(**settings)
    with pytest.raises(KeyboardInterrupt):  # before the first pass
        again.fit(digits[:300])
    assert not hasattr(again, "components_")


def test_a_rate_that_diverges_is_caught_and_reported(digits, atoms):
    encoder = LISTAEncoder(lmbda=0.3, dictionary=atoms, learning_rate_init=1e3, max_iter=60, random_state=0)
    with pytest.warns(ConvergenceWarning, match="Lower learning_rate_init"):
        encoder.fit(digits[:600])
    assert np.isfinite(encoder.transform(digits)).all()
    assert encoder.energy(digits).mean() < 0.5 * np.mean(np.sum(digits**2, axis=1))


@pytest.mark.parametrize("rate", [1e-5, 1e-2, 1.0, 1e8])
@pytest.mark.filterwarnings("ignore:The loss diverged")
def test_no_rate_ends_in_nan(rate, digits, atoms):
    encoder = LISTAEncoder(lmbda=0.3, dictionary=atoms, learning_rate_init=rate, max_iter=10, random_state=0)
    assert np.isfinite(encoder.fit(digits[:300]).transform(digits)).all()


@pytest.mark.parametrize("scale", [1e-8, 255.0, 1e8])
def test_learning_keeps_to_the_unit_of_the_data(scale, digits, atoms):
    settings = {"dictionary": atoms, "max_iter": 10, "random_state": 0}
    plain = LISTAEncoder(lmbda=0.3, **settings).fit(digits[:600])
    scaled = LISTAEncoder(lmbda=0.3 * scale, **settings).fit(scale * digits[:600])
    np.testing.assert_allclose(scaled.transform(scale * digits[600:]) / scale, plain.transform(digits[600:]), atol=1e-6)


@every_architecture
def test_same_seed_same_weights(architecture, digits, atoms):
    settings = {"lmbda": 0.3, "dictionary": atoms, "architecture": architecture, "max_iter": 5, "random_state": 3}
    first, second = (LISTAEncoder(**settings).fit(digits[:500]) for _ in range(2))
    for name, value in first.encoder_.parameters.items():
        np.testing.assert_array_equal(value, second.encoder_.parameters[name])


@every_architecture
def test_pickled_it_predicts_the_same_bits(architecture, digits, atoms):
    encoder = LISTAEncoder(lmbda=0.3, dictionary=atoms, architecture=architecture, max_iter=3, random_state=0)
    encoder.fit(digits[:300])
    again = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(again.transform(digits), encoder.transform(digits))


@every_architecture
@pytest.mark.parametrize("objective", ["codes", "energy"])
def test_torch_learns_and_predicts_the_same(architecture, objective, digits, atoms):
    pytest.importorskip("torch")
    settings = {"lmbda": 0.3, "dictionary": atoms, "architecture": architecture, "objective": objective, "max_iter": 4}
    here = LISTAEncoder(**settings, random_state=0).fit(digits[:400])
    there = LISTAEncoder(**settings, random_state=0, device="torch:cpu").fit(digits[:400])
    np.testing.assert_allclose(there.transform(digits), here.transform(digits), atol=1e-4)


# the face


def test_atoms_are_learned_where_none_are_given(digits):
    encoder = LISTAEncoder(20, random_state=0, max_iter=5).fit(digits[:600])
    coder = SparseCoder(20, random_state=0).fit(digits[:600])
    np.testing.assert_array_equal(encoder.components_, coder.components_)
    assert encoder.lmbda_ == coder.lmbda_
    assert encoder.transform(digits[:5]).shape == (5, 20)


def test_score_is_minus_the_mean_energy_of_predictions(encoder, digits):
    Z = encoder.transform(digits)
    direct = 0.5 * np.sum((digits - Z @ encoder.components_) ** 2, axis=1) + 0.3 * np.abs(Z).sum(axis=1)
    np.testing.assert_allclose(encoder.energy(digits), direct, rtol=1e-12)
    np.testing.assert_allclose(encoder.energy(digits, Z), direct, rtol=1e-12)
    assert encoder.score(digits) == pytest.approx(-direct.mean())
    np.testing.assert_allclose(encoder.inverse_transform(Z), Z @ encoder.components_)


def test_sparse_rows_are_predicted_as_dense_ones(encoder, digits):
    np.testing.assert_allclose(encoder.transform(sparse.csr_matrix(digits)), encoder.transform(digits), atol=1e-12)


def test_codes_are_routed(digits, atoms):
    codes = sparse_encode(digits[:300], atoms, 0.3)
    encoder = LISTAEncoder(dictionary=atoms, lmbda=0.3, max_iter=3, random_state=0)
    plain = clone(encoder).fit(digits[:300], codes=codes)
    with sklearn.config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(StandardScaler(with_mean=False, with_std=False), encoder.set_fit_request(codes=True))
        routed = pipeline.fit(digits[:300], codes=codes)[-1]
    np.testing.assert_array_equal(routed.encoder_.weights, plain.encoder_.weights)
    from_csr = clone(encoder).fit(digits[:300], codes=sparse.csr_matrix(codes))
    np.testing.assert_array_equal(from_csr.encoder_.weights, plain.encoder_.weights)


def test_other_codes_teach_other_predictions(digits, atoms):
    codes = 2.0 * sparse_encode(digits[:300], atoms, 0.3)
    encoder = LISTAEncoder(dictionary=atoms, lmbda=0.3, random_state=0).fit(digits[:300], codes=codes)
    assert np.sum((encoder.transform(digits[:300]) - codes) ** 2) < 0.1 * np.sum(codes**2)


@pytest.mark.parametrize(
    ("codes", "word"),
    [(np.ones((300, 99)), "shape"), (np.ones((299, 100)), "shape"), (np.full((300, 100), np.nan), "NaN")],
)
def test_codes_that_do_not_fit_are_refused(codes, word, digits, atoms):
    encoder = LISTAEncoder(dictionary=atoms, lmbda=0.3)
    with pytest.raises(ValueError, match=word):
        encoder.fit(digits[:300], codes=codes)
    assert not hasattr(encoder, "components_")


def test_codes_need_atoms(digits):
    with pytest.raises(ValueError, match="dictionary="):
        LISTAEncoder(5).fit(digits[:300], codes=np.ones((300, 5)))


@pytest.mark.parametrize(
    "bad",
    [{"n_layers": -1}, {"architecture": "mlp"}, {"objective": "loss"}, {"learning_rate_init": 0.0},
     {"validation_fraction": 1.0}, {"device": "tpu"}],
)  # fmt: skip
def test_bad_parameters_are_named(bad, digits):
    with pytest.raises(ValueError, match=next(iter(bad))):
        LISTAEncoder(4, **bad).fit(digits[:50])


@pytest.mark.parametrize("n_samples", [1, 2, 3])
def test_few_rows_will_do(n_samples, digits):
    encoder = LISTAEncoder(4, lmbda=0.3, random_state=0, max_iter=3).fit(digits[:n_samples])
    assert np.isfinite(encoder.transform(digits[:5])).all()


@pytest.mark.parametrize("architecture", ["step", "alista", "hyperlista"])
@pytest.mark.parametrize("max_iter", [1, 3, 4, 6, 8])
def test_the_best_of_few_numbers_are_kept_wherever_it_stops(architecture, max_iter, digits, atoms):
    settings = {"lmbda": 0.3, "dictionary": atoms, "architecture": architecture, "objective": "energy"}
    encoder = LISTAEncoder(**settings, n_layers=6, max_iter=max_iter, validation_fraction=0, random_state=0)
    encoder.fit(digits[:300])
    assert encoder.energy(digits[:300]).mean() <= encoder.validation_loss_history_.min() * (1.0 + 1e-9)
    if architecture == "step":
        assert (
            encoder.energy(digits[:300]).mean()
            <= encoder.energy(digits[:300], unlearned(atoms, digits[:300], 6)).mean()
        )


@every_architecture
def test_atoms_in_other_units_are_the_same_problem(architecture):
    X, codes, atoms = planted(300)
    energies = [
        LISTAEncoder(lmbda=0.1 * unit, dictionary=unit * atoms, architecture=architecture, max_iter=20, random_state=0)
        .fit(X, codes=codes / unit)
        .energy(X)
        .mean()
        for unit in (1.0, 10.0)
    ]
    assert energies[1] == pytest.approx(energies[0], rel=0.05)


def test_predictions_that_tell_nothing_are_reported(digits, atoms):
    encoder = LISTAEncoder(lmbda=1.0, dictionary=atoms, architecture="hyperlista", max_iter=1, random_state=0)
    codes = np.zeros((300, 100))
    codes[:, 0] = np.random.RandomState(0).normal(size=300)  # they have nothing to do with the digits
    with pytest.warns(ConvergenceWarning, match="no better than codes of zero"):
        encoder.fit(digits[:300], codes=codes)


def test_an_exact_start_is_kept_without_complaint(digits):
    encoder = LISTAEncoder(lmbda=0.1, dictionary=np.eye(64), random_state=0, max_iter=20).fit(digits[:300])
    np.testing.assert_allclose(encoder.transform(digits), exact(digits, encoder), atol=1e-12)


def test_codes_and_energies_cannot_both_judge(digits, atoms):
    with pytest.raises(ValueError, match="leave one"):
        LISTAEncoder(dictionary=atoms, objective="energy").fit(digits[:9], codes=np.zeros((9, 100)))
    with pytest.raises(ValueError, match="negative"):
        LISTAEncoder(dictionary=atoms, positive=True, lmbda=0.3).fit(digits[:9], codes=-np.ones((9, 100)))


@pytest.mark.parametrize("code_tol", [-1.0, 0.0, "x"])
def test_a_tolerance_that_means_nothing_is_refused(code_tol, encoder, digits):
    with pytest.raises(ValueError, match="code_tol"):
        encoder.refine(digits[:5], code_tol=code_tol)


def test_zero_data_give_zero_codes(atoms):
    encoder = LISTAEncoder(dictionary=atoms, random_state=0, max_iter=3).fit(np.zeros((20, 64)))
    assert not encoder.transform(np.zeros((4, 64))).any()
