"""Scores that rank lmbda, and the coder that chooses lmbda by them."""

import numpy as np
import pytest
from problems import random_dictionary
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import KFold, LeaveOneOut, ShuffleSplit

from skrlv import FISTACoder, SparseCoder, SparseCoderCV, lmbda_grid
from skrlv.models.hold_out import hold_out, mixed

both = pytest.mark.parametrize("Coder", [SparseCoder, FISTACoder])
LEVELS = [0.1, 0.25, 0.5]  # of noise, on pixels in 0..1


@pytest.fixture(scope="module")
def shuffled(digits):
    return digits[np.random.RandomState(0).permutation(len(digits))]


@pytest.fixture(scope="module")
def atoms():
    return random_dictionary(80, 64)


def noisy(X, level):
    return X + np.random.RandomState(1).normal(scale=level, size=X.shape)


def denoising_error(coder, X, clean):
    return np.mean((coder.inverse_transform(coder.transform(X)) - clean) ** 2)


# the figure


@pytest.mark.parametrize("level", LEVELS)
def test_the_chosen_lmbda_denoises_nearly_best(level, shuffled):
    X, train, test = noisy(shuffled, level), slice(600), slice(600, 1000)
    lmbdas, settings = level * 1.5 ** np.arange(-2.0, 4.0), {"max_iter": 15, "random_state": 0}
    chooses = SparseCoderCV(64, lmbdas=lmbdas, cv=ShuffleSplit(1, random_state=0), **settings).fit(X[train])
    coders = [SparseCoder(64, lmbda=lmbda, **settings).fit(X[train]) for lmbda in lmbdas]
    scores = [coder.score(X[test]) for coder in coders]
    for rows in (train, test):
        errors = [denoising_error(coder, X[rows], shuffled[rows]) for coder in coders]
        assert 0 < np.argmin(errors) < len(lmbdas) - 1
        assert denoising_error(chooses, X[rows], shuffled[rows]) <= 1.2 * min(errors)
        assert errors[np.argmax(scores)] <= 1.2 * min(errors)


@pytest.mark.parametrize("level", LEVELS)
def test_on_given_atoms_it_does_for_local_data_too(level, rng):
    # each atom is a feature: nothing tells what a hidden feature holds, but of a mixture the others do
    clean = 5.0 * rng.normal(size=(500, 64)) * (rng.random((500, 64)) < 0.05)
    lmbdas, X = level * 1.5 ** np.arange(-3.0, 6.0), clean + rng.normal(scale=level, size=clean.shape)
    coder = SparseCoderCV(dictionary=np.eye(64), lmbdas=lmbdas).fit(X)
    errors = [denoising_error(SparseCoder(dictionary=np.eye(64), lmbda=t).fit(X), X, clean) for t in lmbdas]
    assert denoising_error(coder, X, clean) <= 1.2 * min(errors)


# the score


