"""Outliers by their energy."""

import pickle

import numpy as np
import pytest
from estimators import MODELS, data, names, seeded
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn_checks import scikit_learn_checks

from skrlv import SparseCoder, VariationalAutoencoder
from skrlv.outliers import EnergyOutlierDetector

X = load_digits().data / 16
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("estimator", MODELS, ids=names(MODELS))
def test_any_model_detects(estimator):
    rows = data(estimator, n_samples=30)
    detector = EnergyOutlierDetector(seeded(estimator), contamination=0.2).fit(rows)
    scores = detector.score_samples(rows)
    np.testing.assert_allclose(scores, detector.estimator_.score_samples(rows))
    np.testing.assert_array_equal(detector.decision_function(rows), scores - detector.offset_)
    found = detector.predict(rows)
    assert set(found) == {-1, 1}
    assert np.mean(found == -1) == pytest.approx(0.2, abs=1 / 30 + 1e-9)
    np.testing.assert_array_equal(clone(detector).fit_predict(rows), found)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(detector)).predict(rows), found)


MODELS_OF_CHECKS = [
    SparseCoder(4, max_iter=2, random_state=0),
    VariationalAutoencoder(2, hidden_layer_sizes=(4,), max_iter=2, random_state=0),
]


@scikit_learn_checks([EnergyOutlierDetector(model) for model in MODELS_OF_CHECKS])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_noise_is_an_outlier_among_digits():
    noise = np.random.default_rng(0).uniform(size=(200, 64))
    detector = EnergyOutlierDetector(SparseCoder(32, random_state=0), contamination=0.02).fit(X[:1000])
    assert (detector.predict(noise) == -1).all()
    assert np.mean(detector.predict(X[1000:]) == -1) < 0.1


def test_a_pipeline_is_a_model():
    detector = EnergyOutlierDetector(make_pipeline(StandardScaler(), PCA(20), SparseCoder(16, random_state=0)))
    detector.fit(X[:500])
    assert detector.n_features_in_ == 64
    labels = np.r_[np.zeros(500), np.ones(100)]
    noise = np.random.default_rng(0).uniform(size=(100, 64))
    assert roc_auc_score(labels, -detector.score_samples(np.vstack([X[500:1000], noise]))) > 0.99


def test_a_fit_that_fails_changes_nothing():
    detector = EnergyOutlierDetector(SparseCoder(4, max_iter=2, random_state=0)).fit(X[:100])
    offset, before = detector.offset_, detector.predict(X)
    with pytest.raises(ValueError, match="NaN"):
        detector.fit(np.full((10, 64), np.nan))
    assert detector.offset_ == offset
    np.testing.assert_array_equal(detector.predict(X), before)


@pytest.mark.parametrize("contamination", [0.0, 0.6, -0.1, "auto", True])
def test_a_wrong_contamination_is_refused(contamination):
    with pytest.raises(ValueError, match="contamination"):
        EnergyOutlierDetector(SparseCoder(4), contamination=contamination).fit(X)


def test_an_estimator_without_scores_is_refused():
    with pytest.raises(ValueError, match="estimator"):
        EnergyOutlierDetector(StandardScaler()).fit(X)
