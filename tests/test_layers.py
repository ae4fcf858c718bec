"""Dense layers: outputs, gradients by finite differences and by autograd, on every array library."""

import numpy as np
import pytest
from sklearn.neural_network import MLPRegressor

from skrlv._arrays import to_device, to_numpy
from skrlv._layers import ACTIVATIONS, Layers

every_activation = pytest.mark.parametrize("activation", ACTIVATIONS)


def drawn(activation, rng, sizes=(5, 7, 4, 3)):
    layers = Layers.drawn(sizes, activation, np.random.RandomState(0), like=np.empty(0))
    return layers.with_parameters({name: v + 0.1 * rng.normal(size=v.shape) for name, v in layers.parameters.items()})


@every_activation
def test_layers_are_those_of_scikit_learn(activation, rng):
    X, Y = rng.normal(size=(20, 5)), rng.normal(size=(20, 3))
    theirs = MLPRegressor(hidden_layer_sizes=(7, 4), activation=activation, random_state=0)
    theirs.partial_fit(X, Y)
    ours = Layers(tuple(theirs.coefs_), tuple(theirs.intercepts_), activation)
    np.testing.assert_allclose(ours(X), theirs.predict(X), rtol=1e-10)


@every_activation
def test_gradients_by_finite_differences(activation, rng):
    layers, x, slope = drawn(activation, rng), rng.normal(size=(6, 5)), rng.normal(size=(6, 3))
    dx, gradients = layers.vjp(layers.forward(x)[1], slope)

    def along(moved_layers, moved_x):
        return np.sum(moved_layers(moved_x) * slope)

    h, move = 1e-6, rng.normal(size=x.shape)
    ahead, behind = (along(layers, x + sign * h * move) for sign in (1, -1))
    np.testing.assert_allclose(np.sum(dx * move), (ahead - behind) / (2 * h), rtol=1e-6)
    assert gradients.keys() == layers.parameters.keys()
    for name, value in layers.parameters.items():
        move = rng.normal(size=value.shape)
        ahead, behind = (
            along(layers.with_parameters(layers.parameters | {name: value + sign * h * move}), x) for sign in (1, -1)
        )
        np.testing.assert_allclose(np.sum(gradients[name] * move), (ahead - behind) / (2 * h), rtol=1e-6)


@every_activation
def test_gradients_by_autograd(activation, rng):
    torch = pytest.importorskip("torch")
    layers, x, slope = drawn(activation, rng), rng.normal(size=(6, 5)), rng.normal(size=(6, 3))
    dx, gradients = layers.vjp(layers.forward(x)[1], slope)
    leaves = {name: torch.tensor(value, requires_grad=True) for name, value in layers.parameters.items()}
    source = torch.tensor(x, requires_grad=True)
    layers.with_parameters(leaves)(source).backward(torch.tensor(slope))
    np.testing.assert_allclose(dx, source.grad.numpy(), rtol=1e-10, atol=1e-12)
    for name, leaf in leaves.items():
        np.testing.assert_allclose(gradients[name], leaf.grad.numpy(), rtol=1e-10, atol=1e-12)


@every_activation
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_torch_gives_the_same_in_the_dtype_of_the_data(activation, dtype, rng):
    pytest.importorskip("torch")
    layers = Layers.drawn((5, 7, 3), activation, np.random.RandomState(1), like=np.empty(0, dtype))
    x = rng.normal(size=(4, 5)).astype(dtype)
    on_torch = layers.with_parameters({name: to_device(v, "torch:cpu") for name, v in layers.parameters.items()})
    (ours, tape), (theirs, their_tape) = layers.forward(x), on_torch.forward(to_device(x, "torch:cpu"))
    assert ours.dtype == to_numpy(theirs).dtype == dtype
    np.testing.assert_allclose(ours, to_numpy(theirs), rtol=1e-5)
    dx, gradients = layers.vjp(tape, np.ones_like(ours))
    their_dx, their_gradients = on_torch.vjp(their_tape, to_device(np.ones_like(ours), "torch:cpu"))
    np.testing.assert_allclose(dx, to_numpy(their_dx), rtol=1e-4, atol=1e-6)
    for name, gradient in gradients.items():
        assert gradient.dtype == dtype
        np.testing.assert_allclose(gradient, to_numpy(their_gradients[name]), rtol=1e-4, atol=1e-5)


def test_gradients_of_parameters_alone_are_those_of_vjp(rng):
    layers, x, slope = drawn("tanh", rng), rng.normal(size=(6, 5)), rng.normal(size=(6, 3))
    tape = layers.forward(x)[1]
    for name, gradient in layers.vjp(tape, slope)[1].items():
        np.testing.assert_array_equal(layers.gradients(tape, slope)[name], gradient)


def test_one_layer_is_a_matrix_and_an_offset(rng):
    layers = Layers.drawn((4, 2), "relu", np.random.RandomState(0), like=np.empty(0))
    assert layers.parameters.keys() == {"weights_0", "biases_0"}
    assert np.abs(layers.weights[0]).max() <= 1.0  # the bound sqrt(6 / (4 + 2))
    x = rng.normal(size=(3, 4))
    np.testing.assert_allclose(layers(x), x @ layers.weights[0])


@every_activation
def test_nothing_of_the_caller_is_written(activation, rng):
    layers, x, slope = drawn(activation, rng), rng.normal(size=(6, 5)), rng.normal(size=(6, 3))
    for array in (x, slope, *layers.parameters.values()):
        array.flags.writeable = False
    out, tape = layers.forward(x)
    for array in (out, *tape):
        array.flags.writeable = False
    layers.vjp(tape, slope)
