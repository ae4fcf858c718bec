"""The innermost loops of exact codes, written for the vector unit.

numba cannot tell LLVM that two arrays do not overlap, so a sum of matrix rows is loaded and stored once per row.
Here the running sums stay in registers: two to four times faster if the matrix is in cache.
After a change of this file remove the ``__pycache__`` of this folder: numba's cache does not notice it.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LANES = 8  # numbers per vector: 64 bytes of float64; LLVM splits vectors that a processor does not have
_INT = ir.IntType(64)


def sum_of_rows(n_vectors):
    """An intrinsic: n_vectors * LANES entries of  out = sum_i weights[i] rows[i], from entry at on.

    Row i begins at flat[which[i] * stride], i < n. Arrays are contiguous; flat, weights and out are of one dtype.
    """

    @intrinsic
    def block(context, out, at, flat, stride, which, weights, n):
        def emit(target, builder, signature, values):
            code = _Emitter(target, builder, signature, values)
            sums = [code.zero] * n_vectors

            def add_row(i, sums):
                row = builder.add(builder.mul(code.read(4, i), values[3]), values[1])
                weight = code.repeated(code.read(5, i))
                return [code.plus_product(s, weight, code.load(2, row, v)) for v, s in enumerate(sums)]

            for v, total in enumerate(code.loop(values[6], add_row, sums)):
                code.store(total, 0, values[1], v)
            return target.get_dummy_value()

        return types.void(out, types.intp, flat, types.intp, which, weights, types.intp), emit

    return block


def outer_product(n_vectors):
    """An intrinsic: add  weight x x^T  to n_vectors * LANES columns, from column at on, of the first n rows of flat."""

    @intrinsic
    def block(context, flat, stride, at, weight, x, n):
        def emit(target, builder, signature, values):
            code = _Emitter(target, builder, signature, values)
            columns = [code.load(4, values[2], v) for v in range(n_vectors)]

            def add_to_row(i, _):
                row = builder.add(builder.mul(i, values[1]), values[2])
                share = code.repeated(builder.fmul(values[3], code.read(4, i)))
                for v, column in enumerate(columns):
                    code.store(code.plus_product(code.load(0, row, v), share, column), 0, row, v)
                return []

            code.loop(values[5], add_to_row, [])
            return target.get_dummy_value()

        return types.void(flat, types.intp, types.intp, flat.dtype, x, types.intp), emit

    return block


@intrinsic
def _add_scaled(context, out, weight, x, width):
    """An intrinsic: add  weight x  to the first entries of out; width is whole vectors."""

    def emit(target, builder, signature, values):
        code = _Emitter(target, builder, signature, values)
        factor = code.repeated(values[1])

        def add(i, _):
            at = builder.mul(i, code.lanes)
            code.store(code.plus_product(code.load(0, at, 0), factor, code.load(2, at, 0)), 0, at, 0)
            return []

        code.loop(builder.udiv(values[3], code.lanes), add, [])
        return target.get_dummy_value()

    return types.void(out, out.dtype, x, types.intp), emit


@intrinsic
def _clear(context, x, start, stop):
    """An intrinsic: zeros in the whole vectors of x between two entries."""

    def emit(target, builder, signature, values):
        code = _Emitter(target, builder, signature, values)

        def clear(i, _):
            code.store(code.zero, 0, builder.add(values[1], builder.mul(i, code.lanes)), 0)
            return []

        code.loop(builder.udiv(builder.sub(values[2], values[1]), code.lanes), clear, [])
        return target.get_dummy_value()

    return types.void(x, types.intp, types.intp), emit


@intrinsic
def _argmin(context, x):
    """An intrinsic: the index of the first smallest entry of x, whose size is whole vectors; no NaN."""

    def emit(target, builder, signature, values):
        code = _Emitter(target, builder, signature, values)
        index = ir.VectorType(_INT, LANES)
        step = ir.Constant(index, [LANES] * LANES)

        def lower(i, carried):
            best, where, here = carried
            vector = code.load(0, builder.mul(i, code.lanes), 0)
            less = builder.fcmp_ordered("<", vector, best)
            return [builder.select(less, vector, best), builder.select(less, here, where), builder.add(here, step)]

        def first_less(a, b):
            tie = builder.and_(builder.fcmp_ordered("==", b[0], a[0]), builder.icmp_signed("<", b[1], a[1]))
            taken = builder.or_(builder.fcmp_ordered("<", b[0], a[0]), tie)
            return builder.select(taken, b[0], a[0]), builder.select(taken, b[1], a[1])

        lanes = ir.Constant(index, list(range(LANES)))
        infinite = code.repeated(ir.Constant(code.number, float("inf")))
        best, where, _ = code.loop(code.n_vectors(), lower, [infinite, lanes, lanes])
        return code.folded(first_less, best, where)[1]

    return types.intp(x), emit


@intrinsic
def _max_abs(context, x):
    """An intrinsic: the largest magnitude in the whole vectors of x; NaN if an entry is not finite."""

    def emit(target, builder, signature, values):
        code = _Emitter(target, builder, signature, values)

        def raise_to(i, carried):
            vector = code.load(0, builder.mul(i, code.lanes), 0)
            magnitude = builder.select(builder.fcmp_ordered("<", vector, code.zero), builder.fneg(vector), vector)
            return [code.larger(magnitude, carried[0]), builder.fadd(carried[1], builder.fsub(vector, vector))]

        best, nothing = code.loop(code.n_vectors(), raise_to, [code.zero, code.zero])

        def joined(a, b):
            return code.larger(a[0], b[0]), builder.fadd(a[1], b[1])

        return builder.fadd(*code.folded(joined, best, nothing))

    return x.dtype(x), emit


@intrinsic
def _count_above(context, x, level):
    """An intrinsic: how many entries of x, whose size is whole vectors, exceed level or are NaN."""

    def emit(target, builder, signature, values):
        code = _Emitter(target, builder, signature, values)
        bound = code.repeated(values[1])

        def count(i, carried):
            return [builder.add(carried[0], builder.zext(builder.ctpop(code.above(i, bound)), _INT))]

        return code.loop(code.n_vectors(), count, [ir.Constant(_INT, 0)])[0]

    return types.intp(x, x.dtype), emit


@intrinsic
def _any_above(context, x, at, level):
    """An intrinsic: whether an entry of the vector of x that begins at entry at exceeds level or is NaN."""

    def emit(target, builder, signature, values):
        code = _Emitter(target, builder, signature, values)
        mask = code.above(builder.udiv(values[1], code.lanes), code.repeated(values[2]))
        return builder.icmp_unsigned("!=", mask, ir.Constant(mask.type, 0))

    return types.boolean(x, types.intp, x.dtype), emit


# numba hands in the context
add_scaled: Any = _add_scaled
clear: Any = _clear
argmin: Any = _argmin
max_abs: Any = _max_abs
count_above: Any = _count_above
any_above: Any = _any_above


class _Emitter:
    """LLVM instructions on the arguments of an intrinsic; the first argument is an array, and gives the dtype."""

    def __init__(self, target, builder, signature, values):
        self.target, self.builder, self.types, self.values = target, builder, signature.args, values
        self.number = target.get_value_type(signature.args[0].dtype)
        self.bytes_each = signature.args[0].dtype.bitwidth // 8
        self.vector = ir.VectorType(self.number, LANES)
        self.lanes = ir.Constant(_INT, LANES)
        self.zero = ir.Constant(self.vector, [ir.Constant(self.number, 0.0)] * LANES)

    def loop(self, n, body, carried):
        """carried = body(i, carried) for i in 0 .. n - 1."""
        builder, before = self.builder, self.builder.block
        test, inside, after = (builder.append_basic_block(name) for name in ("test", "inside", "after"))
        builder.branch(test)
        builder.position_at_end(test)
        i, present = builder.phi(_INT), [builder.phi(value.type) for value in carried]
        for phi, value in zip([i, *present], [ir.Constant(_INT, 0), *carried], strict=True):
            phi.add_incoming(value, before)
        builder.cbranch(builder.icmp_signed("<", i, n), inside, after)
        builder.position_at_end(inside)
        following = [builder.add(i, ir.Constant(_INT, 1)), *body(i, present)]
        for phi, value in zip([i, *present], following, strict=True):
            phi.add_incoming(value, inside)
        builder.branch(test)
        builder.position_at_end(after)
        return present

    def n_vectors(self):
        """Number of whole vectors of the first array."""
        array = self.target.make_array(self.types[0])(self.target, self.builder, self.values[0])
        return self.builder.udiv(array.nitems, self.lanes)

    def above(self, i, bound):
        """One bit per entry of the i-th vector of the first array: whether it exceeds the bound's or is NaN."""
        vector = self.load(0, self.builder.mul(i, self.lanes), 0)
        return self.builder.bitcast(self.builder.fcmp_unordered(">", vector, bound), ir.IntType(LANES))

    def larger(self, a, b):
        return self.builder.select(self.builder.fcmp_ordered(">", a, b), a, b)

    def folded(self, pair, *vectors):
        """The lanes of vectors, reduced two by two."""
        lanes = range(LANES)
        parts = [tuple(self.builder.extract_element(v, ir.Constant(ir.IntType(32), i)) for v in vectors) for i in lanes]
        while len(parts) > 1:
            parts = [pair(a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]
        return parts[0]

    def read(self, position, index):
        return self.builder.load(self._pointer(position, index))

    def load(self, position, index, v):
        return self.builder.load(self._slot(position, index, v), align=self.bytes_each)

    def store(self, value, position, index, v):
        self.builder.store(value, self._slot(position, index, v), align=self.bytes_each)

    def plus_product(self, total, a, b):
        product = self.builder.fmul(a, b, flags=("contract",))
        return self.builder.fadd(total, product, flags=("contract",))

    def repeated(self, x):
        """x in every lane."""
        index = ir.IntType(32)
        empty = ir.Constant(self.vector, ir.Undefined)
        single = self.builder.insert_element(empty, x, ir.Constant(index, 0))
        everywhere = ir.Constant(ir.VectorType(index, LANES), [0] * LANES)
        return self.builder.shuffle_vector(single, empty, everywhere)

    def _pointer(self, position, index):
        array = self.target.make_array(self.types[position])(self.target, self.builder, self.values[position])
        return self.builder.gep(array.data, [index])

    def _slot(self, position, index, v):
        """Pointer to the v-th vector from this entry on."""
        entry = self.builder.add(index, ir.Constant(_INT, v * LANES))
        return self.builder.bitcast(self._pointer(position, entry), self.vector.as_pointer())


sum_8, sum_4, sum_2, sum_1 = (sum_of_rows(n) for n in (8, 4, 2, 1))
outer_8, outer_4, outer_2, outer_1 = (outer_product(n) for n in (8, 4, 2, 1))
