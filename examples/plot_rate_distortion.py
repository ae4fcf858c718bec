r"""
Rate-distortion curves along the regularization path
====================================================

The fewer non-zeros a code has, the larger is its reconstruction error. Each :math:`\lambda` of

.. math:: \min_z \tfrac12 \|x - zD\|_2^2 + \lambda \|z\|_1

gives one point of this trade-off, and `lmbda_path` computes many points at little more than the cost of the last. This
example compares the resulting curve with those of two other methods: PCA, which uses the same directions for all
digits, and orthogonal matching pursuit (OMP), which selects atoms greedily and refits the selected ones by least
squares.
"""

# %%
# Atoms are learned from one part of the digits, and all methods encode the other part.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import orthogonal_mp_gram

from skrlv import SparseCoder, lmbda_path, sparse_encode

X = load_digits().data / 16
train, test = X[:-600], X[-600:]
atoms = SparseCoder(128, lmbda=0.2, random_state=0).fit(train).components_


def mean_error(reconstruction):
    """Mean relative error of the test digits."""
    return np.mean(np.linalg.norm(test - reconstruction, axis=1) / np.linalg.norm(test, axis=1))


# %%
# The path has fifteen values of lmbda. Its errors are those of exact L1 codes, which are shrunk towards zero. A
# least-squares refit on the active atoms of each digit (``debias``) removes the shrinkage.

path = lmbda_path(test, atoms, np.geomspace(3.0, 0.03, 15))
refitted = [sparse_encode(test, atoms, lmbda, debias=True) for lmbda in path.lmbdas]
rates = path.densities * len(atoms)

# %%
# The other methods have whole numbers of non-zeros. With ``n_nonzero`` the path stops at such a number for each digit.

sizes = np.arange(1, 25)
targets = [sparse_encode(test, atoms, n_nonzero=n, debias=True) for n in sizes]
greedy = [orthogonal_mp_gram(atoms @ atoms.T, atoms @ test.T, n_nonzero_coefs=n).T for n in sizes]
pca = PCA(max(sizes)).fit(train)
scores = pca.transform(test)
linear = [scores[:, :n] @ pca.components_[:n] + pca.mean_ for n in sizes]

curves = {
    "PCA": (sizes, [mean_error(reconstruction) for reconstruction in linear]),
    "path": (rates, path.errors.mean(axis=1)),
    "path, debiased": (rates, [mean_error(codes @ atoms) for codes in refitted]),
    "n_nonzero, debiased": (sizes, [mean_error(codes @ atoms) for codes in targets]),
    "OMP": (sizes, [mean_error(codes @ atoms) for codes in greedy]),
}
for name, (rate, error) in curves.items():
    print(f"{name:20} relative error at 5, 10 and 20 numbers per digit: {np.interp([5, 10, 20], rate, error).round(3)}")

# %%
# The right panel shows the reconstruction of one digit along its path. It becomes more accurate as lmbda decreases.

digit, steps = 4, np.arange(0, 14, 2)
figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained", width_ratios=(3, 2))
for (name, (rate, error)), style in zip(curves.items(), ("k:", "C0.--", "C0.-", "C2.-", "C1.-"), strict=True):
    left.plot(rate, error, style, label=name)
left.set(xlim=(0, max(sizes)), ylim=(0, 0.8), xlabel="non-zeros per digit", ylabel="relative error")
left.legend()

shown = [test[digit], *(path.codes[step, digit] @ atoms for step in steps)]
titles = ["digit", *(f"atoms: {np.count_nonzero(path.codes[step, digit])}" for step in steps)]
right.set_title("one test digit along its path")
right.axis("off")
for i, (image, title) in enumerate(zip(shown, titles, strict=True)):
    panel = right.inset_axes((0.25 * (i % 4), 0.5 - 0.5 * (i // 4), 0.22, 0.42))
    panel.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
    panel.set_title(title, fontsize="small")
    panel.axis("off")
plt.show()
