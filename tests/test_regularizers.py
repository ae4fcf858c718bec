"""A prox is the argmin of its own formula, compared with a grid search."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from skrlv.regularizers import L0, L1, ElasticNet, GroupL1, Regularizer, StandardNormal, check_regularizer

WEIGHTS = np.array([0.5, 2.0])
INSTANCES = [
    make(positive=positive)
    for positive in (False, True)
    for make in (
        L1,
        lambda positive: L1(positive, WEIGHTS),
        ElasticNet,
        lambda positive: ElasticNet(0.2, positive),
        lambda positive: GroupL1(2, positive),
        lambda positive: GroupL1(1, positive),
        L0,
    )
]
INSTANCES.append(StandardNormal())
CONVEX = [R for R in INSTANCES if R.convex]
every_regularizer = pytest.mark.parametrize("R", INSTANCES, ids=str)
LINE = np.arange(-120, 121) / 20.0  # all of [-6, 6], with 0 itself
PLANE = np.stack(np.meshgrid(LINE, LINE), axis=-1).reshape(-1, 2)
values = st.floats(-5.0, 5.0)
pairs = st.tuples(values, values).map(np.array)
steps = st.floats(0.01, 3.0)


def objective(R, z, v, t):
    return 0.5 * np.sum((z - v) ** 2, axis=-1) + t * R(z)


def test_every_regularizer_is_tested():
    def leaves(kind):
        ours = [sub for sub in kind.__subclasses__() if sub.__module__.startswith("skrlv.")]  # tests make their own
        return set().union(*map(leaves, ours)) if ours else {kind}

    assert leaves(Regularizer) == {type(R) for R in INSTANCES}


@every_regularizer
@settings(max_examples=60, deadline=None)
@given(v=pairs, t=steps)
def test_prox_is_the_global_argmin_of_its_formula(R, v, t):
    z = R.prox(v[None], t)
    lowest = objective(R, PLANE, v, t).min()
    assert objective(R, z, v, t)[0] <= lowest + 1e-12


@pytest.mark.parametrize("R", CONVEX, ids=str)
@settings(max_examples=60, deadline=None)
@given(a=pairs, b=pairs, t=steps)
def test_convex_prox_is_firmly_non_expansive(R, a, b, t):
    moved = R.prox(a[None], t)[0] - R.prox(b[None], t)[0]
    assert moved @ moved <= moved @ (a - b) + 1e-12


@every_regularizer
def test_values_of_a_known_code(R):
    z = np.array([[3.0, 4.0]])
    expected = {
        "L1": 7.0 if getattr(R, "weights", None) is None else 9.5,
        "L0": 2.0,
        "StandardNormal": 12.5,
        "GroupL1": 5.0 if getattr(R, "group_size", None) == 2 else 7.0,
        "ElasticNet": 0.5 * 7 + 0.25 * 25 if getattr(R, "l1_ratio", None) == 0.5 else 0.2 * 7 + 0.4 * 25,
    }[type(R).__name__]
    assert R(z)[0] == pytest.approx(expected, rel=1e-14)


@every_regularizer
def test_negative_codes_cost_infinity_where_positive_is_asked(R):
    assert np.isinf(R(np.array([[1.0, -1e-9]]))[0]) == R.positive


@pytest.mark.parametrize("R", [R for R in INSTANCES if not isinstance(R, StandardNormal)], ids=str)
def test_small_entries_become_exact_zeros(R):
    if isinstance(R, ElasticNet):
        assert R.prox(np.array([[0.05, -0.05]]), 1.0).any() == (R.l1_ratio < 0.05)
    else:
        np.testing.assert_array_equal(R.prox(np.array([[0.05, -0.05]]), 1.0), 0.0)


@every_regularizer
def test_any_leading_axes(R, rng):
    z = rng.normal(size=(3, 4, 5, 2))
    flat = R.prox(z.reshape(-1, 2), 0.3).reshape(z.shape)
    np.testing.assert_array_equal(R.prox(z, 0.3), flat)
    assert R(z).shape == (3,)


@every_regularizer
@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_squares_that_float32_cannot_hold(R, scale, rng):
    z = (scale * np.abs(rng.normal(size=(20, 2)))).astype(np.float32)
    assert R(z).dtype == np.float64
    np.testing.assert_allclose(R(z), R(z.astype(np.float64)), rtol=1e-6)
    t = 0.5 * scale**2 if isinstance(R, L0) else 0.5 * scale
    small = R.prox(z, t)
    assert small.dtype == np.float32
    np.testing.assert_allclose(small, R.prox(z.astype(np.float64), t), rtol=1e-5, atol=1e-6 * scale)


@every_regularizer
def test_nothing_of_the_caller_is_written(R, rng):
    z = rng.normal(size=(3, 2))
    z.flags.writeable = False
    R(z)
    R.prox(z, 0.3)


def test_half_the_squared_norm_is_the_normal_density_up_to_its_constant(rng):
    z = rng.normal(size=(5, 3))
    np.testing.assert_allclose(StandardNormal()(z) + 1.5 * np.log(2 * np.pi), -norm.logpdf(z).sum(axis=1), rtol=1e-12)
    np.testing.assert_array_equal(StandardNormal().slope(z), z)


def test_groups_that_do_not_divide_the_code(rng):
    z = rng.normal(size=(6, 5))
    padded = np.hstack([z, np.zeros((6, 1))])
    np.testing.assert_array_equal(GroupL1(3).prox(z, 0.4), GroupL1(3).prox(padded, 0.4)[:, :5])
    np.testing.assert_allclose(GroupL1(3)(z), GroupL1(3)(padded), rtol=1e-15)


@pytest.mark.parametrize("wrong", [[1.0, -0.1], [np.nan, 1.0], [1.0, np.inf], 1.0, [[1.0, 1.0]]], ids=str)
def test_weights_out_of_range(wrong):
    with pytest.raises(ValueError, match="weights must be finite numbers of at least 0, one per atom"):
        L1(weights=wrong)


def test_weights_of_another_number_of_atoms():
    R, z = L1(weights=[1.0, 2.0, 3.0]), np.ones((4, 2))
    for call in (lambda: R(z), lambda: R.prox(z, 0.1), lambda: R.thresholds(0.1, 2)):
        with pytest.raises(ValueError, match="weights has 3 numbers, but codes have 2 entries"):
            call()


def test_weights_are_any_sequence_and_a_copy():
    theirs = np.array([0.5, 2.0])
    R, z = L1(weights=theirs), np.array([[3.0, 4.0]])
    theirs[:] = -1.0
    assert R(z)[0] == L1(weights=[0.5, 2])(z)[0] == 9.5


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
def test_l1_ratio_out_of_range(wrong):
    with pytest.raises(ValueError, match="l1_ratio"):
        ElasticNet(l1_ratio=wrong)


@pytest.mark.parametrize("wrong", [0, -1, 1.5])
def test_group_size_out_of_range(wrong):
    with pytest.raises(ValueError, match="group_size"):
        GroupL1(group_size=wrong)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_that_the_dtype_does_not_hold_give_no_nan(dtype):
    R, z = L1(weights=[1.0, 1e300]), np.array([[3.0, 0.0]], dtype=dtype)
    assert R(z)[0] == 3.0
    np.testing.assert_array_equal(R.prox(z + dtype(0.5), 0.25), [[3.25, 0.0]])
    np.testing.assert_array_equal(R.prox(z + dtype(0.5), 0.0), z + dtype(0.5))


@every_regularizer
@pytest.mark.parametrize("n_components", [1, 2, 3, 4, 200])
@pytest.mark.parametrize("library", ["numpy", "array_api_strict", "torch"])
def test_regularizers_that_are_right_pass_the_check(R, n_components, library):
    xp = pytest.importorskip(library)
    if getattr(R, "weights", None) is not None:
        R = replace(R, weights=np.linspace(0.0, 2.0, n_components))
    for dtype in (xp.float32, xp.float64):
        check_regularizer(R, n_components, like=xp.zeros(1, dtype=dtype))
    check_regularizer(R, n_components)


class Huber(Regularizer):
    """A regularizer of a user's own, right as it is; subclasses get one thing wrong."""

    def __call__(self, z):
        return np.sum(np.where(np.abs(z) < 1.0, 0.5 * z**2, np.abs(z) - 0.5), axis=-1)

    def prox(self, v, t):
        return np.where(np.abs(v) < 1.0 + t, v / (1.0 + t), v - t * np.sign(v))


