"""Draws the pictures of the landing page into doc/images: python doc/cards.py"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from skrlv import ConvSparseCoder, SparseCoder, VariationalAutoencoder
from skrlv.plotting import ManifoldDisplay, ReconstructionDisplay, plot_atoms

IMAGES, SIZE = Path(__file__).parent / "images", (4.8, 2.4)
X = load_digits().data / 16


def card(name, draw):
    figure, ax = plt.subplots(figsize=SIZE, layout="constrained")
    draw(ax)
    figure.savefig(IMAGES / f"card_{name}.png", dpi=100)
    plt.close(figure)


def atoms(ax):
    coder = SparseCoder(24, lmbda=0.15, positive=True, positive_dictionary=True, random_state=0).fit(X)
    plot_atoms(coder.components_, (8, 8), n_columns=8, ax=ax)


def denoising(ax):
    coder = SparseCoder(64, random_state=0).fit(X)
    noisy = X[8] + np.random.default_rng(0).normal(scale=0.3, size=64)
    ReconstructionDisplay.from_estimator(coder, noisy, image_shape=(8, 8), n_terms=4, ax=ax)


def motifs(ax):
    rng, time = np.random.default_rng(0), np.arange(16) / 16
    bump, step = np.exp(-40 * (time - 0.3) ** 2), np.sign(time - 0.5) * np.minimum(time, 1 - time)
    shapes = [np.sin(2 * np.pi * time), bump, step]
    series = np.zeros((40, 200))
    for row in series:
        for shape in shapes:
            for at in rng.integers(0, 184, size=3):
                row[at : at + 16] += rng.uniform(0.7, 1.3) * shape / np.linalg.norm(shape)
    series += rng.normal(scale=0.03, size=series.shape)
    coder = ConvSparseCoder(3, 16, lmbda=0.2, positive=True, random_state=0).fit(series)
    ReconstructionDisplay.from_estimator(coder, series[0], n_terms=3, ax=ax)


def manifold(ax):
    vae = VariationalAutoencoder(2, likelihood="bernoulli", beta=0.5, batch_size=32, max_iter=150, random_state=1)
    vae.fit(X)
    display = ManifoldDisplay.from_estimator(vae, image_shape=(8, 8), n_per_side=12)
    plt.close(display.figure_)
    ManifoldDisplay(display.images[::2]).plot(image_shape=(8, 8), ax=ax)


if __name__ == "__main__":
    for name, draw in (("atoms", atoms), ("denoising", denoising), ("motifs", motifs), ("manifold", manifold)):
        card(name, draw)
