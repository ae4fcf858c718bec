"""Two scikit-learn examples of dictionary learning with one import changed: seconds and PSNR of both libraries.

    python benchmarks/scikit_learn_examples.py [--folder .] [--repeats 3]

The two examples are rewritten from the gallery of scikit-learn. Each runs with `MiniBatchDictionaryLearning` and with
`SparseCoder`; all other settings are the same: the number of atoms, the data, alpha (lmbda in skrlv) and the signs.

* Denoising: atoms are learned from patches of the clean left half of a photo, and the noisy right half is reconstructed
  from codes of its patches. The photo is one of the two sample images of scikit-learn, since the raccoon of the
  original needs a download. Codes minimise 1/2 |x - zD|^2 + alpha |z|_1, or have one or two atoms by OMP as in the
  original (`sparse_encode(n_nonzero=..., debias=True)` in skrlv), or five atoms by least-angle regression.
* Decomposition: sixteen components are learned with the four combinations of sign constraints. The data are digits
  instead of faces, which need a download: MNIST if a copy is available, otherwise the small digits of scikit-learn. All
  are centred, as the faces are.

Each library encodes with its own coder. The PSNR is that of the image or of the digits. Energies are recomputed from
codes and atoms in float64 on the same rows. The libraries are run alternately on all cores; seconds are medians. The
figures are saved as denoising.png and decomposition.png in the folder.
"""

import argparse
import os
import statistics
import time
import warnings
from pathlib import Path

from encode import restart_with

if __name__ == "__main__":
    restart_with(len(os.sched_getaffinity(0)))

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from sklearn import decomposition
from sklearn.datasets import load_sample_images
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.image import extract_patches_2d, reconstruct_from_patches_2d

import skrlv
from skrlv.datasets import load_handwritten_digits
from skrlv.plotting import plot_atoms

SIDE, NOISE = 7, 0.075
SIGNS = {
    "any sign": (False, False),
    "atoms >= 0": (True, False),
    "codes >= 0": (False, True),
    "both >= 0": (True, True),
}


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


# The import changes the learner, and the functions that find codes on its atoms.


def their_learner(n_components, alpha, positive_atoms=False, positive_codes=False, **settings):
    how = "cd" if positive_atoms or positive_codes else "lars"
    return decomposition.MiniBatchDictionaryLearning(
        n_components, alpha=alpha, fit_algorithm=how, positive_dict=positive_atoms, positive_code=positive_codes,
        transform_algorithm="lasso_cd" if how == "cd" else "lasso_lars", transform_alpha=alpha, random_state=0,
        transform_max_iter=10_000, n_jobs=None, **settings,
    )  # fmt: skip


def our_learner(n_components, alpha, positive_atoms=False, positive_codes=False, **settings):
    return skrlv.SparseCoder(
        n_components, lmbda=alpha, positive_dictionary=positive_atoms, positive=positive_codes, random_state=0,
        **settings,
    )  # fmt: skip


def their_few(X, atoms, n):
    return decomposition.sparse_encode(X, atoms, algorithm="omp", n_nonzero_coefs=n)


def our_few(X, atoms, n):
    return skrlv.sparse_encode(X, atoms, n_nonzero=n, debias=True)


def their_least_angle(X, atoms, n):
    return decomposition.sparse_encode(X, atoms, algorithm="lars", n_nonzero_coefs=n)


def our_least_angle(X, atoms, n):
    return skrlv.sparse_encode(X, atoms, n_nonzero=n)


SIDES = {
    "scikit-learn": (their_learner, their_few, their_least_angle),
    "skrlv": (our_learner, our_few, our_least_angle),
}


def timed(call):
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def in_turn(calls, repeats):
    """The result of each call and its median seconds; an untimed first turn compiles the kernels."""
    spent = {name: [] for name in calls}
    for turn in range(repeats + 1):
        results = {}
        for name, call in calls.items():
            results[name], seconds = timed(call)
            spent[name] += [seconds] if turn else []
    return {name: (results[name], statistics.median(spent[name])) for name in calls}


def psnr(truth, found):
    return 10.0 * np.log10(np.ptp(truth) ** 2 / np.mean((truth - found) ** 2))


def energy(X, Z, atoms, alpha):
    return float(np.mean(0.5 * np.sum((X - Z @ atoms) ** 2, axis=1) + alpha * np.abs(Z).sum(axis=1)))


def photo():
    """A grey image in 0..1: every second pixel of a part of the photo of a temple."""
    return load_sample_images().images[0][:, :480].mean(axis=2)[::2, ::2] / 255.0


def side_by_side(name, sides):
    return f"{name:22}" + "".join(f"{seconds:9.2f} s {value:9.3f}" for value, seconds in sides)


