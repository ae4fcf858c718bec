from ._warmup import warmup as warmup
from .convolutional import ConvSparseAutoencoder as ConvSparseAutoencoder
from .convolutional import ConvSparseCoder as ConvSparseCoder
from .lista import LISTAEncoder as LISTAEncoder
from .metrics import duality_gap as duality_gap
from .metrics import lmbda_grid as lmbda_grid
from .metrics import lmbda_max as lmbda_max
from .predictive import PredictiveSparseDecomposition as PredictiveSparseDecomposition
from .sparse_coding import FISTACoder as FISTACoder
from .sparse_coding import SparseCoder as SparseCoder
from .sparse_coding_cv import SparseCoderCV as SparseCoderCV
from .sparse_encoding import lmbda_path as lmbda_path
from .sparse_encoding import sparse_encode as sparse_encode
from .variational import VariationalAutoencoder as VariationalAutoencoder

__version__: str
