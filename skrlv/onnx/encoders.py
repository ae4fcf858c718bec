"""Check whether an estimator has an encoder that can be exported, and build the graph of that encoder."""

from sklearn.utils.validation import check_is_fitted

from skrlv._arrays import to_numpy
from skrlv.decoders import Dictionary
from skrlv.onnx.tracing import Graph
from skrlv.variational import VariationalAutoencoder


def check_exportable(estimator):
    """Refuse an estimator whose codes are not the output of an encoder of rows."""
    name = type(estimator).__name__
    if isinstance(estimator, VariationalAutoencoder):
        raise TypeError(f"{name} cannot be exported: the export of variational autoencoders is not supported yet.")
    if not getattr(estimator, "_has_encoder", False):
        raise TypeError(
            f"{name} cannot be exported: its codes are not predicted by an encoder. "
            "LISTAEncoder learns to predict them."
        )
    check_is_fitted(estimator)
    if not isinstance(estimator.energy_.decoder, Dictionary):
        raise TypeError(f"{name} cannot be exported: only encoders of rows are supported.")
    if getattr(estimator, "inference", "encoder") != "encoder":
        raise ValueError(
            f"{name} with inference={estimator.inference!r} cannot be exported: its codes minimise the energy. Use "
            "inference='encoder', which predicts them."
        )
    if type(estimator.encoder_).__name__ == "ModuleEncoder":
        raise TypeError("encoder= is a torch module: export encoder_.to_module() by torch.onnx.export.")


def traced(estimator, name, dtype, unique):
    """Return the `Graph` of the encoder, whose input has that name, and the codes in this graph."""
    graph = Graph(name, estimator.n_features_in_, dtype, unique)
    encoder = estimator.encoder_.mapped(lambda value: to_numpy(value).astype(dtype))
    return graph, encoder(graph.input)
