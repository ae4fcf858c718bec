"""Between base and the roof: what all convolutional models share, from signals of any shape to maps and back."""

import math
from dataclasses import replace
from numbers import Integral

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import _check_feature_names, check_is_fitted, validate_data

from skrlv._arrays import check_device, is_numpy, to_numpy
from skrlv._convolution import AXES, positions
from skrlv._rows import Rows
from skrlv.decoders import ConvolutionalDictionary, MaskedDecoder
from skrlv.inference import fista_restart, gather, tiled_descent
from skrlv.learning import learn_kernels, unit_rows
from skrlv.models.alternating import AlternatingModel
from skrlv.models.base import unchanged_unless_learned, warn_unless_converged, warn_user
from skrlv.models.hold_out import r_squared
from skrlv.models.linear import LinearModel
from skrlv.models.signals import (
    N_FOLDS,
    check_sizes,
    crops,
    drawn_windows,
    folds,
    is_list_of_signals,
    listed,
    n_dimensions,
    of_one_shape,
    per_axis,
    pooled,
)
from skrlv.models.validation import resolved_tol, stored

PIXELS_PER_CROP = 2**14
GAP_WHILE_LEARNING = 1e-3  # of codes that move kernels: finer ones move them alike
MOST_CODES_AT_ONCE = 2**22
MOST_STEPS = 10_000  # of FISTA, where parts of a signal are missing
TOL_OF_STEPS = 1e-3  # share of the first gradient at which it rests there, for code_tol="auto"
_FLOATS = [np.float64, np.float32]


