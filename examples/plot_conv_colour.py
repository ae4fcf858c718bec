r"""
Convolutional kernels of colour photographs
===========================================

A convolutional sparse autoencoder learns sixty-four kernels of 9 x 9 pixels and three colour channels from photographs,
together with its encoder. The last figures show the maps of one photo. This repeats figure 7 of LeCun's lecture of 2020
on regularized latent-variable models.

The photos come with scikit-learn. They are by danielbuechele and vultilion, under the licence CC BY 2.0.
"""

# %%
# The local mean of each channel is subtracted, and all three channels are divided by one local standard deviation, so
# that colours keep their proportions.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_images
from sklearn.feature_extraction.image import extract_patches_2d

from skrlv import ConvSparseAutoencoder
from skrlv.plotting import plot_atoms
from skrlv.preprocessing import LocalContrastNormalizer


def halved(image):
    height, width = image.shape[0] // 2, image.shape[1] // 2
    blocks = image[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3)
    return (blocks.mean(axis=(1, 3)) / 255).astype(np.float32)


photos = [halved(photo) for photo in load_sample_images().images]
X = LocalContrastNormalizer(sigma=4).fit_transform(photos)
crops = np.concatenate([extract_patches_2d(photo, (40, 40), max_patches=40, random_state=0) for photo in X])

model = ConvSparseAutoencoder(64, (9, 9), lmbda=1.5, max_iter=10, tol=0, batch_size=10, random_state=0).fit(crops)

# %%
# The kernels are sorted by the share of colour in them: first grey edges and textures, then edges between colours, and
# patches of one colour. Most of the energy of these photos is in differences of brightness.

colour = model.components_ - model.components_.mean(axis=3, keepdims=True)
share = np.sum(colour**2, axis=(1, 2, 3)) / np.sum(model.components_**2, axis=(1, 2, 3))
order = np.argsort(share)
fig, (left, right) = plt.subplots(1, 2, figsize=(12, 6.2), layout="constrained")
plot_atoms(model.encoder_.kernels[order], ax=left).set_title("encoder")
plot_atoms(model.components_[order], ax=right).set_title("decoder")

energy_in_colour = np.sum((crops - crops.mean(axis=3, keepdims=True)) ** 2) / np.sum(crops**2)
print(f"colour is {energy_in_colour:.2f} of the energy of the photos")
print(f"{np.sum(share > 1 / 3)} kernels are more than a third colour, {np.sum(share < 0.05)} less than a twentieth")

# %%
# The sixty-four maps of one photo at the minimum of the energy. Blocks of 4 x 4 positions are summed to make single
# entries visible. Most positions are grey, which means zero; a few are light or dark.

photo = X[1][40:180, 60:260]
(maps,) = model.set_params(inference="argmin").encode([photo])
(drawn,) = model.inverse_transform([maps])
explained = 1 - np.sum((photo - drawn) ** 2) / np.sum(photo**2)
print(f"{np.mean(maps != 0):.3f} of the codes are not zero; they explain {explained:.2f} of the squares")

fig, axes = plt.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
for ax, (title, picture) in zip(axes, {"photo, normalised": photo, "decoded": drawn}.items(), strict=True):
    ax.imshow(np.clip(0.5 + 0.15 * picture, 0, 1))
    ax.set_title(title)
    ax.set_axis_off()

coarse = maps.reshape(33, 4, 48, 4, 64).sum(axis=(1, 3))
fig, ax = plt.subplots(figsize=(12, 8.4), layout="constrained")
plot_atoms(np.moveaxis(coarse, -1, 0)[order], ax=ax)
