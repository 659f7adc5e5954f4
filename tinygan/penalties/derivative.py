r"""The passes through a network that differentiate a penalty on its input gradient.

P depends on D's weights θ through g = ∂(Σ_n s_n)/∂x, which is a derivative itself. With the chain rule's dP/dg,

    v_n = dP/dg_n = 2/N · p'(q_n) · g_n
    dP/dθ = Σ_n v_n · ∂g_n/∂θ = ∂/∂θ [ 1ᵀ J v ],      because gᵀ = 1ᵀ J, with J = ∂s/∂x, and v is held constant

So four passes do it. Forward: a_l = f_l(a_{l−1}). Down: g_{l−1} = J_lᵀ g_l from g_L = 1, which ends in g = g_0
(:func:`down`). Up again, the *tangent*: v_l = J_l v_{l−1} from v_0 = v, how fast each layer's output changes while x
moves along v (:func:`up`). Down a last time: what each layer adds to the gradient of g_lᵀ J_l v_{l−1}
(:func:`second_order_down`). Of a layer that is linear in its weights, such as Dense, this is v_{l−1}ᵀ g_l where an
ordinary backward has a_{l−1}ᵀ g_l. A smooth activation bends: its Jacobian depends on a_{l−1}, and so all the weights
below it get a share, the terms with f'' that are missing wherever v is treated as if it had come through a linear
network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..network import Apart, Pass, Sequential
from ..ops import Array, get_xp
from .rules import RULES, Rule, register, rule_of


class Step(NamedTuple):
    """One step of a pass: the link that has run, the cache it left, and what its rule is given in their place."""

    link: Any
    of_link: Any
    rule: Rule
    layer: Any
    cache: Any


def steps_of(passed: Pass) -> list[Step]:
    """The steps of a pass, those of networks in the network among them.

    A link with a rule of its own keeps it; another one says by ``of_layers`` which layers it stands for. A link that is
    fused of two gives by ``unfused`` a link for each, since what passes between them is needed.

    Raises
    ------
    SecondOrderError
        A layer has no rule.
    """
    steps: list[Step] = []
    for link, cache in passed:
        rule = RULES.get(type(link))
        if rule is not None and rule is NETWORK:
            steps += steps_of(cache)
        elif rule is not None:
            steps.append(Step(link, cache, rule, link, cache))
        elif hasattr(link, "unfused"):
            steps += steps_of(link.unfused(cache))
        elif not hasattr(link, "of_layers"):
            rule_of(link)  # which refuses
        elif len(inside := link.of_layers(cache)) == 1:
            [(layer, of_layer)] = inside
            steps.append(Step(link, cache, rule_of(layer), layer, of_layer))
        else:
            steps += steps_of(inside)
    return steps


def down(steps: Sequence[Step], g: Array) -> list[Array]:
    """[g_0, ..., g_L], where g_L = g and g_{l−1} = J_lᵀ g_l; no gradient of a parameter changes."""
    gs = [g]
    for step in reversed(steps):
        g = step.link.input_gradient(step.of_link, g)
        gs.append(g)
    return gs[::-1]


def up(steps: Sequence[Step], v: Array) -> list[Array]:
    """[v_0, ..., v_L], where v_0 = v and v_l = J_l v_{l−1}."""
    vs = [v]
    for link, of_link, rule, layer, cache in steps:
        # J = Jᵀ: the link knows a fast way
        v = link.input_gradient(of_link, v) if rule.symmetric else rule.tangent(layer, cache, v)
        vs.append(v)
    return vs


def second_order_down(
    steps: Sequence[Step],
    vs: Sequence[Array],
    gs: Sequence[Array],
    dy: Array | None = None,
    *,
    alone: bool = False,
    add: bool = True,
    input_too: bool = False,
) -> Array | None:
    r"""Add ∂(gᵀ J v)/∂θ to every layer's ``grads``, and return ∂(gᵀ J v)/∂x if it is needed and not zero for every x.

    Parameters
    ----------
    steps, vs, gs : a pass, and what :func:`up` and :func:`down` gave for it; v_L is not read.
    dy : if given, the gradient of a loss in the logits, whose backward pass is done along the way. g_L must be 1
        everywhere then.
    alone : whether no sample sees another.
    add : False, with dy, to write over what is in ``grads``.

    Notes
    -----
    gᵀ J v = gᵀ J_L ... J_1 v. Layer l enters it twice: its Jacobian stands between v_{l−1} from below and g_l from
    above, both constants to it; and its output moves the layers above. What those say of their input, h_l, comes down
    by the ordinary backward pass:

        h_L = dy, or 0       h_{l−1} = J_lᵀ h_l + ∂(g_lᵀ J_l v_{l−1})/∂a_{l−1}
        dθ_l += backward of h_l  +  ∂(g_lᵀ J_l v_{l−1})/∂θ_l

    Piecewise linear networks have no second term in h. Without dy that pass is skipped down to the highest curved
    layer; with it, and with samples alone, h_{l−1} is g_{l−1} times each sample's dy there: the pass is not needed, and
    a layer with a *joint* rule stores both of its terms at once.
    """
    lowest = 0 if input_too else next((i for i, step in enumerate(steps) if step.link.size), len(steps))
    h: Any = dy
    share: Any = dy
    straight = dy is not None and alone and dy.shape[1:] == (1,)  # so far, h_l = dy · g_l
    for i in range(len(steps) - 1, lowest - 1, -1):
        link, of_link, rule, layer, cache = steps[i]
        if straight and rule.joint:
            rule.joint(layer, cache, vs[i], gs[i + 1], share, add)
            continue
        bend = None if link.size else rule.add(layer, cache, vs[i], gs[i + 1])
        if straight and bend is None and not link.size:
            continue
        if straight:
            h, straight = _times(gs[i + 1], share), False
        if h is not None and (input_too or i > lowest):
            h = link.backprop(of_link, h, add)
        elif h is not None:
            h = link.store_gradients(of_link, h, add)  # None
        if link.size:  # after what a backward pass may have written
            bend = rule.add(layer, cache, vs[i], gs[i + 1])
        h = bend if h is None else h if bend is None else h + bend
    if straight and input_too:
        h = _times(gs[0], share)
    return h if input_too else None


def _times(g: Array, dy: Array) -> Array:
    """Each sample's g times its dy, (N, 1)."""
    return g * dy.reshape(-1, *[1] * (g.ndim - 1))


