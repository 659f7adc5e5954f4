"""The contract of a layer, second part: how it treats arrays that others hold too, and what it refuses.

Most of this is kept by :class:`tinygan.layers.Layer` itself, as long as a layer writes ``apply`` and ``gradients`` and
overrides nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..errors import TinyGANError
from ..layers.base import Layer
from ..ops import Array
from .trial import MODES, Trial, difference, refused, rule, strided, transposed


@rule(
    "outputs and gradients have the dtype of the input",
    why="One float64 among float32 arrays spreads through a network and halves its speed; the reverse hides errors.",
    mend="Scale by Python floats, not NumPy scalars; allocate with dtype=x.dtype.",
)
def _dtypes_are_kept(t: Trial) -> Iterator[str]:
    for dtype in (np.float32, np.float64):
        for train in MODES:
            layer = t.fresh(dtype)
            y = layer.forward(t.batch(t.x, dtype), train=train)
            if y.dtype != dtype:
                yield f"the output is {y.dtype} for {np.dtype(dtype)} input with train={train}"
            dx = layer.backward(t.array(t.dy, dtype))
            arrays = {} if t.layer.takes_integers else {"dx": dx}
            arrays |= {**layer.params, **layer.buffers}
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
        if not t.layer.takes_integers and (run.dx is None or run.dx.shape != t.x.shape):
            yield f"x is {t.x.shape}, dx {None if run.dx is None else run.dx.shape}"


@rule(
    "the passes change neither x, nor dy, nor the parameters",
    why="The layer before keeps x for its own backward; the caller may use dy again.",
    mend="Work in place only on arrays that the method has made itself.",
)
def _arguments_are_not_changed(t: Trial) -> Iterator[str]:
    for train in MODES:
        layer, x, dy = t.fresh(), t.batch(t.x), t.array(t.dy)
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
        for store in ("backward", "written"):
            layer = t.fresh()
            before = _arrays_of(layer)
            if store == "backward":
                t.run(layer, train=train)
            else:
                layer.store_gradients(layer.apply(t.batch(t.x), train)[1], t.array(t.dy), False)
            after = _arrays_of(layer)
            for name in before.keys() | after.keys():
                if before.get(name) is not after.get(name):
                    yield f"{name} is another array than before the passes (train={train})"


def _arrays_of(layer: Layer) -> dict[str, Array]:
    kinds = {"params": layer.params, "grads": layer.grads, "buffers": layer.buffers}
    return {f"{kind}[{key!r}]": array for kind, arrays in kinds.items() for key, array in arrays.items()}


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
            if what := difference(run, expected):
                yield f"{what} with {kind} x and dy (train={train})"


@rule(
    "integers are refused, and where they are meant to come, floats",
    why="Images are often uint8 from 0 to 255; arithmetic on them overflows without a word.",
    mend="If you override check_input, begin it with super().check_input(x); for indices set takes_integers = True.",
)
def _numbers_of_the_wrong_kind_are_refused(t: Trial) -> Iterator[str]:
    wrong = t.array(t.x) if t.layer.takes_integers else t.array(np.round(10.0 * t.x), np.int64)
    if not refused(TinyGANError, t.fresh().forward, wrong):
        yield f"a batch of {wrong.dtype} was taken"
