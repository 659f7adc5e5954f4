"""The contract of a layer, first part: what it may do with arrays, and that it is a function of them.

Each rule says what must hold, why, and how to mend a layer that breaks it; the function under it tries a layer and
yields what it finds wrong.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..backend import Array
from ..errors import TinyGANError
from ..layers.base import Layer
from .gradients import rewinder
from .trial import MODES, Trial, apart, difference, refused, rule, strided, transposed


@rule(
    "grads has the keys, shapes and dtypes of params, in memory of its own",
    why="Optimisers walk through both together, as two flat vectors.",
    mend="Register each parameter with self._add_param(key, value).",
)
def _grads_match_params(t: Trial) -> Iterator[str]:
    params, grads = t.layer.params, t.layer.grads
    if params.keys() != grads.keys():
        yield f"params has {sorted(params)}, grads has {sorted(grads)}"
    for key, p in params.items():
        g = grads[key]
        if (g.shape, g.dtype) != (p.shape, p.dtype):
            yield f"{key} is {p.dtype} {p.shape}, its gradient {g.dtype} {g.shape}"
        if g is p:
            yield f"the gradient of {key} is the parameter itself"


@rule(
    "outputs and gradients have the dtype of the input",
    why="One float64 among float32 arrays spreads through a network and halves its speed; the reverse hides errors.",
    mend="Scale by Python floats, not NumPy scalars; allocate with dtype=x.dtype.",
)
def _dtypes_are_kept(t: Trial) -> Iterator[str]:
    for dtype in (np.float32, np.float64):
        for train in MODES:
            layer = t.fresh(dtype)
            y = layer.forward(t.array(t.x, dtype), train=train)
            dx = layer.backward(t.array(t.dy, dtype))
            arrays = {"the output": y, "dx": dx, **layer.params, **layer.buffers}
            arrays |= {f"the gradient of {key}": g for key, g in layer.grads.items()}
            for name, array in arrays.items():
                if array.dtype != dtype:
                    yield f"{name} is {array.dtype} for {np.dtype(dtype)} input with train={train}"


@rule(
    "output_shape() tells the shape of the output, and dx is shaped like x",
    why="Networks check with it at construction that their layers fit.",
    mend="Write output_shape(self, input_shape) for shapes without the batch axis.",
)
def _shapes_are_as_announced(t: Trial) -> Iterator[str]:
    for train in MODES:
        run = t.run(t.fresh(), train=train)
        n = len(t.x)
        if t.layer.couples_samples and run.y.ndim and run.y.size and n % len(run.y) == 0:
            n = len(run.y)  # such a layer may make one sample of several, as Pack does
        expected = (n, *t.layer.output_shape(t.x.shape[1:]))
        if run.y.shape != expected:
            yield f"expected an output of shape {expected}, got {run.y.shape}"
        if run.dx is None or run.dx.shape != t.x.shape:
            yield f"x is {t.x.shape}, dx {None if run.dx is None else run.dx.shape}"


@rule(
    "the passes change neither x, nor dy, nor the parameters",
    why="The layer before keeps x for its own backward; the caller may use dy again.",
    mend="Work in place only on arrays that the method has made itself.",
)
def _arguments_are_not_changed(t: Trial) -> Iterator[str]:
    for train in MODES:
        layer, x, dy = t.fresh(), t.array(t.x), t.array(t.dy)
        before = {key: t.host(p) for key, p in layer.params.items()}
        layer.forward(x, train=train)
        if not np.array_equal(t.host(x), t.x):
            yield f"forward has changed x (train={train})"
        layer.backward(dy)
        if not np.array_equal(t.host(x), t.x):
            yield f"backward has changed x (train={train})"
        if not np.array_equal(t.host(dy), t.dy):
            yield f"backward has changed dy (train={train})"
        for key, p in layer.params.items():
            if not np.array_equal(t.host(p), before[key]):
                yield f"the passes have changed the parameter {key} (train={train})"


@rule(
    "parameters, gradients and buffers stay the same array objects through both passes",
    why="A network's flat vectors, its optimiser and its checkpoints hold these arrays, and would never see new ones.",
    mend="Write into them: self.buffers[key][...] = value, self.grads[key] += value.",
)
def _arrays_stay_the_same_objects(t: Trial) -> Iterator[str]:
    for train in MODES:
        for grads in ("add", "write", "skip") if "grads" in t.options else (None,):
            layer = t.fresh()
            before = _arrays_of(layer)
            t.run(layer, train=train, **({"grads": grads} if grads else {}))
            after = _arrays_of(layer)
            for name in before.keys() | after.keys():
                if before.get(name) is not after.get(name):
                    yield f"{name} is another array than before the passes (train={train})"


def _arrays_of(layer: Layer) -> dict[str, Array]:
    kinds = {"params": layer.params, "grads": layer.grads, "buffers": layer.buffers}
    return {f"{kind}[{key!r}]": array for kind, arrays in kinds.items() for key, array in arrays.items()}


@rule(
    "evaluation changes no buffer",
    why="Looking at samples must not change what is learned.",
    mend="Update running statistics only if train is true.",
)
def _evaluation_changes_no_buffer(t: Trial) -> Iterator[str]:
    layer = t.fresh()
    before = {key: t.host(b) for key, b in layer.buffers.items()}
    layer.forward(t.array(t.x), train=False)
    for key, b in layer.buffers.items():
        if not np.array_equal(t.host(b), before[key]):
            yield f"forward(train=False) has changed {key}"


@rule(
    "equal copies give equal results, and share no memory",
    why="Averaged weights and gradient checks live on copies; a seed must give the same run twice.",
    mend="Draw random numbers only from a Generator kept as an attribute; let copy() copy all arrays.",
)
def _copies_are_equal_and_apart(t: Trial) -> Iterator[str]:
    for train in MODES:
        layer = t.fresh()
        copy = layer.copy()
        if found := difference(t.run(layer, train=train), t.run(copy, train=train), exact=True):
            yield f"{found} in two copies (train={train})"
    layer = t.fresh()
    before = t.host(layer(t.array(t.x)))
    copy = layer.copy()
    for arrays in (copy.params, copy.grads, copy.buffers):
        for a in arrays.values():
            a[...] = 2.0
    grads = [t.host(g) for g in layer.grads.values()]
    if not np.array_equal(t.host(layer(t.array(t.x))), before) or any(g.any() for g in grads):
        yield "changing a copy has changed the original"


@rule(
    "random numbers come only from Generators that rngs() finds, and nothing else is left behind by a pass",
    why="A checkpoint keeps the arrays of a layer and the states of these Generators; a resumed run knows no more.",
    mend="Keep each Generator as an attribute, self.rng; if it lies deeper, in a list or another layer, extend rngs().",
)
def _all_that_moves_on_is_known(t: Trial) -> Iterator[str]:
    for train in MODES:
        layer = t.fresh()
        rewind = rewinder(layer)
        first = t.run(layer, train=train)
        rewind()
        t.fill(layer, 0.0)
        if found := difference(t.run(layer, train=train), first):
            yield f"{found} when buffers and Generators are put back and the same pass runs again (train={train})"


@rule(
    "arrays may lie in memory in any order",
    why="Slices and transposes are views with gaps; reading them as if they were compact gives other numbers.",
    mend="Never rely on the layout of x or dy: reshape() copies where it must, other tricks do not.",
)
def _memory_order_does_not_matter(t: Trial) -> Iterator[str]:
    for train in MODES:
        expected = t.run(t.fresh(), train=train)
        for kind, view in (("strided", strided), ("transposed", transposed)):
            layer = t.fresh()
            y = layer.forward(view(t.put, t.x), train=train)
            run = t.outcome(layer, y, layer.backward(view(t.put, t.dy)))
            if found := difference(run, expected):
                yield f"{found} with {kind} x and dy (train={train})"


@rule(
    "integers are refused",
    why="Images are often uint8 from 0 to 255; arithmetic on them overflows without a word.",
    mend="Begin forward with self._check_input(x).",
)
def _integers_are_refused(t: Trial) -> Iterator[str]:
    if not refused(TinyGANError, t.fresh().forward, t.array(np.round(10.0 * t.x), np.int64)):
        yield "an int64 array was taken"


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
        if apart(one.y[0], two.y[0]) or apart(one.dx[0], two.dx[0]):
            yield f"other samples have changed what the first one gives (train={train})"
