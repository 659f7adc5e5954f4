"""The metrics beside SciPy's root, torch-fidelity and prdc: the same numbers, and how long they take.

    pip install -e '.[test]' torch-fidelity prdc
    python benchmarks/metrics_speed.py                   # some minutes; prints the table that RESULTS.md keeps

Features are made up: 50,000 and 50,000 rows of 2,048 for distances, as published ones use, in float32; 5,000 of 2,048
for neighbours, since prdc keeps all distances in memory. Each row of the table is one measurement of each program after
the other, and the difference of what they say. What is not installed is left out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygan import metrics
from tinygan.parallel.console import forgiving_streams


def made_up(n: int, f: int, seed: int) -> np.ndarray:
    """Features (n, f) whose columns depend on each other, of a kind with ``seed``."""
    mixing = np.random.default_rng(0).standard_normal((f, f), dtype=np.float32) / np.sqrt(f)
    x = np.random.default_rng(seed).standard_normal((n, f), dtype=np.float32) @ mixing
    return np.maximum(x + 0.05 * seed, 0.0, out=x)


def by_scipy(a: metrics.Moments, b: metrics.Moments) -> float:
    from scipy.linalg import sqrtm

    (A, B), apart = (a.covariance, b.covariance), a.mean - b.mean
    return float(apart @ apart + np.trace(A) + np.trace(B) - 2.0 * np.trace(sqrtm(A @ B)).real)


def by_fidelity(a: metrics.Moments, b: metrics.Moments) -> float:
    from torch_fidelity import metric_fid

    of = [{"mu": x.mean, "sigma": x.covariance} for x in (a, b)]
    return metric_fid.fid_statistics_to_metric(*of, verbose=False)[metric_fid.KEY_METRIC_FID]


def moments(a: np.ndarray, b: np.ndarray) -> float:
    return float(metrics.Moments(a).covariance.sum() + metrics.Moments(b).covariance.sum())


def moments_by_numpy(a: np.ndarray, b: np.ndarray) -> float:
    return float(sum(np.cov(x.astype(np.float64), rowvar=False).sum() for x in (a, b)))


def fidelity_kernel(a: np.ndarray, b: np.ndarray) -> float:
    import torch
    from torch_fidelity import metric_kid

    options = {"kid_subsets": 100, "kid_subset_size": 1000, "kid_kernel": "poly", "verbose": False}
    both = (torch.from_numpy(x.astype(np.float64)) for x in (a, b))
    return metric_kid.kid_features_to_metric(*both, **options)[metric_kid.KEY_METRIC_KID_MEAN]


def prdc(a: np.ndarray, b: np.ndarray) -> float:
    from prdc import compute_prdc

    return compute_prdc(a, b, nearest_k=5)["coverage"]


#: What is measured: ours, and of whom else
ROWS: dict[str, tuple[Callable[..., Any], dict[str, Callable[..., Any]]]] = {
    "moments": (moments, {"numpy.cov": moments_by_numpy}),
    "Fréchet, of moments": (metrics.frechet_distance, {"SciPy's sqrtm": by_scipy, "torch-fidelity": by_fidelity}),
    "kernel": (lambda a, b: metrics.kernel_distance(a, b, size=1000).value, {"torch-fidelity": fidelity_kernel}),
    "neighbours": (lambda a, b: metrics.density_coverage(a, b).coverage.value, {"prdc": prdc}),
}


def timed(work: Callable[..., Any], *sets: Any) -> tuple[float, float]:
    start = time.perf_counter()
    value = work(*sets)
    return float(value), time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000, help="of each set, for distances (default: 50,000)")
    parser.add_argument("--features", type=int, default=2048, help="in a row (default: 2,048)")
    args = parser.parse_args()
    print("| what | tinygan s | beside | s | times as fast | tinygan says | it says |\n|---|---|---|---|---|---|---|")
    for what, (ours, others) in ROWS.items():
        n = min(args.rows, 5_000) if what == "neighbours" else args.rows
        a, b = (made_up(n, args.features, seed) for seed in (1, 2))
        if "of moments" in what:
            a, b = metrics.Moments(a), metrics.Moments(b)
        value, seconds = timed(ours, a, b)
        for name, other in others.items():
            try:
                its_value, its_seconds = timed(other, a, b)
            except ImportError as error:
                print(f"| {what} | {seconds:.2f} | {name} is not there: {error} | | | {value:.8g} | |", flush=True)
                continue
            print(
                f"| {what} | {seconds:.2f} | {name} | {its_seconds:.2f} | **{its_seconds / seconds:.1f}** | "
                f"{value:.8g} | {its_value:.8g} |",
                flush=True,
            )


if __name__ == "__main__":
    with forgiving_streams():  # a console may lack letters such as ×
        main()
