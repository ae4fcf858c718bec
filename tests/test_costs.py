"""Costs are float64 and know no scale."""

import numpy as np
import pytest

from skrlv._arrays import to_device, to_numpy
from skrlv.costs import SquaredError


@pytest.mark.parametrize("device", ["cpu", "torch:cpu"])
@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_squares_that_float32_cannot_hold(scale, device, rng):
    if device != "cpu":
        pytest.importorskip("torch")
    a, b = ((scale * rng.normal(size=(5, 3, 4))).astype(np.float32) for _ in range(2))
    cost = to_numpy(SquaredError()(to_device(a, device), to_device(b, device)))
    assert cost.dtype == np.float64
    np.testing.assert_allclose(cost, 0.5 * np.sum((a.astype(float) - b.astype(float)) ** 2, axis=(1, 2)), rtol=1e-6)


def test_gradient_of_the_squared_error(rng):
    a, b, move = rng.normal(size=(3, 4, 6))
    h, cost = 1e-6, SquaredError()
    slope = (cost(a, b + h * move) - cost(a, b - h * move)) / (2 * h)
    np.testing.assert_allclose(np.sum(cost.grad(a, b) * move, axis=1), slope, rtol=1e-7)
