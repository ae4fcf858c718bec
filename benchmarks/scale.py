"""Scaling: seconds per pass from 10^4 to 10^6 rows, and the memory of a fit on 4 GB of rows on disk.

    python benchmarks/scale.py [--rows 10000 100000 1000000] [--repeats 3]
    python benchmarks/scale.py --memory [--memory-rows 1300000]

Rows are float32 in a memory-mapped file in a temporary folder, which is deleted afterwards. The first part repeats the
8 x 8 digits of scikit-learn with new noise (64 features, k = 64) and times one pass of `fit` and one `transform`. It
prints microseconds per row, and their ratio to those at the smallest number of rows: 1.00 everywhere means linear
growth. Times are medians over the repeats.

With --memory, rows of 784 features, each a sum of a few of 64 sparse patterns plus noise, are fitted in one pass. A
thread reads RssAnon in /proc/self/status every 5 milliseconds. This is the memory of the process itself, without the
pages of the file, which the system may drop at any time. It works on Linux only. The kernels are compiled before the
clock starts.
"""

import argparse
import os
import statistics
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from encode import restart_with

if __name__ == "__main__":
    restart_with(len(os.sched_getaffinity(0)))

import numpy as np
from sklearn.datasets import load_digits

import skrlv

K, ROWS_PER_BLOCK = 64, 10_000


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10**4, 10**5, 10**6])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--memory-rows", type=int, default=1_300_000)
    return parser.parse_args()


def noisy_digits(n_rows, rng):
    images = (load_digits().data / 16.0).astype(np.float32)
    return images[rng.integers(len(images), size=n_rows)] + 0.1 * rng.standard_normal((n_rows, 64), dtype=np.float32)


def sparse_sums(n_rows, rng):
    always = np.random.default_rng(1)
    patterns = always.random((K, 784), dtype=np.float32) * (always.random((K, 784)) < 0.1)
    codes = rng.random((n_rows, K), dtype=np.float32) * (rng.random((n_rows, K), dtype=np.float32) < 0.08)
    return codes @ patterns + 0.02 * rng.standard_normal((n_rows, 784), dtype=np.float32)


@contextmanager
def on_disk(n_rows, n_features, draw):
    """Rows in a file of a temporary folder, read-only, written a block at a time."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "rows.npy")
        X = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=(n_rows, n_features))
        for start in range(0, n_rows, ROWS_PER_BLOCK):
            X[start : start + ROWS_PER_BLOCK] = draw(min(ROWS_PER_BLOCK, n_rows - start), rng)
        del X
        yield np.load(file, mmap_mode="r")


@contextmanager
def sampled_memory():
    """A list of RssAnon samples in MB, which is extended until the block ends."""
    samples, done = [anonymous_memory()], threading.Event()

    def sample():
        while not done.wait(0.005):
            samples.append(anonymous_memory())

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()


def anonymous_memory():
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024.0


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def growth(args):
    print(f"64 features, k = {K}, float32; microseconds per row, and as a multiple of the first line")
    print("     rows   s per pass   us per row            transform             peak MB")
    first = None
    for n_rows in args.rows:
        with on_disk(n_rows, 64, noisy_digits) as X, sampled_memory() as memory:
            coder = skrlv.SparseCoder(K, max_iter=1, random_state=0)
            passes, encodings = [], []
            for _ in range(args.repeats):
                passes.append(seconds(lambda: coder.fit(X)))  # noqa: B023
                encodings.append(seconds(lambda: coder.transform(X)))  # noqa: B023
        spent = [1e6 * statistics.median(times) / n_rows for times in (passes, encodings)]
        first = first or spent
        cells = "  ".join(f"{now:8.2f}  ({now / then:.2f})" for now, then in zip(spent, first, strict=True))
        print(f"{n_rows:9}  {statistics.median(passes):10.2f}  {cells}  {max(memory):12.0f}", flush=True)


def memory(args):
    n_rows = args.memory_rows
    print(f"{n_rows} x 784 float32, {n_rows * 784 * 4 / 1e9:.2f} GB on disk, k = {K}, one pass", flush=True)
    with on_disk(n_rows, 784, sparse_sums) as X, sampled_memory() as samples:
        before = anonymous_memory()
        samples.clear()
        coder = skrlv.SparseCoder(K, max_iter=1, random_state=0)
        spent = seconds(lambda: coder.fit(X))
        used = np.count_nonzero(coder.transform(X[:1000]), axis=1).mean()
    print(f"fit: {spent:.0f} s, {1e6 * spent / n_rows:.1f} us per row; {used:.1f} of {K} atoms per row")
    print(f"RssAnon: {before:.0f} MB before, at most {max(samples):.0f} MB in {len(samples)} samples", flush=True)
    if max(samples) > 1000.0:
        raise SystemExit("over 1 GB")


def main():
    args, rng = options(), np.random.default_rng(0)
    skrlv.SparseCoder(K, max_iter=1).fit(noisy_digits(1000, rng)).transform(noisy_digits(1000, rng))
    (memory if args.memory else growth)(args)


if __name__ == "__main__":
    main()
