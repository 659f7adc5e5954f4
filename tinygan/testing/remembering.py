"""The contract of a layer, third part: what a pass may leave behind, and what the next one may know of it.

Nothing, but for running statistics and the states of Generators. What a derivative needs stands in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from ..errors import PassError, ShapeError
from .trial import MODES, Trial, apart, difference, refused, rewinder, rule


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
        if what := difference(t.run(layer, train=train), first):
            yield f"{what} when buffers and Generators are put back and the same pass runs again (train={train})"


@rule(
    "two passes in two variables do not mix",
    why="D judges real and generated samples before it learns from either: each cache must hold its own pass.",
    mend="Put everything that gradients() needs into the cache, nothing into attributes; copy buffers that will move.",
)
def _passes_do_not_mix(t: Trial) -> Iterator[str]:
    for train, between in product(MODES, MODES):
        layer, alone = t.fresh(), t.fresh()
        y, cache = layer.apply(t.batch(t.x), train)
        layer.apply(t.batch(t.other), between)
        run = t.outcome(layer, y, layer.backprop(cache, t.array(t.dy)))
        y, cache = alone.apply(t.batch(t.x), train)
        if what := difference(run, t.outcome(alone, y, alone.backprop(cache, t.array(t.dy)))):
            yield f"{what} when another batch is applied in between (train={train}, the other {between})"


@rule(
    "a pass uses the values of its own forward",
    why="What was kept once, or by another pass, gives the gradient of a step that is long gone.",
    mend="Put everything that gradients() needs into the cache, nothing into attributes.",
)
def _passes_know_nothing_of_earlier_ones(t: Trial) -> Iterator[str]:
    for before, train in product(MODES, MODES):
        used = t.fresh()
        rewind = rewinder(used)
        t.run(used, train=before)
        rewind()  # running statistics and Generators may move on; nothing else
        t.fill(used, 0.0)
        again = t.run(used, t.other, t.other_dy, train=train)
        if what := difference(again, t.run(t.fresh(), t.other, t.other_dy, train=train)):
            yield f"{what} in the second pass of a layer and in the first (train={before}, then {train})"


@rule(
    "gradients() leaves the cache as it is",
    why="The gradients of one pass are asked for more than once: a penalty needs dx, and the loss dW after it.",
    mend="Work in place only on arrays that gradients() has made itself.",
)
def _the_cache_can_be_used_twice(t: Trial) -> Iterator[str]:
    for train in MODES:
        layer = t.fresh()
        _, cache = layer.apply(t.batch(t.x), train)
        first = t.host(layer.backprop(cache, t.array(t.dy))) if not t.layer.takes_integers else None
        if t.layer.takes_integers:
            layer.store_gradients(cache, t.array(t.dy))
        grads = t.grads(layer)
        dx = layer.input_gradient(cache, t.array(t.dy))
        if first is not None and apart(t.host(dx), first):
            yield f"dx is another when it is asked for again (train={train})"
        layer.store_gradients(cache, t.array(t.dy), add=False)
        for key, g in t.grads(layer).items():
            if apart(g, grads[key]):
                yield f"the gradient of {key} is another when it is asked for again (train={train})"


@rule(
    "evaluation changes no buffer",
    why="Looking at samples must not change what is learned.",
    mend="Update running statistics only if train is true.",
)
def _evaluation_changes_no_buffer(t: Trial) -> Iterator[str]:
    layer = t.fresh()
    before = {key: t.host(b) for key, b in layer.buffers.items()}
    layer.forward(t.batch(t.x), train=False)
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
        if what := difference(t.run(layer, train=train), t.run(copy, train=train), exact=True):
            yield f"{what} in two copies (train={train})"
    layer = t.fresh()
    before = t.host(layer(t.batch(t.x)))
    copy = layer.copy()
    for arrays in (copy.params, copy.grads, copy.buffers):
        for a in arrays.values():
            a[...] = 2.0
    grads = [t.host(g) for g in layer.grads.values()]
    if not np.array_equal(t.host(layer(t.batch(t.x))), before) or any(g.any() for g in grads):
        yield "changing a copy has changed the original"


@rule(
    "a backward needs exactly one open forward, or raises PassError",
    why="D(real), D(fake), two backwards: with the values of another pass the gradient is wrong, and nobody notices.",
    mend="Write apply() and gradients(), and leave forward(), backward() and forget() to Layer.",
)
def _passes_pair_up(t: Trial) -> Iterator[str]:
    for train in MODES:
        layer, x, dy = t.fresh(), t.batch(t.x), t.array(t.dy)
        if not refused(PassError, layer.backward, dy):
            yield "a backward without any forward was answered"
        t.run(layer, train=train)
        if not refused(PassError, layer.backward, dy):
            yield "a second backward for one forward was answered"
        layer.forget()
        layer.forward(x, train=train)
        layer.forward(x, train=train)
        if not refused(PassError, layer.backward, dy):
            yield "a backward after two forwards was answered"
        layer.forget()
        layer.forward(x, train=train)
        if not refused(PassError, layer.copy().backward, dy):
            yield "a copy has inherited an open pass"
        layer = t.fresh()
        layer.forward(x, train=train)
        layer.forget()
        if not refused(PassError, layer.backward, dy):
            yield "forget() has left a pass open"


@rule(
    "layer(x) gives forward(x, train=False) and opens no pass",
    why="It is how one looks at samples in the middle of training.",
    mend="Do not override __call__, forget() or the list of passes.",
)
def _looking_leaves_no_pass(t: Trial) -> Iterator[str]:
    layer = t.fresh()
    y = t.host(layer(t.batch(t.x)))
    if not np.array_equal(y, t.host(t.fresh().forward(t.batch(t.x), train=False))):
        yield "layer(x) and forward(x, train=False) differ"
    if not refused(PassError, layer.backward, t.array(t.dy)):
        yield "backward after layer(x) was answered"
    layer = t.fresh()
    y = layer.forward(t.batch(t.x))
    layer(t.batch(t.other))
    run = t.outcome(layer, y, layer.backward(t.array(t.dy)))
    if what := difference(run, t.run(t.fresh())):
        yield f"{what} when layer(x) looks at another batch in between"


@rule(
    "a dy of another shape than y is refused with ShapeError",
    why="NumPy broadcasts (N, 1) against (N,) to (N, N), and the gradient is the sum of N wrong ones.",
    mend="Leave backward() to Layer, which compares the shapes.",
)
def _misshapen_dy_is_refused(t: Trial) -> Iterator[str]:
    for dy in (t.dy[..., None], np.concatenate([t.dy, t.dy])):
        layer = t.fresh()
        layer.forward(t.batch(t.x))
        if not refused(ShapeError, layer.backward, t.array(dy)):
            yield f"dy {dy.shape} was taken for an output {t.dy.shape}"
