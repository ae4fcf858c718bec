r"""
Denoising a photograph with a learned dictionary
================================================

Patches of a photograph are approximately sums of a few atoms; noise is not. A sparse code of a noisy patch therefore
keeps the image and removes most of the noise, even if the atoms were learned from the noisy photograph alone (Elad and
Aharon, 2006).

The photo comes with scikit-learn. It is by danielbuechele, under the licence CC BY 2.0.
"""

# %%
# We take a part of the photo and add noise of a known level. Results are measured by the peak signal-to-noise ratio
# (PSNR) in dB. For pixels in 0..1 it is minus ten times the decimal logarithm of the mean squared error.

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
# We use all overlapping patches of 8 by 8 pixels. The mean of each patch is subtracted, and added again at the end.
# Each pixel of the result is the average over the 64 patches that contain it.

patches = extract_patches_2d(noisy, (side, side)).reshape(-1, side**2).astype(np.float32)
means = patches.mean(axis=1, keepdims=True)
X = patches - means
learned_from = X[::3]


def assembled(codes, atoms):
    """The photo reconstructed from the codes of its patches."""
    return reconstruct_from_patches_2d((codes @ atoms + means).reshape(-1, side, side), photo.shape)


results = {"noisy": (noisy, 0.0)}

# %%
# The example of scikit-learn learns the atoms with `MiniBatchDictionaryLearning`, and codes each patch with two atoms
# by orthogonal matching pursuit (OMP).

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
# In skrlv the atoms are learned at a lmbda that follows from the noise level: the largest of 256 correlations of unit
# atoms with noise is about noise x sqrt(2 log 256), so noise alone activates no atom. The L1 penalty also shrinks the
# codes of the image; ``debias`` refits them by least squares, and recovers far more of the image from the same atoms.

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
# If the noise level is unknown, `SparseCoderCV` can choose lmbda. It evaluates codes without debiasing, for which a
# smaller lmbda is better: shrinkage is smaller, and averaging over patches removes some of the additional noise.

began = time.perf_counter()
search = SparseCoderCV(dictionary=atoms, lmbdas=noise * np.geomspace(4, 1, 7), cv=ShuffleSplit(1)).fit(
    learned_from[::4]
)
chosen, searching = search.lmbda_, time.perf_counter() - began
timed("skrlv, plain, lmbda by score", lambda: sparse_encode(X, atoms, chosen), learning + searching)

# %%
# Alternatively each patch has its own lmbda: atoms are added until the error is that of the noise, with a margin of
# 15 %, as in the paper. ``max_error`` is relative to the norm of a row, but the noise level is absolute. Therefore each
# row gets one more entry that makes all norms equal, and an additional atom with a very small penalty represents this
# entry.

tolerated = 1.15 * noise * side
lengths = np.linalg.norm(X, axis=1)
longer = np.column_stack([X, np.sqrt(lengths.max() ** 2 - lengths**2)])
larger = np.block([[atoms, np.zeros((n_atoms, 1))], [np.zeros((1, side**2)), 1.0]]).astype(np.float32)
weights, share = np.append(np.ones(n_atoms), 0.01), float(tolerated / lengths.max())


def to_noise_level():
    return sparse_encode(longer, larger, max_error=share, weights=weights, debias=True)[:, :-1]


timed("skrlv, to the noise, debiased", to_noise_level, learning)

print(f"lmbda {lmbda:.3f} from the noise, {chosen:.3f} by score")
for name, (picture, seconds) in results.items():
    print(f"{name:30} {psnr(picture):6.2f} dB {seconds:6.1f} s")

# %%
# The resulting images:

figure, axes = plt.subplots(2, 3, figsize=(11, 8), layout="constrained")
shown = {"photo": (photo, 0.0)} | {name: result for name, result in results.items() if name != "skrlv, plain codes"}
for ax, (name, (picture, _)) in zip(axes.flat, shown.items(), strict=True):
    ax.imshow(picture, cmap="gray", vmin=0, vmax=1)
    ax.set_title(name if name == "photo" else f"{name}: {psnr(picture):.1f} dB", fontsize="medium")
    ax.axis("off")
plt.show()
