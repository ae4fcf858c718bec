"""Whether a change of the code left every result as it was, to the bit: a fixed set of fits of every estimator.

Run it before a change with ``--save FILE``, after it with ``--compare FILE``, on the same machine and the same
libraries. It prints which arrays differ, and by how much; with ``--only NAME`` it makes the fits whose name has NAME.
"""

import argparse
import pickle
import sys
import warnings

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits

import skrlv
from skrlv import (
    ConvSparseAutoencoder,
    ConvSparseCoder,
    FISTACoder,
    LISTAEncoder,
    PredictiveSparseDecomposition,
    SparseCoder,
    SparseCoderCV,
    VariationalAutoencoder,
)

FITTED = (
    "components_", "lmbda_", "energy_history_", "n_iter_", "n_resampled_", "atom_usage_", "scale_", "lmbdas_",
    "scores_", "prediction_error_history_", "validation_loss_history_", "kl_history_", "kl_per_unit_", "mean_",
)  # fmt: skip
IMAGES = load_digits().images[:400] / 16
X = IMAGES.reshape(400, 64)
X32 = X.astype(np.float32)
SIGNAL = np.random.RandomState(1).randn(40, 60).cumsum(axis=1)
COLOUR = np.random.RandomState(2).rand(12, 14, 13, 3) - 0.5


def dense_models():
    few, positive = {"max_iter": 4, "random_state": 0}, {"positive": True, "positive_dictionary": True}
    yield "coder", SparseCoder(24, **few), X
    yield "coder32", SparseCoder(24, **few), X32
    yield "coder-full", SparseCoder(24, batch_size=400, tol=0, **few), X
    yield "coder-positive", SparseCoder(24, lmbda=0.2, split_sign=True, **positive, **few), X
    yield "coder-l2", SparseCoder(24, l2=0.3, batch_size=64, **few), X
    yield "coder-l2-32", SparseCoder(24, l2=0.3, positive=True, batch_size=64, **few), X32
    yield "coder-kmeans", SparseCoder(24, dictionary_init="k-means++", **few), X
    yield "coder-given", SparseCoder(dictionary=X[:30], lmbda=0.4), X
    yield "coder-many", SparseCoder(100, lmbda=0.05, **few), X
    yield "coder-cv", SparseCoderCV(16, lmbdas=[1.0, 0.5, 0.1], cv=2, **few), X
    yield "coder-cv-auto", SparseCoderCV(16, cv=2, **few), X[:150]
    yield "coder-cv-given", SparseCoderCV(dictionary=X[:30]), X
    for regularizer in ("l1", "elastic_net", "group_l1", "l0"):
        lmbda = {"l0": 0.05, "group_l1": 0.4}.get(regularizer, "auto")
        yield f"fista-{regularizer}", FISTACoder(24, lmbda=lmbda, regularizer=regularizer, **few), X
    yield "fista-positive32", FISTACoder(24, positive=True, **few), X32
    yield "fista-torch", FISTACoder(24, device="torch:cpu", **few), X
    yield "fista-torch32", FISTACoder(24, device="torch:cpu", batch_size=64, **few), X32
    for architecture in ("lista", "step", "alista", "hyperlista"):
        for objective in ("codes", "energy"):
            model = LISTAEncoder(20, architecture=architecture, objective=objective, **few)
            yield f"lista-{architecture}-{objective}", model, X
    yield "lista-untied", LISTAEncoder(20, tied=False, positive=True, batch_size=50, **few), X32
    yield "lista-given", LISTAEncoder(dictionary=X[:30], lmbda=0.4, n_layers=1, **few), X
    yield "lista-torch", LISTAEncoder(20, device="torch:cpu", **few), X
    yield "lista-wild", LISTAEncoder(20, learning_rate_init=30.0, **few), X
    for encoder in ("tanh", "shrinkage", "lista"):
        yield f"psd-{encoder}", PredictiveSparseDecomposition(20, encoder=encoder, **few), X
    yield "psd-argmin", PredictiveSparseDecomposition(20, inference="argmin", batch_size=50, **few), X
    yield "psd-positive32", PredictiveSparseDecomposition(20, encoder="shrinkage", positive=True, **few), X32
    yield "psd-given", PredictiveSparseDecomposition(dictionary=X[:30], lmbda=0.4, **few), X
    yield "psd-torch", PredictiveSparseDecomposition(20, device="torch:cpu", **few), X
    yield "psd-wild", PredictiveSparseDecomposition(20, learning_rate_init=1.0, encoder="lista", **few), X
    small = {"hidden_layer_sizes": (32,), **few}
    yield "vae", VariationalAutoencoder(4, **small), X
    yield "vae32", VariationalAutoencoder(4, batch_size=64, **small), X32
    yield "vae-bernoulli", VariationalAutoencoder(4, likelihood="bernoulli", kl_warmup=2, free_bits=0.1, **small), X
    yield "vae-linear", VariationalAutoencoder(4, hidden_layer_sizes=(), scale=0.5, learn_variance=False, **few), X
    yield "vae-all-judge", VariationalAutoencoder(4, validation_fraction=0, activation="tanh", beta=2.0, **small), X
    yield "vae-torch", VariationalAutoencoder(4, device="torch:cpu", **small), X
    yield "vae-wild", VariationalAutoencoder(4, learning_rate_init=30.0, **small), X


