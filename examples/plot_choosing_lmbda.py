r"""
Choosing lmbda for denoising by held-out features
=================================================

With a large :math:`\lambda` a code loses parts of the digit; with a small one it fits the noise. The error to the clean
digits would show the best value, but in practice clean data are not available. `score` holds out parts of each noisy
digit and predicts them from the rest. Its maximum is near the best :math:`\lambda`.
"""

# %%
# Digits are given three levels of noise. At each level, atoms are learned at every lmbda of a grid, and evaluated on
# other digits in two ways: by the error to the clean digits, and by the score, which uses the noisy digits only.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import ShuffleSplit

from skrlv import SparseCoder, SparseCoderCV

clean = load_digits().data / 16
levels, steps = (0.1, 0.25, 0.5), 1.5 ** np.arange(-3.0, 5.0)
train, test = slice(800), slice(1300, None)


def cleaned(coder, X):
    """Reconstruction of X from its codes."""
    return coder.inverse_transform(coder.transform(X))


figure, axes = plt.subplots(2, len(levels), figsize=(11, 6), layout="constrained", height_ratios=(3, 1))
for level, (curves, pictures) in zip(levels, axes.T, strict=True):
    X = clean + np.random.RandomState(0).normal(scale=level, size=clean.shape)
    lmbdas, settings = level * steps, {"max_iter": 20, "random_state": 0}
    coders = [SparseCoder(64, lmbda=lmbda, **settings).fit(X[train]) for lmbda in lmbdas]
    errors = [np.mean((cleaned(coder, X[test]) - clean[test]) ** 2) for coder in coders]
    scores = [coder.score(X[test]) for coder in coders]
    split = ShuffleSplit(1, random_state=0)
    chosen = SparseCoderCV(64, lmbdas=lmbdas, cv=split, **settings).fit(X[train])
    error = errors[np.flatnonzero(lmbdas == chosen.lmbda_)[0]]
    print(f"noise {level}: chosen {chosen.lmbda_:.3f}, error {error:.4f}, {error / min(errors):.2f} times the smallest")

    curves.plot(lmbdas, errors, "C0.-")
    curves.plot(chosen.lmbda_, error, "C3o", ms=9, mfc="none", label="chosen by SparseCoderCV")
    curves.set(title=f"noise {level}", xlabel="lmbda", xscale="log", ylim=(0, None))
    curves.set_xticks(lmbdas[1::2], [f"{lmbda:.2g}" for lmbda in lmbdas[1::2]])
    curves.set_xticks([], minor=True)
    curves.tick_params(axis="y", labelcolor="C0")
    right = curves.twinx()
    right.plot(lmbdas, scores, "C1.--")
    right.tick_params(axis="y", labelcolor="C1")

    shown = np.hstack([image.reshape(8, 8) for image in (clean[1300], X[1300], cleaned(chosen, X[1300:1301]))])
    pictures.imshow(shown, cmap="gray_r", vmin=0, vmax=1)
    pictures.set_title("clean, noisy, cleaned", fontsize="small")
    pictures.axis("off")
axes[0, 0].set_ylabel("error to the clean digits", color="C0")
right.set_ylabel("score", color="C1")
axes[0, 0].legend()
plt.show()
