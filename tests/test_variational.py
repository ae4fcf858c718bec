"""VariationalAutoencoder: balls on springs, what the strength of the spring does, and a face that never breaks."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, make_blobs
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrlv import VariationalAutoencoder
from skrlv.encoders.gaussian import MOST_LOG_VARIANCE


def vae(n_components=4, **params):
    return VariationalAutoencoder(
        n_components, **({"hidden_layer_sizes": (32,), "max_iter": 10, "tol": 0, "random_state": 0} | params)
    )


@pytest.fixture(scope="module")
def fitted():
    X = load_digits().data / 16.0
    return vae(likelihood="bernoulli", max_iter=60).fit(X), X


@pytest.fixture(scope="module")
def planted():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 5)) @ (rng.normal(size=(5, 20)) * np.linspace(2, 0.5, 5)[:, None])
    X += 0.5 * rng.normal(size=(2000, 20))
    return X - X.mean(axis=0)


def test_shapes_of_all_that_comes_out(fitted):
    model, X = fitted
    mean, variance = model.posterior(X)
    assert mean.shape == variance.shape == model.transform(X).shape == (1797, 4)
    np.testing.assert_array_equal(mean, model.transform(X))
    assert model.inverse_transform(mean).shape == X.shape
    assert model.sample(7, random_state=0).shape == (7, 64)
    assert model.kl_per_unit_.shape == model.active_units_.shape == (4,)
    assert model.active_units_.dtype == bool
    for history in (model.energy_history_, model.kl_history_, model.validation_loss_history_):
        assert history.shape == (model.n_iter_,) == (60,)
    assert list(model.get_feature_names_out())[:2] == ["variationalautoencoder0", "variationalautoencoder1"]


def test_it_learns(fitted):
    model, X = fitted
    assert model.energy_history_[-1] < 0.8 * model.energy_history_[0]
    decoded = model.inverse_transform(model.transform(X))
    assert np.mean((decoded - X) ** 2) < 0.7 * np.mean((X - X.mean(axis=0)) ** 2)
    assert decoded.min() >= 0.0
    assert decoded.max() <= 1.0


def test_kl_per_unit_is_that_of_the_posteriors(fitted):
    model, X = fitted
    mean, variance = model.posterior(X)
    expected = 0.5 * (variance + mean**2 - 1.0 - np.log(variance))
    np.testing.assert_allclose(model.kl_per_unit_, expected.mean(axis=0), rtol=1e-9)
    np.testing.assert_array_equal(model.active_units_, mean.var(axis=0) > 0.01)


def test_energy_is_cost_and_squared_norm(fitted, rng):
    model, X = fitted
    Z = rng.normal(size=(len(X), 4))
    decoded = model.inverse_transform(Z)
    cost = -np.sum(X * np.log(decoded) + (1 - X) * np.log1p(-decoded), axis=1)
    np.testing.assert_allclose(model.energy(X, Z), cost + 0.5 * np.sum(Z**2, axis=1), rtol=1e-9)
    np.testing.assert_allclose(model.energy(X), model.energy(X, model.transform(X)), rtol=1e-12)
    assert model.lmbda_ == 1.0


def test_a_row_has_the_same_bound_in_any_batch(fitted):
    model, X = fitted
    whole = model.score_samples(X)
    np.testing.assert_allclose(model.score_samples(X[700:703]), whole[700:703], rtol=1e-10)
    np.testing.assert_allclose(model.score_samples(X[::-1])[::-1], whole, rtol=1e-10)
    assert model.score(X) == pytest.approx(whole.mean(), rel=1e-12)


def test_importance_samples_tighten_the_bound(fitted):
    model, X = fitted
    one, five, fifty = (model.score_samples(X, n_importance_samples=n).mean() for n in (1, 5, 50))
    assert one < five < fifty


def test_the_bound_is_at_beta_one(planted):
    """Models of other betas are told apart by the same ruler."""
    model = vae(beta=4.0, likelihood="gaussian", max_iter=30).fit(planted)
    mean, variance = model.posterior(planted)
    apart = 0.5 * np.sum(variance + mean**2 - 1.0 - np.log(variance), axis=1)
    noise = np.random.default_rng(1).normal(size=(400, 4))
    spread = np.mean([
        np.sum((planted - model.inverse_transform(mean + np.sqrt(variance) * e)) ** 2, axis=1) for e in noise
    ], axis=0)  # fmt: skip
    constant = 10.0 * np.log(2 * np.pi * model.scale_**2)
    expected = -(spread / (2 * model.scale_**2) + constant + apart)
    assert model.score(planted) == pytest.approx(expected.mean(), abs=0.4)  # 32 draws


# Where theory is exact


@pytest.fixture(scope="module")
def linear(planted):
    """Trained from random weights to rest."""
    return VariationalAutoencoder(
        5, hidden_layer_sizes=(), learning_rate_init=0.1, tol=1e-5, n_iter_no_change=100, batch_size=2000,
        validation_fraction=0, max_iter=3000, random_state=0,
    ).fit(planted)  # fmt: skip


def test_trained_from_random_weights_it_is_nearly_probabilistic_pca(linear, planted):
    """The exact log likelihood at the optimum is -25.7405 nats per sample."""
    draws = np.sqrt(5.0) * np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))[0]
    bound = linear.bound_.log_weights(planted, np.vstack([draws, -draws])).mean()  # no chance: it is quadratic in them
    assert -25.7605 < bound < -25.740504501343
    assert linear.scale_**2 == pytest.approx(0.2522, rel=0.01)


@pytest.mark.parametrize(("beta", "expected"), [(3.0, 5), (8.0, 4), (30.0, 2)])
def test_units_stay_active_where_an_eigenvalue_exceeds_beta(beta, expected, planted):
    """Eigenvalues of the covariance are 97.9, 45.6, 24.1, 11.0, 4.3 and 0.3; beta sigma^2 is beta."""
    assert (np.linalg.eigvalsh(planted.T @ planted / len(planted)) > beta).sum() == (expected if beta != 30.0 else 2)
    model = VariationalAutoencoder(
        8, hidden_layer_sizes=(), scale=1.0, beta=beta, learning_rate_init=3e-2, tol=1e-6, n_iter_no_change=20,
        max_iter=1000, random_state=0,
    ).fit(planted)  # fmt: skip
    assert model.active_units_.sum() == expected


# Springs


def test_without_a_kl_term_posteriors_move_apart():
    X, _ = make_blobs(500, 10, centers=8, random_state=0)
    lengths = []
    for n_passes in range(1, 13):
        model = vae(2, beta=0.0, learn_variance=False, batch_size=20, max_iter=n_passes, validation_fraction=0).fit(X)
        lengths.append(np.linalg.norm(model.transform(X), axis=1).mean())
    assert (np.diff(lengths) > 0.0).all()
    assert lengths[-1] > 1.5 * lengths[0]


def test_a_beta_far_too_large_collapses_all_units(digits):
    with pytest.warns(UserWarning, match="collapsed"):
        model = vae(likelihood="bernoulli", beta=1000.0, max_iter=60, learning_rate_init=5e-3).fit(digits)
    _, variance = model.posterior(digits)
    assert model.kl_per_unit_.sum() < 0.01
    assert not model.active_units_.any()
    np.testing.assert_allclose(variance, 1.0, atol=0.05)


def test_in_between_neighbours_are_of_one_class(digits):
    labels = load_digits().target
    model = vae(2, likelihood="bernoulli", hidden_layer_sizes=(128,), max_iter=150, learning_rate_init=3e-3).fit(digits)
    knn = KNeighborsClassifier(10)
    ours = cross_val_score(knn, model.transform(digits), labels).mean()
    theirs = cross_val_score(knn, PCA(2).fit_transform(digits), labels).mean()
    assert ours > theirs + 0.05


def test_posteriors_of_fixed_variance(digits):
    model = vae(likelihood="bernoulli", learn_variance=False).fit(digits)
    np.testing.assert_array_equal(model.posterior(digits)[1], 1.0)
    assert model.encoder_.layers.weights[-1].shape == (32, 4)


@pytest.mark.filterwarnings("ignore:No entry of the code")
def test_free_bits_keep_units_alive(digits):
    strong = vae(8, likelihood="bernoulli", beta=4.0, max_iter=60, learning_rate_init=3e-3).fit(digits)
    assert not strong.active_units_.any()
    free = clone(strong).set_params(free_bits=0.1).fit(digits)
    assert free.active_units_.all()
    np.testing.assert_allclose(free.kl_per_unit_, 0.1, atol=0.03)
    assert free.score(digits) > strong.score(digits) + 1.0


def test_a_warm_up_that_does_not_end_is_refused_or_warned_of(digits):
    with pytest.warns(ConvergenceWarning, match="before the KL warm-up was over"):
        vae(likelihood="bernoulli", max_iter=3, kl_warmup=10).fit(digits)


# A face that never breaks


@pytest.mark.parametrize("device", ["cpu", "torch:cpu"])
@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_the_same_seed_gives_the_same_model(likelihood, device, digits):
    if device != "cpu":
        pytest.importorskip("torch")
    model = vae(likelihood=likelihood, device=device, max_iter=3).fit(digits)
    again = clone(model).fit(digits)
    np.testing.assert_array_equal(model.transform(digits), again.transform(digits))
    on_cpu = clone(model).set_params(device="cpu").fit(digits)
    np.testing.assert_allclose(model.transform(digits), on_cpu.transform(digits), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(model.score_samples(digits), on_cpu.score_samples(digits), rtol=1e-6)


def test_pickles_have_the_same_bits(fitted):
    model, X = fitted
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.score_samples(X[:50]), model.score_samples(X[:50]))
    np.testing.assert_array_equal(copy.sample(3, random_state=1), model.sample(3, random_state=1))


def test_hidden_layers_as_in_scikit_learn(digits):
    sizes = (np.array([8, 5]), [8, 5], (8, 5))
    models = [vae(hidden_layer_sizes=given, max_iter=2, tol=0).fit(digits) for given in sizes]
    assert all(np.array_equal(model.transform(digits), models[0].transform(digits)) for model in models)
    assert vae(hidden_layer_sizes=8, max_iter=2, tol=0).fit(digits).energy_.decoder.layers.weights[0].shape[1] == 8


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtypes(dtype, digits):
    X = digits.astype(dtype)
    model = vae(likelihood="bernoulli", max_iter=3).fit(X)
    for out in (*model.posterior(X), model.transform(X), model.inverse_transform(model.transform(X)), model.sample(2)):
        assert out.dtype == dtype
    assert model.score_samples(X).dtype == model.energy(X).dtype == np.float64
    np.testing.assert_allclose(model.score(digits), model.score(X), rtol=1e-5)


def test_the_unit_of_the_data_changes_nothing(planted):
    model = vae(max_iter=5).fit(planted)
    other = clone(model).fit(1000.0 * planted + 5000.0)
    np.testing.assert_allclose(
        other.transform(1000.0 * planted + 5000.0), model.transform(planted), rtol=1e-6, atol=1e-8
    )
    assert other.scale_ == pytest.approx(1000.0 * model.scale_, rel=1e-9)
    assert other.score(1000.0 * planted + 5000.0) == pytest.approx(model.score(planted) - 20 * np.log(1000.0), rel=1e-9)


@pytest.mark.filterwarnings("ignore:No entry of the code")
def test_no_fit_ends_in_nan():
    """Two hundred fits over rates, scales and constant columns: each converges, or says what to change."""
    X = np.random.default_rng(0).normal(size=(60, 4)) @ np.random.default_rng(1).normal(size=(4, 6))
    for rate in np.geomspace(1e-4, 1.0, 10):
        for scale in np.geomspace(1e-3, 1e3, 5):
            for constant in (False, True):
                for likelihood in ("gaussian", "bernoulli"):
                    check_one_fit(X, rate, scale, constant, likelihood)


def check_one_fit(X, rate, scale, constant, likelihood):
    X = scale * X
    if constant:
        X = np.hstack([X, np.full((len(X), 2), scale)])
    model = vae(2, hidden_layer_sizes=(8,), likelihood=likelihood, learning_rate_init=rate, tol=1e-4, max_iter=60)
    if likelihood == "bernoulli":
        X = (X - X.min()) / (X.max() - X.min())
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model.fit(X)
    messages = [str(w.message) for w in told if issubclass(w.category, ConvergenceWarning)]
    assert not [w for w in told if issubclass(w.category, RuntimeWarning)]
    if not any("Raise max_iter" in m or "Lower learning_rate_init" in m for m in messages):
        assert clone(model).set_params(max_iter=200).fit(X).n_iter_ == model.n_iter_  # it had come to rest
    for values in (model.energy_history_, model.transform(X), model.score_samples(X), *model._parameters.values()):
        assert np.isfinite(values).all()


def test_a_loss_that_grows_is_rolled_back_with_a_warning(digits):
    with pytest.warns(ConvergenceWarning, match="Lower learning_rate_init"):
        model = vae(scale=1e-3, learning_rate_init=10.0, max_iter=20).fit(digits)
    assert np.isfinite(model.score_samples(digits)).all()


def test_learning_stops_by_itself(digits):
    model = vae(2, likelihood="bernoulli", learning_rate_init=1e-2, tol=1e-2, max_iter=500).fit(digits)
    assert model.n_iter_ < 200
    assert model.validation_loss_history_[-1] < model.validation_loss_history_[0]


def test_the_best_weights_are_kept(digits):
    """At a rate that makes the held-out loss jump, what is kept is judged as well as the best pass was."""
    model = vae(2, likelihood="bernoulli", learning_rate_init=0.02, max_iter=25).fit(digits)
    history = model.validation_loss_history_
    assert history[-1] > history.min()
    shorter = clone(model).set_params(max_iter=int(history.argmin()) + 1).fit(digits)
    np.testing.assert_array_equal(shorter.transform(digits), model.transform(digits))


def test_a_stream(digits):
    model = vae(likelihood="bernoulli", learning_rate_init=3e-3)
    order = np.random.RandomState(0)
    for _ in range(15):
        for rows in np.array_split(order.permutation(len(digits)), 10):
            model.partial_fit(digits[rows])
    assert model.n_iter_ == len(model.energy_history_) == 150
    assert model.energy_history_[-10:].mean() < 0.85 * model.energy_history_[:5].mean()
    assert model.kl_per_unit_.shape == (4,)
    assert model.kl_history_.shape == (150,)
    with pytest.raises(AttributeError, match="No rows were held out"):
        model.validation_loss_history_  # noqa: B018
    with pytest.raises(ValueError, match="63 features"):
        model.partial_fit(digits[:, 1:])
    assert model.n_iter_ == 150


def test_a_stream_goes_on_after_fit(digits):
    model = vae(likelihood="bernoulli").fit(digits)
    before = model.score(digits)
    model.partial_fit(digits)
    assert model.n_iter_ == len(model.energy_history_) == len(model.kl_history_) == 11
    assert abs(model.score(digits) - before) < 1.0


def test_samples_with_and_without_noise(fitted, linear, planted):
    model, _ = fitted
    assert set(np.unique(model.sample(50, random_state=0, noise=True))) <= {0.0, 1.0}
    np.testing.assert_array_equal(model.sample(5, random_state=3), model.sample(5, random_state=3))
    drawn = linear.sample(20_000, random_state=0, noise=True)
    spread = np.linalg.eigvalsh(np.cov(drawn.T))
    np.testing.assert_allclose(spread[-5:], np.linalg.eigvalsh(np.cov(planted.T))[-5:], rtol=0.1)
    np.testing.assert_allclose(spread[:-5], linear.scale_**2, rtol=0.1)


def test_wrong_input_is_refused(digits):
    for params, message in (
        ({"hidden_layer_sizes": (8, 0)}, "whole numbers"),
        ({"hidden_layer_sizes": np.array([8.5])}, "whole numbers"),
        ({"likelihood": "bernoulli", "scale": 2.0}, "has none"),
        ({"activation": "softplus"}, "activation"),
        ({"beta": -1.0}, "beta"),
        ({"device": "tpu"}, "device"),
    ):
        with pytest.raises(ValueError, match=message):
            vae(**params).fit(digits)
    with pytest.raises(ValueError, match="overflow"):
        vae().fit(1e200 * digits)
    with pytest.raises(ValueError, match="scale"):
        vae(scale=1e-300).fit(digits)
    with pytest.raises(ValueError, match=r"takes X within 0\.\.1, but X goes from 0 to 16"):
        vae(likelihood="bernoulli").fit(16.0 * digits)
    model = vae(likelihood="bernoulli", max_iter=2).fit(digits)
    with pytest.raises(ValueError, match=r"within 0\.\.1"):
        model.score_samples(digits - 1.0)
    with pytest.raises(ValueError, match="n_samples"):
        model.sample(0)
    with pytest.raises(ValueError, match="n_importance_samples"):
        model.score_samples(digits, n_importance_samples=0)
    with pytest.raises(ValueError, match="must have shape"):
        model.inverse_transform(np.zeros((3, 5)))


def test_what_shapes_the_model_is_frozen_by_fit(digits):
    model = vae(likelihood="bernoulli", max_iter=2).fit(digits)
    expected = model.transform(digits)
    model.set_params(n_components=9, beta=7.0, activation="tanh", likelihood="gaussian", learn_variance=False)
    with pytest.warns(UserWarning, match="n_components, activation, .*beta.* changed since fit"):
        codes = model.transform(digits)
    np.testing.assert_array_equal(codes, expected)


def test_in_pipelines_and_searches(digits):
    labels = load_digits().target
    pipeline = make_pipeline(StandardScaler(), vae(8, max_iter=20), KNeighborsClassifier(5))
    assert pipeline.fit(digits, labels).score(digits, labels) > 0.7
    search = GridSearchCV(vae(max_iter=15), {"beta": [1.0, 100.0]}, cv=2).fit(digits)
    assert search.best_params_ == {"beta": 1.0}


def test_log_variances_are_bounded(digits):
    model = vae(likelihood="bernoulli", max_iter=2).fit(digits)
    far = np.clip(1e6 * np.abs(digits), 0.0, 1.0)
    _, variance = model.posterior(far)
    assert (np.abs(np.log(variance)) <= MOST_LOG_VARIANCE).all()


@pytest.mark.parametrize("split", range(3))
def test_one_outlier_does_not_stop_learning(split):
    """Whichever part it falls into: batches that hold it say nothing of growth."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 6)) + 0.1 * rng.normal(size=(400, 6))
    X[3] *= 10
    model = vae(3, hidden_layer_sizes=(16,), batch_size=64, max_iter=100, random_state=split).fit(X)
    assert model.n_iter_ == 100
    spread = X.var(axis=0).mean()
    ball = -0.5 * (np.sum((X - X.mean(axis=0)) ** 2, axis=1) / spread + 6 * np.log(2 * np.pi * spread))
    assert model.score(X) > ball.mean() + 0.5  # of one round Gaussian


