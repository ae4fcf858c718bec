"""Learned layers: their equivalent in FISTA steps on photo patches, and decibels per layer in sparse recovery.

    python benchmarks/unrolled.py [--planted] [--patches]

Patches: 10 x 10 pixels of five photos, centred and divided by their standard deviation, at lmbda 0.5. The encoder is
trained on the upper four fifths of each photo and tested on the lowest fifth. The output shows the squared error to
exact codes of LISTA with n_layers = 0, 1 and 3, and the largest number of FISTA steps with a larger error (Gregor,
LeCun, 2010: 18 for one layer at 100 atoms, 35 at 400).

Planted codes (sparse recovery): 200 features, 400 Gaussian atoms of unit norm, each code entry a normal number with
probability 0.1; 2,000 training and 300 test signals, without noise and with noise at 20 dB. The output shows the NMSE
of ALISTA and HyperLISTA in dB after 4 and 16 layers (Liu et al., 2019; Chen et al., 2021).
"""

import argparse
import os
import time
import warnings
from pathlib import Path

from encode import restart_with

if __name__ == "__main__":
    restart_with(len(os.sched_getaffinity(0)))

import numpy as np
from sklearn.datasets import load_sample_images
from sklearn.feature_extraction.image import extract_patches_2d

import skrlv
from skrlv.decoders import Dictionary
from skrlv.energy import Energy
from skrlv.inference import fista
from skrlv.regularizers import L1

SIDE, LMBDA, LEAST_DEVIATION = 10, 0.5, 0.05
SIZES = {100: 20_000, 400: 60_000}  # atoms: patches to learn from
N_TEST, MOST_STEPS = 1000, 70
N_FEATURES, N_ATOMS, DENSITY, N_LAYERS, NOISE_DB = 200, 400, 0.1, 16, 20.0


def photos():
    """Grey photographs of scikit-learn and scikit-image, with pixels in 0..1."""
    import skimage
    from skimage.io import imread

    folder = Path(skimage.__file__).parent / "data"
    colour = [*load_sample_images().images, *(imread(folder / f"{n}.png") for n in ("astronaut", "coffee", "chelsea"))]
    return [image[..., :3].mean(axis=2) / 255.0 for image in colour]


def patches(n_train):
    rng = np.random.RandomState(0)
    train, test = [], []
    for photo in photos():
        cut = int(0.8 * len(photo))
        for part, found, wanted in ((photo[:cut], train, n_train // 2), (photo[cut:], test, 2 * N_TEST)):
            rows = extract_patches_2d(part, (SIDE, SIDE), max_patches=wanted, random_state=rng).reshape(-1, SIDE**2)
            rows = rows - rows.mean(axis=1, keepdims=True)
            deviation = rows.std(axis=1, keepdims=True)
            found.append((rows / np.maximum(deviation, 1e-9))[deviation[:, 0] > LEAST_DEVIATION])
    return [rng.permutation(np.vstack(part))[:n].astype(np.float32) for part, n in ((train, n_train), (test, N_TEST))]


def error(codes, wanted):
    return np.mean(np.sum((codes - wanted) ** 2, axis=1))


def on_patches():
    for n_atoms, n_train in SIZES.items():
        train, test = patches(n_train)
        D = skrlv.SparseCoder(n_atoms, lmbda=LMBDA, max_iter=2, tol=0.0, random_state=0).fit(train[:20_000]).components_
        atoms, y = D.astype(np.float64), test.astype(np.float64)
        exact, landscape = skrlv.sparse_encode(y, atoms, LMBDA), Energy(Dictionary(atoms), L1(), LMBDA).given(y)
        of_fista = [error(fista(landscape, max_iter=n, tol=0.0).z, exact) for n in range(1, MOST_STEPS + 1)]
        shown = "  ".join(f"{n}: {of_fista[n - 1]:.2f}" for n in (1, 3, 7, 18, 35))
        size = np.mean(np.sum(exact**2, axis=1))
        print(f"\n{n_atoms} atoms, {len(train)} patches; mean |z|^2 {size:.1f}; FISTA {shown}")
        for n_layers in (0, 1, 3):
            start = time.perf_counter()
            encoder = skrlv.LISTAEncoder(lmbda=LMBDA, dictionary=D, n_layers=n_layers, random_state=0).fit(train)
            seconds, left = time.perf_counter() - start, error(encoder.transform(test), exact)
            worth = sum(e > left for e in of_fista)
            print(f"LISTA, {n_layers} layers: error {left:.2f}, {worth} steps of FISTA; trained in {seconds:.0f} s")


def planted(rng, atoms, n, noisy):
    codes = rng.standard_normal((n, N_ATOMS)) * (rng.random((n, N_ATOMS)) < DENSITY)
    signals = codes @ atoms
    noise = rng.standard_normal(signals.shape)
    noise *= np.linalg.norm(signals, axis=1, keepdims=True) / np.linalg.norm(noise, axis=1, keepdims=True)
    return signals + noisy * noise * 10.0 ** (-NOISE_DB / 20.0), codes


def on_planted_codes():
    rng = np.random.default_rng(0)
    atoms = rng.standard_normal((N_ATOMS, N_FEATURES))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    for noisy in (False, True):
        train, codes = planted(rng, atoms, 2000, noisy)
        test, wanted = planted(rng, atoms, 300, noisy)
        for architecture in ("alista", "hyperlista"):
            found, start = [], time.perf_counter()
            settings = {"lmbda": 0.1, "dictionary": atoms, "architecture": architecture, "random_state": 0}
            for n in (4, N_LAYERS):
                encoder = skrlv.LISTAEncoder(n_layers=n - 1, **settings).fit(train, codes=codes)
                nmse = np.sum((encoder.transform(test) - wanted) ** 2) / np.sum(wanted**2)
                found.append((n, 10.0 * np.log10(nmse)))
            shown = "  ".join(f"{n}: {db:.1f}" for n, db in found)
            print(
                f"{architecture}, {'noise at 20 dB' if noisy else 'no noise'}: {shown} dB, "
                f"{-found[-1][1] / N_LAYERS:.2f} a layer; trained in {time.perf_counter() - start:.0f} s",
                flush=True,
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", action="store_true", help="run only this experiment")
    parser.add_argument("--planted", action="store_true", help="run only this experiment")
    only = parser.parse_args()
    skrlv.warmup()
    warnings.simplefilter("ignore")
    if not only.planted:
        on_patches()
    if not only.patches:
        on_planted_codes()


if __name__ == "__main__":
    main()
