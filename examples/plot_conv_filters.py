r"""
Convolutional filters: from one to sixty-four
=============================================

The filters that a convolutional sparse autoencoder learns depend on their number. This example repeats figure 6 of
LeCun's lecture of 2020 on regularized latent-variable models, which shows filters learned from photographs with the
model of Kavukcuoglu et al. (2010):

.. math:: E(x, z) = \tfrac12 \Bigl\| x - \sum_i K_i * z_i \Bigr\|_2^2 + \lambda \sum_i \|z_i\|_1
    + \tfrac{w}{2} \|z - \mathrm{Enc}(x)\|_2^2, \qquad \mathrm{Enc}(x)_i = g_i \tanh(K^e_i \star x + b_i)

The photographs come with scikit-learn (by danielbuechele and vultilion, under the licence CC BY 2.0) and with
PyWavelets.
"""

# %%
# The photographs are downsampled by two to remove file artefacts. Each pixel is normalised by the local mean and
# standard deviation. Crops are rotated and mirrored at random, so that no direction is preferred.

import matplotlib.pyplot as plt
import numpy as np
import pywt.data
from scipy.ndimage import center_of_mass
from sklearn.datasets import load_sample_images

from skrlv import ConvSparseAutoencoder, ConvSparseCoder
from skrlv.plotting import plot_atoms
from skrlv.preprocessing import LocalContrastNormalizer

rng = np.random.RandomState(0)


def halved(image):
    height, width = image.shape[0] // 2, image.shape[1] // 2
    return image[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean(axis=(1, 3)).astype(np.float32)


def random_crop(image, side):
    top, left = (rng.randint(size - side + 1) for size in image.shape)
    crop = np.rot90(image[top : top + side, left : left + side], rng.randint(4))
    return crop[:, ::-1] if rng.randint(2) else crop


photos = [photo.mean(axis=2) for photo in load_sample_images().images]
photos += [pywt.data.camera(), pywt.data.ascent(), pywt.data.aero()]
photos = [halved(photo) for photo in photos]


def normalized_crops(sigma):
    normalized = LocalContrastNormalizer(sigma).fit_transform(photos)
    return np.stack([random_crop(normalized[i % len(photos)], 48) for i in range(100)])


X = normalized_crops(sigma=4)

# %%
# The figure shows the filters of the encoder on the left and the kernels of the decoder on the right. Codes have both
# signs, so a kernel and its negative are equivalent; each pair is shown with the sign of the decoder.

numbers = (1, 2, 4, 8, 16, 32, 64)
settings = {"lmbda": 2, "encoder_weight": 2, "max_iter": 10, "tol": 0, "batch_size": 10, "random_state": 0}
models = {n: ConvSparseAutoencoder(n, (9, 9), **settings) for n in numbers}
fig, axes = plt.subplots(len(numbers), 2, figsize=(8, 4 * len(numbers)), layout="constrained")
for (n, model), (left, right) in zip(models.items(), axes, strict=True):
    model.fit(X)
    filters = model.encoder_.kernels[..., 0] * np.sign(model.encoder_.gain)[:, None, None]
    plot_atoms(filters, ax=left).set_title(f"{n}: encoder")
    plot_atoms(model.components_, ax=right).set_title("decoder")

# %%
# A single kernel becomes a centre-surround filter: it is nearly invariant under a rotation by ninety degrees, and its
# surround has the opposite sign. With more kernels, edges of more and more orientations appear. The orientation of a
# kernel is that of its power spectrum, if the spectrum has a dominant one; orientations are counted in eight bins.


def about_its_centre(kernel):
    """The kernel in a larger frame, shifted so that its centre of mass is in the middle."""
    frame = np.pad(kernel, kernel.shape[0] // 2)
    return np.roll(frame, np.round((frame.shape[0] - 1) / 2 - np.array(center_of_mass(frame**2))).astype(int), (0, 1))


def directions(kernels):
    """Orientation of each kernel with an oriented spectrum: the main direction of its power, in degrees."""
    power = np.abs(np.fft.fft2(kernels, s=(32, 32))) ** 2
    f = np.fft.fftfreq(32)
    moment = np.sum(power * (f[None, :] + 1j * f[:, None]) ** 2, axis=(1, 2))
    spread = np.sum(power * (f[None, :] ** 2 + f[:, None] ** 2), axis=(1, 2))
    return np.degrees(np.angle(moment[np.abs(moment) > 0.3 * spread])) / 2 % 180


def alike(model):
    """Correlation of each filter with its kernel."""
    pairs = zip(model.encoder_.kernels[..., 0], model.encoder_.gain, model.components_, strict=True)
    return [np.vdot(f, k) * np.sign(g) / np.linalg.norm(f) / np.linalg.norm(k) for f, g, k in pairs]


spot = about_its_centre(models[1].components_[0])
print(f"one kernel and its rotation: correlation {np.corrcoef(spot.ravel(), np.rot90(spot).ravel())[0, 1]:.2f}")
print(f"centre {spot[8, 8]:.2f}, largest value of the opposite sign {(spot * np.sign(spot[8, 8])).min():.2f}")
for n, model in models.items():
    bins = len(set((directions(model.components_) // 22.5).astype(int)))
    print(f"{n:2} kernels: {bins} of 8 orientations, correlation of filter and kernel {np.median(alike(model)):.2f}")

# %%
# If codes are non-negative, a kernel and its negative are different. With two kernels, and normalisation over wide
# enough neighbourhoods, one then becomes a light spot and the other a dark one.

X = normalized_crops(sigma=6)
pair = ConvSparseCoder(2, (9, 9), lmbda=3, positive=True, random_state=0).fit(X)
plot_atoms(pair.components_).set_title("two kernels, non-negative codes")
