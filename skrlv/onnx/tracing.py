"""Trace the graph of an encoder: its `forward` runs once on arrays that record each operation as a node.

Every operation is also carried out on a few sample rows, to find the shape and dtype of its result.
"""

import operator

import numpy as np
from onnx import helper, numpy_helper

_SAMPLES = 3


class Rows(int):
    """The number of rows: that of the sample rows while tracing, and that of the batch when the graph runs."""


class Graph:
    """The nodes and constants recorded so far.

    Parameters
    ----------
    name : str
        Name of the input, which is an array of rows (n_samples, n_features).
    n_features : int
        Number of columns of the input.
    dtype : dtype
        Type of the input.
    unique : callable
        Takes a prefix, and returns a name that no other value has.
    """

    def __init__(self, name, n_features, dtype, unique):
        self.nodes, self.constants, self.namespace, self._unique = [], [], _Namespace(self), unique
        self.input = TracedArray(self, name, np.zeros((_SAMPLES, n_features), dtype))

    def call(self, op, compute, *operands, **attributes):
        """Add the node of an operation on arrays and numbers, all cast to the dtype that NumPy promotes them to."""
        values = [x.value if isinstance(x, TracedArray) else x for x in operands]
        dtype = np.result_type(*values)
        return self.add(op, [self.named(x, dtype) for x in operands], compute(*values), **attributes)

    def add(self, op, inputs, value, n_outputs=1, **attributes):
        """Add a node, and return its first output as an array; ``value`` is that output for the sample rows."""
        outputs = [self._unique(op.lower()) for _ in range(n_outputs)]
        self.nodes.append(helper.make_node(op, inputs, outputs, name=self._unique(f"{op}_node"), **attributes))
        return TracedArray(self, outputs[0], value)

    def named(self, x, dtype):
        """The name of an array or a constant, cast to the dtype."""
        if not isinstance(x, TracedArray):
            return self.constant(np.asarray(x, dtype=dtype))
        return x.name if x.dtype == dtype else self.cast(x, dtype).name

    def cast(self, x, dtype):
        to = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.add("Cast", [x.name], x.value.astype(dtype), to=to)

    def constant(self, value):
        name = self._unique("constant")
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value).reshape(np.shape(value)), name))
        return name

    def filled(self, shape, value, dtype):
        """An array of one number in all entries, with as many rows as the input."""
        n_rows = self.add("Shape", [self.input.name], np.asarray([_SAMPLES]), start=0, end=1)
        rest = self.constant(np.asarray(shape[1:], dtype=np.int64))
        whole = self.add("Concat", [n_rows.name, rest], np.asarray(shape), axis=0)
        inputs = [self.constant(np.asarray(value, dtype=dtype)), whole.name]
        return self.add("Expand", inputs, np.full(shape, value, dtype=dtype))


def _binary(op, compute):
    def method(self, other):
        return self._graph.call(op, compute, self, other)

    def reflected(self, other):
        return self._graph.call(op, compute, other, self)

    return method, reflected


class TracedArray:
    """A value in the graph, with the part of the array API that encoders use."""

    __array_ufunc__ = None  # NumPy leaves operations with its own arrays to this class
    __hash__ = None  # type: ignore[assignment]
    device = "cpu"

    def __init__(self, graph, name, value):
        self._graph, self.name, self.value = graph, name, value

    def __array_namespace__(self, api_version=None):
        return self._graph.namespace

    @property
    def dtype(self):
        return self.value.dtype

    @property
    def ndim(self):
        return self.value.ndim

    @property
    def shape(self):
        return (Rows(self.value.shape[0]), *self.value.shape[1:])

    __add__, __radd__ = _binary("Add", operator.add)
    __sub__, __rsub__ = _binary("Sub", operator.sub)
    __mul__, __rmul__ = _binary("Mul", operator.mul)
    __matmul__, __rmatmul__ = _binary("MatMul", operator.matmul)
    __gt__ = _binary("Greater", operator.gt)[0]
    __ge__ = _binary("GreaterOrEqual", operator.ge)[0]
    __eq__ = _binary("Equal", operator.eq)[0]  # type: ignore[assignment]
    __and__ = _binary("And", operator.and_)[0]

    def __ne__(self, other):
        return ~(self == other)

    def __invert__(self):
        return self._graph.call("Not", np.logical_not, self)

    def __neg__(self):
        return self._graph.call("Neg", np.negative, self)

    def __getitem__(self, key):
        if key != (slice(None), None):
            raise NotImplementedError(f"Only [:, None] can be traced, not [{key}].")
        axes = self._graph.constant(np.asarray([1], dtype=np.int64))
        return self._graph.add("Unsqueeze", [self.name, axes], self.value[:, None])


class _Namespace:
    """The functions of the array API that encoders use, on traced arrays."""

    __name__ = "traced"  # array_api_compat expects a module, which has a name
    float32, float64, int64 = np.float32, np.float64, np.int64
    finfo = staticmethod(np.finfo)

    def __init__(self, graph):
        self._graph = graph

    def __getattr__(self, name):
        known = sorted(key for key in vars(type(self)) if not key.startswith("_"))
        raise AttributeError(f"{name!r} cannot be exported to ONNX; of the array library use {', '.join(known)}.")

    def full(self, shape, value, *, dtype, device=None):
        if shape and isinstance(shape[0], Rows):
            return self._graph.filled(shape, value, dtype)
        return np.full(shape, value, dtype=dtype)

    def zeros(self, shape, *, dtype, device=None):
        return self.full(shape, 0.0, dtype=dtype)

    def astype(self, x, dtype, copy=True):
        return self._graph.cast(x, dtype)

    def minimum(self, a, b):
        return self._graph.call("Min", np.minimum, a, b)

    def maximum(self, a, b):
        return self._graph.call("Max", np.maximum, a, b)

    def clip(self, x, min=None, max=None):
        x = x if min is None else self.maximum(x, min)
        return x if max is None else self.minimum(x, max)

    def where(self, condition, a, b):
        values = a.value, b.value
        dtype = np.result_type(*values)
        names = [condition.name, self._graph.named(a, dtype), self._graph.named(b, dtype)]
        return self._graph.add("Where", names, np.where(condition.value, *values))

    def sum(self, x, axis):
        axes = self._graph.constant(np.asarray([axis], dtype=np.int64))
        return self._graph.add("ReduceSum", [x.name, axes], x.value.sum(axis=axis), keepdims=0)

    def sort(self, x, axis):
        k = self._graph.constant(np.asarray([x.shape[axis]], dtype=np.int64))
        value = np.sort(x.value, axis=axis)
        return self._graph.add("TopK", [x.name, k], value, n_outputs=2, axis=axis, largest=0, sorted=1)

    def take_along_axis(self, x, indices, axis):
        value = np.take_along_axis(x.value, indices.value, axis=axis)
        return self._graph.add("GatherElements", [x.name, indices.name], value, axis=axis % x.ndim)


def _unary(op, compute):
    def function(self, x):
        return self._graph.call(op, compute, x)

    return function


for _op, _compute in (("Abs", np.abs), ("Log", np.log), ("Round", np.round), ("Tanh", np.tanh)):
    setattr(_Namespace, _op.lower(), _unary(_op, _compute))


def value_info(name, n_columns, dtype):
    """The declaration of a matrix with any number of rows."""
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), [None, n_columns])
