"""The contract of a layer, second part: one backward for one forward, and gradients that are right."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from ..errors import PassError, ShapeError
from .gradients import check_gradients, rewinder
from .trial import MODES, Trial, apart, difference, refused, rule


@rule(
    "a backward needs exactly one open forward, or raises PassError",
    why="D(real), D(fake), two backwards: with the values of another pass the gradient is wrong, and nobody notices.",
    mend="End forward with return self._remember(y, ...), begin backward with (...,) = self._recall(dy).",
)
def _passes_pair_up(t: Trial) -> Iterator[str]:
    for train in MODES:
        layer, x, dy = t.fresh(), t.array(t.x), t.array(t.dy)
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
    y = t.host(layer(t.array(t.x)))
    if not np.array_equal(y, t.host(t.fresh().forward(t.array(t.x), train=False))):
        yield "layer(x) and forward(x, train=False) differ"
    if not refused(PassError, layer.backward, t.array(t.dy)):
        yield "backward after layer(x) was answered"
    layer = t.fresh()
    y = layer.forward(t.array(t.x))
    layer(t.array(t.other))
    run = t.outcome(layer, y, layer.backward(t.array(t.dy)))
    if found := difference(run, t.run(t.fresh())):
        yield f"{found} when layer(x) looks at another batch in between"


@rule(
    "a pass uses the values of its own forward",
    why="A cache filled once, or by another pass, gives the gradient of a step that is long gone.",
    mend="Keep everything that backward needs in self._remember(y, ...), nothing in attributes.",
)
def _passes_do_not_mix(t: Trial) -> Iterator[str]:
    for before, train in product(MODES, MODES):
        used = t.fresh()
        rewind = rewinder(used)
        t.run(used, train=before)
        rewind()  # running statistics and Generators may move on; nothing else
        t.fill(used, 0.0)
        again = t.run(used, t.other, t.other_dy, train=train)
        if found := difference(again, t.run(t.fresh(), t.other, t.other_dy, train=train)):
            yield f"{found} in the second pass of a layer and in the first (train={before}, then {train})"


@rule(
    "take_pass() and restore_pass() set a pass aside while another runs",
    why="Discriminators with batch normalisation see real and generated samples apart, and learn from both.",
    mend="Keep everything that backward needs in self._remember(y, ...), nothing in attributes.",
)
def _passes_can_be_set_aside(t: Trial) -> Iterator[str]:
    for train, between in product(MODES, MODES):
        layer = t.fresh()
        y = layer.forward(t.array(t.x), train=train)
        taken = layer.take_pass()
        layer.forward(t.array(t.other), train=between)
        layer.backward(t.array(t.other_dy))
        t.fill(layer, 0.0)
        layer.restore_pass(taken)
        run = t.outcome(layer, y, layer.backward(t.array(t.dy)))
        if found := difference(run, t.run(t.fresh(), train=train)):
            yield f"{found} when another pass ran in between (train={train}, the other {between})"


@rule(
    "a dy of another shape than y is refused with ShapeError",
    why="NumPy broadcasts (N, 1) against (N,) to (N, N), and the gradient is the sum of N wrong ones.",
    mend="Begin backward with (...,) = self._recall(dy), which compares the shapes.",
)
def _misshapen_dy_is_refused(t: Trial) -> Iterator[str]:
    for dy in (t.dy[..., None], np.concatenate([t.dy, t.dy])):
        layer = t.fresh()
        layer.forward(t.array(t.x))
        if not refused(ShapeError, layer.backward, t.array(dy)):
            yield f"dy {dy.shape} was taken for an output {t.dy.shape}"


# ---- gradients -----------------------------------------------------------------------------------------------------


@rule(
    "backward adds to grads, and zero_grad() empties them",
    why="D's gradient is the sum over real and generated samples, each with a backward of its own.",
    mend="Write grads[key] += ..., or accumulate(...) from tinygan.kernels.",
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


@rule(
    "grads='write' overwrites, grads='skip' leaves alone, need_dx=False returns None",
    why="A GAN skips what nobody reads: D's gradients while G learns, and the gradient of the data.",
    mend="Use accumulate(..., add=grads == 'add') if grads != 'skip'; or leave these keywords out of the signature.",
)
def _modes_are_honoured(t: Trial) -> Iterator[str]:
    expected = t.run(t.fresh())
    if "grads" in t.options:
        if found := difference(t.run(t.fresh(grads=3.0), grads="write"), expected):
            yield f"{found} with grads='write'"
        skipped = t.run(t.fresh(grads=3.0), grads="skip")
        if any((g != 3.0).any() for g in skipped.grads.values()):
            yield "grads='skip' has changed a gradient"
        if apart(skipped.dx, expected.dx):
            yield "dx is another with grads='skip'"
    if "need_dx" in t.options:
        run = t.run(t.fresh(), need_dx=False)
        if run.dx is not None:
            yield "need_dx=False still returns dx"
        if found := difference(run._replace(dx=expected.dx), expected):
            yield f"{found} with need_dx=False"


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
