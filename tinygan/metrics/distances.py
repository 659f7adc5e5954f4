"""Distances between two sets of features: of their Gaussians (Fréchet's), and of all their moments up to the third."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError, positive_int
from ..layers.starting import Rng, as_generator
from .estimate import Estimate
from .rows import ROWS, as_rows, require_alike

WELL = 1e-8  # least over largest eigenvalue; below, rounding shows in a root


class Moments:
    """The mean and the covariance of features, of which a few rows at a time need to be in memory.

    Each piece of m rows with mean μ' and scatter S' = Σ (x − μ')(x − μ')ᵀ joins the n before it (Chan et al., 1983):

        δ = μ' − μ        μ ← μ + δ m/(n + m)        S ← S + S' + δ δᵀ n m/(n + m)
    """

    def __init__(self, rows: Any = None) -> None:
        self.n, self.mean, self.scatter = 0, np.zeros(0), np.zeros((0, 0))
        if rows is not None:
            self.add(rows)

    def add(self, rows: Any) -> Moments:
        """Take in features (M, F)."""
        x = as_rows(rows, "Moments", least=1)
        if self.n == 0:
            f = x.shape[1]
            self.mean, self.scatter = np.zeros(f), np.zeros((f, f))
        elif x.shape[1] != len(self.mean):
            raise ShapeError(f"Moments: expected {len(self.mean)} features a row, as before, got {x.shape[1]}.")
        for i in range(0, len(x), ROWS):
            piece = x[i : i + ROWS].astype(np.float64)
            mean, m = piece.mean(axis=0), len(piece)
            piece -= mean
            delta, self.n = mean - self.mean, self.n + m
            self.mean = self.mean + delta * (m / self.n)
            self.scatter += piece.T @ piece
            self.scatter += np.outer(delta, delta * ((self.n - m) * m / self.n))
        return self

    @property
    def covariance(self) -> np.ndarray:
        """S / (n − 1): without bias."""
        return self.scatter / (self.n - 1)


def frechet_distance(a: Any, b: Any) -> float:
    r"""Fréchet's distance between the Gaussians with the moments of two sets of features, squared.

        d² = |μ_a − μ_b|² + tr Σ_a + tr Σ_b − 2 tr (Σ_a Σ_b)^½

    (Fréchet, 1957; Dowson and Landau, 1982; with the features of an Inception network it is the FID of Heusel et al.,
    2017.) With any roots L Lᵀ = Σ, the eigenvalues of Σ_a Σ_b are the squares of the singular values of L_aᵀ L_b, so
    the trace of the root is their sum: no root of a matrix that is not symmetric is needed, and Σ may be singular.

    **Blind to** whatever keeps mean and covariance, such as which images belong to which corner of the features, and to
    copies. **How many:** it is too large by about c/N for N samples, with a c that differs from set to set (Chong and
    Forsyth, 2020): compare at one N, 10,000 if you can, and never below twice as many as there are features. There is
    no standard error in closed form; :func:`kernel_distance` has one.

    Parameters
    ----------
    a, b : features (N, F), or :class:`Moments` of them; the order does not matter.

    Raises
    ------
    ArgumentError, ShapeError, NonFiniteError
        Fewer than two rows, other numbers of features, or some that are not finite.
    """
    a, b = (x if isinstance(x, Moments) else Moments(as_rows(x, "frechet_distance")) for x in (a, b))
    if min(a.n, b.n) < 2:
        raise ArgumentError(f"frechet_distance: a covariance needs 2 rows at least, got {a.n} and {b.n}.")
    if len(a.mean) != len(b.mean):
        raise ShapeError(f"frechet_distance: {len(a.mean)} features a row against {len(b.mean)}: not of one kind.")
    A, B = a.covariance, b.covariance
    root = _sum_of_singular_values(_root(A).T @ _root(B))
    return max(float(np.square(a.mean - b.mean).sum() + np.trace(A) + np.trace(B) - 2.0 * root), 0.0)


def _root(covariance: np.ndarray) -> np.ndarray:
    """L with L Lᵀ = Σ: Cholesky's, or where Σ is singular, that of its eigenvectors."""
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        return vectors * np.sqrt(values.clip(0.0))


def _sum_of_singular_values(M: np.ndarray) -> float:
    """By the eigenvalues of M Mᵀ, which is four times as fast, where their roots lose no digits that matter."""
    squares = np.linalg.eigvalsh(M @ M.T if len(M) <= M.shape[1] else M.T @ M)
    if squares[0] > WELL * squares[-1]:
        return float(np.sqrt(squares).sum())
    return float(np.linalg.svd(M, compute_uv=False).sum())


def kernel_distance(a: Any, b: Any, *, subsets: int = 100, size: int | None = None, rng: Rng = 0) -> Estimate:
    r"""The squared maximum mean discrepancy of two sets of features, for k(x, y) = (x·y / F + 1)³, without bias.

        MMD² = mean_{i≠j} k(a_i, a_j) + mean_{i≠j} k(b_i, b_j) − 2 mean_{i,j} k(a_i, b_j)

    as the mean over subsets of ``size`` rows of each (Gretton et al., 2012, equation 3, and with Inception's features
    the KID of Bińkowski et al., 2018). It compares all moments up to the third, is 0 in the mean for two sets from one
    source whatever their number, and may be negative.

    **Blind to** moments beyond the third, and to copies. **How many:** any number is unbiased; the standard error falls
    with its root. The error given is the deviation over the subsets, over the root of their number or of how many do
    not overlap, N / size, whichever is less; for two sets from one source it is two to three times too large. (The
    tables of some programs give the deviation itself.)

    Parameters
    ----------
    a, b : features (N, F).
    subsets, size : how many subsets, and of how many rows, at most all; None: 1,000 or a tenth of the rows, whichever
        is less. Where two subsets cannot be apart, the error is NaN.
    rng : which draws the subsets.

    Raises
    ------
    ArgumentError, ShapeError, NonFiniteError
        Fewer than two rows, other numbers of features, or some that are not finite.
    """
    a, b = as_rows(a, "kernel_distance"), as_rows(b, "kernel_distance")
    require_alike(a, b, "kernel_distance")
    n, subsets = min(len(a), len(b)), positive_int(subsets, "kernel_distance: subsets")
    size = max(2, min(1000, n // 10)) if size is None else min(n, positive_int(size, "kernel_distance: size", least=2))
    rng = as_generator(rng)
    values = np.empty(subsets)
    for i in range(subsets):
        x, y = (s[rng.choice(len(s), size, replace=False)].astype(np.float64) for s in (a, b))
        xx, yy, xy = (_kernel(p, q) for p, q in ((x, x), (y, y), (x, y)))
        pairs = size * (size - 1)
        values[i] = (xx.sum() - xx.trace()) / pairs + (yy.sum() - yy.trace()) / pairs - 2.0 * xy.mean()
    apart = min(subsets, n // size)
    return Estimate(float(values.mean()), float(values.std(ddof=1) / np.sqrt(apart)) if apart > 1 else np.nan)


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    k = x @ y.T
    k /= x.shape[1]
    k += 1.0
    return k * k * k  # a power of 3 takes ten times as long
