"""Example data for the models. Only `fetch_mnist` may use the network."""

import os
from importlib.util import find_spec
from numbers import Integral, Real
from pathlib import Path

import numpy as np
from sklearn.datasets import fetch_openml, load_digits, load_sample_images
from sklearn.utils import check_random_state

from skrlv._compat import Interval, validate_params
from skrlv.learning import unit_rows

_COUNT = [Interval(Integral, 1, None, closed="left")]
_LUMINANCE = np.array([0.299, 0.587, 0.114])  # of red, green and blue, ITU-R BT.601


@validate_params(
    {"n_patches": _COUNT, "patch_size": [tuple, list], "color": ["boolean"], "random_state": ["random_state"]},
    prefer_skip_nested_validation=True,
)
def load_natural_patches(n_patches=10000, patch_size=(12, 12), *, color=False, random_state=None):
    """Random patches of the two photographs that come with scikit-learn; this needs pillow, from the extra [plot].

    Photo and position are drawn uniformly for each patch, so patches may overlap. The photos, a temple in China and a
    flower, are by the Flickr users danielbuechele and vultilion, under the licence CC BY 2.0; credit these authors if
    you show patches.

    Parameters
    ----------
    n_patches : int, default=10000
        Number of patches, at least 1.
    patch_size : tuple of int, default=(12, 12)
        (height, width) in pixels; the photos have (427, 640).
    color : bool, default=False
        Whether to return red, green and blue; otherwise their luminance is returned.
    random_state : int, RandomState instance or None, default=None
        Draws the patches.

    Returns
    -------
    array of shape (n_patches, height * width) or (n_patches, height * width * 3)
        Pixels in 0..1, float64, channels last.

    Raises
    ------
    ImportError
        If pillow is missing.
    ValueError
        If a patch does not fit into a photo, or a parameter is out of its range.

    See Also
    --------
    skrlv.preprocessing.PatchWhitener : Whitens patches, as is usual before sparse coding.

    Examples
    --------
    >>> from skrlv.datasets import load_natural_patches
    >>> load_natural_patches(500, (8, 8), random_state=0).shape
    (500, 64)
    >>> load_natural_patches(500, (8, 8), color=True, random_state=0).shape
    (500, 192)
    """
    photos = _photos(color)
    height, width = _checked_size(patch_size, photos.shape[1:3])
    rng = check_random_state(random_state)
    photo = rng.randint(len(photos), size=(n_patches, 1, 1))
    top = rng.randint(photos.shape[1] - height + 1, size=(n_patches, 1, 1))
    left = rng.randint(photos.shape[2] - width + 1, size=(n_patches, 1, 1))
    patches = photos[photo, top + np.arange(height)[:, None], left + np.arange(width)]
    return patches.reshape(n_patches, -1) / 255.0


def _photos(color):
    """(n_photos, height, width[, 3]) in 0..255."""
    try:
        photos = np.stack(load_sample_images().images)
    except ImportError as error:
        raise ImportError("load_natural_patches needs pillow to read photos: pip install pillow.") from error
    return photos if color else photos @ _LUMINANCE


def _checked_size(patch_size, limits):
    if len(patch_size) != 2 or not all(
        isinstance(side, int | np.integer) and 1 <= side <= limit
        for side, limit in zip(patch_size, limits, strict=False)
    ):
        raise ValueError(f"patch_size={patch_size!r} must be (height, width), from (1, 1) to {limits}.")
    return patch_size


