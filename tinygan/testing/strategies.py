"""Hypothesis strategies: what layers are tested on. This module needs the package ``hypothesis``, and only this one.

Hypothesis draws structure (sizes, strides, paddings, modes) and a seed; a Generator made from the seed draws the
numbers, so that a failing case shrinks to the smallest structure that fails. A test of one layer reads ::

    @given(batch=batches(), n_out=sizes, rng=rngs)
    def test_dense(batch, n_out, rng):
        check_gradients(Dense(batch.shape[1], n_out, rng=rng), batch)

and a test of all of them ::

    @given(case=layers())
    def test_every_layer_keeps_the_contract(case):
        check_layer(case.layer, case.x)
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from ..layers import BatchNorm, Conv2D, ConvTranspose2D, Dense, Dropout, GroupNorm, Layer, LayerNorm, SpectralNorm
from ..layers.activations import LeakyReLU, ReLU, Sigmoid, Tanh
from ..layers.conditional import ConcatLabels, ConditionalScale, Projection
from ..layers.minibatch import MinibatchStdDev, Pack
from ..layers.resizing import AvgPool2D, Upsample
from ..layers.shape import Flatten, Reshape
from ..layers.smooth import ELU, SiLU, Softplus
from ..models.blocks import Add, Concat, Residual
from ..network import Sequential
from .layer_strategies import (
    Case,
    Geometry,
    activations,
    away_from,
    batch_norms,
    batch_sizes,
    batches,
    conditionals,
    convolutions,
    dense,
    dropouts,
    enliven,
    few,
    flattens,
    geometries,
    group_norms,
    images,
    knowing,
    layer_norms,
    layers,
    minibatch_layers,
    regularisers,
    reshapes,
    resizings,
    rngs,
    sizes,
    spectral_norms,
)

__all__ = ["Case", "Geometry", "activations", "away_from", "batch_norms", "batch_sizes", "batches", "conditionals"]
__all__ += ["convolutions", "dense", "dropouts", "enliven", "flattens", "geometries", "group_norms", "images"]
__all__ += ["knowing", "layer_norms", "layers", "minibatch_layers", "networks", "regularisers", "reshapes", "resizings"]
__all__ += ["rngs", "sizes", "spectral_norms"]

_depths = st.integers(1, 5)


@st.composite
def networks(draw: Callable, *, depth: SearchStrategy[int] = _depths) -> Case:
    """A Sequential of random layers of all kinds that fit each other, in float64, and a batch for it.

    The batch has three samples or more, also behind Pack, for the sake of BatchNorm. Networks whose output does not
    respond to the input (all units of a ReLU layer dead) are left out.
    """
    rng = draw(rngs)
    shape = draw(st.one_of(st.tuples(sizes), st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))))
    n = draw(st.integers(3, 6))
    x = rng.standard_normal((n, *shape))
    layers: list[Layer] = []
    for _ in range(draw(depth)):
        layers.append(_next_layer(draw, n, shape, layers[-1] if layers else None, rng))
        shape, n = layers[-1].output_shape(shape), n // getattr(layers[-1], "m", 1)
    network = enliven(Sequential(*layers), rng)
    nudged = x + 1e-3 * rng.standard_normal(x.shape)
    assume(np.abs(network.copy().forward(nudged) - network.copy().forward(x)).max() > 1e-6)
    return Case(network, x)


def _next_layer(draw: Callable, n: int, shape: tuple[int, ...], above: Layer | None, rng: np.random.Generator) -> Layer:
    """Any layer that takes n samples of ``shape``, from the layer ``above`` it, and gives no large ones."""
    c = shape[-1]

    def dense() -> Dense:
        return Dense(c, draw(sizes), rng=rng, dtype=np.float64)

    def convolution() -> Conv2D:
        return Conv2D(c, draw(few), draw(few), stride=draw(few), rng=rng, dtype=np.float64)

    def convolution_of_size() -> Conv2D:
        return Conv2D(c, 2, draw(few), rng=rng, dtype=np.float64)

    choices: list[Callable[[], Layer]] = [
        lambda: LeakyReLU(draw(st.sampled_from((0.1, 0.5)))),
        ReLU,
        lambda: draw(st.sampled_from((ELU(), ELU(0.5), Softplus(), SiLU()))).copy(),
        Tanh,
        Sigmoid,
        lambda: Dropout(0.3, rng=draw(sizes)),
        lambda: MinibatchStdDev(eps=0.1),
    ]
    choices.append(lambda: knowing(ConditionalScale(c, 3, dtype=np.float64), n, rng))
    if n >= 6 and c <= 6:
        choices.append(lambda: Pack(2))
    if c <= 6:
        choices.append(lambda: knowing(ConcatLabels(2), n, rng))
    if not isinstance(above, BatchNorm | LayerNorm):  # normalised twice, hardly a gradient is left
        choices.append(lambda: BatchNorm(c, eps=0.1, dtype=np.float64))
        if c >= 3:
            choices.append(lambda: LayerNorm(c, eps=0.1, dtype=np.float64))
        if prod(shape) >= 3:
            choices.append(lambda: GroupNorm(1, c, eps=0.1, dtype=np.float64))
    if len(shape) == 1:
        k = draw(sizes)
        inside = [Dense(c, k, rng=rng, dtype=np.float64), SiLU(), Dense(k, c, rng=rng, dtype=np.float64)]
        choices += [lambda: Residual(*inside), lambda: Concat(*(layer.copy() for layer in inside[:2]))]
        choices += [dense, dense, dense, lambda: SpectralNorm(dense(), rng=rng)]
        choices.append(lambda: knowing(Projection(c, 2, rng=rng, dtype=np.float64), n, rng))
        choices.append(lambda: Reshape(1, 1, c))
    else:
        choices += [convolution, convolution, lambda: SpectralNorm(convolution(), rng=rng)]
        choices += [Flatten, lambda: Add(*(convolution_of_size() for _ in range(2)))]
        if min(shape[:2]) >= 2:
            choices.append(lambda: AvgPool2D(2, stride=1))
        if max(shape[:2]) <= 4:
            choices.append(lambda: Upsample(2, mode="bilinear"))
            choices.append(lambda: ConvTranspose2D(c, draw(few), draw(few), stride=2, rng=rng, dtype=np.float64))
    return draw(st.sampled_from(choices))()