class ConvolutionalModel(LinearModel, AlternatingModel):
    """A model whose decoder is a `ConvolutionalDictionary`.

    Inside, signals are (n_samples, \\*spatial, n_channels) and kernels (n_components, \\*kernel, n_channels).
    """

    signal_shape_: tuple
    _pixels_per_update = 2**18

    def _validate_params(self):
        super()._validate_params()
        check_device(self.device)
        for name, lengths in (
            ("kernel_size", range(1, AXES + 1)),
            ("signal_shape", (self._n_axes, self._n_axes + 1)),
            ("pooling", (self._n_axes,)),
            ("crop_size", (self._n_axes,)),
        ):
            check_sizes(name, getattr(self, name), lengths)

    @property
    def _n_axes(self):
        return 1 if isinstance(self.kernel_size, Integral) else len(self.kernel_size)

    @property
    def _has_channels(self):
        return len(self.signal_shape_) > self._n_axes

    # Signals

    def _validated(self, X, reset=False):
        if not reset:
            check_is_fitted(self)
            self._refuse_one_signal(X)
        X = listed(X)
        _refuse_no_signals(X)
        if is_list_of_signals(X):
            if of_one_shape(X):
                X = np.stack(X)  # check_array would make float64 of a list
            elif reset:
                X = self._cut_alike(X)
        as_rows = n_dimensions(X) not in (self._n_axes + 1, self._n_axes + 2) or n_dimensions(X) == 2
        if not as_rows:
            X = check_array(X, allow_nd=True, dtype=_FLOATS, order="C", input_name="X")
            shape = X.shape[1:]
            self._check_shape(shape, reset)
            X = X.reshape(len(X), -1)
        X = validate_data(self, X, dtype=_FLOATS, order="C", reset=reset)
        if as_rows:
            shape = self._shape_of_rows(X.shape[1]) if reset else self.signal_shape_
        if reset:
            self._check_fit(shape, self._least_size)
            self.signal_shape_, self._given_as_rows = shape, as_rows
        return self._with_channels(X, shape)

    def _of_any_size(self, X):
        """Signals of one size to a fitted model; rows must have that of `fit`."""
        if not is_list_of_signals(X):
            if n_dimensions(X) <= 2 or np.shape(X)[1:] == self.signal_shape_:
                return self._validated(X)
            self._refuse_one_signal(X)
            X = list(np.asarray(X))
        ((_, signals),) = self._groups(X)
        return signals

    def _refuse_one_signal(self, X):
        if getattr(X, "shape", None) == self.signal_shape_:
            raise ValueError(
                f"Reshape your data: X has shape {X.shape}, that of one signal; give X[None], or a list of it."
            )

    def _cut_alike(self, signals):
        """Crops of one size from signals of several."""
        groups = [group for _, group in self._groups(signals)]
        shapes = np.concatenate([[group.shape[1:-1]] * len(group) for group in groups])
        size = self._crop_size(tuple(map(int, shapes.min(axis=0))))
        if 2 * math.prod(size) < math.prod(self._crop_size(tuple(map(int, np.median(shapes, axis=0))))):
            warn_user(
                f"All signals are learned from in pieces of {size}, since the smallest are no larger. Leave these out, "
                "or learn by partial_fit, which takes each size by itself."
            )
        cut = [crops(group, size, np.random.RandomState(0)) for group in groups]
        return np.concatenate(cut if np.ndim(signals[0]) > self._n_axes else [part[..., 0] for part in cut])

    def _with_channels(self, X, shape):
        return X.reshape(len(X), *shape, *(1,) * (self._n_axes + 1 - len(shape)))

    def _shape_of_rows(self, width):
        if self.signal_shape is not None:
            shape = tuple(int(size) for size in self.signal_shape)
            if math.prod(shape) != width:
                raise ValueError(
                    f"signal_shape={shape} has {math.prod(shape)} entries, but X has rows of {width} features."
                )
            return shape
        if self._n_axes > 1:
            raise ValueError(
                f"X has two dimensions, but kernel_size={self.kernel_size} has {self._n_axes} axes. For rows of pixels "
                "give signal_shape=(height, width) or (height, width, n_channels); images as they are need X of shape "
                "(n_samples, height, width) or (n_samples, height, width, n_channels); series need a kernel_size of "
                "one number."
            )
        return (width,)

    def _check_shape(self, shape, reset):
        """Signals as arrays against the parameter, or against those of `fit`."""
        expected = self.signal_shape if reset else self.signal_shape_
        if expected is not None and shape != tuple(expected):
            name = "signal_shape" if reset else "signal_shape_"
            raise ValueError(f"X has signals of shape {shape}, but {name}={tuple(expected)}.")

    def _check_fit(self, shape, kernel):
        if any(k > s for k, s in zip(kernel, shape, strict=False)):
            raise ValueError(
                f"kernel_size={tuple(kernel)} does not fit into signals of shape {tuple(shape)} "
                f"(n_features = {math.prod(shape)})."
            )

    @property
    def _kernel_size(self):
        return per_axis(self.kernel_size, 1)

    @property
    def _least_size(self):
        """What signals must hold: the kernels that were given or learned, or those to be."""
        given = self.dictionary if self.dictionary is not None else self.dictionary_init
        return self._kernel_size if given is None else np.shape(given)[1 : 1 + self._n_axes]

    def _groups(self, signals):
        """The signals of a list, checked, by shape: (indices, array with channels) of each."""
        groups: dict = {}
        for index, signal in enumerate(signals):
            signal = check_array(
                signal, allow_nd=True, ensure_2d=False, dtype=_FLOATS, order="C", input_name=f"X[{index}]"
            )
            fitted = getattr(self, "signal_shape_", None)
            allowed = (self._n_axes, self._n_axes + 1) if fitted is None else (len(fitted),)
            if signal.ndim not in allowed:
                raise ValueError(
                    f"X[{index}] has {signal.ndim} dimensions, but a signal must have {' or '.join(map(str, allowed))}:"
                    " the axes of a kernel, and of channels where there are any."
                )
            if fitted is not None and signal.shape[self._n_axes :] != fitted[self._n_axes :]:
                raise ValueError(f"X[{index}] has shape {signal.shape}, but signal_shape_={fitted} has other channels.")
            self._check_fit(signal.shape, self._least_size)
            groups.setdefault((signal.shape, signal.dtype), []).append((index, signal))
        channels = {shape[self._n_axes :]: members[0][0] for (shape, _), members in groups.items()}
        if len(channels) > 1:
            told = ", ".join(f"{part[0] if part else 'no axis'} (X[{index}])" for part, index in channels.items())
            raise ValueError(f"The signals of X differ in their channels: {told}.")
        return [
            ([index for index, _ in members], self._with_channels(np.stack([x for _, x in members]), shape))
            for (shape, _), members in groups.items()
        ]

    # Learning

    def fit(self, X, y=None):
        r"""Learn the kernels from X, and the encoder where there is one.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, \*spatial[, n_channels]), or list of arrays
            Signals, float32 or float64; other dtypes become float64. Of a list of signals of different sizes all are
            cut in crops of one size.
        y : None
            Ignored, for scikit-learn's pipelines.

        Returns
        -------
        self : object
            The fitted estimator. A fit that fails leaves it as it was, and so does one that is interrupted before its
            first complete step; interrupted later, it keeps the last one.

        Raises
        ------
        ValueError
            If signals are not finite, smaller than a kernel, of several numbers of channels, or of another shape than
            ``signal_shape``, or a parameter is out of its range.
        """
        return super().fit(X)

    def _given_atoms(self, name, X):
        kernels = getattr(self, name)
        if kernels is None:
            return None
        kernels = check_array(kernels, allow_nd=True, ensure_2d=False, dtype=X.dtype, copy=True, input_name=name)
        n_axes, n_channels = self._n_axes, X.shape[-1]
        if kernels.ndim not in (n_axes + 1, n_axes + 2):
            raise ValueError(
                f"{name} has {kernels.ndim} dimensions, but must be (n_components, {n_axes} axes[, n_channels]): "
                f"kernel_size={self.kernel_size} says how many axes there are."
            )
        if math.prod(kernels.shape[n_axes + 1 :]) != n_channels:
            raise ValueError(f"{name} has shape {kernels.shape}, but X has {n_channels} channels.")
        self._check_fit(X.shape[1:], kernels.shape[1 : n_axes + 1])
        zero = np.flatnonzero(~kernels.reshape(len(kernels), -1).any(axis=1))
        if zero.size:
            raise ValueError(f"{name} has {zero.size} zero kernels, the first at index {zero[0]}; remove them.")
        return np.ascontiguousarray(kernels.reshape(*kernels.shape[: n_axes + 1], n_channels))

    def _first_atoms(self, X, survey, rng):
        given = self._given_atoms("dictionary_init", X)
        windows = drawn_windows(X, self._kernel_size, self.n_components, rng) if given is None else given
        return unit_rows(windows.reshape(len(windows), -1))[0].astype(X.dtype).reshape(windows.shape)

    def _rows(self, X):
        return Rows(X.reshape(len(X), -1))

    def _squares_are_of(self, X):
        return X.dtype  # kernels learn from products in it

    def _learned_from(self, X, rng):
        return np.ascontiguousarray(crops(X, self._crop_size(X.shape[1:-1]), rng))

    def _crop_size(self, spatial):
        """Of what `fit` cuts from signals of that size."""
        if self.crop_size is None:
            return spatial
        sides = self.crop_size
        if isinstance(sides, str):
            sides = [round(PIXELS_PER_CROP ** (1.0 / len(spatial)))] * len(spatial)
        sides = per_axis(sides, len(spatial))
        return tuple(min(w, max(side, 2 * k)) for w, side, k in zip(spatial, sides, self._least_size, strict=True))

    def _batch_size(self, n_samples):
        if self.batch_size != "auto":
            return self.batch_size
        pixels = math.prod(self._crop_size(self.signal_shape_[: self._n_axes]))
        return min(n_samples, max(1, self._pixels_per_update // pixels))

    def _update(self, state, energy, y, z, whole):
        return learn_kernels(state, sized(energy, y), y, z, whole=whole, n_jobs=self.n_jobs)

    def _infer(self, energy, y, z0, rng):
        tol = resolved_tol(self.code_tol, self.components_.dtype)
        return self._minimum(sized(energy, y), y, z0, max(tol, GAP_WHILE_LEARNING))

    def _minimum(self, energy, y, z0=None, tol=None):
        tol = resolved_tol(self.code_tol, self.components_.dtype) if tol is None else tol
        landscape = energy.given(y)
        if is_numpy(y):
            return tiled_descent(landscape, z0, tol=tol, n_jobs=self.n_jobs)
        return fista_restart(landscape, z0, max_iter=MOST_STEPS, tol=tol)

    def _spent(self, energy, y, z):
        return float(sized(energy, y)(y, z).sum())

    def partial_fit(self, X, y=None):
        r"""Learn from one more batch of a stream, of signals of any size.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, \*spatial[, n_channels]), or list of arrays
            The batch. A list may hold signals of different sizes; each size then is a step of its own, and counts as
            one pass. Signals larger than ``crop_size`` are cut in crops.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The estimator. A call that fails or is interrupted leaves it as it was.

        Raises
        ------
        ValueError
            If signals are not finite, smaller than a kernel, or of other channels than before.
        """
        self._validate_params()
        X = listed(X)
        _refuse_no_signals(X)
        if not is_list_of_signals(X):
            return super().partial_fit(X)
        with unchanged_unless_learned(self):
            for indices, _ in self._groups(X):
                super().partial_fit([X[i] for i in indices])
        return self

    def _validated_batch(self, X, reset):
        signals = self._validated(X, reset=True) if reset else self._of_any_size(X)
        return crops(signals, self._crop_size(signals.shape[1:-1]), np.random.RandomState(0))

    @property
    def _stored_decoder(self):
        return ConvolutionalDictionary(self._placed(self._stored_kernels), self.signal_shape_[: self._n_axes])

    def _store(self, energy, dtype):
        kernels = to_numpy(energy.decoder.kernels).astype(dtype)
        self.components_ = kernels if self._has_channels else kernels[..., 0]
        self.n_components_ = len(kernels)
        self.lmbda_ = energy.lmbda

    @property
    def _stored_kernels(self):
        """With channels."""
        return self.components_ if self._has_channels else self.components_[..., None]

    def _review(self, X):
        survey = self._rows(X).survey()
        mean = float(survey.total.mean()) / survey.n_rows
        if survey.varies and mean**2 > 0.5 * survey.rms**2:
            warn_user(
                "X is mostly offset: its mean holds over half of its energy, which kernels are then spent on. Remove "
                "what is constant or slow first, for example by skrlv.preprocessing.LocalContrastNormalizer."
            )

    # Codes

    @property
    def _rows_at_once(self):
        positions_ = self._positions
        return max(1, MOST_CODES_AT_ONCE // (math.prod(positions_) * self.n_components_))

    @property
    def _positions(self):
        return positions(self.signal_shape_[: self._n_axes], self._stored_kernels)

    def encode(self, X, *, mask=None):
        r"""Find the code maps of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, \*spatial[, n_channels]), or list of arrays
            Signals; those of a list may have different sizes.
        mask : array-like of bool, or list of arrays, or None, default=None
            Where X was seen, of the shape of X or of one signal, with or without its channels. What X holds where it
            is False plays no part, and may be NaN. Codes are then found by FISTA, which rests once no entry of its
            gradient mapping exceeds ``code_tol`` ("auto": 1e-3) times the largest entry of its gradient at zero. They
            are not drawn to a prediction, since an encoder has none for signals with holes.

        Returns
        -------
        array of shape (n_samples, \*positions, n_components), or list of arrays (\*positions, n_components)
            Maps of the dtype of X, on the positions where a kernel fits: spatial - kernel + 1.

        Raises
        ------
        ValueError
            If X or mask have the wrong shape, or X is not finite where it was seen.
        """
        check_is_fitted(self)
        if mask is not None and getattr(self, "inference", "argmin") == "encoder":
            raise ValueError("mask needs inference='argmin': an encoder cannot leave out what was not seen.")
        X = listed(X)
        if is_list_of_signals(X):
            return self._encode_list(X, mask)
        seen = None
        if mask is not None:
            _check_feature_names(self, X, reset=False)
            X, seen = self._without_hidden(np.array(X), mask)
        return self._maps(self._of_any_size(X), seen)

    def _encode_list(self, signals, mask):
        if mask is None:
            seen = [None] * len(signals)
        elif len(mask) == len(signals):
            parts = [self._without_hidden(x[None], m) for x, m in zip(signals, mask, strict=True)]
            signals, seen = [x[0] for x, _ in parts], [there for _, there in parts]
        else:
            raise ValueError(f"mask has {len(mask)} entries, but X has {len(signals)} signals.")
        maps = [None] * len(signals)
        for indices, group in self._groups(signals):
            found = self._maps(group, None if mask is None else np.concatenate([seen[i] for i in indices]))
            for i, z in zip(indices, found, strict=True):
                maps[i] = z
        return maps

    def _without_hidden(self, X, mask):
        """X with zeros where it was not seen, and where it was: (n_samples, \\*spatial, n_channels)."""
        mask, as_rows = np.asarray(mask), X.ndim == 2
        if mask.dtype != bool:
            raise ValueError(f"mask has dtype {mask.dtype}, but must be bool: True where X was seen.")
        shape = self.signal_shape_ if as_rows else X.shape[1:]
        if X[0].size != math.prod(shape) or len(shape) != len(self.signal_shape_):
            self._validated(X)  # which says what is wrong with it
        seen = self._mask_of(mask, self._with_channels(X, shape))
        return np.where(seen.reshape(X.shape), X, 0), seen

    def transform(self, X):
        r"""Find the codes of X, as rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, \*spatial[, n_channels])
            Signals of the size of those in `fit`.

        Returns
        -------
        array or CSR matrix of shape (n_samples, n_positions * n_components)
            The maps of `encode`, in C order: column ``p * n_components + i`` is kernel i at the p-th position. With
            ``pooling`` the positions are windows, counted likewise; those at the end of an axis may hold fewer
            positions than the others, and give the mean of these.
        """
        return super().transform(X)

    def _maps(self, y, mask=None):
        """The maps of validated signals; mask has their shape."""
        energy = sized(self.energy_, y)
        if mask is None:
            return self._kept_of_codes(energy, y, lambda x, z: z)
        solution = self._masked(energy, y * mask, mask.astype(y.dtype))
        warn_unless_converged(solution, "Raise code_tol.")
        return solution.z

    def _masked(self, energy, y, mask):
        """The `Solution` of signals that are zero where they were not seen; mask has their shape, or that of one."""
        tol = TOL_OF_STEPS if self.code_tol == "auto" else self.code_tol

        def search(rows):
            seen = self._placed(mask if len(mask) == 1 else mask[rows])
            # nor is a prediction from signals with holes worth being drawn to
            masked = replace(energy, decoder=MaskedDecoder(energy.decoder, seen), encoder_weight=0.0)
            solution = fista_restart(masked.given(self._placed(y[rows])), max_iter=MOST_STEPS, tol=tol)
            return solution._replace(z=to_numpy(solution.z).astype(y.dtype, copy=False))

        return gather(search, len(y), self._each_block)

    def _mask_of(self, mask, X):
        """A mask in the shape of X, which has channels."""
        shape, one = X.shape, X.shape[1:]
        allowed = {
            shape: shape, shape[:-1]: (*shape[:-1], 1), one: (1, *one), one[:-1]: (1, *one[:-1], 1),
            (len(X), math.prod(one)): shape, (math.prod(one),): (1, *one),
        }  # fmt: skip
        if mask.shape not in allowed:
            raise ValueError(
                f"mask has shape {mask.shape}, but must be that of X, or of one signal: {one[:-1]}, with or without "
                "channels."
            )
        return np.broadcast_to(mask.reshape(allowed[mask.shape]), shape)

    def _window(self):
        """Of pooling, which may have been set since `fit`."""
        check_sizes("pooling", self.pooling, (self._n_axes,))
        return per_axis(self.pooling, self._n_axes)

    def _as_features(self, z):
        if self.pooling is not None:
            z = pooled(z, self._window())
        return stored(z.reshape(len(z), -1), self.sparse_output)

    @property
    def _n_features_out(self):
        places = self._positions
        if self.pooling is not None:
            places = [-(-place // window) for place, window in zip(places, self._window(), strict=True)]
        return math.prod(places) * self.n_components_

    def _as_codes(self, Z):
        if self.pooling is not None:
            raise ValueError("pooling lost what decoding needs: set pooling=None, or decode the maps of `encode`.")
        return Z.reshape(len(Z), *self._positions, self.n_components_)

    def _as_data(self, y):
        return y.reshape(len(y), -1) if self._given_as_rows else self._without_channels(y)

    def _without_channels(self, y):
        return y if self._has_channels else y[..., 0]

    def inverse_transform(self, X):
        r"""Decode codes.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features_out), maps, or list of maps
            Codes as `transform` returns them, or maps as `encode` does, for signals of any size.

        Returns
        -------
        array, or list of arrays
            Their reconstructions, in the shape that signals had in `fit`, of the dtype of X.

        Raises
        ------
        ValueError
            If codes are rows and were pooled, or X has the wrong shape.
        """
        check_is_fitted(self)
        X = listed(X)
        if is_list_of_signals(X):
            return [self._decoded(maps[None])[0] for maps in X]
        if n_dimensions(X) == self._n_axes + 2:
            return self._decoded(X)
        return super().inverse_transform(X)

    def _decoded(self, maps):
        maps = check_array(maps, allow_nd=True, dtype=_FLOATS, order="C", input_name="X")
        if maps.ndim != self._n_axes + 2 or maps.shape[-1] != self.n_components_:
            raise ValueError(
                f"X has maps of shape {maps.shape[1:]}, but must have {self._n_axes} axes of positions and one of "
                f"{self.n_components_} kernels."
            )
        decoded = to_numpy(self.energy_.decoder(self._placed(maps))).astype(maps.dtype, copy=False)
        return self._without_channels(decoded)

    def energy(self, X, Z=None):
        r"""Energy of each signal with its code.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, \*spatial[, n_channels]), or list of arrays
            Signals; those of a list may have different sizes.
        Z : array-like or sparse matrix of shape (n_samples, n_features_out), maps, list of maps or None, default=None
            Codes as `transform` returns them, or maps as `encode` does; None infers them.

        Returns
        -------
        array of shape (n_samples,)
            E(x, z), in squared units of X, float64; infinite for a code that the model does not allow.

        Raises
        ------
        ValueError
            If signals or codes have the wrong shape.
        """
        check_is_fitted(self)
        X, Z = listed(X), listed(Z)
        if not is_list_of_signals(X):
            if Z is None or n_dimensions(Z) == 2:
                return super().energy(X, Z)
            return self._spent_with(self._of_any_size(X), Z)
        if Z is not None and len(Z) != len(X):
            raise ValueError(f"Z has {len(Z)} maps, but X has {len(X)} signals.")
        spent = np.empty(len(X))
        for indices, group in self._groups(X):
            spent[indices] = self._spent_with(group, None if Z is None else np.stack([Z[i] for i in indices]))
        return spent

    def _spent_with(self, y, maps):
        """The energy of each of validated signals of one size."""
        energy = sized(self.energy_, y)
        if maps is not None:
            maps = check_array(maps, allow_nd=True, dtype=_FLOATS, order="C", input_name="Z")
            wanted = (len(y), *energy.decoder.code_shape)
            if maps.shape != wanted:
                raise ValueError(f"Z has maps of shape {maps.shape}, but for these signals they must have {wanted}.")
        return self._spent_on(energy, y, maps)

    def score(self, X, y=None):
        r"""R^2 on pixels held out, which ranks lmbda: energies cannot, since a smaller lmbda always wins.

        .. math:: 1 - \sum (x - \hat x)^2 / \sum (x - \bar x)^2

        The entries of a signal are cut in five fixed random folds. For each, codes are found from the other four at
        the same lmbda, and :math:`\hat x` is what they say of those held out; :math:`\bar x` is the mean of each
        channel.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, \*spatial[, n_channels])
            Signals.
        y : None
            Ignored.

        Returns
        -------
        float
            At most 1.
        """
        X = self._validated(X)
        energy, fold_of = sized(self.energy_, X), folds(X.shape[1:])
        error = 0.0
        for fold in range(N_FOLDS):
            seen = (fold_of != fold)[None]
            solution = self._masked(energy, X * seen, seen.astype(X.dtype))
            guess = to_numpy(energy.decoder(self._placed(solution.z)))
            error += float(np.sum(((X - guess) * ~seen).astype(np.float64) ** 2))
        return float(r_squared(np.array([error]), X.reshape(-1, X.shape[-1]))[0])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        tags.input_tags.three_d_array = True
        return tags


def _refuse_no_signals(X):
    if isinstance(X, list | tuple) and not X:
        raise ValueError("X is an empty list: 0 samples.")


def sized(energy, y):
    """The energy for signals of the size of y."""
    spatial = tuple(y.shape[1:-1])
    if energy.decoder.spatial_shape == spatial:
        return energy
    return replace(energy, decoder=replace(energy.decoder, spatial_shape=spatial))