@validate_params(
    {
        "n_samples": _COUNT,
        "n_features": _COUNT,
        "n_components": _COUNT,
        "n_nonzero": _COUNT,
        "snr_db": [Interval(Real, None, None, closed="neither"), None],
        "positive": ["boolean"],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_sparse_signals(
    n_samples=1500, n_features=20, n_components=50, *, n_nonzero=3, snr_db=None, positive=False, random_state=None
):
    r"""Signals that are sparse in a dictionary, with their codes and atoms: ground truth for dictionary learning.

    .. math:: x = zD + \text{noise}, \qquad \|z\|_0 = n_{\text{nonzero}}, \qquad \|d_j\|_2 = 1

    Atoms are uniform on the sphere, the positions of the non-zeros are uniform, and their values are standard normal.
    The default sizes are those of the synthetic experiment of K-SVD.

    Parameters
    ----------
    n_samples : int, default=1500
        Number of signals.
    n_features : int, default=20
        Length of a signal.
    n_components : int, default=50
        Number of atoms.
    n_nonzero : int, default=3
        Number of atoms per signal, at most n_components.
    snr_db : float or None, default=None
        Signal-to-noise ratio over all signals, 20 log10(norm of signals / norm of noise), in dB; None adds no noise.
    positive : bool, default=False
        Whether codes are non-negative; their values are then magnitudes of normal numbers. Atoms have both signs.
    random_state : int, RandomState instance or None, default=None
        Draws atoms, codes and noise.

    Returns
    -------
    X : array of shape (n_samples, n_features)
        Signals.
    Z : array of shape (n_samples, n_components)
        Their codes.
    dictionary : array of shape (n_components, n_features)
        Atoms, one per row.

    Raises
    ------
    ValueError
        If n_nonzero exceeds n_components, or a parameter is out of its range.

    References
    ----------
    Aharon, Elad, Bruckstein, K-SVD: An Algorithm for Designing Overcomplete Dictionaries for Sparse Representation,
    2006.

    Examples
    --------
    >>> import numpy as np
    >>> from skrlv.datasets import make_sparse_signals
    >>> X, Z, dictionary = make_sparse_signals(100, random_state=0)
    >>> X.shape, Z.shape, dictionary.shape
    ((100, 20), (100, 50), (50, 20))
    >>> bool(np.allclose(X, Z @ dictionary))
    True
    """
    if n_nonzero > n_components:
        raise ValueError(f"n_nonzero={n_nonzero} exceeds n_components={n_components}.")
    rng = check_random_state(random_state)
    dictionary = unit_rows(rng.standard_normal((n_components, n_features)))[0]
    used = rng.random_sample((n_samples, n_components)).argsort(axis=1)[:, :n_nonzero]
    values = rng.standard_normal((n_samples, n_nonzero))
    Z = np.zeros((n_samples, n_components))
    np.put_along_axis(Z, used, np.abs(values) if positive else values, axis=1)
    X = Z @ dictionary
    if snr_db is not None:
        noise = rng.standard_normal(X.shape)
        X += noise * (np.linalg.norm(X) / np.linalg.norm(noise) * 10.0 ** (-snr_db / 20.0))
    return X, Z, dictionary


def fetch_mnist(*, data_home=None):
    """The handwritten digits of MNIST, from a local file or else from openml.org.

    The file is ``mnist.npz``, or the first ``mnist*.npz``, in ``data_home``. By default this is the folder named by the
    environment variable ``SKRLV_DATA``, or else scikit-learn's data folder. The file contains arrays of bytes: either
    ``X`` and ``y``, or ``x_train``, ``y_train``, ``x_test`` and ``y_test`` as Keras stores them. If there is no such
    file, the digits are downloaded from OpenML and stored in that folder as ``mnist.npz``.

    Parameters
    ----------
    data_home : path-like or None, default=None
        Folder of the file.

    Returns
    -------
    X : array of shape (n_samples, 784)
        Pixels in 0..1, float32. n_samples is 70,000, training digits first, or the number in the file.
    y : array of shape (n_samples,)
        Labels 0..9, int64.

    Raises
    ------
    OSError
        If there is no file and openml.org cannot be reached.
    ValueError
        If the file does not contain such arrays.

    See Also
    --------
    load_handwritten_digits : Reads a local file only, and never downloads.

    Examples
    --------
    >>> from skrlv.datasets import fetch_mnist
    >>> X, y = fetch_mnist()  # doctest: +SKIP
    >>> X.shape, X.dtype  # doctest: +SKIP
    ((70000, 784), dtype('float32'))
    """
    folder = _data_folder(data_home)
    file = _mnist_file(folder) or _downloaded(folder)
    return _read_mnist(file)


def load_handwritten_digits():
    """MNIST if there is a local file, otherwise the small digits that come with scikit-learn; never downloads.

    The file is one that `fetch_mnist` finds, or has stored.

    Returns
    -------
    X : array of shape (n_samples, 784) or (1797, 64)
        Pixels in 0..1, float32: square images of 28 or of 8 pixels a side.
    y : array of shape (n_samples,)
        Labels 0..9, int64.

    Examples
    --------
    >>> from skrlv.datasets import load_handwritten_digits
    >>> X, y = load_handwritten_digits()
    >>> X.shape[1] in (64, 784), X.dtype
    (True, dtype('float32'))
    """
    file = _mnist_file(_data_folder(None))
    if file:
        return _read_mnist(file)
    X, y = load_digits(return_X_y=True)
    return (X / 16.0).astype(np.float32), y.astype(np.int64)


def _data_folder(data_home):
    default = os.environ.get("SCIKIT_LEARN_DATA", "~/scikit_learn_data")  # sklearn's get_data_home would create it
    return Path(data_home or os.environ.get("SKRLV_DATA") or default).expanduser()


def _mnist_file(folder):
    """mnist.npz, or the first mnist*.npz; None if there is none."""
    files = sorted(folder.glob("mnist*.npz"))
    return next((file for file in files if file.name == "mnist.npz"), files[0] if files else None)


def _downloaded(folder):
    """Download the digits from OpenML; return the file that now holds them."""
    parser = "pandas" if find_spec("pandas") else "liac-arff"
    try:
        X, y = fetch_openml("mnist_784", version=1, as_frame=False, return_X_y=True, parser=parser, cache=False)
        folder.mkdir(parents=True, exist_ok=True)
        file, unfinished = folder / "mnist.npz", folder / "unfinished-mnist.npz"
        np.savez_compressed(unfinished, X=X.astype(np.uint8), y=y.astype(np.uint8))
        return unfinished.replace(file)
    except OSError as error:
        raise OSError(
            f"MNIST is neither in {folder}, as mnist*.npz, nor could it be fetched from openml.org and stored there "
            f"({error}). Pass a folder that contains the file as data_home=, or name it in the environment variable "
            "SKRLV_DATA."
        ) from error


def _read_mnist(file):
    with np.load(file) as arrays:
        if {"X", "y"} <= set(arrays):
            X, y = arrays["X"], arrays["y"]
        elif {"x_train", "y_train", "x_test", "y_test"} <= set(arrays):
            X, y = (np.concatenate([arrays[f"{name}_train"], arrays[f"{name}_test"]]) for name in "xy")
        else:
            raise ValueError(f"{file} holds {sorted(arrays)}, but must hold X and y, or x_train to y_test.")
    X = X.reshape(len(X), -1)
    if X.shape[1] != 784 or X.dtype != np.uint8 or y.shape != (len(X),):
        raise ValueError(
            f"{file} has pixels of shape {X.shape} and dtype {X.dtype} with labels of shape {y.shape}, but must have "
            "(n_samples, 784) bytes and a label for each."
        )
    return X.astype(np.float32) / 255.0, y.astype(np.int64)