def denoising(folder, repeats):
    clean = photo()
    half = clean.shape[1] // 2
    truth = clean[:, half:]
    noisy = truth + NOISE * np.random.RandomState(0).randn(*truth.shape)

    rows = extract_patches_2d(clean[:, :half], (SIDE, SIDE)).reshape(-1, SIDE * SIDE)
    mean, spread = rows.mean(axis=0), rows.std(axis=0)
    rows = (rows - mean) / spread
    patches = extract_patches_2d(noisy, (SIDE, SIDE)).reshape(-1, SIDE * SIDE)
    offsets = patches.mean(axis=0)
    patches = patches - offsets

    def picture(Z, atoms):
        decoded = (Z @ atoms + offsets).reshape(-1, SIDE, SIDE)
        return reconstruct_from_patches_2d(decoded, truth.shape)

    print(f"\nDenoising: {len(rows)} patches to learn 50 atoms from, {len(patches)} to rebuild; seconds and PSNR")
    print(" " * 22 + "".join(f"{side:>21}" for side in SIDES))
    settings = {"batch_size": 200, "max_iter": 10}
    learned = in_turn(
        {side: lambda learn=learn: learn(50, 1.0, **settings).fit(rows) for side, (learn, *_) in SIDES.items()}, repeats
    )
    energies = {}
    for side, (model, _) in learned.items():
        Z = skrlv.sparse_encode(rows[::4], model.components_, 1.0)
        energies[side] = energy(rows[::4], Z, model.components_, 1.0)
    print(side_by_side("learning (energy)", [(energies[side], learned[side][1]) for side in SIDES]))

    atoms = {side: model.components_ for side, (model, _) in learned.items()}
    alpha = 2.0 * NOISE
    tasks = {
        "noisy": None,
        "one atom": lambda side: SIDES[side][1](patches, atoms[side], 1),
        "two atoms": lambda side: SIDES[side][1](patches, atoms[side], 2),
        "five, least angle": lambda side: SIDES[side][2](patches, atoms[side], 5),
        f"lasso, alpha {alpha:.2f}": lambda side: lasso_codes(side, patches, atoms[side], alpha),
    }
    figure, axes = plt.subplots(2, len(tasks) + 1, figsize=(16, 7.5), layout="constrained")
    for row, side in zip(axes, SIDES, strict=True):
        row[0].set_ylabel(side)
        plot_atoms(atoms[side], (SIDE, SIDE), ax=row[0])
        row[0].set_title(f"{side}: atoms, {learned[side][1]:.1f} s", fontsize="small")
    for column, (task, encode) in zip(axes.T[1:], tasks.items(), strict=True):
        if encode is None:
            found = dict.fromkeys(SIDES, (noisy, 0.0))
        else:
            codes = in_turn({side: lambda side=side, encode=encode: encode(side) for side in SIDES}, repeats)
            found = {side: (picture(Z, atoms[side]), seconds) for side, (Z, seconds) in codes.items()}
        print(side_by_side(task, [(psnr(truth, image), seconds) for image, seconds in found.values()]), flush=True)
        for ax, (image, seconds) in zip(column, found.values(), strict=True):
            ax.imshow(image, cmap="gray", vmin=0, vmax=1)
            ax.set_title(f"{task}: {psnr(truth, image):.2f} dB, {seconds:.2f} s", fontsize="small")
            ax.axis("off")
    figure.savefig(folder / "denoising.png", dpi=90)


def lasso_codes(side, X, atoms, alpha):
    if side == "skrlv":
        return skrlv.sparse_encode(X, atoms, alpha)
    return decomposition.sparse_encode(X, atoms, algorithm="lasso_lars", alpha=alpha, max_iter=1000)


def decomposed(folder, repeats, k=16, alpha=0.1):
    X = load_handwritten_digits()[0][:2000].astype(np.float64)
    shape = 2 * (round(X.shape[1] ** 0.5),)
    X = X - X.mean(axis=0)
    X -= X.mean(axis=1, keepdims=True)
    print(f"\nDecomposition: {len(X)} digits of {shape} pixels, {k} components, alpha {alpha}")
    print("seconds to learn, PSNR, and mean energy of the codes from the transform of each library")
    print(" " * 22 + "".join(f"{side:>32}" for side in SIDES))
    figure, axes = plt.subplots(2, len(SIGNS), figsize=(14, 7.5), layout="constrained")
    for column, (name, signs) in zip(axes.T, SIGNS.items(), strict=True):
        found = in_turn(
            {
                side: lambda learn=learn, signs=signs: learn(k, alpha, *signs, batch_size=100, max_iter=30).fit(X)
                for side, (learn, *_) in SIDES.items()
            },
            repeats,
        )
        cells = ""
        for ax, (side, (model, seconds)) in zip(column, found.items(), strict=True):
            Z, atoms = model.transform(X), model.components_
            ratio = psnr(X, Z @ atoms)
            cells += f"{seconds:10.2f} s {ratio:8.2f} dB {energy(X, Z, atoms, alpha):8.3f}"
            plot_atoms(atoms, shape, ax=ax)
            ax.set_title(f"{side}, {name}: {ratio:.2f} dB, {seconds:.1f} s", fontsize="small")
        print(f"{name:22}{cells}", flush=True)
    figure.savefig(folder / "decomposition.png", dpi=90)


def main():
    args = options()
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.filterwarnings("ignore", message=".*did not converge.*|.*nearly all codes are dense.*")
    args.folder.mkdir(parents=True, exist_ok=True)
    denoising(args.folder, args.repeats)
    decomposed(args.folder, args.repeats)


if __name__ == "__main__":
    main()
