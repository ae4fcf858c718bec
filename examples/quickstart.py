r"""
Quickstart: sparse codes as features for a classifier
=====================================================

Sparse coding represents each image x as a sum of a few atoms, the rows of D, by minimising

.. math:: E(x, z) = \tfrac12 \|x - zD\|^2 + \lambda \|z\|_1

over the code z, and learns the atoms. This script learns strokes from the digits of scikit-learn. It chooses
:math:`\lambda` by cross-validation of a classifier that is trained with 5, 10 or 20 labels per class. Then it compares
the codes with raw pixels, PCA and scikit-learn's own dictionary learning. It needs no download, and takes under a
minute on two cores.
"""

# %%
# The data are images of 8 x 8 pixels, divided by 16. A common factor preserves the strokes; standardising each pixel
# would amplify those at the border and distort the strokes. The last 600 digits are for testing. Dictionaries are
# learned without labels.

import time
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA, MiniBatchDictionaryLearning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skrlv import SparseCoder, lmbda_grid
from skrlv.plotting import plot_atoms

started = time.perf_counter()
warnings.filterwarnings("ignore", message="Objective did not converge")  # of scikit-learn's own coder
X, labels = load_digits(return_X_y=True)
X = X / 16
X_train, X_test, y_train, y_test = X[:-600], X[-600:], labels[:-600], labels[-600:]

# %%
# Learn the atoms. Ink is additive, so codes and atoms are non-negative. A small lmbda decomposes digits into strokes; a
# large one would give whole digits as atoms. With scikit-learn 1.9 or newer, its progress bar shows the passes over the
# data.

coder = SparseCoder(64, lmbda=0.05, positive=True, positive_dictionary=True, tol=3e-4, random_state=0)
try:
    from sklearn.callback import ProgressBar

    coder.set_callbacks(ProgressBar())
except ImportError:
    pass
coder.fit(X_train)
atoms = coder.components_
print(
    f"{len(atoms)} atoms after {coder.n_iter_} passes, lmbda={coder.lmbda_:.2f}; mean energy "
    f"{coder.energy_history_[0]:.3f} -> {coder.energy_history_[-1]:.3f} [{time.perf_counter() - started:.0f} s]\n"
)

# %%
# The effect of lmbda on test digits: the larger it is, the fewer atoms each digit uses, and the less variance they
# explain.

grid = lmbda_grid(X_train, atoms, n=8)[:6]
print("lmbda   non-zero   explained variance")
for lmbda in grid:
    at = SparseCoder(dictionary=atoms, lmbda=lmbda, positive=True).fit(X_train)
    Z = at.transform(X_test)
    residual = X_test - at.inverse_transform(Z)
    explained = 1 - residual.var(axis=0).sum() / X_test.var(axis=0).sum()
    print(f"{lmbda:5.3f}   {100 * (Z != 0).mean():6.1f} %   {100 * explained:16.1f} %")

# %%
# Classification with few labels. Every method transforms the same pixels, and the same classifier is trained on the
# result. A grid search over the pipeline chooses lmbda for the sparse coder, and the number of components for PCA.
# Atoms are learned once, from all training digits, without labels. scikit-learn's dictionary learning uses the same
# number of atoms and passes, and its alpha is also chosen by a search.


def few_labels(per_class, draw):
    """Indices of labelled training rows, the same number for each class."""
    order = np.random.default_rng(draw).permutation(len(X_train))
    return np.concatenate([order[y_train[order] == c][:per_class] for c in range(10)])


def sklearn_codes(alpha):
    learner = MiniBatchDictionaryLearning(
        n_components=len(atoms),
        alpha=alpha,
        transform_algorithm="lasso_cd",
        transform_alpha=alpha,
        batch_size=256,
        max_iter=coder.n_iter_,
        random_state=0,
    )
    learner.fit(X_train)
    return learner.transform(X_train), learner.transform(X_test)


classifier = LogisticRegression(C=10.0, max_iter=1000)
pixels = FunctionTransformer()
methods = {
    "raw pixels": (make_pipeline(pixels, classifier), {}),
    "PCA": (make_pipeline(PCA(random_state=0), classifier), {"pca__n_components": [10, 20, 30]}),
    "SparseCoder": (
        make_pipeline(SparseCoder(dictionary=atoms, positive=True), classifier),
        {"sparsecoder__lmbda": grid[1:]},
    ),
}
LABELS, DRAWS = (5, 10, 20), 5
accuracy = {name: {n: [] for n in LABELS} for name in [*methods, "MiniBatchDictionaryLearning"]}
chosen = {n: [] for n in LABELS}
theirs = {alpha: sklearn_codes(alpha) for alpha in (0.1, 0.5)}

for per_class in LABELS:
    for draw in range(DRAWS):
        rows = few_labels(per_class, draw)
        folds = StratifiedKFold(3, shuffle=True, random_state=draw)
        for name, (pipeline, parameters) in methods.items():
            search = GridSearchCV(pipeline, parameters, cv=folds).fit(X_train[rows], y_train[rows])
            accuracy[name][per_class].append(search.score(X_test, y_test))
            if name == "SparseCoder":
                chosen[per_class].append(search.best_params_["sparsecoder__lmbda"])
        searches = {
            alpha: GridSearchCV(make_pipeline(pixels, classifier), {}, cv=folds).fit(train[rows], y_train[rows])
            for alpha, (train, _) in theirs.items()
        }
        best = max(searches, key=lambda alpha: searches[alpha].best_score_)
        accuracy["MiniBatchDictionaryLearning"][per_class].append(searches[best].score(theirs[best][1], y_test))
    print(f"\r{per_class} labels per class done [{time.perf_counter() - started:.0f} s]", end="", flush=True)

print(f"\n\nTest accuracy, mean of {DRAWS} draws (standard error)")
print("labels per class            " + "".join(f"{n:>14}" for n in LABELS))
for name, by_labels in accuracy.items():
    cells = [f"{100 * np.mean(a):.1f} % ({100 * np.std(a) / np.sqrt(DRAWS):.1f})" for a in by_labels.values()]
    print(f"{name:28}" + "".join(f"{cell:>14}" for cell in cells))
print("lmbda chosen (median)       " + "".join(f"{np.median(values):14.3f}" for values in chosen.values()))

# %%
# The figure shows the atoms, and ten test digits: the original, the reconstruction, and the largest strokes in it.

Z = coder.transform(X_test)
figure, axes = plt.subplots(1, 2, figsize=(13, 6.5), layout="constrained")
plot_atoms(atoms, (8, 8), ax=axes[0])
axes[0].set_title(f"{len(atoms)} learned atoms")
panels = []
for digit, code, decoded in zip(X_test[:10], Z, coder.inverse_transform(Z), strict=False):
    strokes = np.argsort(-np.abs(code))[:6]
    panels += [digit, decoded, *(code[strokes, None] * atoms[strokes])]
plot_atoms(panels, (8, 8), n_columns=8, ax=axes[1])
axes[1].set_title("ten test digits: original, reconstruction, its six largest strokes")
picture = Path("quickstart.png")
figure.savefig(picture, dpi=110)
print(f"\nPicture of the atoms and of some reconstructions: {picture.resolve()}")
print(f"{time.perf_counter() - started:.0f} s in all")
