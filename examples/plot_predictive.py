r"""
Predictive sparse decomposition: atoms and encoder filters
==========================================================

Sparse codes of a patch are found by an iterative solver. Kavukcuoglu, Ranzato and LeCun (2008) added an encoder to the
energy,

.. math:: E(x, z) = \tfrac12 \|x - zD\|_2^2 + \lambda \|z\|_1 + \tfrac{w}{2} \|z - \mathrm{Enc}(x)\|_2^2

and learned it together with the atoms: codes must explain the patch, be sparse, and be close to the prediction of the
encoder. After training, the encoder alone computes the codes by one matrix product.

The photos come with scikit-learn. They are by danielbuechele and vultilion, under the licence CC BY 2.0.
"""

# %%
# The data are whitened patches of two photographs, each divided by its own contrast, as in
# :ref:`sphx_glr_auto_examples_plot_gabors.py`. The initial atoms are noise. The encoder applies a soft threshold, so
# its codes have exact zeros.

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.datasets import load_digits

from skrlv import PredictiveSparseDecomposition, SparseCoder
from skrlv.datasets import load_natural_patches
from skrlv.plotting import plot_atoms
from skrlv.preprocessing import PatchWhitener

side, n_atoms = 12, 192
fine = load_natural_patches(12000, (2 * side, 2 * side), random_state=0)
patches = fine.reshape(-1, side, 2, side, 2).mean(axis=(2, 4)).reshape(-1, side**2)
X = PatchWhitener("olshausen_field", patch_shape=(side, side)).fit_transform(patches).astype(np.float32)
X /= np.sqrt(np.mean(X**2, axis=1, keepdims=True) + 0.01)
train, test = X[:-1000], X[-1000:]


def prediction_error(model):
    """Mean squared norm of z - Enc(x), and of z, on held-out patches."""
    predicted = model.set_params(inference="encoder").transform(test)
    codes = model.set_params(inference="argmin").transform(test)
    return np.mean(np.sum((codes - predicted) ** 2, axis=1)), np.mean(np.sum(codes**2, axis=1))


noise = np.random.RandomState(0).standard_normal((n_atoms, side**2))
settings = {"n_components": n_atoms, "dictionary_init": noise, "encoder": "shrinkage", "random_state": 0}
untrained = PredictiveSparseDecomposition(**settings, max_iter=1, learning_rate_init=1e-12).fit(train[:256])
model = PredictiveSparseDecomposition(**settings).fit(train)
for name, fitted in (("untrained", untrained), (f"after {model.n_iter_} passes", model)):
    error, size = prediction_error(fitted)
    print(f"{name:16} error of predictions {error:.2f}, codes {size:.1f}, error over codes {error / size:.3f}")

# %%
# The atoms are edges, and each encoder filter is similar to its atom. They are not equal: since atoms overlap, a filter
# compensates for the contributions of neighbouring atoms.

atoms, filters = model.components_, model.encoder_.weights
alike = np.sum(atoms * filters, axis=1) / np.linalg.norm(atoms, axis=1) / np.linalg.norm(filters, axis=1)
print(f"correlation of each atom and its filter: median {np.median(alike):.2f}")

# %%
# The right panel compares the predicted codes of thirty patches with the codes of minimum energy. Both have exact
# zeros. They differ mostly in small entries, which often are zero in only one of the two.

predicted = model.set_params(inference="encoder").transform(test[:30])
found = model.set_params(inference="argmin").transform(test[:30])

figure, axes = plt.subplots(1, 3, figsize=(14, 5), layout="constrained", width_ratios=(4, 4, 3))
plot_atoms(atoms, (side, side), n_columns=16, ax=axes[0]).set_title("atoms")
plot_atoms(filters, (side, side), n_columns=16, ax=axes[1]).set_title("filters of the encoder")
axes[2].plot(predicted.ravel(), found.ravel(), ".", ms=3)
axes[2].axline((0, 0), slope=1, color="grey", lw=0.8)
axes[2].set(xlabel="entry of the prediction", ylabel="entry of the code", title="thirty patches", aspect="equal")
plt.show()

# %%
# Does the encoder change the atoms? We learn non-negative atoms of handwritten digits by sparse coding alone and
# with an encoder, and match them pair by pair.

digits, side = load_digits().data / 16, 8
settings = {"n_components": 64, "lmbda": 0.1, "positive": True, "random_state": 0}
alone = SparseCoder(**settings).fit(digits)
together = PredictiveSparseDecomposition(**settings, encoder="shrinkage", encoder_weight=0.1).fit(digits)
likeness = alone.components_ @ together.components_.T
mine, theirs = linear_sum_assignment(-likeness)
print(f"correlation of matched atoms: median {np.median(likeness[mine, theirs]):.2f}")

figure, axes = plt.subplots(1, 2, figsize=(10, 5), layout="constrained")
plot_atoms(alone.components_[mine], (side, side), ax=axes[0]).set_title("sparse coding")
plot_atoms(together.components_[theirs], (side, side), ax=axes[1]).set_title("with an encoder")
plt.show()