def test_heavy_tails_are_learned():
    X = np.random.default_rng(0).standard_t(3, (1000, 6))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model = vae(3, max_iter=60, tol=1e-4).fit(X)
    assert not [w for w in told if "diverged" in str(w.message)]
    assert model.validation_loss_history_.min() < model.validation_loss_history_[0]


def test_parameters_are_checked_at_each_batch(digits):
    model = vae(likelihood="bernoulli").partial_fit(digits)
    for params in ({"learning_rate_init": -0.01}, {"beta": "x"}, {"free_bits": -5.0}):
        with pytest.raises(ValueError, match=next(iter(params))):
            clone(model).set_params(**params).partial_fit(digits)
        with pytest.raises(ValueError, match=next(iter(params))):
            pickle.loads(pickle.dumps(model)).set_params(**params).partial_fit(digits)


def test_a_first_batch_of_few_rows_is_warned_of(digits):
    with pytest.warns(UserWarning, match="Begin with more rows"):
        vae().partial_fit(digits[:2])


@pytest.mark.parametrize("constant", [0.1, 3.0, 1e6 + 0.1])
def test_rounding_is_no_spread(constant):
    with pytest.warns(UserWarning, match="collapsed"):
        model = vae(2, max_iter=3).fit(np.full((41, 4), constant))
    assert 0.1 < model.scale_ < 10.0


@pytest.mark.parametrize(("dtype", "scales"), [(np.float32, (1e-21, 1e21)), (np.float64, (1e-160, 1e153))])
def test_spreads_whose_squares_are_no_numbers_are_refused(dtype, scales, planted):
    for scale in scales:
        with pytest.raises(ValueError, match=r"Rescale X|overflow|vanish"):
            vae().fit((scale * planted).astype(dtype))


def test_constant_data():
    with pytest.warns(UserWarning, match="collapsed"):
        model = vae(2, max_iter=3).fit(np.ones((20, 3)))
    assert np.isfinite(model.score_samples(np.ones((2, 3)))).all()
    np.testing.assert_allclose(model.inverse_transform(model.transform(np.ones((2, 3)))), 1.0, atol=2.0)


def test_sparse_and_streamed_rows(digits):
    from scipy import sparse

    model = vae(likelihood="bernoulli", max_iter=2).fit(digits)
    rows = sparse.csr_matrix(digits)
    same = clone(model).fit(rows)
    np.testing.assert_allclose(same.transform(rows), model.transform(digits), rtol=1e-10, atol=1e-12)