def test_mixed_features_are_a_fixed_orthonormal_basis(rng):
    for n_features in (1, 2, 7, 64):
        basis = mixed(np.eye(n_features))
        np.testing.assert_allclose(basis @ basis.T, np.eye(n_features), atol=1e-12)
    assert np.abs(basis).max() < 0.2  # no direction is one feature
    assert mixed(rng.normal(size=(2, 5)).astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("n_features", [2, 5, 64])
def test_each_feature_is_hidden_once(n_features):
    folds = hold_out(SparseCoder(dictionary=np.eye(n_features), lmbda=0.1).fit(np.eye(n_features)).energy_)
    np.testing.assert_array_equal(np.sort(np.concatenate([fold.hidden for fold in folds])), np.arange(n_features))
    for fold in folds:
        np.testing.assert_array_equal(np.sort(np.concatenate([fold.seen, fold.hidden])), np.arange(n_features))


@both
def test_score_is_the_r2_of_what_was_hidden(Coder, digits, atoms):
    X, D = mixed(digits[:60]), mixed(atoms)
    coder = Coder(dictionary=atoms, lmbda=0.4, code_tol=1e-9, **_patience(Coder)).fit(digits[:60])
    error = 0.0
    for seen, hidden, *_ in hold_out(coder.energy_):
        part = Coder(dictionary=D[:, seen], lmbda=0.4, code_tol=1e-9, **_patience(Coder))
        error += np.sum((X[:, hidden] - part.fit_transform(X[:, seen]) @ D[:, hidden]) ** 2)
    expected = 1.0 - error / np.sum((digits[:60] - digits[:60].mean(axis=0)) ** 2)
    assert coder.score(digits[:60]) == pytest.approx(expected, abs=1e-6)


def _patience(Coder):
    return {"code_max_iter": 100_000} if Coder is FISTACoder else {}


@both
def test_score_keeps_to_the_unit_of_the_data(Coder, digits, atoms):
    scores = [
        Coder(dictionary=atoms, lmbda=0.4 * unit, code_tol=1e-8, **_patience(Coder)).fit(X).score(X)
        for unit in (1e-3, 1.0, 255.0)
        for X in [digits[:60] * unit]
    ]
    np.testing.assert_allclose(scores, scores[0], rtol=1e-6)


@both
def test_score_is_the_same_for_every_way_to_ask(Coder, digits, atoms):
    X = digits[:300]
    coder = Coder(dictionary=atoms, lmbda=0.4).fit(X)
    score = coder.score(X)
    assert isinstance(score, float)
    assert coder.score(X) == coder.score(sparse.csr_matrix(X)) == score
    assert coder.score(X[::-1]) == pytest.approx(score, rel=1e-6)
    single = Coder(dictionary=atoms.astype(np.float32), lmbda=0.4).fit(X.astype(np.float32))
    assert single.score(X.astype(np.float32)) == pytest.approx(score, abs=1e-4)


def test_score_does_not_depend_on_n_jobs(digits, atoms):
    coder = SparseCoder(dictionary=atoms, lmbda=0.4).fit(digits)
    assert coder.set_params(n_jobs=1).score(digits) == coder.set_params(n_jobs=2).score(digits)


@pytest.mark.filterwarnings("ignore:With lmbda")
@pytest.mark.parametrize("regularizer", ["l1", "elastic_net", "group_l1", "l0"])
def test_the_best_score_of_any_regularizer_denoises_best(regularizer, rng):
    D = random_dictionary(60, 40)
    clean = rng.normal(size=(60, 60)) * (rng.random((60, 60)) < 0.05) @ D
    X, scores, errors = clean + rng.normal(scale=0.1, size=clean.shape), [], []
    for lmbda in (1.0, 0.1, 0.03, 0.005):
        coder = FISTACoder(dictionary=D, lmbda=lmbda, regularizer=regularizer, code_tol=1e-4, code_max_iter=20_000)
        errors.append(denoising_error(coder.fit(X), X, clean))
        scores.append(coder.score(X))
    assert np.argmax(scores) == np.argmin(errors)


# the choice


@pytest.fixture(scope="module")
def fitted(shuffled):
    return SparseCoderCV(16, lmbdas=[0.1, 1.6, 0.4], cv=3, random_state=0).fit(noisy(shuffled[:300], 0.25))


def test_the_best_score_is_chosen(fitted):
    np.testing.assert_array_equal(fitted.lmbdas_, [1.6, 0.4, 0.1])
    assert fitted.scores_.shape == (3,)
    assert fitted.lmbda_ == fitted.lmbdas_[np.argmax(fitted.scores_)]


def along_path(X, lmbdas):
    """Coders learned from X at each lmbda, each from the atoms of the last."""
    coders, init = [], None
    for lmbda, passes in zip(lmbdas, [100, *(len(lmbdas) - 1) * [3]], strict=True):
        coders.append(SparseCoder(16, lmbda=lmbda, max_iter=passes, dictionary_init=init, random_state=0).fit(X))
        init = coders[-1].components_
    return coders


@pytest.mark.filterwarnings("ignore:With lmbda")
def test_the_model_goes_on_from_the_end_of_its_path(fitted, shuffled):
    X, best = noisy(shuffled[:300], 0.25), np.argmax(fitted.scores_)
    end = along_path(X, fitted.lmbdas_[: best + 1])[-1]
    model = SparseCoder(16, lmbda=fitted.lmbda_, dictionary_init=end.components_)
    first = model.fit(X).energy_history_[0]
    assert fitted.energy_history_[0] == pytest.approx(first, rel=1e-2)  # other batches, the same start
    assert fitted.energy(X).mean() <= SparseCoder(16, lmbda=fitted.lmbda_, random_state=0).fit(X).energy(X).mean()


@pytest.mark.filterwarnings("ignore:With lmbda")
def test_rows_are_scored_by_atoms_learned_on_others(fitted, shuffled):
    X = noisy(shuffled[:300], 0.25)
    error = np.zeros(3)
    for learned, left_out in KFold(3).split(X):
        spread = np.sum((X[left_out] - X[left_out].mean(axis=0)) ** 2)
        error += [(1.0 - c.score(X[left_out])) * spread for c in along_path(X[learned], fitted.lmbdas_)]
    np.testing.assert_allclose(fitted.scores_, 1.0 - error / np.sum((X - X.mean(axis=0)) ** 2), rtol=1e-9)


def planted(noise):
    rng = np.random.RandomState(7)
    atoms, codes = rng.laplace(size=(30, 24)), np.zeros((1400, 30))
    for row in codes:
        row[rng.choice(30, 3, replace=False)] = rng.uniform(1, 3, 3) * rng.choice([-1, 1], 3)
    X = codes @ (atoms / np.linalg.norm(atoms, axis=1, keepdims=True))
    return X + noise * rng.normal(size=X.shape)


def test_every_lmbda_of_a_path_is_judged_with_atoms_that_have_learned():
    """As little as two values, and the first has no path behind it."""
    X = planted(0.25)
    chosen = SparseCoderCV(30, lmbdas=[0.4, 0.1], random_state=0).fit(X[:700])
    assert chosen.lmbda_ == 0.4
    assert chosen.score(X[700:]) == pytest.approx(chosen.scores_[0], abs=0.05)


@pytest.mark.filterwarnings("ignore:With lmbda")
def test_the_scores_are_those_of_atoms_like_the_model_s():
    """A path from few codes to many leads to atoms that a start at many does not find."""
    X = planted(0.02)
    coder = SparseCoderCV(30, lmbdas=np.geomspace(2, 0.02, 12), cv=3, random_state=0).fit(X[:500])
    assert coder.score(X[500:]) == pytest.approx(coder.scores_.max(), abs=0.01)


def test_blank_rows_do_not_decide():
    X = np.vstack([np.full((130, 24), 0.1), planted(0.2)[:500]])
    coder = SparseCoderCV(30, lmbdas=[0.1, 0.8], random_state=0).fit(X)
    assert coder.lmbda_ == 0.1
    assert coder.score(X[:7]) == 0.0


def test_rows_left_out_one_by_one_are_scored_together(atoms, shuffled):
    scores = SparseCoderCV(4, lmbdas=[2.0, 0.5], cv=LeaveOneOut(), random_state=0).fit(shuffled[:12]).scores_
    assert np.isfinite(scores).all()
    assert scores[0] != scores[1]


@pytest.mark.parametrize("cv", [[], [(np.array([], int), np.arange(5))], [(np.arange(5), np.array([], int))]])
def test_folds_without_rows_are_refused(cv, shuffled):
    with pytest.raises(ValueError, match="cv="):
        SparseCoderCV(4, lmbdas=[2.0, 0.5], cv=cv).fit(shuffled[:12])


def test_one_path_on_given_atoms_gives_the_score_of_each_lmbda(shuffled, atoms):
    X, lmbdas = shuffled[:300], [1.0, 0.5, 0.25, 0.1]
    coder = SparseCoderCV(dictionary=atoms, lmbdas=lmbdas, code_tol=1e-10).fit(X)
    apart = [SparseCoder(dictionary=atoms, lmbda=lmbda, code_tol=1e-10).fit(X).score(X) for lmbda in lmbdas]
    np.testing.assert_allclose(coder.scores_, apart, atol=1e-8)
    np.testing.assert_array_equal(coder.components_, atoms)
    assert coder.n_iter_ == 0


def test_the_grid_has_narrow_steps_between_useful_ends(shuffled, atoms):
    X = shuffled[:300]
    lmbdas = SparseCoderCV(dictionary=atoms).fit(X).lmbdas_
    first, dense = lmbda_grid(X, atoms, n=2)
    np.testing.assert_allclose(lmbdas[[0, -1]], [first, dense])
    assert (lmbdas[:-1] / lmbdas[1:]).max() <= 1.5 + 1e-12


def test_a_choice_is_repeated(fitted, shuffled):
    X = noisy(shuffled[:300], 0.25)
    for again in (clone(fitted).fit(X), clone(fitted).set_params(n_jobs=1).fit(X)):
        np.testing.assert_array_equal(again.scores_, fitted.scores_)
        np.testing.assert_array_equal(again.components_, fitted.components_)


@pytest.mark.parametrize("lmbdas", [[], [[1.0]], [-1.0, 1.0], [np.nan], ["a"], 0.5])
def test_bad_lmbdas_are_refused(lmbdas, shuffled):
    with pytest.raises(ValueError, match="lmbdas"):
        SparseCoderCV(8, lmbdas=lmbdas).fit(shuffled[:50])


@pytest.mark.filterwarnings("ignore:X is almost constant", "ignore:With lmbda")
@pytest.mark.parametrize("X", [np.zeros((6, 4)), np.ones((6, 4)), np.arange(1.0, 7.0)[:, None]])
def test_degenerate_data(X):
    coder = SparseCoderCV(3, cv=2, random_state=0).fit(X)
    assert np.isfinite(coder.transform(X)).all()
    assert np.isfinite(coder.scores_).all()
