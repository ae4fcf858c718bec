"""Displays: what was drawn, read back from the axes."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skrlv import ConvSparseCoder, LISTAEncoder, SparseCoder, SparseCoderCV, VariationalAutoencoder, lmbda_path
from skrlv.encoders import LISTA
from skrlv.inference import fista, ista
from skrlv.plotting import (
    CodesDisplay,
    DictionaryDisplay,
    EnergyDisplay,
    LandscapeDisplay,
    LatentDisplay,
    LmbdaPathDisplay,
    ManifoldDisplay,
    ReconstructionDisplay,
    UnrolledDisplay,
)

plt = pytest.importorskip("matplotlib.pyplot")

X, Y = load_digits(return_X_y=True)
X = X / 16.0
IMAGES = load_digits().images / 16.0


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def coder():
    return SparseCoder(12, lmbda=0.5, max_iter=3, tol=0, random_state=0).fit(X[:300])


@pytest.fixture(scope="module")
def vae():
    return VariationalAutoencoder(3, hidden_layer_sizes=(8,), max_iter=3, tol=0, random_state=0).fit(X[:200])


def picture(ax):
    return np.ma.filled(ax.images[0].get_array().astype(float), np.nan)


# All


def every_display(coder, vae):
    yield lambda ax: DictionaryDisplay.from_estimator(coder, image_shape=(8, 8), ax=ax)
    yield lambda ax: CodesDisplay.from_estimator(coder, X[:20], ax=ax)
    yield lambda ax: ReconstructionDisplay.from_estimator(coder, X[0], ax=ax)
    yield lambda ax: EnergyDisplay.from_estimator(coder, ax=ax)
    yield lambda ax: LandscapeDisplay.from_estimator(coder, X[:20], n_per_side=5, ax=ax)
    yield lambda ax: UnrolledDisplay.from_inference(coder.energy_.given(X[:5]), ax=ax)
    yield lambda ax: LandscapeDisplay.from_landscape(coder.energy_.given(X[:2]), n_steps=3, n_per_side=5, ax=ax)
    yield lambda ax: LmbdaPathDisplay.from_path(lmbda_path(X[:20], coder.components_, [1.0, 0.5]), ax=ax)
    yield lambda ax: LatentDisplay.from_estimator(vae, X[:20], ax=ax)
    yield lambda ax: ManifoldDisplay.from_estimator(vae, image_shape=(8, 8), n_per_side=3, ax=ax)


def test_a_display_draws_on_the_axes_it_is_given_and_again_on_others(coder, vae):
    for draw in every_display(coder, vae):
        ax = plt.figure().add_subplot()
        display = draw(ax)
        assert display.ax_ is ax
        assert display.figure_ is ax.figure
        other = draw(None)
        assert other.ax_ is not ax
        assert other.figure_ is other.ax_.figure


# Dictionary


def test_atoms_are_sorted_by_use(coder):
    display = DictionaryDisplay.from_estimator(coder, image_shape=(8, 8), n_atoms=5)
    np.testing.assert_array_equal(display.order_, np.argsort(-coder.atom_usage_, kind="stable")[:5])
    first = coder.components_[display.order_[0]].reshape(8, 8)
    np.testing.assert_allclose(picture(display.ax_)[1:9, 1:9], first / np.abs(first).max())


def test_given_atoms_keep_their_order():
    given = SparseCoder(dictionary=X[:4], lmbda=0.5).fit(X[:20])
    np.testing.assert_array_equal(DictionaryDisplay.from_estimator(given, image_shape=(8, 8)).order_, range(4))


@pytest.mark.parametrize("kind", ["line", "spectrum"])
def test_lines_have_the_shape_of_the_atoms(kind, coder):
    positions = np.linspace(400.0, 700.0, 64)
    display = DictionaryDisplay.from_estimator(coder, kind=kind, n_atoms=3, positions=positions)
    lines = [line for line in display.ax_.lines if len(line.get_xdata()) == 64]
    assert len(lines) == 3
    for i, line in enumerate(lines):
        atom = coder.components_[display.order_[i]]
        np.testing.assert_array_equal(line.get_xdata(), positions)
        np.testing.assert_allclose(line.get_ydata(), -i + 0.45 * atom / np.abs(atom).max())
    assert len(display.ax_.collections) == (3 if kind == "spectrum" else 0)


def test_kernels_of_series_are_lines_one_per_channel(rng):
    display = DictionaryDisplay(rng.normal(size=(14, 9, 2))).plot(kind="line")
    assert sum(len(line.get_xdata()) == 9 for line in display.ax_.lines) == 28


def test_what_cannot_be_drawn_is_refused(coder):
    with pytest.raises(ValueError, match="kind='bars'"):
        DictionaryDisplay.from_estimator(coder, kind="bars")
    with pytest.raises(ValueError, match="positions has shape"):
        DictionaryDisplay.from_estimator(coder, positions=np.arange(3))
    with pytest.raises(ValueError, match="usage has shape"):
        DictionaryDisplay(np.eye(3), usage=np.ones(2))
    with pytest.raises(ValueError, match="are no lines"):
        DictionaryDisplay(np.ones((2, 3, 3, 3))).plot(kind="line")


# Codes


@pytest.mark.parametrize("held", [np.asarray, sparse.csr_matrix], ids=["array", "CSR"])
def test_codes_are_sorted_by_class_and_by_use(held):
    codes = np.array([[0.0, 0.0, 1.0], [-2.0, 0.0, 3.0], [0.0, 0.0, 4.0]])
    ax = CodesDisplay(held(codes), labels=[1, 0, 1]).plot().ax_
    np.testing.assert_array_equal(picture(ax), [[3.0, -2.0, 0.0], [1.0, 0.0, 0.0], [4.0, 0.0, 0.0]])
    assert ax.images[0].get_clim() == (-4.0, 4.0)
    assert "44.4%" in ax.get_title()


def test_maps_of_one_image_are_tiles():
    coder = ConvSparseCoder(3, (4, 4), lmbda=0.5, max_iter=1, tol=0, random_state=0).fit(IMAGES[:40])
    maps = coder.encode(IMAGES[:1])[0]
    sheet = picture(CodesDisplay.from_estimator(coder, IMAGES[:1]).ax_)
    np.testing.assert_allclose(sheet[:5, :5], maps[..., 0])  # all in one scale
    np.testing.assert_allclose(sheet[:5, 6:11], maps[..., 1])
    np.testing.assert_allclose(sheet[6:11, :5], maps[..., 2])
    assert np.isnan(sheet[6:11, 6:11]).all()
    with pytest.raises(ValueError, match=r"X\[:1\]"):
        CodesDisplay.from_estimator(coder, IMAGES[:2])


def test_maps_of_one_series_are_rows():
    series = np.sin(np.arange(60.0) ** 1.2)[None]
    coder = ConvSparseCoder(3, 8, lmbda=0.3, max_iter=2, tol=0, random_state=0).fit(series)
    ax = CodesDisplay.from_estimator(coder, series).ax_
    np.testing.assert_array_equal(picture(ax), coder.encode(series)[0].T)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("position", "kernel")


def test_codes_and_atoms_are_drawn_in_one_order(coder):
    codes, atoms = CodesDisplay.from_estimator(coder, X[:30]), DictionaryDisplay.from_estimator(coder)
    np.testing.assert_array_equal(codes.order_, atoms.order_)
    np.testing.assert_array_equal(picture(codes.ax_), coder.transform(X[:30])[:, codes.order_])


def test_codes_of_at_least_zero_begin_at_zero():
    assert CodesDisplay(np.eye(3)).plot().ax_.images[0].get_clim() == (0.0, 1.0)


def test_classes_are_named():
    ax = CodesDisplay(np.eye(4), labels=["b", "a", "b", "a"]).plot().ax_
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    np.testing.assert_array_equal(ax.get_yticks(), [0.5, 2.5])


@pytest.mark.parametrize(
    "display", [DictionaryDisplay.from_estimator, lambda e: ReconstructionDisplay.from_estimator(e, X[0])]
)
def test_estimators_without_atoms_are_refused_by_name(display, vae, coder):
    with pytest.raises(TypeError, match="VariationalAutoencoder has no atoms"):
        display(vae)
    with pytest.raises(TypeError, match="step of the Pipeline"):
        display(make_pipeline(coder))


def test_a_sample_with_an_axis_of_samples_is_refused(coder):
    with pytest.raises(ValueError, match=r"x has shape \(1, 64\).*X\[0\]"):
        ReconstructionDisplay.from_estimator(coder, X[:1])


def test_labels_of_another_length_are_refused():
    with pytest.raises(ValueError, match="labels has shape"):
        CodesDisplay(np.eye(3), labels=[1, 2])


# Reconstruction


@pytest.mark.parametrize("split_sign", [False, True])
def test_the_terms_add_up_to_the_reconstruction(split_sign, coder):
    coder = SparseCoder(dictionary=coder.components_, lmbda=0.1, split_sign=split_sign).fit(X[:10])
    display = ReconstructionDisplay.from_estimator(coder, X[3], n_terms=100, image_shape=(8, 8))
    np.testing.assert_allclose(display.terms.sum(axis=0), display.reconstruction, atol=1e-12)
    lengths = np.linalg.norm(display.terms, axis=1)
    assert (np.diff(lengths) <= 1e-12).all()
    np.testing.assert_allclose(np.abs(display.coefficients), lengths)
    marks = [text.get_text() for text in display.ax_.texts]
    assert marks[:2] == ["sample", "sum of atoms"]
    assert len(marks) == 2 + len(lengths)
    for mark, term, coefficient in zip(marks[2:], display.terms, display.coefficients, strict=True):
        name, number = mark.split("\n")
        atom = coder.components_[int(name.removeprefix("atom "))]
        np.testing.assert_allclose(np.abs(term @ atom), np.abs(coefficient))
        assert number == f"{coefficient:+.3g}"


def test_the_terms_of_an_image_are_those_of_its_kernels():
    coder = ConvSparseCoder(3, (4, 4), lmbda=0.2, max_iter=1, tol=0, random_state=0).fit(IMAGES[:40])
    display = ReconstructionDisplay.from_estimator(coder, IMAGES[0])
    np.testing.assert_allclose(display.terms.sum(axis=0), display.reconstruction, atol=1e-12)


def test_a_sample_with_a_zero_code_is_drawn_without_terms(coder):
    display = ReconstructionDisplay.from_estimator(coder, np.zeros(64))
    assert len(display.terms) == 0


def test_a_model_without_atoms_is_refused(vae):
    with pytest.raises(TypeError, match="has no atoms"):
        ReconstructionDisplay.from_estimator(vae, X[0])


# Curves


def test_the_history_is_drawn(coder, vae):
    (line,) = EnergyDisplay.from_estimator(coder).ax_.lines
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(line.get_ydata(), coder.energy_history_)
    with_losses = EnergyDisplay.from_estimator(vae).ax_.lines
    np.testing.assert_array_equal(with_losses[1].get_ydata(), vae.validation_loss_history_)


def test_steps_of_inference_fall_towards_the_minimum(coder):
    display = EnergyDisplay.from_inference(coder.energy_.given(X[:10]), max_iter=50)
    assert display.ax_.get_yscale() == "log"
    ista, fista, _ = (line.get_ydata() for line in display.ax_.lines)
    assert len(ista) == 51
    assert np.nanmin(ista) >= 0.0
    assert fista[40] < ista[40]
    assert (np.diff(ista) <= 1e-12).all()


def test_scores_over_lmbda(coder):
    search = SparseCoderCV(dictionary=coder.components_, lmbdas=[1.0, 0.5, 0.1], cv=2).fit(X[:60])
    display = LmbdaPathDisplay.from_estimator(search)
    np.testing.assert_array_equal(display.ax_.lines[0].get_ydata(), search.scores_)
    assert display.ax_.lines[1].get_xdata()[0] == search.lmbda_
    grid = GridSearchCV(SparseCoder(dictionary=coder.components_), {"lmbda": [0.1, 1.0]}, cv=2).fit(X[:60])
    drawn = LmbdaPathDisplay.from_estimator(grid).ax_.lines[0]
    np.testing.assert_array_equal(drawn.get_xdata(), [1.0, 0.1])
    np.testing.assert_array_equal(drawn.get_ydata(), grid.cv_results_["mean_test_score"][::-1])
    both = GridSearchCV(SparseCoder(dictionary=coder.components_), {"lmbda": [0.1], "l2": [0.0]}, cv=2).fit(X[:60])
    with pytest.raises(ValueError, match="search over lmbda alone"):
        LmbdaPathDisplay.from_estimator(both)


def test_zero_is_left_out_of_a_logarithmic_axis(coder):
    path = lmbda_path(X[:20], coder.components_, [1.0, 0.1, 0.0])
    density, error = LmbdaPathDisplay.from_path(path).ax_.lines
    np.testing.assert_array_equal(density.get_xdata(), [1.0, 0.1])
    np.testing.assert_array_equal(density.get_ydata(), path.densities[:2])
    np.testing.assert_allclose(error.get_ydata(), path.errors[:2].mean(axis=1))


# Posteriors


def test_posteriors_of_two_units_are_ellipses(vae):
    mean, variance = vae.posterior(X[:20])
    display = LatentDisplay.from_estimator(vae, X[:20], np.array(list("ab" * 10)), units=(2, 0))
    ellipses = display.ax_.collections[0]
    np.testing.assert_allclose(ellipses.get_offsets(), mean[:, [2, 0]])
    np.testing.assert_allclose(ellipses.get_widths(), 2.0 * np.sqrt(variance[:, 2]))
    assert len(np.unique(ellipses.get_facecolor(), axis=0)) == 2
    assert display.ax_.get_xlabel() == "latent unit 2"


def test_the_manifold_is_decoded_codes(vae):
    display = ManifoldDisplay.from_estimator(vae, image_shape=(8, 8), units=(0, 1), n_per_side=3)
    sheet = picture(display.ax_)
    assert sheet.shape == (27, 27)
    assert np.isnan(sheet[8::9]).all()
    assert np.isnan(sheet[:, 8::9]).all()
    np.testing.assert_allclose(sheet[9:17, 9:17].ravel(), vae.inverse_transform(np.zeros((1, 3)))[0], atol=1e-12)
    upper_left = vae.inverse_transform(np.array([[-1.880794, 1.880794, 0.0]]))[0]
    np.testing.assert_allclose(sheet[:8, :8].ravel(), upper_left, atol=1e-5)


@pytest.mark.parametrize("units", [(0, 0), (0, 3), (-1, 0), (0, 1, 2)])
def test_units_that_are_not_two_are_refused(units, vae):
    with pytest.raises(ValueError, match="units="):
        LatentDisplay.from_estimator(vae, X[:5], units=units)
    with pytest.raises(ValueError, match="units="):
        ManifoldDisplay.from_estimator(vae, image_shape=(8, 8), units=units)


# What cannot be drawn


def test_estimators_that_are_not_fitted_or_of_another_kind_are_refused(coder):
    with pytest.raises(NotFittedError):
        DictionaryDisplay.from_estimator(SparseCoder(3))
    with pytest.raises(NotFittedError):
        CodesDisplay.from_estimator(SparseCoder(3), X[:5])
    with pytest.raises(NotFittedError):
        ReconstructionDisplay.from_estimator(SparseCoder(3), X[0])
    with pytest.raises(NotFittedError):
        EnergyDisplay.from_estimator(SparseCoder(3))
    with pytest.raises(NotFittedError):
        LatentDisplay.from_estimator(VariationalAutoencoder(2), X[:5])
    with pytest.raises(TypeError, match="has not chosen lmbda"):
        LmbdaPathDisplay.from_estimator(coder)
    with pytest.raises(TypeError, match="has no posteriors"):
        LatentDisplay.from_estimator(coder, X[:5])
    with pytest.raises(ValueError, match="methods="):
        EnergyDisplay.from_inference(coder.energy_.given(X[:5]), methods="ista")
    with pytest.raises(ValueError, match="at least one of"):
        LmbdaPathDisplay([1.0, 0.5])


# Landscapes


def test_a_landscape_is_the_free_energy_at_its_places():
    flat = X[:, [20, 42]] - X[:, [20, 42]].mean(axis=0)
    model = SparseCoder(3, lmbda=0.1, max_iter=3, tol=0, random_state=0).fit(flat)
    display = LandscapeDisplay.from_estimator(model, flat, n_per_side=7)
    for i, j in ((0, 0), (3, 5), (6, 2)):
        place = np.array([[display.x[j], display.y[i]]])
        assert display.values[i, j] == pytest.approx(model.free_energy(place)[0])
    np.testing.assert_allclose(display.ax_.collections[-1].get_offsets(), flat)
    soft = LandscapeDisplay.from_estimator(model, flat[:9], temperature=0.5, n_per_side=3)
    assert soft.values.shape == (3, 3)


def test_data_of_many_features_are_drawn_in_their_principal_plane(coder):
    display = LandscapeDisplay.from_estimator(coder, X[:50], n_per_side=4)
    components = PCA(2).fit_transform(X[:50])
    np.testing.assert_allclose(np.abs(display.points), np.abs(components), atol=1e-8)
    assert display.ax_.get_xlabel() == "principal component 0"


def test_paths_are_the_codes_of_each_step(coder):
    landscape = coder.energy_.given(X[:3])
    display = LandscapeDisplay.from_landscape(landscape, row=1, entries=(2, 5), n_steps=6, n_per_side=9)
    for name, method in (("ista", ista), ("fista", fista)):
        path = display.paths[name]
        assert path.shape == (7, 2)
        start = np.zeros((3, 12))
        np.testing.assert_allclose(path[4], method(landscape, start, max_iter=4, tol=0.0).z[1, [2, 5]], atol=1e-12)
    best = fista(landscape, max_iter=10_000, tol=1e-9).z[1:2]
    best[0, [2, 5]] = display.x[3], display.y[7]
    assert display.values[7, 3] == pytest.approx(coder.energy(X[1:2], best)[0])
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["ista", "fista"]


def test_forbidden_codes_stay_white():
    positive = SparseCoder(4, lmbda=0.3, positive=True, max_iter=2, random_state=0).fit(X[:50])
    display = LandscapeDisplay.from_landscape(positive.energy_.given(X[:1]), n_steps=2, n_per_side=9)
    assert np.isinf(display.values).any()
    assert np.isfinite(display.values).any()


def test_landscapes_of_a_wrong_shape(coder):
    with pytest.raises(ValueError, match="two or more features"):
        LandscapeDisplay.from_estimator(coder, X[:, :1])
    with pytest.raises(ValueError, match="must be two of the 12 entries"):
        LandscapeDisplay.from_landscape(coder.energy_.given(X[:1]), entries=(0, 12))
    with pytest.raises(ValueError, match="must be some of"):
        LandscapeDisplay.from_landscape(coder.energy_.given(X[:1]), methods="ista")
    with pytest.raises(ValueError, match="values has shape"):
        LandscapeDisplay([0, 1], [0, 1, 2], np.zeros((2, 3)))


# Unrolled graphs


@pytest.mark.parametrize("architecture", ["lista", "step", "alista", "hyperlista"])
def test_each_layer_has_the_energy_of_its_codes(architecture):
    encoder = LISTAEncoder(8, lmbda=0.4, architecture=architecture, n_layers=2, max_iter=3, tol=0, random_state=0)
    encoder.fit(X[:200])
    display = UnrolledDisplay.from_estimator(encoder, X[:50])
    assert display.energies.shape == (3,)
    assert display.energies[-1] == pytest.approx(encoder.energy(X[:50]).mean())
    assert display.least == pytest.approx(encoder.free_energy(X[:50]).mean())
    written = [text.get_text() for text in display.ax_.texts]
    assert all(f"{energy:.4g}" in written for energy in display.energies)
    assert written.count("S") == 2
    assert written.count("+ sh") == 2
    assert written.count("sh") == 1


def test_ista_has_the_layers_of_an_untrained_encoder(coder):
    landscape = coder.energy_.given(X[:20])
    display = UnrolledDisplay.from_inference(landscape, n_layers=3)
    untrained = LISTA.unrolled(coder.energy_.decoder, 0.5, 3)
    np.testing.assert_allclose(display.energies, [landscape(z).mean() for z in untrained.by_layer(X[:20])])
    assert display.least <= display.energies.min()


def test_encoders_without_layers_are_refused(coder, vae):
    for model in (coder, vae):
        with pytest.raises((TypeError, AttributeError), match=r"no layers|no encoder"):
            UnrolledDisplay.from_estimator(model, X)
    with pytest.raises(ValueError, match="1 to 12 numbers"):
        UnrolledDisplay(np.ones(13))


def test_one_latent_unit_is_no_plane():
    with pytest.raises(ValueError, match="at least two latent units"):
        LatentDisplay(np.zeros((3, 1)), np.ones((3, 1))).plot()
