"""What can be done with z, the noise that a generator makes images of: walk in it, find the z of an image, repair.

    z = latent.walk(a, b, 12)                            # (12, N, noise_dim): from each row of a to that of b
    found = latent.invert(G, x, run.noise(2000))         # the noise whose images are like x, and these images
    whole = latent.inpaint(G, x, mask, run.noise(2000), discriminator=D)
    d = latent.direction(z, brightness)                  # the way in which a measured property of G(z) grows
    z = latent.along(z, d, 2.0)

z is drawn from normal(0, 1) everywhere. Networks stay as they are. Arrays are where the networks are, and so is what
comes back.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, NonFiniteError, ShapeError, positive, positive_int, positive_or_0, real
from ..layers import Layer
from ..layers.conditional import checked
from ..losses import NonSaturating
from ..network import Sequential
from ..ops import Array, as_array, get_xp, ops_of, to_backend, to_numpy
from ..optim import Adam
from .conditional import classes_of, generate, on_host, told

__all__ = ["Inversion", "along", "between", "direction", "inpaint", "invert", "relative_error", "walk"]


class Inversion(NamedTuple):
    """What :func:`invert` finds."""

    z: Array  #: (N, noise_dim), whose images are like those that were given
    images: Array  #: (N, H, W, C), G(z)
    errors: Array  #: (N,), mean (G(z) − x)² over the visible pixels of each image


# ---- ways ------------------------------------------------------------------------------------------------------------


def between(a: Array, b: Array, t: float) -> Array:
    """The noise at t on the arc from each row of a to that of b (N, noise_dim), t from 0 to 1.

    On a straight line z would be shorter halfway, and G knows no noise that is much shorter. At an angle of ω

        z(t) = [sin((1 − t) ω) a + sin(t ω) b] / sin ω

    and in a straight line where a and b are nearly parallel. From a to −a there is no one arc: ArgumentError.

    References: White, 2016, section 2.1.
    """
    a, b = _rows(a, "between: a"), _rows(b, "between: b")
    if a.shape != b.shape:
        raise ShapeError(f"between: a and b must be of one shape, got {a.shape} and {b.shape}.")
    xp, t = get_xp(a, b), _number(t, "between: t")
    lengths = xp.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    cos = (a * b).sum(axis=1) / xp.maximum(lengths, 1e-30)
    if bool((cos < -0.9999).any()):
        raise ArgumentError("between: a and b point in opposite directions, between which there is no one arc.")
    w = xp.arccos(xp.clip(cos, -1.0, 0.999))[:, None]  # nearly parallel, the arc is as good as a line
    return (xp.sin((1.0 - t) * w) * a + xp.sin(t * w) * b) / xp.sin(w)


def walk(a: Array, b: Array, steps: int) -> Array:
    """(steps, N, noise_dim): :func:`between` a and b in equal steps, both ends included."""
    steps = positive_int(steps, "walk: steps", least=2)
    return get_xp(a, b).stack([between(a, b, k / (steps - 1)) for k in range(steps)])


def direction(z: Array, values: Array) -> Array:
    r"""The unit vector d (noise_dim,) along which a property of G(z) grows most.

    d is that of the plane v ≈ v̄ + c d·(z − z̄) which fits best (least squares). Of normal z this is the mean gradient,
    E[∂v/∂z] ∝ E[z (v − v̄)] (Stein, 1981), whatever function v is.

    Parameters
    ----------
    z : (N, noise_dim), N larger than noise_dim + 1, better many times as large.
    values : (N,), what was measured of each G(z): how bright it is, or a classifier's logit of a label.
    """
    given = _rows(z, "direction: z")
    z, v = to_numpy(given), to_numpy(as_array(values))
    if v.shape != (len(z),):
        raise ShapeError(f"direction: expected a value for each of {len(z)} rows of z, ({len(z)},), got {v.shape}.")
    if len(z) < z.shape[1] + 2:
        raise ArgumentError(f"direction: {len(z)} rows of z do not tell {z.shape[1]} directions apart; give more.")
    if v.dtype.kind not in "fiu" or not np.isfinite(v := v.astype(np.float64)).all():
        raise NonFiniteError("direction: some values are no finite numbers.")
    if np.ptp(v) <= 1e-12 * np.abs(v).max():
        raise ArgumentError("direction: all values are the same, so that they grow in no direction.")
    x = z.astype(np.float64) - z.mean(axis=0, dtype=np.float64)
    d = np.linalg.lstsq(x, v - v.mean(), rcond=None)[0]
    if not (length := np.linalg.norm(d)) > 0.0:
        raise ArgumentError("direction: the values grow in no direction of z.")
    return to_backend((d / length).astype(z.dtype), ops_of(given))


def along(z: Array, d: Array, amount: float) -> Array:
    """z with ``amount`` for its coordinate along the unit vector d, all others as they were: z + (amount − z·d) d.

    The coordinate is normal(0, 1) in what G has learned of, so that −2.5 to 2.5 is what it knows.
    """
    z, d = _rows(z, "along: z"), as_array(d)
    if d.shape != z.shape[1:] or d.dtype.kind != "f":
        raise ShapeError(f"along: expected a direction {z.shape[1:]} for z {z.shape}, got {d.dtype} {d.shape}.")
    d = d.astype(z.dtype)
    if not abs(float((d * d).sum()) - 1.0) < 1e-3:
        raise ArgumentError("along: d must be a unit vector; divide it by its length.")
    return z + (_number(amount, "along: amount") - (z * d).sum(axis=1, keepdims=True)) * d


# ---- from an image back to its noise ---------------------------------------------------------------------------------


def invert(
    generator: Sequential,
    x: Array,
    guesses: Array,
    *,
    mask: Array | None = None,
    discriminator: Sequential | None = None,
    weight: float = 0.003,
    labels: Array | None = None,
    restarts: int = 4,
    steps: int = 300,
    lr: float = 0.03,
) -> Inversion:
    r"""Find the noise of which G makes images like x, by gradient descent through G.

    Of all guesses those ``restarts`` whose images are nearest to x are where Adam starts, and of their ends the one is
    kept whose visible pixels are nearest. It descends, of each image by itself,

        L(z) = Σ m (G(z) − x)² / Σ m + λ softplus(−D(G(z)))

    where m is 1 for visible pixels, and the second term, λ = ``weight``, asks for images that D takes for real; it is
    there if a discriminator is given, one of logits (Yeh et al., 2017, equations 3 and 4). All images are in memory at
    once, ``restarts`` times; some hundred together do.

    Parameters
    ----------
    generator : z (M, noise_dim) -> images (M, H, W, C).
    x : images (N, H, W, C) in G's range.
    guesses : (M, noise_dim), some hundred or thousand of them, M at least ``restarts``.
    mask : 1 where x is to be seen and 0 where not, (H, W, 1) or any shape that meets x; None: all of it.
    labels : (N,), the class of each image, for networks that know classes.

    Raises
    ------
    ArgumentError, ShapeError
        The arrays do not fit each other or the networks, or nothing of an image is visible.
    """
    restarts, steps = positive_int(restarts, "invert: restarts"), positive_int(steps, "invert: steps", least=0)
    lr = positive(lr, "invert: lr")
    guesses = _rows(guesses, "invert: guesses")
    if len(guesses) < restarts:
        raise ArgumentError(f"invert: expected at least {restarts} guesses, one for each restart, got {len(guesses)}.")
    x, m = _visible(x, mask)
    players = [generator] if discriminator is None else [generator, discriminator]
    for network in players:
        if not isinstance(network, Sequential):
            raise ArgumentError(f"invert: expected networks, Sequential, got {type(network).__name__}.")
    if discriminator is not None:
        discriminator.check_input(x)
    n, known = len(x), _labels(generator, x, labels)
    xp, start = get_xp(x), _nearest(generator, x, m, guesses, known, restarts)  # (restarts, N, noise_dim)
    again = (restarts, 1, 1, 1)
    goal = Goal(generator, xp.tile(x, again), xp.tile(m, again), discriminator, weight)
    codes = _Codes(start.reshape(restarts * n, -1))
    adam = Adam(Sequential(codes), lr=lr, beta1=0.9)
    every = None if known is None else np.tile(known, restarts)
    with told(every, *players):
        for _ in _shown(steps):
            codes.grads["z"][...] = goal.slope(codes.params["z"])[1]
            adam.step()
    z = codes.params["z"].copy()
    images = generate(generator, z, every)
    errors = goal.errors(images)
    best = errors.reshape(restarts, n).argmin(axis=0) * n + xp.arange(n)
    return Inversion(z[best], images[best], errors[best])


def inpaint(generator: Sequential, x: Array, mask: Array, guesses: Array, **options: Any) -> Array:
    """Return x (N, H, W, C) with what G would put there where ``mask`` is 0: pixels of the image G(z) that is most like
    the visible rest. Other arguments are those of :func:`invert`."""
    seen, m = _visible(x, mask)
    return m * seen + (1.0 - m) * invert(generator, x, guesses, mask=mask, **options).images


def relative_error(x: Array, images: Array) -> float:
    """How far ``images`` are from x (N, ...), as a part of how far two different images of x are from each other:
    mean |image_n − x_n|² / mean_{n ≠ m} |x_n − x_m|²; 0 if they are the same, about 1 for another image of x."""
    x, images = (to_numpy(as_array(a)) for a in (x, images))
    if x.shape != images.shape or x.ndim < 2:
        raise ShapeError(f"relative_error: expected two sets of images of one shape, got {x.shape}, {images.shape}.")
    if len(x) < 2:
        raise ArgumentError(f"relative_error: expected two images at least, got {len(x)}.")
    x, images = (a.reshape(len(a), -1).astype(np.float64) for a in (x, images))
    if not np.isfinite(x).all() or not np.isfinite(images).all():
        raise NonFiniteError("relative_error: some pixels are not finite.")
    apart = 2.0 * len(x) / (len(x) - 1) * float(((x - x.mean(axis=0)) ** 2).sum(axis=1).mean())
    if apart <= 1e-12 * float((x * x).sum(axis=1).mean()):
        raise ArgumentError("relative_error: all images of x are the same.")
    return float(((images - x) ** 2).sum(axis=1).mean()) / apart


class Goal:
    """L(z) of :func:`invert` and its gradient, for one z for each image."""

    def __init__(
        self, generator: Sequential, x: Array, m: Array, discriminator: Sequential | None = None, weight: float = 0.0
    ) -> None:
        self.G, self.D, self.x, self.m = generator, discriminator, x, m
        self.weight = positive_or_0(weight, "invert: weight")
        self.visible = m.sum(axis=(1, 2, 3))  # (N,)

    def errors(self, images: Array) -> Array:
        """(N,), Σ m (image − x)² / Σ m."""
        return (self.m * (images - self.x) ** 2).sum(axis=(1, 2, 3)) / self.visible

    def slope(self, z: Array) -> tuple[float, Array]:
        """Σ_n L(z_n), and its gradient (N, noise_dim)."""
        images, made = self.G.apply(z, False)
        loss = self.errors(images).sum()
        dimages = (2.0 / self.visible)[:, None, None, None] * self.m * (images - self.x)
        if self.D is not None:
            logits, judged = self.D.apply(images, False)
            opinion, dlogits = NonSaturating().generator(logits)  # of which that is a mean
            loss = loss + opinion * (self.weight * len(z))
            dimages = dimages + self.D.input_gradient(judged, dlogits * (self.weight * len(z)))
        return loss, self.G.input_gradient(made, dimages)


class _Codes(Layer):
    """z as the parameter of a layer, so that an optimiser moves it."""

    def __init__(self, z: Array) -> None:
        super().__init__()
        self.add_param("z", z)


def _nearest(G: Sequential, x: Array, m: Array, guesses: Array, labels: np.ndarray | None, k: int) -> Array:
    """The k guesses (k, N, noise_dim) of which G makes the images nearest to each x, of its class."""
    xp, matmul = get_xp(x), ops_of(x).matmul
    start = xp.empty((k, len(x), guesses.shape[1]), dtype=guesses.dtype)
    for kind in [None] if labels is None else np.unique(labels):
        rows = xp.arange(len(x)) if labels is None else to_backend(np.flatnonzero(labels == kind), ops_of(x))
        made = generate(G, guesses, None if kind is None else np.full(len(guesses), kind))
        if made.shape[1:] != x.shape[1:]:
            raise ShapeError(f"invert: G makes images {made.shape[1:]}, but x holds {x.shape[1:]}.")
        flat, of, seen = (a.reshape(len(a), -1) for a in (made, x[rows], m[rows]))
        # Σ m (g − x)² but for what is the same for all guesses
        far = matmul(flat * flat, seen.T) - 2.0 * matmul(flat, (seen * of).T)  # (M, N)
        start[:, rows] = guesses[xp.argsort(far, axis=0)[:k]]
    return start


def _labels(G: Sequential, x: Array, labels: Any) -> np.ndarray | None:
    """The class of each image, if any."""
    if labels is None:
        return None
    if not (known := classes_of(G)):
        raise ArgumentError("invert: labels are given, but G knows no classes; leave them out.")
    if len(labels := np.asarray(checked(on_host(labels), max(known), "invert"))) != len(x):
        raise ShapeError(f"invert: expected a label for each of {len(x)} images, got {len(labels)}.")
    return labels


def _visible(x: Array, mask: Array | None) -> tuple[Array, Array]:
    """x, 0 where it is hidden, whatever stands there, and m in its shape."""
    x = as_array(x)
    if x.ndim != 4 or len(x) == 0 or x.dtype.kind != "f":
        mend = "images.batch(rows, low=, high=) brings them to G's range" if x.dtype.kind in "ui" else "one: x[None]"
        raise ShapeError(f"invert: expected images (N, H, W, C), real numbers, got {x.dtype} {x.shape}; {mend}.")
    xp = get_xp(x)
    try:
        m = xp.ones_like(x) if mask is None else xp.broadcast_to(as_array(mask), x.shape).astype(x.dtype)
    except ValueError:
        shown = f"expected a mask that meets images {x.shape}, such as (H, W, 1)"
        raise ShapeError(f"invert: {shown}, got {as_array(mask).shape}.") from None
    if not bool(((m == 0.0) | (m == 1.0)).all()) or not bool(m.any(axis=(1, 2, 3)).all()):
        raise ArgumentError("invert: mask must be 1 where pixels are visible, 0 elsewhere, and some must be visible.")
    x = xp.where(m > 0.0, x, xp.zeros_like(x))
    if not bool(xp.isfinite(x).all()):
        raise NonFiniteError("invert: some visible pixels of x are not finite; hide them: mask=.")
    return x, m


def _rows(z: Array, what: str) -> Array:
    z = as_array(z)
    if z.ndim != 2 or z.dtype.kind != "f":
        raise ShapeError(f"{what}: expected noise (N, noise_dim), real numbers, got {z.dtype} {z.shape}.")
    if not bool(get_xp(z).isfinite(z).all()):
        raise NonFiniteError(f"{what}: some numbers are not finite.")
    return z


def _number(value: Any, what: str) -> float:
    try:
        if np.isfinite(found := real(value)):
            return found
    except (TypeError, ValueError):
        pass
    raise ArgumentError(f"{what} must be a finite number, got {value!r:.100}.")


def _shown(steps: int) -> Any:
    from tqdm import trange

    return trange(steps, desc="descending", unit=" steps", leave=False, disable=None)
