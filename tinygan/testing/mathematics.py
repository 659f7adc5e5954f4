"""The contract of a layer, first part: that it is a function of x and θ, and that its gradients are those of it.

These rules come first: who has a wrong gradient is told so, whatever else there is to say. Each rule says what must
hold, why, and how to mend a layer that breaks it; the function under it tries a layer and yields what it finds wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from ..layers.base import Layer
from ..ops import Array, ops_of, to_numpy
from .gradients import check_gradients
from .trial import MODES, Trial, apart, rewinder, rule


@rule(
    "apply(x, train) returns y and a cache, gradients(cache, dy) returns dx and a dict",
    why="Two passes are two variables: the cache is what the derivative knows of its own pass.",
    mend="End apply with `return y, cache` and gradients with `return dx, {'W': dW}`, or {} if nothing is learned.",
)
def _both_methods_return_pairs(t: Trial) -> Iterator[str]:
    layer = t.fresh()
    answer = layer.apply(t.batch(t.x), True)
    if not (isinstance(answer, tuple) and len(answer) == 2):
        yield f"apply returns {type(answer).__name__}"
    try:
        pair = layer.gradients(answer[1], t.array(t.dy))
    except NotImplementedError:
        return  # a network answers what it is asked layer by layer
    if not (isinstance(pair, tuple) and len(pair) == 2 and hasattr(pair[1], "keys")):
        yield f"gradients returns {type(pair).__name__}"


@rule(
    "grads has the keys, shapes and dtypes of params, in memory of its own",
    why="Optimisers walk through both together, as two flat vectors.",
    mend="Register each parameter with self.add_param(key, value).",
)
def _grads_match_params(t: Trial) -> Iterator[str]:
    for layer in (t.layer, t.fresh()):
        params, grads = layer.params, layer.grads
        if params.keys() != grads.keys():
            yield f"params has {sorted(params)}, grads has {sorted(grads)}"
        for key, p in params.items():
            g = grads[key]
            if (g.shape, g.dtype) != (p.shape, p.dtype):
                yield f"{key} is {p.dtype} {p.shape}, its gradient {g.dtype} {g.shape}"
            if g is p:
                yield f"the gradient of {key} is the parameter itself"


@rule(
    "the gradients are right in both modes",
    why="That is all that training rests on.",
    mend="Derive every path from a number to the loss, and add them up.",
)
def gradients_are_right(t: Trial) -> Iterator[str]:
    """Raises GradientError itself, which says more than a line here could."""
    for train in MODES:
        check_gradients(t.layer, t.put(t.x), train=train)
    yield from ()


@rule(
    "every array that the output depends on is in params or in buffers",
    why="Optimisers, checkpoints, astype() and to() know no others: it would never learn, nor be saved, nor move.",
    mend="self.add_param('W', array) for what is learned, self.buffers['c'] = array for what is not.",
)
def _all_weights_are_known(t: Trial) -> Iterator[str]:
    for path in _arrays_within(t.fresh()):
        for train in MODES:
            layer = t.fresh()
            a, rewind, before = _arrays_within(layer)[path], rewinder(layer), _state(layer)
            y, host = t.host(layer.apply(t.batch(t.x), train)[0]), np.array(to_numpy(a))
            rewind()
            moved = 0.9 * host + 0.1 * np.cos(np.arange(host.size)).reshape(host.shape) + 0.05
            a[...] = ops_of(a).from_host(moved.astype(host.dtype))
            known = any(not np.array_equal(old, new) for old, new in zip(before, _state(layer), strict=True))
            if not known and apart(t.host(layer.apply(t.batch(t.x), train)[0]), y):
                yield f"self.{path} {host.shape} is in neither, and y changes with it (train={train})"


def _state(layer: Layer) -> list[np.ndarray]:
    kinds = (layer.params, layer.grads, layer.buffers)
    return [np.array(to_numpy(a)) for arrays in kinds for a in arrays.values()]


def _arrays_within(layer: Layer) -> dict[str, Array]:
    """The floating arrays that a layer keeps in attributes, also in lists, dicts and layers, by the way to them."""
    known = {id(a) for kind in (layer.params, layer.grads, layer.buffers) for a in kind.values()}
    arrays: dict[str, Array] = {}

    def look(value: Any, path: str, depth: int) -> None:
        if isinstance(value, Layer):
            value = vars(value)
            items = [(f"{path}.{key}" if path else key, inner) for key, inner in value.items()]
        elif isinstance(value, dict):
            items = [(f"{path}[{key!r}]", inner) for key, inner in value.items()]
        elif isinstance(value, list | tuple):
            items = [(f"{path}[{i}]", inner) for i, inner in enumerate(value)]
        elif all(hasattr(value, name) for name in ("dtype", "shape", "__setitem__")):
            if value.dtype.kind == "f" and value.size and id(value) not in known:
                arrays[path] = value
            return
        else:
            return
        for name, inner in items if depth else ():
            look(inner, name, depth - 1)

    look(layer, "", 6)
    return arrays


@rule(
    "unless couples_samples is true, a sample's output does not depend on the other samples",
    why="The GAN shows such a discriminator real and generated samples in one batch.",
    mend="Set couples_samples = True in the class, or look for a reduction over axis 0.",
)
def _samples_are_apart(t: Trial) -> Iterator[str]:
    if t.layer.couples_samples or len(t.x) < 2:
        return
    mixed = np.concatenate([t.x[:1], t.other[1:]])
    for train in MODES:
        one, two = t.run(t.fresh(), train=train), t.run(t.fresh(), mixed, train=train)
        if apart(one.y[0], two.y[0]) or (one.dx is not None and two.dx is not None and apart(one.dx[0], two.dx[0])):
            yield f"other samples have changed what the first one gives (train={train})"


@rule(
    "input_gradient(), store_gradients() and backprop() answer what gradients() does",
    why="A GAN skips what nobody reads: D's gradients while G learns, and the gradient of the data.",
    mend="Override these only where there is a faster way to the same; without, Layer answers them by gradients().",
)
def _the_questions_agree(t: Trial) -> Iterator[str]:
    for train in MODES:
        wanted_dx, wanted = _answer(t, train)
        layer, cache = _applied(t, train, 3.0)
        if apart(_dx(t, layer.input_gradient(cache, t.array(t.dy))), wanted_dx):
            yield f"input_gradient() gives another dx (train={train})"
        if any((g != 3.0).any() for g in t.grads(layer).values()):
            yield f"input_gradient() has changed grads (train={train})"
        for name, add in product(("store_gradients", "backprop"), (True, False)):
            layer, cache = _applied(t, train, 3.0 if add else np.nan)
            dx = getattr(layer, name)(cache, t.array(t.dy), add)
            call = f"{name}(cache, dy, add={add})"
            if name == "backprop" and apart(_dx(t, dx), wanted_dx):
                yield f"{call} gives another dx (train={train})"
            for key, g in t.grads(layer).items():
                if apart(g, wanted[key] + (3.0 if add else 0.0)):
                    yield f"after {call}, grads[{key!r}] is not {'3 + ' if add else ''}the gradient (train={train})"


def _applied(t: Trial, train: bool, grads: float) -> tuple[Layer, Any]:
    layer = t.fresh(grads=grads)
    return layer, layer.apply(t.batch(t.x), train)[1]


def _dx(t: Trial, dx: Array | None) -> np.ndarray | None:
    return None if dx is None or t.layer.takes_integers else t.host(dx)


def _answer(t: Trial, train: bool) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
    """dx and dθ by gradients(), or by backward() if the layer, a network, has none."""
    layer, cache = _applied(t, train, 0.0)
    try:
        dx, grads = layer.gradients(cache, t.array(t.dy))
    except NotImplementedError:
        run = t.run(t.fresh(), train=train)
        return run.dx, run.grads
    return _dx(t, dx), {key: t.host(grads[key]) for key in layer.grads}


@rule(
    "backward adds to grads, and zero_grad() empties them",
    why="D's gradient is the sum over real and generated samples, each with a backward of its own.",
    mend="Leave backward() and zero_grad() to Layer, or write grads[key] += ...",
)
def _gradients_accumulate(t: Trial) -> Iterator[str]:
    for train in MODES:
        layer, once = t.fresh(grads=3.0), t.run(t.fresh(), train=train).grads
        run = t.run(layer, train=train)
        for key, g in run.grads.items():
            if apart(g, once[key] + 3.0):
                yield f"the gradient of {key} is not the old one plus that of the pass"
        layer.zero_grad()
        if any(t.host(g).any() for g in layer.grads.values()):
            yield "zero_grad() has left something"
