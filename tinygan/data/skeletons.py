"""How people write the ten digits: pen paths, and the splines that run through them.

A style is one line of text. ``x,y`` is a point the pen passes, x to the right and y down, on a grid about 20 wide and
30 high; ``/`` ends a smooth run. A run that starts where another ended makes a corner, one that starts elsewhere
means the pen was lifted. Equal points of a style are one point: they stay together when it is moved. The number in
front says how common the style is among those of its digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

STYLES: dict[int, tuple[tuple[float, str], ...]] = {
    0: (
        (3, "12,0 5,3 0,15 4,27 10,30 17,26 20,15 17,4 11,0 6,2"),  # round, closed
        (2, "14,3 9,1 2,7 0,18 5,29 14,27 20,15 17,4 11,0"),  # begun at the right
        (1, "16,0 8,3 1,14 5,28 14,27 19,14 15,4 7,3"),  # ends that cross at the top
        (1, "14,2 6,1 0,14 5,29 14,27 19,15 17,6 15,4"),  # not quite closed
        (0.5, "2,0 5,4 1,15 4,27 11,30 18,25 20,14 15,3 7,2 4,5"),  # hook at the upper left
    ),
    1: (
        (8, "10,0 10,15 10,30"),
        (2, "4,7 10,0 / 10,0 10,15 10,30"),  # flag
        (1, "3,7 10,0 / 10,0 10,15 10,30 / 2,30 10,30 18,30"),  # flag and foot
        (0.5, "7,4 10,0 / 10,0 10,15 10,30 / 4,30 16,30"),
    ),
    2: (
        (3, "1,6 6,0 15,1 18,8 13,18 1,30 / 1,30 10,29 20,29"),  # corner at the foot
        (3, "1,7 7,0 16,2 17,10 9,22 3,29 0,25 4,22 11,27 20,28"),  # loop at the foot
        (2, "2,6 8,0 15,3 15,12 8,26 2,30 0,25 5,21 14,24 22,26"),  # wide loop, rising tail
        (2, "0,3 8,0 15,2 16,8 9,19 0,29 / 0,29 10,27 19,27"),  # like a z
        (1, "2,5 9,0 16,5 13,16 3,28 / 3,28 9,26 20,30"),  # wave at the foot
        (1, "4,4 9,0 13,4 11,14 0,27 / 0,27 12,25 25,24"),  # small head, long foot
        (1, "5,9 3,5 8,0 16,3 16,12 10,22 4,29 1,26 5,23 13,30 20,25"),  # curled in at both ends
        (2, "2,7 8,0 16,3 15,12 9,23 2,29 -1,24 4,17 12,20 15,27 21,29"),  # tall loop at the foot
    ),
    3: (
        (3, "1,3 9,0 16,5 13,12 6,14 / 6,14 15,16 18,23 11,30 0,27"),  # corner in the middle
        (1, "1,1 9,1 17,1 / 17,1 12,6 7,12 / 7,12 16,15 17,25 9,30 0,27"),  # flat top
        (2, "1,4 9,0 16,5 8,14 17,20 11,30 0,26"),  # one smooth run
        (1, "1,3 10,0 16,6 10,13 6,14 8,16 10,13 17,21 10,30 0,27"),  # small loop in the middle
        (1, "3,2 12,0 14,6 7,12 / 7,12 14,14 13,23 6,29 -3,29"),  # drawn out to the lower left
        (1, "1,2 9,0 14,5 6,11 / 6,11 15,14 17,24 8,30 1,27 3,22 8,24"),  # curled in at the end
    ),
    4: (
        (3, "4,1 3,9 1,16 / 1,16 9,15 18,14 / 16,1 15,15 13,30"),  # open, straight
        (3, "3,1 1,11 5,16 12,14 16,8 / 17,0 16,8 14,30"),  # open, round
        (1, "13,0 7,10 0,20 / 0,20 10,20 20,19 / 13,0 13,15 13,30"),  # closed
        (1, "13,30 14,15 15,1 / 15,1 7,9 1,15 / 1,15 10,16 20,15"),  # closed, small
        (1, "6,1 1,17 / 1,17 8,17 19,15 / 12,9 11,18 9,30"),  # short stem, low bar
    ),
    5: (
        (3, "18,0 11,1 4,1 / 4,1 3,6 3,13 / 3,13 11,11 18,19 12,28 0,28"),
        (2, "19,0 11,1 5,1 / 5,1 4,7 3,12 9,14 16,19 13,28 0,28"),
        (2, "18,0 8,1 2,7 6,13 15,17 15,26 7,30 0,26"),  # like an s
        (1, "14,1 5,2 / 5,2 2,12 / 2,12 10,12 14,18 10,28 0,27"),
        (1, "25,0 16,1 7,3 / 7,3 5,11 / 5,11 12,13 13,21 8,28 0,28"),  # long hat
        (1, "6,2 3,12 / 3,12 11,12 15,20 10,29 1,28 / 6,2 14,3 22,0"),
    ),
    6: (
        (3, "14,0 5,8 0,20 5,30 14,28 15,19 8,16 1,21"),
        (2, "11,0 4,12 2,23 8,30 16,25 12,17 4,21"),  # straight back
        (2, "17,2 10,1 3,10 0,21 6,30 15,26 14,18 7,17 1,23"),  # curled over
        (1, "8,0 2,12 1,24 6,30 13,27 13,21 7,20 1,25"),  # small belly
        (1, "6,0 0,13 2,26 11,30 20,26 18,18 10,18 4,26"),  # wide belly, loop turned in
        (0.5, "12,0 5,7 1,18 4,29 14,29 18,21 12,15 5,18 5,24"),
    ),
    7: (
        (3, "0,2 8,2 17,1 / 17,1 11,14 8,30"),
        (1, "0,2 8,2 17,1 / 17,1 11,14 8,30 / 4,15 11,14 18,13"),  # bar
        (1, "1,7 2,2 / 2,2 9,2 17,1 / 17,1 10,15 7,30"),  # serif
        (1, "0,11 2,3 / 2,3 9,2 17,0 / 17,0 15,15 13,30"),  # long serif, upright stem
        (2, "0,6 6,1 13,3 17,2 / 17,2 12,14 8,30"),  # wavy top
        (2, "0,4 9,1 17,3 14,13 9,30"),  # round corner
        (1, "0,10 2,3 8,1 15,2 16,8 13,18 11,30"),  # round corner, long serif
        (0.5, "0,4 10,1 17,2 13,14 8,30 / 5,17 18,14"),
    ),
    8: (
        (3, "16,4 9,0 2,6 8,13 16,21 10,30 2,25 5,17 14,10 16,4"),  # one run from the upper right
        (1, "9,14 3,7 9,0 16,6 9,14 / 9,14 1,22 9,30 17,22 9,14"),  # two rings
        (2, "18,2 9,0 2,6 8,13 15,21 9,30 1,25 6,17 19,4"),  # open at the top
        (1, "9,14 16,6 9,0 3,6 9,14 16,22 9,30 2,23 9,14"),
        (1, "20,3 12,0 6,6 9,13 12,22 6,30 0,25 5,17 13,11 20,3"),  # narrow below
        (1, "17,3 10,0 2,4 5,11 13,17 11,27 5,30 3,24 8,15 16,7"),
        (1, "13,1 8,1 7,6 10,12 16,21 10,30 1,26 6,15 12,8 13,1"),  # small ring above
        (1, "16,2 8,1 2,6 9,11 15,18 13,27 8,30 5,24 9,15 19,3"),  # crossing below the middle
    ),
    9: (
        (3, "15,4 8,0 1,7 5,14 12,11 15,4 / 15,4 14,17 12,30"),
        (2, "16,4 8,0 1,7 5,14 13,12 16,4 / 16,4 16,20 11,29 2,27"),  # curled below
        (2, "15,5 8,0 1,6 4,14 12,12 16,4 15,15 12,30"),  # one run
        (1, "15,2 6,1 1,9 6,14 14,9 / 15,2 14,9 8,30"),  # leaning stem
        (1, "16,2 7,1 1,8 5,14 13,10 16,6 14,16 6,30"),  # open at the top
        (0.5, "13,10 14,3 8,0 2,7 6,13 13,10 16,15 15,25 12,30"),
        (1, "16,2 8,0 1,6 0,15 6,19 13,13 16,2 / 16,2 15,16 14,30"),  # large loop
    ),
}

POINTS = 64  #: samples along every path


@dataclass(frozen=True, eq=False)
class Skeletons:
    """All styles as matrices of one size, so that a batch of any styles is one matrix product.

    Attributes
    ----------
    digit : (S,) which digit each style writes.
    weight : (S,) how common it is; the styles of a digit sum to 1.
    control : (S, P, 2) control points as (x, y), centred, of height 2: y in [-1, 1]. Unused rows are 0.
    spline : (S, POINTS, P) rows that turn control points into samples, evenly spaced along the path.
    joined : (S, POINTS - 1) 1.0 where the pen draws from one sample to the next, 0.0 where it is lifted.
    """

    digit: np.ndarray
    weight: np.ndarray
    control: np.ndarray
    spline: np.ndarray
    joined: np.ndarray


@lru_cache(maxsize=1)
def skeletons() -> Skeletons:
    """Return the table above, prepared for drawing."""
    styles = [(digit, weight, _parse(text)) for digit in range(10) for weight, text in STYLES[digit]]
    most = max(len(points) for _, _, (points, _) in styles)
    s = len(styles)
    control = np.zeros((s, most, 2), np.float32)
    spline = np.zeros((s, POINTS, most), np.float32)
    joined = np.zeros((s, POINTS - 1), np.float32)
    for i, (_, _, (points, runs)) in enumerate(styles):
        top, bottom = points.min(axis=0), points.max(axis=0)
        control[i, : len(points)] = (points - (top + bottom) / 2) * (2 / (bottom - top)[1])
        spline[i, :, : len(points)], joined[i] = _sample(points, runs)
    digit = np.array([d for d, _, _ in styles])
    weight = np.array([w for _, w, _ in styles])
    return Skeletons(digit, weight / np.bincount(digit, weight)[digit], control, spline, joined)


def _parse(text: str) -> tuple[np.ndarray, list[list[int]]]:
    """Return the distinct points (P, 2) of one style, and its runs as lists of their numbers."""
    numbers: dict[tuple[float, ...], int] = {}
    runs = []
    for run in text.split("/"):
        points = [tuple(float(v) for v in point.split(",")) for point in run.split()]
        runs.append([numbers.setdefault(point, len(numbers)) for point in points])
    return np.array(list(numbers)), runs


def _sample(points: np.ndarray, runs: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Spread POINTS samples over all runs; return their spline rows (POINTS, P) and which neighbours are joined."""
    fine = [_catmull_rom(points[run], 24) @ np.eye(len(points))[run] for run in runs]  # (T, P) each
    lengths = []  # of the curve, up to each fine sample
    for rows in fine:
        step = np.linalg.norm(np.diff(rows @ points, axis=0), axis=1)
        lengths.append(np.concatenate([[0.0], np.cumsum(step)]))
    total = sum(length[-1] for length in lengths)
    ends = np.cumsum([length[-1] for length in lengths]) / total
    borders = np.rint(ends * (POINTS - 3 * len(runs))).astype(int) + 3 * np.arange(1, len(runs) + 1)
    counts = np.diff(borders, prepend=0)  # at least three samples each
    out, joined = [], np.ones(POINTS - 1)
    joined[borders[:-1] - 1] = 0.0
    for rows, length, count in zip(fine, lengths, counts, strict=True):
        at = np.linspace(0.0, length[-1], count)
        out.append(np.stack([np.interp(at, length, column) for column in rows.T], axis=1))
    return np.concatenate(out), joined


