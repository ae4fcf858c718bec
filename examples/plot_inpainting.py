r"""
Filling in a photograph
=======================

Half of the pixels of a photograph are lost. Codes are found from those that are left,

.. math:: \min_z \tfrac12 \Bigl\| m \odot \Bigl(x - \sum_i K_i * z_i\Bigr) \Bigr\|_2^2 + \lambda \sum_i \|z_i\|_1

and what they draw fills the holes: kernels know how an edge goes on. The photo comes with scikit-learn (by vultilion,
under the licence CC BY 2.0).
"""

# %%
# Kernels are learned from the left of a photograph; the holes are on its right. Slow shades are not sparse, so they are
# kept apart: a blurred photo, to which only pixels that were seen contribute.

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
    """The local mean of what was seen."""
    return gaussian_filter(image * seen, 3) / gaussian_filter(seen.astype(float), 3)


fine = left - shade(left, np.ones(left.shape))
coder = ConvSparseCoder(32, (9, 9), lmbda=0.3, crop_size=48, max_iter=15, random_state=0).fit([fine])
plot_atoms(coder.components_).set_title("kernels")

# %%
# A mask says what was seen. Where it is False the image may hold anything, even NaN. There is no noise to be kept out
# of the codes, so lmbda can be small, much smaller than for learning.

seen = np.random.RandomState(1).rand(*right.shape) < 0.5
base = shade(right, seen)
holed = np.where(seen, right - base, np.nan)

filler = ConvSparseCoder(dictionary=coder.components_, lmbda=0.01).fit([fine])
filled = base + filler.inverse_transform(filler.encode([holed], mask=[seen]))[0]

# %%
# Beside it, what interpolation makes of the same pixels. The number is the PSNR over those that were lost.


def psnr(guess):
    return -10 * np.log10(np.mean((guess - right)[~seen] ** 2))


everywhere = tuple(np.indices(right.shape))
linear = griddata(np.argwhere(seen), right[seen], everywhere, fill_value=right[seen].mean())
cubic = griddata(np.argwhere(seen), right[seen], everywhere, method="cubic", fill_value=right[seen].mean())
pictures = {"photo": right, "seen": np.where(seen, right, 0)}
for name, guess in (("local mean", base), ("linear", linear), ("cubic", cubic), ("codes", filled)):
    pictures[f"{name}, {psnr(guess):.1f} dB"] = guess

fig, axes = plt.subplots(2, 3, figsize=(11, 7.6), layout="constrained")
for ax, (title, picture) in zip(axes.flat, pictures.items(), strict=True):
    ax.imshow(picture, cmap="gray", vmin=0, vmax=1)
    ax.set_title(title)
    ax.set_axis_off()
