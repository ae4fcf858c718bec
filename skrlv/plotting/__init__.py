"""Pictures of data and models, in the style of scikit-learn's displays. They need matplotlib, from the extra [plot].

Each display has ``from_estimator``, which computes and draws, and `plot`, which draws again on other axes; both return
the display, with ``ax_`` and ``figure_``.
"""

from skrlv.plotting.codes import CodesDisplay
from skrlv.plotting.curves import EnergyDisplay, LmbdaPathDisplay
from skrlv.plotting.dictionary import DictionaryDisplay
from skrlv.plotting.landscapes import LandscapeDisplay
from skrlv.plotting.posteriors import LatentDisplay, ManifoldDisplay, plot_balls
from skrlv.plotting.reconstruction import ReconstructionDisplay
from skrlv.plotting.tiles import plot_atoms
from skrlv.plotting.unrolled import UnrolledDisplay

__all__ = [
    "CodesDisplay",
    "DictionaryDisplay",
    "EnergyDisplay",
    "LandscapeDisplay",
    "LatentDisplay",
    "LmbdaPathDisplay",
    "ManifoldDisplay",
    "ReconstructionDisplay",
    "UnrolledDisplay",
    "plot_atoms",
    "plot_balls",
]