def convolutional_models():
    few = {"max_iter": 3, "random_state": 0}
    yield "conv", ConvSparseCoder(6, (4, 4), **few), IMAGES[:100]
    yield "conv32", ConvSparseCoder(6, (4, 4), **few), IMAGES[:100].astype(np.float32)
    yield "conv-batches", ConvSparseCoder(6, (3, 3), lmbda=0.4, batch_size=30, positive=True, **few), IMAGES[:100]
    yield "conv-rows", ConvSparseCoder(4, (3, 3), signal_shape=(8, 8), pooling=2, **few), X[:60]
    yield "conv-series", ConvSparseCoder(3, 9, crop_size=30, **few), SIGNAL
    yield "conv-colour", ConvSparseCoder(3, (4, 3), crop_size=None, **few), COLOUR
    yield "conv-given", ConvSparseCoder(dictionary=IMAGES[:5, :4, :4], lmbda=0.5, **few), IMAGES[:60]
    yield "conv-torch", ConvSparseCoder(3, (3, 3), device="torch:cpu", **few), IMAGES[:40]
    yield "convae", ConvSparseAutoencoder(6, (4, 4), batch_size=20, **few), IMAGES[:100]
    yield "convae-argmin", ConvSparseAutoencoder(4, (3, 3), inference="argmin", **few), IMAGES[:60]
    yield "convae-colour", ConvSparseAutoencoder(3, (4, 3), **few), COLOUR.astype(np.float32)
    yield "convae-torch", ConvSparseAutoencoder(3, (3, 3), device="torch:cpu", **few), IMAGES[:40]


def results_of(model, data):
    """Everything that a fitted model tells, by name."""
    found = {name: getattr(model, name) for name in FITTED if _has(model, name)}
    codes = model.transform(data)
    found |= {"codes": codes, "energy": model.energy(data), "score": model.score(data)}
    if not _has(model, "pooling") or model.pooling is None:
        found |= {"decoded": model.inverse_transform(codes), "energy of codes": model.energy(data, codes)}
    if _has(model, "refine"):
        found["refined"] = model.refine(data[:50])
    if _has(model, "posterior"):
        found |= {"posterior": np.stack(model.posterior(data)), "drawn": model.sample(5, 0, noise=True)}
        found["bound"] = model.score_samples(data[:50], n_importance_samples=5)
    return found


def _has(model, name):
    try:
        return hasattr(model, name)
    except ValueError:
        return False


def cases():
    """(name, function that computes its arrays) of everything."""
    for name, model, data in [*dense_models(), *convolutional_models()]:
        yield name, lambda model=model, data=data: results_of(clone(model).fit(data), data)
    for name, model, data in [*dense_models(), *convolutional_models()]:
        if hasattr(model, "partial_fit"):
            yield f"{name}-stream", lambda model=model, data=data: results_of(_streamed(clone(model), data), data)
    yield "lists", _lists
    yield "masks", _masks
    yield "functions", _functions
    yield "dask", _dask
    yield "modules", _modules
    yield "preprocessing", _preprocessing


def _streamed(model, data):
    for batch in np.array_split(data, 5):
        model.partial_fit(batch)
    return model


def _lists():
    signals = [IMAGES[0], IMAGES[1], np.pad(IMAGES[2], 3, mode="wrap"), np.tile(IMAGES[3], (2, 2))]
    found = {}
    for kind in (ConvSparseCoder, ConvSparseAutoencoder):
        model = kind(3, (3, 3), max_iter=2, random_state=0).fit(signals)
        maps = model.encode(signals)
        found |= {f"{kind.__name__} {i}": z for i, z in enumerate(maps)}
        found |= {f"{kind.__name__} energy": model.energy(signals), f"{kind.__name__} own": model.energy(signals, maps)}
        found[f"{kind.__name__} decoded"] = np.concatenate([y.ravel() for y in model.inverse_transform(maps)])
        streamed = kind(3, (3, 3), random_state=0).partial_fit(signals).partial_fit(signals)
        found[f"{kind.__name__} streamed"] = streamed.components_
    return found


