"""Outlier detection: the energy of a model beside IsolationForest, LOF, OneClassSVM and the error of PCA.

    python benchmarks/outliers.py [--draws 3]

Each task has a class of outliers that no detector sees in training: one digit of ten for each of the ten digits, one
kind of wine, malignant tumours. A draw takes half of the other rows for training; the rest and the outliers are ranked.
All detectors see the same rows, in [0, 1] for the digits and standardised otherwise. No setting is chosen by the
outliers: the models have 32 atoms (tables: as many as features), lmbda is "auto"; PCA keeps 90 % of the variance; the
others have the defaults of scikit-learn.

The table shows the area under the ROC curve in %, the mean over draws (and over digits).
"""

import argparse

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from skrlv import SparseCoder, VariationalAutoencoder
from skrlv.outliers import EnergyOutlierDetector


class PCAError:
    """The squared distance from the principal subspace."""

    def fit(self, X):
        self.pca = PCA(0.9).fit(X)
        return self

    def score_samples(self, X):
        return -np.sum((X - self.pca.inverse_transform(self.pca.transform(X))) ** 2, axis=1)


def detectors(n_atoms, positive, seed):
    sparse = SparseCoder(n_atoms, positive=positive, positive_dictionary=positive, random_state=seed)
    likelihood = "bernoulli" if positive else "gaussian"
    return {
        "SparseCoder": EnergyOutlierDetector(sparse),
        "VariationalAutoencoder": EnergyOutlierDetector(
            VariationalAutoencoder(8, hidden_layer_sizes=(64,), likelihood=likelihood, random_state=seed)
        ),
        "PCA error": PCAError(),
        "IsolationForest": IsolationForest(random_state=seed),
        "LOF": LocalOutlierFactor(novelty=True),
        "OneClassSVM": OneClassSVM(),
    }


def tasks():
    """Name -> list of (inliers, outliers)."""
    digits, labels = load_digits(return_X_y=True)
    digits = digits / 16
    yield "digits, one out", 32, True, [(digits[labels != d], digits[labels == d]) for d in range(10)]
    for name, load, outlier in (("wine", load_wine, 2), ("breast cancer", load_breast_cancer, 0)):
        X, y = load(return_X_y=True)
        yield name, X.shape[1], False, [(X[y != outlier], X[y == outlier])]


def areas(inliers, outliers, n_atoms, positive, seed):
    """The area under the ROC curve of each detector for one draw."""
    order = np.random.default_rng(seed).permutation(len(inliers))
    train, test = inliers[order[: len(order) // 2]], inliers[order[len(order) // 2 :]]
    if not positive:
        scaler = StandardScaler().fit(train)
        train, test, outliers = map(scaler.transform, (train, test, outliers))
    labels = np.r_[np.zeros(len(test)), np.ones(len(outliers))]
    found = {}
    for name, detector in detectors(n_atoms, positive, seed).items():
        scores = detector.fit(train).score_samples(np.vstack([test, outliers]))
        found[name] = roc_auc_score(labels, -scores)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=3)
    n_draws, columns = parser.parse_args().draws, {}
    for name, n_atoms, positive, sets in tasks():
        found = [areas(*pair, n_atoms, positive, seed) for pair in sets for seed in range(n_draws)]
        columns[name] = {key: 100 * np.mean([area[key] for area in found]) for key in found[0]}
    print(f"{'':24s}" + "".join(f"{name:>18s}" for name in columns))
    for detector in next(iter(columns.values())):
        print(f"{detector:24s}" + "".join(f"{column[detector]:18.1f}" for column in columns.values()))


if __name__ == "__main__":
    main()
