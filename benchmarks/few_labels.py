"""Classification with few labels: a linear classifier on sparse codes and on other unsupervised features.

    python benchmarks/few_labels.py [--labels 5 10 20 50 100] [--draws 10] [--atoms 128 512] [--passes 15]

The data are those of MNIST if `skrlv.datasets.load_handwritten_digits` finds a copy, otherwise the small digits of
scikit-learn. All unsupervised features are learned from the same training digits (three quarters), without labels. A
draw gives labels to some of them, the same number for each class; all methods use the same draws. "all" has one draw.

The features, each with settings to choose from:

* SparseCoder: non-negative codes on few and on many atoms, at several values of lmbda
* raw pixels
* PCA, several numbers of components
* MiniBatchDictionaryLearning of scikit-learn: the same numbers of atoms and passes, alpha on the same grid as lmbda,
  non-negative exact codes by lasso_cd
* random rows: as many training digits as the largest number of atoms, soft-thresholded at several thresholds
* random patches (Coates and Ng 2011): whitened 6 x 6 patches as atoms, soft-thresholded with both signs at every
  position of the digit, summed over quadrants; the only features that use the image structure

Each row is scaled to norm one, then all rows are centred and scaled by one number. The classifier is the same
`LogisticRegressionCV` for all features: its C, and the setting of the features, are those of the best mean log loss in
five folds of the labelled digits ("all": one fold of a fifth). The SVM with an RBF kernel, on pixels, chooses its C and
gamma by accuracy in the same folds. Test digits are used for the final evaluation only.

The first table shows the mean accuracy in % on the test digits and the half width of its 95 % confidence interval: over
draws (Student's t), for "all" over test digits. The second table shows SparseCoder minus the other methods, paired by
draw or by digit: a difference is significant if it exceeds its half width.
"""

import argparse
import os
import time
import warnings
from itertools import product

from encode import restart_with

if __name__ == "__main__":
    restart_with(len(os.sched_getaffinity(0)))

import joblib
import numpy as np
from scipy import stats
from sklearn.decomposition import PCA, MiniBatchDictionaryLearning
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import GridSearchCV, StratifiedKFold, StratifiedShuffleSplit
from sklearn.svm import SVC

from skrlv import SparseCoder
from skrlv.datasets import load_handwritten_digits
from skrlv.preprocessing import PatchWhitener

CS = np.logspace(-1, 3, 5)
LMBDAS = (0.1, 0.25, 0.5)
PATCH, N_PATCHES = 6, 128


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, nargs="+", default=[5, 10, 20, 50, 100], help="per class")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--atoms", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--passes", type=int, default=15)
    return parser.parse_args()


# Each function computes features without labels: (train, test, args) -> {setting: (train, test)}.


def pixels(train, test, args):
    return {"-": (train, test)}


def principal_components(train, test, args):
    pca = PCA(random_state=0).fit(train)
    both = pca.transform(train), pca.transform(test)
    return {n: tuple(Z[:, :n] for Z in both) for n in (20, 40, 80, 160) if n <= both[0].shape[1]}


def sparse_codes(train, test, args):
    def coded(k, lmbda):
        coder = SparseCoder(k, lmbda=lmbda, positive=True, max_iter=args.passes, random_state=0).fit(train)
        return coder.transform(train), coder.transform(test)

    return {setting: coded(*setting) for setting in product(args.atoms, LMBDAS)}


def their_codes(train, test, args):
    def coded(k, alpha):
        learner = MiniBatchDictionaryLearning(
            k, alpha=alpha, max_iter=args.passes, fit_algorithm="cd", transform_algorithm="lasso_cd",
            positive_code=True, transform_alpha=alpha, random_state=0,
        ).fit(train)  # fmt: skip
        return learner.transform(train), learner.transform(test)

    return {setting: coded(*setting) for setting in product(args.atoms, LMBDAS)}


def random_rows(train, test, args):
    rng = np.random.RandomState(0)
    mean = train.mean(axis=0)
    atoms = train[rng.permutation(len(train))[: max(args.atoms)]] - mean
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    match = [(X - mean) @ atoms.T for X in (train, test)]
    unit = np.sqrt(np.mean(match[0] ** 2))
    return {t: tuple(np.maximum(Z - t * unit, 0.0) for Z in match) for t in (0.0, 0.5, 1.0, 1.5)}


def random_patches(train, test, args):
    rng, side = np.random.RandomState(0), round(train.shape[1] ** 0.5)
    size = PATCH if side > 8 else 3

    def patches(X):
        seen = np.lib.stride_tricks.sliding_window_view(X.reshape(-1, side, side), (size, size), axis=(1, 2))
        return seen.reshape(len(X), -1, size * size)

    def contrast(rows):
        rows = rows - rows.mean(axis=-1, keepdims=True)
        return rows / np.sqrt(rows.var(axis=-1, keepdims=True) + 0.01)

    drawn = contrast(patches(train[:500])).reshape(-1, size * size)
    whitener = PatchWhitener().fit(drawn)
    drawn = drawn[np.abs(drawn).max(axis=1) > 0.1]
    atoms = whitener.transform(drawn[rng.permutation(len(drawn))[:N_PATCHES]])
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    places = np.arange(side - size + 1)
    lower = (places > places[-1] / 2).astype(int)
    quadrant = np.eye(4, dtype=train.dtype)[(2 * lower[:, None] + lower).ravel()]

    def pooled(X, threshold):
        made = []
        for start in range(0, len(X), 250):
            rows = contrast(patches(X[start : start + 250]))
            z = whitener.transform(rows.reshape(-1, size * size)) @ atoms.T
            both = np.hstack([np.maximum(z - threshold, 0.0), np.maximum(-z - threshold, 0.0)])
            both = both.reshape(len(rows), len(quadrant), -1)
            made.append(np.einsum("npk,pq->nqk", both, quadrant, optimize=True).reshape(len(rows), -1))
        return np.concatenate(made)

    return {t: (pooled(train, t), pooled(test, t)) for t in (0.25, 1.0)}


