r"""The derivatives of x̂ = (x − μ) / σ, for both layers that normalise: x̂ along v, and what bends it.

μ and σ are taken over one axis of x, of length M; a bar takes the mean away, v̄ = v − mean(v), and mean is over that
axis. Since ∂σ/∂x = x̂ / M and mean(x̂) = 0,

    x̂ along v:    t = (v̄ − x̂ s) / σ,    s = mean(x̂ v)                                                       (1)

which is symmetric in what goes in and what comes out: <p, t(v)> = <t(p), v>, so (1) is also the backward pass.
For a constant p, the number <p, t> = M/σ · (mean(p̄ v̄) − q s) with q = mean(x̂ p) depends on x through σ, q and s:

    ∂(1/σ)/∂x = −x̂ / (M σ²)      ∂q/∂x = (p̄ − x̂ q) / (M σ)      ∂s/∂x = (v̄ − x̂ s) / (M σ)

by (1) again, and so

    ∂<p, t>/∂x = −1/σ² · ( x̂ (mean(p̄ v̄) − q s)  +  s (p̄ − x̂ q)  +  q (v̄ − x̂ s) )
               = −1/σ² · ( x̂ (mean(p̄ v̄) − 3 q s)  +  s p̄  +  q v̄ )                                            (2)
"""

from __future__ import annotations

from ..backend import Array


def along(xhat: Array, inv_std: Array, v: Array, axis: int) -> Array:
    """t of equation (1); ``inv_std``, 1/σ, has size 1 along ``axis``."""
    t = v - v.mean(axis=axis, keepdims=True)
    t -= xhat * (xhat * v).mean(axis=axis, keepdims=True)
    t *= inv_std
    return t


def curvature(xhat: Array, inv_std: Array, p: Array, v: Array, axis: int) -> Array:
    """∂<p, t>/∂x of equation (2)."""
    p_bar, v_bar = (a - a.mean(axis=axis, keepdims=True) for a in (p, v))
    q, s = ((xhat * a).mean(axis=axis, keepdims=True) for a in (p, v))
    h = xhat * ((p_bar * v_bar).mean(axis=axis, keepdims=True) - 3.0 * q * s)
    h += s * p_bar
    h += q * v_bar
    h *= -(inv_std**2)
    return h
