r"""
Gabor functions from sparse coding of natural images
====================================================

Olshausen and Field (1996) learned atoms that represent small patches of natural scenes by few of them at a time,

.. math:: \min_{D, z} \tfrac12 \|x - zD\|_2^2 + \lambda \|z\|_1,

and found edges: each atom has one position, one orientation and one width, much like the receptive fields of simple
cells in the visual cortex. This example repeats the experiment on two photographs. It tests each atom by the fit of a
Gabor function, which is a wave under a Gaussian envelope. The components of PCA on the same patches fail this test.

The photos come with scikit-learn. They are by danielbuechele and vultilion, under the licence CC BY 2.0.
"""

# %%
# Patches are cut at twice the size and downsampled by two, which removes most of the JPEG artefacts of these photos.
# The whitener amplifies the high frequencies. Then each patch is divided by its own contrast, so that a few strong
# edges do not dominate learning; the small constant prevents the amplification of patches with little contrast.

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import least_squares
from scipy.stats import kurtosis
from sklearn.decomposition import PCA

from skrlv import SparseCoder
from skrlv.datasets import load_natural_patches
from skrlv.plotting import plot_atoms
from skrlv.preprocessing import PatchWhitener

side, n_atoms = 12, 192
fine = load_natural_patches(20000, (2 * side, 2 * side), random_state=0)
patches = fine.reshape(-1, side, 2, side, 2).mean(axis=(2, 4)).reshape(-1, side**2)
X = PatchWhitener("olshausen_field", patch_shape=(side, side)).fit_transform(patches).astype(np.float32)
X /= np.sqrt(np.mean(X**2, axis=1, keepdims=True) + 0.01)

# %%
# The dictionary has more atoms than pixels. All parameters have their defaults except the initial atoms, which are
# noise, so that no atom can inherit its shape from an initial patch. For comparison we compute all components of PCA.

noise = np.random.RandomState(0).standard_normal((n_atoms, side**2))
coder = SparseCoder(dictionary_init=noise, n_components=n_atoms, random_state=0).fit(X)
pca = PCA().fit(X)

# %%
# A Gabor function has a position, a length and a width, an orientation, a frequency, a phase and an amplitude. A linear
# combination of cosine and sine under the same envelope gives any phase and amplitude, and least squares finds it. The
# fit therefore optimises over the six other numbers, from the two best points of a coarse grid.

rows, columns = (axis.ravel() for axis in np.mgrid[:side, :side])
lowest = (0, 0, np.log(0.4), np.log(0.4), -np.inf, 0.5 / side)  # of the six numbers: at least half a wave per side
highest = (side, side, np.log(2 * side), np.log(2 * side), np.inf, 0.5)


def wave_pair(shape):
    """Cosine and sine under one envelope, (n_pixels, 2)."""
    down, right, log_width, log_length, angle, frequency = shape
    across = (columns - right) * np.cos(angle) + (rows - down) * np.sin(angle)
    along = (rows - down) * np.cos(angle) - (columns - right) * np.sin(angle)
    envelope = np.exp(-0.5 * ((across / np.exp(log_width)) ** 2 + (along / np.exp(log_length)) ** 2))
    phase = 2 * np.pi * frequency * across
    return np.stack([envelope * np.cos(phase), envelope * np.sin(phase)], axis=1)


def unexplained(shape, atom):
    """Residual of the least-squares fit of the two waves to an atom."""
    pair = wave_pair(shape)
    return atom - pair @ np.linalg.lstsq(pair, atom, rcond=None)[0]


places = np.arange(1, side, 1.5)
sizes = np.log([(1, 1.5), (1.5, 3), (2.5, 3.75)])
grid = [
    (down, right, *size, angle, frequency)
    for down in places
    for right in places
    for size in sizes
    for angle in np.arange(8) * np.pi / 8
    for frequency in (0.06, 0.1, 0.15, 0.22, 0.3, 0.4)
]
planes = np.linalg.qr([wave_pair(shape) for shape in grid]).Q


def fit_gabors(atoms):
    """R^2 of the best Gabor for each atom, and its six numbers."""
    captured = sum((atoms @ planes[:, :, i].T) ** 2 for i in range(2))
    starts = np.argsort(-captured, axis=1)[:, :2]
    fits = [
        min(
            (
                least_squares(unexplained, grid[start], args=(atom,), bounds=(lowest, highest), max_nfev=60)
                for start in pair
            ),
            key=lambda fit: fit.cost,
        )
        for atom, pair in zip(atoms, starts, strict=True)
    ]
    spread = np.sum((atoms - atoms.mean(axis=1, keepdims=True)) ** 2, axis=1)
    return 1 - 2 * np.array([fit.cost for fit in fits]) / spread, np.array([fit.x for fit in fits])


# %%
# We count the atoms that a Gabor function explains with an :math:`R^2` of at least 0.7, and their orientations in eight
# bins. We also measure whether codes are sparse, by their kurtosis; that of a normal distribution is 3.

found = {}
for name, atoms, codes in (
    ("sparse coding", coder.components_, coder.transform(X[:5000])),
    ("PCA", pca.components_, pca.transform(X[:5000])),
):
    quality, shapes = fit_gabors(atoms.astype(np.float64))
    angles = shapes[quality >= 0.7, 4]
    bins = np.bincount(np.round(angles / (np.pi / 8)).astype(int) % 8, minlength=8)
    peaked = np.median(kurtosis(codes, fisher=False))
    found[name] = atoms, quality, bins
    print(
        f"{name:14} {len(atoms)} atoms, {np.mean(quality >= 0.7):.0%} are Gabors, {np.count_nonzero(bins)} of 8 "
        f"orientations {bins}, median kurtosis {peaked:.0f}"
    )

# %%
# The figure confirms this. PCA gives waves that fill the whole patch, in order of frequency. It depends on the
# covariance only, which does not localise structure within a patch.

figure, axes = plt.subplots(2, 2, figsize=(11, 9), layout="constrained", height_ratios=(5, 2))
for (name, (atoms, quality, _)), ax in zip(found.items(), axes[0], strict=True):
    plot_atoms(atoms, (side, side), n_columns=16 if len(atoms) > 150 else 12, ax=ax)
    ax.set_title(f"{name}: {np.mean(quality >= 0.7):.0%} Gabors")
for name, (_, quality, bins) in found.items():
    axes[1, 0].plot(np.sort(quality), np.linspace(0, 1, len(quality)), label=name)
    axes[1, 1].plot(22.5 * np.arange(8), bins, "o-", label=name)
axes[1, 0].axvline(0.7, color="grey", lw=0.8)
axes[1, 0].set(xlim=(0, 1), xlabel="$R^2$ of the best Gabor", ylabel="share of atoms below")
axes[1, 1].set(xlabel="orientation in degrees", ylabel="Gabors", ylim=(0, None))
axes[1, 0].legend()
plt.show()