FEATURES = {
    "SparseCoder": sparse_codes,
    "raw pixels": pixels,
    "PCA": principal_components,
    "MiniBatchDictionaryL.": their_codes,
    "random rows": random_rows,
    "random patches": random_patches,
}


def scaled(pair):
    """Rows scaled to norm one, then centred and scaled to a mean squared norm of 1 on the training digits."""
    pair = [Z / np.maximum(np.linalg.norm(Z, axis=1, keepdims=True), np.finfo(Z.dtype).tiny) for Z in pair]
    train = pair[0]
    mean = train.mean(axis=0)
    unit = np.sqrt(np.mean(np.sum((train - mean) ** 2, axis=1)))
    return tuple(((Z - mean) / unit).astype(np.float64) for Z in pair)


def labelled(y, per_class, draw):
    """Indices of labelled rows, the same number for each class; all rows if per_class is None."""
    if per_class is None:
        return np.arange(len(y))
    order = np.random.RandomState(draw).permutation(len(y))
    return np.concatenate([order[y[order] == c][:per_class] for c in range(10)])


def folds(per_class, draw):
    if per_class is None:
        return StratifiedShuffleSplit(1, test_size=0.2, random_state=draw)
    return StratifiedKFold(5, shuffle=True, random_state=draw)


def in_their_span(few, test):
    """The rows in a basis of their span: with an l2 penalty the weights lie in this span, so the fit is the same."""
    if len(few) >= few.shape[1]:
        return few, test
    basis = np.linalg.qr(few.T)[0]
    return few @ basis, test @ basis


def linear(tables, y, rows, cv, test_labels):
    """Which test digits the best setting classifies correctly, and that setting."""
    found = []
    for setting, (train, test) in tables.items():
        few, others = in_their_span(train[rows], test)
        model = LogisticRegressionCV(
            Cs=CS, cv=cv, scoring="neg_log_loss", l1_ratios=(0.0,), tol=1e-3, max_iter=1000, use_legacy_attributes=False
        ).fit(few, y[rows])
        found.append((model.scores_.mean(axis=0).max(), setting, model.predict(others) == test_labels, model.C_))
    best = max(found, key=lambda entry: entry[0])
    return best[2], (best[1], best[3])


def support_vectors(tables, y, rows, cv, test_labels):
    train, test = tables["-"]
    grid = {"C": (1.0, 10.0, 100.0), "gamma": (0.3, 1.0, 3.0)}
    search = GridSearchCV(SVC(), grid, cv=cv).fit(train[rows], y[rows])
    return search.predict(test) == test_labels, tuple(search.best_params_.values())


def interval(right):
    """Mean and half width of a 95 % interval in %: over draws, or over digits if there is a single draw."""
    values = right.mean(axis=1) if len(right) > 1 else right[0]
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{100.0 * values.mean():7.2f} +-{100.0 * half:5.2f}"


def show(title, cells, counts):
    print(f"\n{title}\n{'labels per class':22}" + "".join(f"{count or 'all':>16}" for count in counts))
    for name, row in cells.items():
        print(f"{name:22}" + "".join(f"{cell:>16}" for cell in row))


def main():
    args, started = options(), time.perf_counter()
    warnings.simplefilter("ignore", ConvergenceWarning)  # from other libraries, at their own limits of steps
    X, y = load_handwritten_digits()
    order = np.random.RandomState(0).permutation(len(X))
    train, test = np.split(order, [3 * len(X) // 4])
    print(f"{len(train)} training and {len(test)} test digits of {X.shape[1]} pixels, {args.draws} draws")
    tables = {}
    for name, learn in FEATURES.items():
        start = time.perf_counter()
        tables[name] = {setting: scaled(pair) for setting, pair in learn(X[train], X[test], args).items()}
        width = max(Z.shape[1] for Z, _ in tables[name].values())
        print(f"{name}: {width} features, {time.perf_counter() - start:.0f} s", flush=True)

    counts = [*args.labels, None]
    methods = {name: (linear, tables[name]) for name in FEATURES}
    methods["RBF SVM on pixels"] = (support_vectors, tables["raw pixels"])
    right = {name: [] for name in methods}
    chosen = {name: [] for name in methods}
    for count in counts:
        for name, (read, features) in methods.items():
            tasks = (
                joblib.delayed(read)(features, y[train], labelled(y[train], count, draw), folds(count, draw), y[test])
                for draw in range(args.draws if count else 1)
            )
            results = joblib.Parallel(n_jobs=-1, prefer="threads")(tasks)
            right[name].append(np.array([correct for correct, _ in results]))
            chosen[name].append([setting for _, setting in results])
        print(f"{count or 'all'} labels per class: {time.perf_counter() - started:.0f} s in all", flush=True)

    show("accuracy, %", {name: [interval(r) for r in rows] for name, rows in right.items()}, counts)
    ours = right["SparseCoder"]
    lead = {
        name: [interval(mine.astype(float) - theirs) for mine, theirs in zip(ours, rows, strict=True)]
        for name, rows in right.items()
        if name != "SparseCoder"
    }
    show("SparseCoder minus", lead, counts)
    print("\nchosen most often: (setting, C), for the SVM (C, gamma)")
    for name, rows in chosen.items():
        print(f"{name:22}" + "  ".join(f"{max(set(picks), key=picks.count)}" for picks in rows))


if __name__ == "__main__":
    main()
