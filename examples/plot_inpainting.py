r"""
Inpainting with convolutional sparse coding
===========================================

Half of the pixels of a photograph are missing. Codes are inferred from the observed pixels, where the mask m is one,

.. math:: \min_z \tfrac12 \Bigl\| m \odot \Bigl(x - \sum_i K_i * z_i\Bigr) \Bigr\|_2^2 + \lambda \sum_i \|z_i\|_1

and the reconstruction fills in the missing ones, because the learned kernels continue edges across them. The photo
comes with scikit-learn (by vultilion, under the licence CC BY 2.0).
"""

# %%
# Kernels are learned from the left part of a photograph; the right part is inpainted. Low frequencies are not sparse,
# so they are treated separately: we subtract a blurred photo, which is computed from the observed pixels only.

import matplotlib.pyplot as plt
import numpy as np
from scipy.interpolate import griddata
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_sample_image

from skrlv import ConvSparseCoder
from skrlv.plotting import plot_atoms

photo = load_sample_image("flower.jpg").mean(axis=2) / 255
left, right = photo[:240, 80:320], photo[88:184, 344:440]


def shade(image, seen):
    """Local mean of the observed pixels."""
    return gaussian_filter(image * seen, 3) / gaussian_filter(seen.astype(float), 3)


fine = left - shade(left, np.ones(left.shape))
coder = ConvSparseCoder(32, (9, 9), lmbda=0.3, crop_size=48, max_iter=15, random_state=0).fit([fine])
plot_atoms(coder.components_).set_title("kernels")

# %%
# The mask is True for observed pixels. The other pixels may have any value, even NaN. The image has no noise, so lmbda
# can be much smaller than for learning.

seen = np.random.RandomState(1).rand(*right.shape) < 0.5
base = shade(right, seen)
holed = np.where(seen, right - base, np.nan)

filler = ConvSparseCoder(dictionary=coder.components_, lmbda=0.01).fit([fine])
filled = base + filler.inverse_transform(filler.encode([holed], mask=[seen]))[0]

# %%
# The figure compares the result with interpolation of the same pixels. The numbers are the PSNR over the missing
# pixels.


def psnr(guess):
    return -10 * np.log10(np.mean((guess - right)[~seen] ** 2))


everywhere = tuple(np.indices(right.shape))
linear = griddata(np.argwhere(seen), right[seen], everywhere, fill_value=right[seen].mean())
cubic = griddata(np.argwhere(seen), right[seen], everywhere, method="cubic", fill_value=right[seen].mean())
pictures = {"photo": right, "observed": np.where(seen, right, 0)}
for name, guess in (("local mean", base), ("linear", linear), ("cubic", cubic), ("codes", filled)):
    pictures[f"{name}, {psnr(guess):.1f} dB"] = guess

fig, axes = plt.subplots(2, 3, figsize=(11, 7.6), layout="constrained")
for ax, (title, picture) in zip(axes.flat, pictures.items(), strict=True):
    ax.imshow(picture, cmap="gray", vmin=0, vmax=1)
    ax.set_title(title)
    ax.set_axis_off()
