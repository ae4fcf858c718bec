"""``python -m skrlv``: versions, threads, devices and the cache of kernels; ``benchmark`` compares with peers."""

import argparse

from skrlv._comparison import compare
from skrlv._environment import describe


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m skrlv", description="Regularized latent-variable models.")
    commands = parser.add_subparsers(dest="command", title="commands")
    commands.add_parser("info", help="versions, threads, devices and the cache of compiled kernels (default)")
    benchmark = commands.add_parser(
        "benchmark", help="time exact sparse codes beside scikit-learn, and SPAMS if it is installed"
    )
    benchmark.add_argument("--rows", type=int, default=1000, help="number of digits (default 1000)")
    benchmark.add_argument("--atoms", type=int, default=128, help="number of atoms (default 128)")
    benchmark.add_argument("--repeats", type=int, default=5, help="alternating runs (default 5)")
    given = parser.parse_args(arguments)
    lines = compare(given.rows, given.atoms, given.repeats) if given.command == "benchmark" else describe()
    for line in lines:
        print(line)


if __name__ == "__main__":
    main()
