"""What all convolutional models share: signals of any shape, kernels, maps and their pooled features."""

import math
from dataclasses import replace
from numbers import Integral

import numpy as np
from sklearn.utils.validation import _check_feature_names, check_is_fitted, validate_data

from skrlv._arrays import is_numpy, to_numpy
from skrlv._containers import float_dtype
from skrlv._convolution import AXES
from skrlv.decoders import ConvolutionalDictionary, MaskedDecoder
from skrlv.inference import fista_restart, gather, tiled_descent
from skrlv.learning import learn_kernels, unit_rows
from skrlv.models.base import batches_of
from skrlv.models.frozen import warn_of_frozen
from skrlv.models.linear import LinearModel
from skrlv.models.signals import (
    SignalLayout,
    check_sizes,
    checked,
    crop_sides,
    crops,
    cut_alike,
    drawn_windows,
    is_list_of_signals,
    listed,
    n_dimensions,
    of_one_shape,
    per_axis,
    pooled,
)
from skrlv.models.validation import (
    refuse_extremes_for,
    refuse_nothing_but_zeros,
    refuse_zero_atoms,
    resolved_tol,
    stored,
)
from skrlv.models.warning import warn_unless_converged, warn_user

GAP_WHILE_LEARNING = 1e-3  # of codes that move kernels: finer ones move them alike
MAX_CODES_AT_ONCE = 2**22
MAX_STEPS = 10_000  # of FISTA, for signals with missing parts
TOL_OF_STEPS = 1e-3  # FISTA's tolerance there, for code_tol="auto"