def _masks():
    mask = np.random.RandomState(0).rand(8, 8) > 0.3
    coder = ConvSparseCoder(4, (3, 3), lmbda=0.3, max_iter=2, random_state=0).fit(IMAGES[:50])
    return {"one": coder.encode(IMAGES[:5], mask=mask), "score": coder.score(IMAGES[50:70])}


def _functions():
    atoms = X[:40] / np.linalg.norm(X[:40], axis=1, keepdims=True)
    found = {}
    for dtype in (np.float64, np.float32):
        x, d = X[:150].astype(dtype), atoms.astype(dtype)
        found |= {f"{dtype.__name__} {i}": skrlv.sparse_encode(x, d, **options) for i, options in enumerate(_OPTIONS)}
        path = skrlv.lmbda_path(x, d)
        found |= {f"{dtype.__name__} path {name}": getattr(path, name) for name in path._fields}
    codes = skrlv.sparse_encode(X[:150], atoms, 0.3, code_tol=0.1)
    found["gaps"] = skrlv.duality_gap(X[:150], codes, atoms, 0.3)
    return found | {"grid": skrlv.lmbda_grid(X, atoms), "max": skrlv.lmbda_max(X, atoms)}


_OPTIONS = [
    {"lmbda": 0.3}, {"lmbda": 0.1, "positive": True}, {"lmbda": 0.1, "l2": 0.2},
    {"lmbda": 0.1, "weights": np.arange(40)}, {"n_nonzero": 5}, {"n_nonzero": 5, "debias": True},
    {"max_error": 0.3}, {"max_error": 0.3, "positive": True},
    {"n_nonzero": 7, "l2": 0.1, "weights": 1 + np.arange(40) / 40}, {"lmbda": 0.2, "n_nonzero": 4, "max_error": 0.2},
    {"lmbda": 0.3, "init": X[:150, :40]}, {"lmbda": 0.05, "code_tol": 1e-10}, {"lmbda": 0.3, "debias": True},
]  # fmt: skip


def _dask():
    import dask.array as da

    from skrlv.dask import DaskSparseCoder

    model = DaskSparseCoder(16, max_iter=3, batch_size=len(X), random_state=0).fit(da.from_array(X, chunks=(130, 64)))
    return {"components": model.components_, "history": model.energy_history_, "codes": model.to_local().transform(X)}


def _modules():
    import torch

    torch.manual_seed(0)
    nn, few = torch.nn, {"max_iter": 3, "device": "torch:cpu", "random_state": 0}
    double = {"dtype": torch.float64}
    encoder = nn.Sequential(nn.Linear(64, 20, **double), nn.Tanh(), nn.Linear(20, 12, **double))
    psd = PredictiveSparseDecomposition(12, encoder=encoder, **few).fit(X)
    inward, outward = nn.Linear(64, 8, **double), nn.Sequential(nn.Linear(4, 64, **double))
    vae = VariationalAutoencoder(4, encoder=inward, decoder=outward, **few).fit(X)
    return {"psd": psd.transform(X), "atoms": psd.components_, "vae": vae.transform(X), "bound": vae.score_samples(X)}


def _preprocessing():
    from skrlv.preprocessing import LocalContrastNormalizer, PatchWhitener

    return {
        "zca": PatchWhitener().fit_transform(X),
        "fourier": PatchWhitener(method="olshausen_field", patch_shape=(8, 8)).fit_transform(X),
        "contrast": LocalContrastNormalizer().fit_transform(IMAGES[:20]),
    }


def difference(a, b):
    """How far two results are apart, as text; nothing where they are the same bits."""
    a, b = (np.asarray(x.toarray() if hasattr(x, "toarray") else x) for x in (a, b))
    if a.shape != b.shape or a.dtype != b.dtype:
        return f"{a.dtype} {a.shape} became {b.dtype} {b.shape}"
    if np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
        return None
    return f"differs by up to {np.max(np.abs(a - b)):.1e}, of {np.max(np.abs(a)):.1e}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--save")
    parser.add_argument("--compare")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    before = pickle.load(open(options.compare, "rb")) if options.compare else {}  # noqa: SIM115
    found, n_changed = {}, 0
    for name, compute in cases():
        if options.only not in name:
            continue
        try:
            found[name] = compute()
        except Exception as error:
            found[name] = {"error": np.array(f"{type(error).__name__}: {error}")}
            print(f"{name}: {error!r}"[:300])
        for key in sorted(set(found[name]) | set(before.get(name, {}))) if before else ():
            apart = difference(before.get(name, {}).get(key, np.nan), found[name].get(key, np.nan))
            n_changed += apart is not None
            if apart:
                print(f"{name}, {key}: {apart}")
    if options.save:
        pickle.dump(found, open(options.save, "wb"))  # noqa: SIM115
    print(f"{sum(map(len, found.values()))} results of {len(found)} cases, {n_changed} changed")
    sys.exit(n_changed > 0)


if __name__ == "__main__":
    main()
