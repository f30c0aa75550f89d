"""Times OpenBLAS sgemm, through numpy, at the shapes of kernels/matmul's benchmark.

    python dev/peers/openblas.py [--threads 1 2] [--seconds 1] [--shapes 1024x1024x1024 4096x8960x1536]

A shape is MxNxK: A [M, K] times the transpose of B [N, K]. Prints the best of several runs in GFLOP/s, to set beside
`go test -run '^$' -bench Mul ./kernels/matmul`.
"""

import argparse
import os
import subprocess
import sys
import time


def measure(shapes, seconds):
    import numpy as np

    rng = np.random.default_rng(1)
    for m, n, k in shapes:
        a = rng.standard_normal((m, k), dtype=np.float32)
        b = rng.standard_normal((n, k), dtype=np.float32).T
        c = np.empty((m, n), dtype=np.float32)
        np.matmul(a, b, out=c)
        best, end, runs = float("inf"), time.perf_counter() + seconds, 0
        while runs < 3 or time.perf_counter() < end:
            start = time.perf_counter()
            np.matmul(a, b, out=c)
            best = min(best, time.perf_counter() - start)
            runs += 1
        print(f"{m}x{n}x{k} threads={os.environ['OPENBLAS_NUM_THREADS']}: "
              f"{2 * m * n * k / best / 1e9:.1f} GFLOP/s (best of {runs})", flush=True)


def library():
    import numpy as np

    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"numpy {np.__version__}, {blas['name']} {blas['version']}"


def shape(text):
    m, n, k = (int(x) for x in text.split("x"))
    return m, n, k


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=1, help="at least so long for each shape")
    parser.add_argument("--shapes", nargs="+", default=["1024x1024x1024", "4096x8960x1536"], metavar="MxNxK")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        measure([shape(s) for s in args.shapes], args.seconds)
        return
    print(library())
    for threads in args.threads:  # the library reads its number of threads once, when it is loaded
        env = dict(os.environ, OPENBLAS_NUM_THREADS=str(threads))
        command = [sys.executable, __file__, "--here", "--seconds", str(args.seconds), "--shapes", *args.shapes]
        subprocess.run(command, env=env, check=True)


if __name__ == "__main__":
    main()