class ConvolutionalModel(LinearModel):
    """A model whose decoder is a `ConvolutionalDictionary`.

    Inside, signals are (n_samples, \\*spatial, n_channels) and kernels (n_components, \\*kernel, n_channels).
    """

    signal_shape_: tuple
    _pixels_per_update = 2**18
    _squares_in_dtype = True  # kernels learn from products in it

    def _validate_params(self):
        super()._validate_params()
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
    def _kernel_size(self):
        """Size of the kernels that were given or learned, or of those to be."""
        given = self.dictionary if self.dictionary is not None else self.dictionary_init
        return per_axis(self.kernel_size, 1) if given is None else np.shape(given)[1 : 1 + self._n_axes]

    @property
    def _layout(self):
        """How the signals of `fit` are shaped."""
        return SignalLayout(self._n_axes, self._kernel_size, self.signal_shape_, fitted=True)

    def _validated(self, X, reset=False):
        if reset:
            layout = SignalLayout(self._n_axes, self._kernel_size, self.signal_shape)
        else:
            check_is_fitted(self)
            warn_of_frozen(self)
            layout = self._layout
            layout.refuse_one_signal(X)
        X = listed(X)
        if is_list_of_signals(X):
            if of_one_shape(X):
                X = np.stack(X)  # check_array would make float64 of a list
            elif reset:
                X = cut_alike(layout, X, self._crop_size)
        layout.refuse_bare_signal(X)
        as_rows = layout.are_rows(X)
        if not as_rows:
            X, shape = layout.flattened(X)
        X = validate_data(self, X, dtype=float_dtype(X), order="C", reset=reset)
        if not reset:
            refuse_extremes_for(self, X)
        if as_rows:
            shape = layout.shape_of_rows(X.shape[1]) if reset else self.signal_shape_
        if reset:
            layout.check_holds_kernel(shape)
            layout.warn_of_channels_first(shape)
            self.signal_shape_, self._given_as_rows = shape, as_rows
        return layout.with_channels(X, shape)

    def _of_any_size(self, X):
        """Validate signals of one size for a fitted model; rows must have that of `fit`."""
        layout = self._layout
        if not is_list_of_signals(X):
            if n_dimensions(X) <= 2 or np.shape(X)[1:] == self.signal_shape_:
                return self._validated(X)
            layout.refuse_one_signal(X)
            X = list(np.asarray(X))
        ((_, signals),) = layout.groups(X)
        return signals

    def _given_atoms(self, name, X):
        kernels = getattr(self, name)
        if kernels is None:
            return None
        kernels = np.array(checked(kernels, name), dtype=X.dtype)
        n_axes, n_channels = self._n_axes, X.shape[-1]
        if kernels.ndim not in (n_axes + 1, n_axes + 2):
            raise ValueError(
                f"{name} has {kernels.ndim} dimensions, but must be (n_components, {n_axes} axes[, n_channels]): "
                f"kernel_size={self.kernel_size} has {n_axes} axes."
            )
        if math.prod(kernels.shape[n_axes + 1 :]) != n_channels:
            raise ValueError(f"{name} has shape {kernels.shape}, but X has {n_channels} channels.")
        refuse_nothing_but_zeros(kernels, name)
        replace(self._layout, kernel=kernels.shape[1 : n_axes + 1]).check_holds_kernel(X.shape[1:])
        return kernels.reshape(*kernels.shape[: n_axes + 1], n_channels)

    def _first_atoms(self, X, summary, rng):
        windows = self._given_atoms("dictionary_init", X)
        if windows is None:
            windows = drawn_windows(X, self._kernel_size, self.n_components, rng)
        else:
            refuse_zero_atoms(windows, "dictionary_init")
        return unit_rows(windows.reshape(len(windows), -1))[0].astype(X.dtype).reshape(windows.shape)

    def _crop_size(self, spatial):
        """Size of what learning cuts from signals of that size."""
        return spatial if self.crop_size is None else crop_sides(self.crop_size, spatial, self._kernel_size)

    def _learn_atoms(self, state, energy, y, z, whole):
        atoms, energy = learn_kernels(state.atoms, sized(energy, y), y, z, whole=whole, n_jobs=self.n_jobs)
        return state._replace(atoms=atoms), energy

    def _infer_batch(self, energy, y, z0=None):
        """The codes that kernels learn from."""
        tol = resolved_tol(self.code_tol, self.components_.dtype)
        return self._argmin(sized(energy, y), y, z0, max(tol, GAP_WHILE_LEARNING))

    def _argmin(self, energy, y, z0=None, tol=None):
        """The minimum of the whole energy."""
        tol = resolved_tol(self.code_tol, self.components_.dtype) if tol is None else tol
        landscape = energy.given(y)
        if is_numpy(y):
            return tiled_descent(landscape, z0, tol=tol, n_jobs=self.n_jobs)
        return fista_restart(landscape, z0, max_iter=MAX_STEPS, tol=tol)

    def _batches(self, X, rng):
        """What passes over signals need; larger ones are cut in crops."""
        signals = np.ascontiguousarray(crops(X, self._crop_size(X.shape[1:-1]), rng))
        pixels = math.prod(signals.shape[1:-1])
        return batches_of(self, signals, max(1, self._pixels_per_update // pixels))

    def _validated_batches(self, X):
        X, first = listed(X), not hasattr(self, "n_iter_")
        groups = [X]
        if is_list_of_signals(X):
            layout = SignalLayout(self._n_axes, self._kernel_size, None) if first else self._layout
            groups = [[X[i] for i in indices] for indices, _ in layout.groups(X)]
        for group in groups:
            signals = self._of_any_size(group) if hasattr(self, "n_iter_") else self._validated(group, reset=True)
            yield crops(signals, self._crop_size(signals.shape[1:-1]), np.random.RandomState(0))

    def _decoder(self, kernels):
        """The decoder of kernels with or without an axis of channels."""
        if kernels.ndim == 1 + self._n_axes:
            kernels = kernels[..., None]
        return ConvolutionalDictionary(kernels, self.signal_shape_[: self._n_axes])

    def _store(self, energy, dtype):
        super()._store(energy, dtype)
        self.components_ = self._layout.without_channels(self.components_)

    def _warn_about_fit(self, X):
        summary = self._rows(X).summary()
        mean = float(summary.total.mean()) / summary.n_rows
        if mean**2 > 0.5 * summary.rms**2 and (summary.varies or (X.reshape(-1)[0] != X).any()):
            warn_user(
                "X is mostly offset: its mean holds over half of its energy, which kernels are then spent on. Remove "
                "what is constant or slow first, for example by skrlv.preprocessing.LocalContrastNormalizer."
            )

    @property
    def _rows_per_block(self):
        return max(1, MAX_CODES_AT_ONCE // (math.prod(self._positions) * self.n_components_))

    @property
    def _positions(self):
        return self._decoder(self.components_).code_shape[:-1]

    def encode(self, X, *, mask=None):
        r"""Find the code maps of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, \*spatial[, n_channels]), or list of arrays
            Signals; those of a list may have different sizes.
        mask : array-like of bool, or list of arrays, or None, default=None
            Where X was seen, of the shape of X or of one signal, with or without its channels. What X holds where it
            is False plays no part, and may be NaN. Codes are then found by FISTA, which stops once no entry of its
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
            signals, seen = [x[0] for x, _ in parts], [there[0] for _, there in parts]
        else:
            raise ValueError(f"mask has {len(mask)} entries, but X has {len(signals)} signals.")
        return self._layout.each_group(
            signals, lambda at, y: self._maps(y, None if mask is None else _stacked(seen, at))
        )  # fmt: skip

    def _without_hidden(self, X, mask):
        """X with zeros where it was not seen, and where it was: (n_samples, \\*spatial, n_channels)."""
        shape = self.signal_shape_ if X.ndim == 2 else X.shape[1:]
        if X[0].size != math.prod(shape) or len(shape) != len(self.signal_shape_):
            self._validated(X)  # which says what is wrong with it
        seen = self._layout.mask_like(mask, self._layout.with_channels(X, shape))
        return np.where(seen.reshape(X.shape), X, 0), seen

    def _maps(self, y, mask=None):
        """The maps of validated signals; mask has their shape."""
        energy = sized(self.energy_, y)
        if mask is None:
            return self._map_codes(energy, y, lambda x, z: z)
        solution = self._masked(energy, y * mask, mask.astype(y.dtype))
        warn_unless_converged(solution, "Raise code_tol.")
        return solution.z

    def _masked(self, energy, y, mask):
        """The `Solution` of signals that are zero where they were not seen; mask has their shape, or that of one."""
        tol = TOL_OF_STEPS if self.code_tol == "auto" else self.code_tol

        def infer(rows):
            seen = self._placed(mask if len(mask) == 1 else mask[rows])
            # nor are codes drawn to a prediction from signals with holes
            masked = replace(energy, decoder=MaskedDecoder(energy.decoder, seen), encoder_weight=0.0)
            solution = fista_restart(masked.given(self._placed(y[rows])), max_iter=MAX_STEPS, tol=tol)
            return solution._replace(z=to_numpy(solution.z).astype(y.dtype, copy=False))

        return gather(infer, len(y), self._each_block)

    @property
    def _window(self):
        """Of pooling, which may have been set since `fit`."""
        check_sizes("pooling", self.pooling, (self._n_axes,))
        return None if self.pooling is None else per_axis(self.pooling, self._n_axes)

    def _as_features(self, z):
        if self.pooling is not None:
            z = pooled(z, self._window)
        return stored(z.reshape(len(z), -1), self.sparse_output)

    @property
    def _n_features_out(self):
        places = self._positions
        if self.pooling is not None:
            places = [-(-place // window) for place, window in zip(places, self._window, strict=True)]
        return math.prod(places) * self.n_components_

    def _as_codes(self, Z):
        if self.pooling is not None:
            raise ValueError("pooling lost what decoding needs: set pooling=None, or decode the maps of `encode`.")
        return Z.reshape(len(Z), *self._positions, self.n_components_)

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
        X, write = listed(X), self._layout.without_channels
        if is_list_of_signals(X):
            return [write(self._decoded(self._checked_maps(maps[None])))[0] for maps in X]
        if n_dimensions(X) == self._n_axes + 2:
            return write(self._decoded(self._checked_maps(X)))
        y = self._decoded(self._validated_codes(X, "X"))
        return y.reshape(len(y), -1) if self._given_as_rows else write(y)

    def _checked_maps(self, maps):
        maps = checked(maps, "X")
        if maps.ndim != self._n_axes + 2 or maps.shape[-1] != self.n_components_:
            raise ValueError(
                f"X has maps of shape {maps.shape[1:]}, but must have {self._n_axes} axes of positions and one of "
                f"{self.n_components_} kernels."
            )
        return maps

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
        if Z is None:
            return self._by_size(X, self._energies)
        if not is_list_of_signals(X):
            return super().energy(X, Z) if n_dimensions(Z) == 2 else self._energies_of_maps(self._of_any_size(X), Z)
        if len(Z) != len(X):
            raise ValueError(f"Z has {len(Z)} maps, but X has {len(X)} signals.")
        return np.array(self._layout.each_group(X, lambda at, y: self._energies_of_maps(y, _stacked(Z, at))))

    def _by_size(self, X, evaluate):
        check_is_fitted(self)
        X, energy = listed(X), self.energy_
        if not is_list_of_signals(X):
            return super()._by_size(X, evaluate)
        return np.array(self._layout.each_group(X, lambda _, y: evaluate(sized(energy, y), y)))

    def _energies_of_maps(self, y, maps):
        """The energy of each of validated signals of one size."""
        energy = sized(self.energy_, y)
        maps, wanted = checked(maps, "Z"), (len(y), *energy.decoder.code_shape)
        if maps.shape != wanted:
            raise ValueError(f"Z has maps of shape {maps.shape}, but for these signals they must have {wanted}.")
        return self._energies(energy, y, maps)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        tags.input_tags.three_d_array = True
        return tags


def sized(energy, y):
    """The energy for signals of the size of y."""
    spatial = tuple(y.shape[1:-1])
    if energy.decoder.spatial_shape == spatial:
        return energy
    return replace(energy, decoder=replace(energy.decoder, spatial_shape=spatial))


def _stacked(parts, indices):
    return np.stack([parts[i] for i in indices])