WRONG = {
    "of all samples together": (
        {"__call__": lambda self, z: np.sum(np.abs(z))},
        r"the value of codes of shape \(3, 5\) has shape \(\).*\(3,\), one number per sample",
    ),
    "along the other axis": ({"__call__": lambda self, z: np.sum(np.abs(z), axis=0)}, r"has shape \(5,\)"),
    "per entry": ({"__call__": lambda self, z: np.abs(z)}, r"has shape \(3, 5\)"),
    "NaN": ({"__call__": lambda self, z: np.sum(z / z, axis=-1)}, "value of ordinary codes is NaN"),
    "minus infinity": ({"__call__": lambda self, z: np.sum(np.log(np.abs(z)), axis=-1)}, "minus infinity"),
    "mixed samples": (
        {"__call__": lambda self, z: np.sum(np.abs(z), axis=-1) * np.max(np.abs(z))}, "value of a sample depends",
    ),
    "another shape of prox": ({"prox": lambda self, v, t: v[:, :-1]}, r"prox\(v, 0.0\) has shape \(3, 4\)"),
    "prox sums": ({"prox": lambda self, v, t: np.sum(v, axis=-1)}, r"has shape \(3,\) for codes v of shape \(3, 5\)"),
    "prox is NaN": ({"prox": lambda self, v, t: v / np.abs(v) * np.abs(v)}, "gives NaN or infinite codes"),
    "prox is NaN with a step": ({"prox": lambda self, v, t: np.sqrt(v) if t else v}, r"prox\(v, 0.5\) gives NaN"),
    "prox mixes samples": (
        {"prox": lambda self, v, t: v * max(0.0, 1.0 - t / np.linalg.norm(v)) if v.any() else v},
        r"prox\(v, 0.5\) of a sample depends on the other samples",
    ),
    "prox writes": ({"prox": lambda self, v, t: np.multiply(v, 1.0 / (1.0 + t), out=v)}, "writes into the codes"),
    "prox of another R": ({"prox": lambda self, v, t: v / (1.0 + 3.0 * t)}, "does not minimise"),
    "prox gives what is forbidden": (
        {"__call__": lambda self, z: np.where((z < 0).any(axis=-1), np.inf, np.sum(z, axis=-1))},
        "gives codes whose value is infinite",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
@pytest.mark.parametrize(("methods", "message"), WRONG.values(), ids=WRONG)
def test_a_regularizer_that_is_wrong_is_refused(methods, message):
    check_regularizer(Huber(), 5)
    with pytest.raises(ValueError, match=message):
        check_regularizer(type("Mine", (Huber,), methods)(), 5)


class Log(Regularizer):
    """sum_j log(1 + |z_j| / eps), whose prox is a root of a quadratic, or zero."""

    convex = False

    def __init__(self, eps, step=1.0, compares=True):
        self.eps, self.step, self.compares = eps, step, compares

    def __call__(self, z):
        return np.sum(np.log1p(np.abs(z) / self.eps), axis=-1)

    def prox(self, v, t):
        t, size = self.step * t, np.abs(v)
        root = (size + self.eps) ** 2 - 4.0 * t
        z = np.maximum(0.5 * (size - self.eps + np.sqrt(np.maximum(root, 0.0))), 0.0) * (root > 0.0)
        if self.compares:
            z = np.where(0.5 * (z - size) ** 2 + t * np.log1p(z / self.eps) < 0.5 * size**2, z, 0.0)
        return np.sign(v) * z


@pytest.mark.parametrize("eps", [0.01, 0.1, 1.0])
@pytest.mark.parametrize("n_components", [1, 4, 9])
def test_a_penalty_that_is_not_convex_is_checked_entry_by_entry(eps, n_components):
    check_regularizer(Log(eps), n_components)
    with pytest.raises(ValueError, match="does not minimise"):
        check_regularizer(Log(eps, step=2.0), n_components)


def test_a_stationary_point_is_no_minimum():
    with pytest.raises(ValueError, match="does not minimise"):
        check_regularizer(Log(0.1, compares=False), 9)


@pytest.mark.parametrize("n_components", [1, 3, 4])
def test_an_axis_mistaken_for_another_is_found_whatever_the_number_of_atoms(n_components):
    with pytest.raises(ValueError, match="must have shape"):
        check_regularizer(type("Mine", (Huber,), {"__call__": lambda self, z: np.abs(z).sum(axis=0)})(), n_components)


def test_what_is_no_regularizer_is_refused():
    for wrong in ("l1", None, L1, lambda z: z):
        with pytest.raises(TypeError, match=r"must be an instance of skrlv\.regularizers\.Regularizer"):
            check_regularizer(wrong, 5)
    with pytest.raises(TypeError, match="the value is float, but must be an array"):
        check_regularizer(type("Mine", (Huber,), {"__call__": lambda self, z: float(np.sum(z))})(), 5)
    with pytest.raises(TypeError, match=r"prox\(v, 0.0\) is list"):
        check_regularizer(type("Mine", (Huber,), {"prox": lambda self, v, t: v.tolist()})(), 5)
