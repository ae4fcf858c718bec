"""Pictures: what was drawn, read back from the axes."""

import numpy as np
import pytest

from skrlv.plotting import plot_atoms, plot_balls

pytest.importorskip("matplotlib")


def drawn(ax):
    return np.asarray(ax.images[0].get_array().filled(np.nan), dtype=float)


def test_atoms_are_tiles_each_by_its_own_scale(rng):
    atoms = rng.normal(size=(5, 2, 3)) * np.array([1.0, 10.0, 1e-3, 0.0, 1.0])[:, None, None]
    sheet = drawn(plot_atoms(atoms, n_columns=3))
    assert sheet.shape == (7, 13)
    np.testing.assert_allclose(sheet[1:3, 5:8], atoms[1] / np.abs(atoms[1]).max())
    np.testing.assert_array_equal(sheet[4:6, 1:4], 0.0)
    assert np.isnan(sheet[3]).all()
    assert np.isnan(sheet[4:6, 9:]).all()
    np.testing.assert_array_equal(drawn(plot_atoms(atoms.reshape(5, 6), (2, 3), n_columns=3)), sheet)


def test_three_channels_are_colours_about_mid_grey(rng):
    kernels = rng.normal(size=(4, 3, 3, 3))
    sheet = drawn(plot_atoms(kernels))
    assert sheet.shape == (9, 9, 3)
    np.testing.assert_allclose(sheet[1:4, 5:8], 0.5 + 0.5 * kernels[1] / np.abs(kernels[1]).max())
    np.testing.assert_array_equal(sheet[0], 1.0)


def test_zero_is_black_where_nothing_is_negative(rng):
    assert plot_atoms(rng.uniform(size=(4, 3, 3))).images[0].get_clim() == (0.0, 1.0)
    assert plot_atoms(rng.normal(size=(4, 3, 3))).images[0].get_clim() == (-1.0, 1.0)


@pytest.mark.parametrize(
    ("shape", "image_shape"),
    [((4, 6), (2, 2)), ((4, 6), None), ((4, 2, 3, 2), None), ((4, 3, 2), (2, 3)), ((0, 2, 2), None)],
)
def test_what_is_no_picture_is_refused(shape, image_shape):
    with pytest.raises(ValueError, match="are not pictures"):
        plot_atoms(np.zeros(shape), image_shape)


def test_posteriors_are_ellipses_of_one_deviation():
    ax = plot_balls([[0.0, 1.0], [4.0, -2.0]], [[1.0, 4.0], [0.25, 0.0]], labels=["a", "b"])
    ellipses, middles = ax.collections
    np.testing.assert_allclose(middles.get_offsets(), ellipses.get_offsets())
    np.testing.assert_allclose(ellipses.get_offsets(), [[0.0, 1.0], [4.0, -2.0]])
    np.testing.assert_allclose(ellipses.get_widths(), [2.0, 1.0])
    np.testing.assert_allclose(ellipses.get_heights(), [4.0, 0.0])
    assert ax.get_xlim() == (-1.0, 4.5)
    assert ax.get_ylim() == (-2.0, 3.0)
    assert not np.array_equal(*ellipses.get_edgecolors()[:2])


@pytest.mark.parametrize(
    ("mean", "variance", "labels"),
    [
        (np.ones((3, 1)), np.ones((3, 1)), None),
        (np.ones((3, 2)), np.ones((2, 2)), None),
        (np.ones((3, 2)),) * 2 + ([1],),
    ],
)
def test_posteriors_of_wrong_shapes_are_refused(mean, variance, labels):
    with pytest.raises(ValueError, match="shape"):
        plot_balls(mean, variance, labels)
