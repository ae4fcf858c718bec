r"""
Motifs of an electrocardiogram (ECG)
====================================

An electrocardiogram repeats the same waveform at every heartbeat. Convolutional sparse coding finds the repeated motifs
and the times at which they occur. The signal comes with PyWavelets.

.. math:: x \approx \sum_i K_i * z_i, \qquad z_i \ge 0 \ \text{sparse}
"""

# %%
# The signal contains three beats. The slow drift of the baseline is not a motif, so its running median is subtracted.

import matplotlib.pyplot as plt
import numpy as np
import pywt.data
from scipy.ndimage import median_filter

from skrlv import ConvSparseCoder

ecg = pywt.data.ecg().astype(float)
x = ecg - median_filter(ecg, 200, mode="nearest")
x /= x.std()

# %%
# A single kernel that is long enough for a whole beat is used once per beat. Its map gives the times of the heartbeats.


def draw(coder):
    """Plot the signal and its reconstruction, the codes, and the kernels."""
    z = coder.encode(x[None])
    codes, decoded = z[0].T, coder.inverse_transform(z)[0]
    _, axes = plt.subplots(3, 1, figsize=(10, 7), layout="constrained", height_ratios=(2, 1, 2))
    axes[0].plot(x, color="0.6", label="signal")
    axes[0].plot(decoded, color="black", linewidth=1, label="decoded")
    axes[0].legend()
    for i, (kernel, code) in enumerate(zip(coder.components_, codes, strict=True)):
        used = np.flatnonzero(code)
        axes[1].vlines(used, i, i + code[used] / code.max(), color=f"C{i}", linewidth=3)
        axes[2].plot(kernel, color=f"C{i}")
        apart = 1 + np.count_nonzero(np.diff(used) > 10)
        print(f"kernel {i} of {len(codes)}: used in {apart} places, at most {code.max():.1f}")
    axes[1].set(xlim=axes[0].get_xlim(), yticks=[], ylabel="codes")
    axes[2].set_ylabel("kernels")
    print(f"{1 - np.sum((x - decoded) ** 2) / np.sum(x**2):.3f} of the squares explained")


beat = ConvSparseCoder(1, 256, lmbda=2, positive=True, tol=1e-5, random_state=0).fit(x[None])
draw(beat)

# %%
# Two shorter kernels share the beat. With this random initialisation one becomes the sharp spike of the QRS complex,
# and the other a slow wave that represents both P and T. With so few data the solution is not unique: with other
# initialisations each kernel represents a part of the spike.

parts = ConvSparseCoder(2, 90, lmbda=1, positive=True, max_iter=200, tol=1e-5, random_state=1).fit(x[None])
draw(parts)