# ---- rules of what is made of layers ---------------------------------------------------------------------------------


def _network_tangent(network: Sequential, passed: Pass, v: Array) -> Array:
    return up(steps_of(passed), v)[-1]


def _network_second_order(network: Sequential, passed: Pass, v: Array, g: Array) -> tuple[Array | None, dict]:
    """The layers' gradients are added here, so none is left to return."""
    steps = steps_of(passed)
    return second_order_down(steps, up(steps[:-1], v), down(steps, g), input_too=True), {}


def _apart_tangent(apart: Apart, caches: list[Any], v: Array) -> Array:
    tangent, batches = rule_of(apart.layer).tangent, zip(caches, apart.split(v), strict=True)
    return get_xp(v).concatenate([tangent(apart.layer, cache, batch) for cache, batch in batches])


def _apart_second_order(apart: Apart, caches: list[Any], v: Array, g: Array) -> tuple[Array | None, dict]:
    """Each batch by itself; gradients are added here, so none is left to return."""
    rule = rule_of(apart.layer)
    batches = zip(caches, apart.split(v), apart.split(g), strict=True)
    dxs = [rule.add(apart.layer, *batch) for batch in batches]
    return None if dxs[0] is None else get_xp(g).concatenate(dxs), {}


register(Sequential, tangent=_network_tangent, second_order=_network_second_order)
register(Apart, tangent=_apart_tangent, second_order=_apart_second_order)
NETWORK = RULES[Sequential]
