"""scikit-learn's own checks on every estimator, and those it does not generate."""

import pickle

import joblib
import numpy as np
import pytest
import sklearn
from estimators import ESTIMATORS, names
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn_checks import NOT_GENERATED, scikit_learn_checks

from skrlv import SparseCoder
from skrlv.preprocessing import PatchWhitener
from skrlv.regularizers import Regularizer

every_estimator = pytest.mark.parametrize("estimator", ESTIMATORS, ids=names(ESTIMATORS))
pytestmark = pytest.mark.filterwarnings("ignore:The predictions are no better")  # few passes, atoms not incoherent
quietly = pytest.mark.filterwarnings("ignore")  # the checks' own data are offset, tiny or constant on purpose


@quietly
@scikit_learn_checks(ESTIMATORS)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@quietly
@pytest.mark.parametrize("check", NOT_GENERATED, ids=lambda check: check.__name__)
@every_estimator
def test_checks_that_are_not_generated(estimator, check):
    check(type(estimator).__name__, clone(estimator))


@pytest.fixture(scope="module")
def blobs():
    return make_blobs(60, 12, centers=4, random_state=0)[0]


@every_estimator
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_in_is_dtype_out(estimator, dtype, blobs):
    coder = clone(estimator).fit(blobs.astype(dtype))
    codes = coder.transform(blobs.astype(dtype))
    assert codes.dtype == coder.inverse_transform(codes).dtype == dtype
    assert getattr(coder, "components_", codes).dtype == dtype
    assert coder.energy_history_.dtype == coder.energy(blobs).dtype == np.float64


@every_estimator
def test_integers_are_float64(estimator, blobs):
    coder = clone(estimator).fit(np.round(blobs).astype(np.int32))
    assert coder.transform(np.round(blobs).astype(np.int64)).dtype == np.float64


@every_estimator
def test_read_only_memmap_and_fortran_input(estimator, blobs, tmp_path):
    expected = clone(estimator).set_params(random_state=0).fit(blobs)
    joblib.dump(blobs, tmp_path / "X.pkl")
    memmap = joblib.load(tmp_path / "X.pkl", mmap_mode="r")
    frozen = np.array(blobs, order="F")
    frozen.flags.writeable = False
    for X in (memmap, frozen):
        coder = clone(expected).fit(X)
        np.testing.assert_allclose(coder.transform(X), expected.transform(blobs), rtol=1e-9, atol=1e-12)


@every_estimator
def test_pickle_and_skops_give_the_same_bits(estimator, blobs):
    import skops.io

    coder = clone(estimator).set_params(random_state=0).fit(blobs)
    dumped = skops.io.dumps(coder)
    trusted = skops.io.get_untrusted_types(data=dumped)
    assert all(name.startswith("skrlv.") for name in trusted)
    for copy in (pickle.loads(pickle.dumps(coder)), skops.io.loads(dumped, trusted=trusted)):
        np.testing.assert_array_equal(copy.transform(blobs), coder.transform(blobs))
        np.testing.assert_array_equal(copy.energy(blobs), coder.energy(blobs))


@every_estimator
def test_fitted_state_is_plain(estimator, blobs):
    coder = clone(estimator).fit(blobs)
    params = coder.get_params()
    for name, value in vars(coder).items():
        if name not in params and value is not params.get("regularizer"):
            assert "callback" in name or all(is_plain(part) for part in parts_of(value)), name


def parts_of(value):
    """The values in nested dicts, tuples and lists."""
    if isinstance(value, dict):
        value = list(value.values())
    return [part for one in value for part in parts_of(one)] if isinstance(value, (list, tuple)) else [value]


def is_plain(value):
    return value is None or isinstance(value, (np.ndarray, int, float, bool, str, np.generic, Regularizer))


@every_estimator
def test_clone_and_params_survive(estimator):
    copy = clone(estimator)
    assert copy.get_params() == estimator.get_params()


@every_estimator
def test_html_repr(estimator, blobs):
    assert type(estimator).__name__ in clone(estimator).fit(blobs)._repr_html_()


@pytest.mark.skipif(not hasattr(sklearn, "callback") and sklearn.__version__ < "1.9", reason="scikit-learn 1.9")
@every_estimator
def test_progress_bar(estimator, blobs, capsys):
    from sklearn.callback import ProgressBar

    clone(estimator).set_callbacks(ProgressBar()).fit(blobs)
    assert type(estimator).__name__ in capsys.readouterr().out


class Recorder:
    """A callback that fails in the middle of a fit, and knows when it was taken down."""

    taken_down = 0

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, **_):
        raise RuntimeError("on purpose")

    def on_fit_task_end(self, estimator, context, **_):
        pass

    def teardown(self, estimator, context):
        self.taken_down += 1


@pytest.mark.skipif(not hasattr(sklearn, "callback") and sklearn.__version__ < "1.9", reason="scikit-learn 1.9")
def test_a_fit_that_fails_takes_its_callbacks_down(blobs):
    coder, recorder = SparseCoder(4), Recorder()
    with pytest.raises(RuntimeError, match="on purpose"):
        coder.set_callbacks(recorder).fit(blobs)
    assert recorder.taken_down == 1
    assert not hasattr(coder, "components_")


def test_the_html_of_an_estimator_links_to_its_page():
    home = "https://skrlv.readthedocs.io/en/stable/generated/"
    assert f"{home}skrlv.SparseCoder.html" in SparseCoder()._repr_html_()
    assert PatchWhitener()._get_doc_link() == f"{home}skrlv.preprocessing.PatchWhitener.html"

    class Own(SparseCoder):
        """Of a user: the library has no page for it."""

    assert not Own()._get_doc_link()
