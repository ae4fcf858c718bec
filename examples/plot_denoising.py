r"""
Denoising: what few atoms can say of a noisy photograph
=======================================================

Patches of a photograph are sums of few atoms; noise is not. So a sparse code of a noisy patch keeps the photograph and
leaves the noise, even where the atoms were learned from that noisy photograph alone (Elad and Aharon, 2006).

The photo comes with scikit-learn. It is by danielbuechele, under the licence CC BY 2.0.
"""

# %%
# A part of the photo, and noise of a known level. The measure is the peak signal to noise ratio (PSNR) in dB, for
# pixels in 0..1: minus ten times the decimal logarithm of the mean squared error.

import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image
from sklearn.decomposition import MiniBatchDictionaryLearning
from sklearn.feature_extraction.image import extract_patches_2d, reconstruct_from_patches_2d
from sklearn.model_selection import ShuffleSplit

from skrlv import SparseCoder, SparseCoderCV, sparse_encode

side, n_atoms, noise = 8, 256, 0.1
photo = (load_sample_image("china.jpg") @ [0.299, 0.587, 0.114] / 255)[60:252, 90:282]
noisy = photo + np.random.RandomState(0).normal(scale=noise, size=photo.shape)


def psnr(picture):
    return -10 * np.log10(np.mean((picture - photo) ** 2))


# %%
# All patches of 8 by 8 pixels, overlapping. Each loses its own mean, which is put back at the end; then each pixel is
# the average of what 64 patches say of it.

patches = extract_patches_2d(noisy, (side, side)).reshape(-1, side**2).astype(np.float32)
means = patches.mean(axis=1, keepdims=True)
X = patches - means
learned_from = X[::3]


def assembled(codes, atoms):
    """The photo as codes describe it."""
    return reconstruct_from_patches_2d((codes @ atoms + means).reshape(-1, side, side), photo.shape)


results = {"noisy": (noisy, 0.0)}

# %%
# scikit-learn's own example learns with `MiniBatchDictionaryLearning`, and codes each patch with two atoms by
# orthogonal matching pursuit (OMP).

began = time.perf_counter()
theirs = MiniBatchDictionaryLearning(
    n_atoms,
    batch_size=200,
    alpha=1.0,
    max_iter=10,
    transform_algorithm="omp",
    transform_n_nonzero_coefs=2,
    random_state=0,
)
spread = X.std(axis=0)
theirs.fit(learned_from / spread)
picture = assembled(theirs.transform(X / spread), theirs.components_ * spread)
results["scikit-learn, OMP"] = picture, time.perf_counter() - began

# %%
# Here the atoms are learned at a lmbda that follows from the noise: the largest of 256 correlations of unit atoms with
# noise is about noise x sqrt(2 log 256), so that noise alone gets no atom. L1 also makes codes of the photo too
# small; ``debias`` refits them, and gets far more of the photo from the same few atoms.

began = time.perf_counter()
lmbda = noise * np.sqrt(2 * np.log(n_atoms))
coder = SparseCoder(n_atoms, lmbda=lmbda, max_iter=10, random_state=0).fit(learned_from)
atoms, learning = coder.components_, time.perf_counter() - began


def timed(name, code, before):
    began = time.perf_counter()
    picture = assembled(code(), atoms)
    results[name] = picture, before + time.perf_counter() - began


timed("skrlv, plain codes", lambda: sparse_encode(X, atoms, lmbda), learning)
timed("skrlv, debiased", lambda: sparse_encode(X, atoms, lmbda, debias=True), learning)

# %%
# Where the noise is not known, `SparseCoderCV` can choose. It judges plain codes, and for them a smaller lmbda is
# better: it shrinks less, and averaging removes some of the noise that it lets in.

began = time.perf_counter()
search = SparseCoderCV(dictionary=atoms, lmbdas=noise * np.geomspace(4, 1, 7), cv=ShuffleSplit(1)).fit(
    learned_from[::4]
)
chosen, searching = search.lmbda_, time.perf_counter() - began
timed("skrlv, plain, lmbda by score", lambda: sparse_encode(X, atoms, chosen), learning + searching)

# %%
# Or each patch may have a lmbda of its own: atoms join until the error is that of the noise, with a margin of 15 %, as
# in the paper. ``max_error`` is relative to the length of a row, and noise is not. So each row gets one more
# entry, which makes all equally long, and an atom at almost no price takes it away.

tolerated = 1.15 * noise * side
lengths = np.linalg.norm(X, axis=1)
longer = np.column_stack([X, np.sqrt(lengths.max() ** 2 - lengths**2)])
larger = np.block([[atoms, np.zeros((n_atoms, 1))], [np.zeros((1, side**2)), 1.0]]).astype(np.float32)
prices, share = np.append(np.ones(n_atoms), 0.01), float(tolerated / lengths.max())


def to_noise_level():
    return sparse_encode(longer, larger, max_error=share, weights=prices, debias=True)[:, :-1]


timed("skrlv, to the noise, debiased", to_noise_level, learning)

print(f"lmbda {lmbda:.3f} from the noise, {chosen:.3f} by score")
for name, (picture, seconds) in results.items():
    print(f"{name:30} {psnr(picture):6.2f} dB {seconds:6.1f} s")

# %%
# What they look like.

figure, axes = plt.subplots(2, 3, figsize=(11, 8), layout="constrained")
shown = {"photo": (photo, 0.0)} | {name: result for name, result in results.items() if name != "skrlv, plain codes"}
for ax, (name, (picture, _)) in zip(axes.flat, shown.items(), strict=True):
    ax.imshow(picture, cmap="gray", vmin=0, vmax=1)
    ax.set_title(name if name == "photo" else f"{name}: {psnr(picture):.1f} dB", fontsize="medium")
    ax.axis("off")
plt.show()
