r"""
Predictive sparse decomposition: filters that see what atoms draw
=================================================================

Sparse codes of a patch are found by a search. Kavukcuoglu, Ranzato and LeCun (2008) put an encoder into the energy,

.. math:: E(x, z) = \tfrac12 \|x - zD\|_2^2 + \lambda \|z\|_1 + \tfrac{w}{2} \|z - \mathrm{Enc}(x)\|_2^2

and learn it together with the atoms: codes must explain the patch, be sparse, and be what the encoder would have said.
After that the encoder alone gives the codes, by one product of matrices.

The photos come with scikit-learn. They are by danielbuechele and vultilion, under the licence CC BY 2.0.
"""

# %%
# Whitened patches of two photographs, each divided by its own contrast, as in the example on Gabors. Learning starts at
# noise. The encoder shrinks, so that its codes have exact zeros.

import matplotlib.pyplot as plt
import numpy as np

from skrlv import PredictiveSparseDecomposition
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
    """Mean squared length of z - Enc(x), as a share of that of z, on patches that were not learned from."""
    predicted = model.set_params(inference="encoder").transform(test)
    codes = model.set_params(inference="argmin").transform(test)
    return np.sum((codes - predicted) ** 2) / np.sum(codes**2)


noise = np.random.RandomState(0).standard_normal((n_atoms, side**2))
settings = {"n_components": n_atoms, "dictionary_init": noise, "encoder": "shrinkage", "random_state": 0}
untrained = PredictiveSparseDecomposition(**settings, max_iter=1, learning_rate_init=1e-12).fit(train[:256])
model = PredictiveSparseDecomposition(**settings).fit(train)
before, after = prediction_error(untrained), prediction_error(model)
print(f"prediction error, share of the codes: {before:.2f} untrained, {after:.3f} after {model.n_iter_} passes")

# %%
# Atoms are edges, and to each belongs a filter of its shape. Filters are not the atoms: where atoms overlap, a filter
# looks away from what its neighbours draw.

atoms, filters = model.components_, model.encoder_.weights
alike = np.sum(atoms * filters, axis=1) / np.linalg.norm(atoms, axis=1) / np.linalg.norm(filters, axis=1)
print(f"correlation of each atom and its filter: median {np.median(alike):.2f}")

# %%
# What the encoder says and what the search finds, for one patch.

patch = test[:1]
said = model.set_params(inference="encoder").transform(patch)[0]
found = model.set_params(inference="argmin").transform(patch)[0]

figure, axes = plt.subplots(1, 3, figsize=(14, 5), layout="constrained", width_ratios=(4, 4, 3))
plot_atoms(atoms, (side, side), n_columns=16, ax=axes[0]).set_title("atoms")
plot_atoms(filters, (side, side), n_columns=16, ax=axes[1]).set_title("filters of the encoder")
axes[2].plot(said, found, ".")
axes[2].axline((0, 0), slope=1, color="grey", lw=0.8)
axes[2].set(xlabel="entry of the prediction", ylabel="entry of the code", title="one patch", aspect="equal")
plt.show()