def _catmull_rom(points: np.ndarray, per_span: int) -> np.ndarray:
    """Return the rows (T, P) of the centripetal Catmull-Rom spline through ``points`` (P, 2): curve = rows @ points.

    Each row weighs the points by the pyramid of Barry and Goldman (1988), whose knots are fixed by the undisturbed
    points; that keeps the curve linear in them. Beyond either end stands the mirror image of the second point.
    """
    p = len(points)
    basis = np.eye(p)
    basis = np.vstack([2 * basis[0] - basis[1], basis, 2 * basis[-1] - basis[-2]])  # (P + 2, P)
    gap = np.sqrt(np.linalg.norm(np.diff(basis @ points, axis=0), axis=1))
    t = np.concatenate([[0.0], np.cumsum(gap)])

    def blend(a: np.ndarray, b: np.ndarray, i: int, j: int, x: np.ndarray) -> np.ndarray:
        """The line that is a at knot i and b at knot j."""
        w = ((x - t[i]) / (t[j] - t[i]))[:, None]
        return (1 - w) * a + w * b

    rows = []
    for i in range(1, p):  # from point i - 1 to point i, which are knots i and i + 1
        x = np.linspace(t[i], t[i + 1], per_span, endpoint=i == p - 1)
        a = [blend(basis[j], basis[j + 1], j, j + 1, x) for j in range(i - 1, i + 2)]
        b = [blend(a[j], a[j + 1], i - 1 + j, i + 1 + j, x) for j in range(2)]
        rows.append(blend(b[0], b[1], i, i + 1, x))
    return np.concatenate(rows)
