"""Layers that resize images, GroupNorm and blocks of branches, wrong on purpose; see wrong_layers.py."""

import numpy as np

from support.wrong_layers import WRONG, Wrong, altered, enliven, function, gradients
from support.wrong_second_order import TANGENT, layer
from support.wrong_shortcuts import with_rule
from tinygan import Sequential
from tinygan.errors import GradientError
from tinygan.layers import AvgPool2D, Dense, GroupNorm, MaxPool2D, PixelShuffle, SiLU, Upsample
from tinygan.models.blocks import Add, Concat, Residual
from tinygan.penalties.rules import RULES
from tinygan.testing import check_gradients, check_second_order

rng = np.random.default_rng(7)
picture = rng.permutation(2 * 5 * 6 * 4).reshape(2, 5, 6, 4) * 0.1 - 12.0
small = rng.standard_normal((3, 2, 2, 4))
rows = rng.standard_normal((4, 3))

# ---- pooling ---------------------------------------------------------------------------------------------------------


class ToAll(MaxPool2D):
    """Each number under the kernel gets a share."""

    def gradients(self, cache, dy):
        _, x_shape = cache
        kh, kw = self.kernel_size
        return self.back(np.repeat(dy.reshape(-1, 1, x_shape[3]), kh * kw, axis=1) / (kh * kw), x_shape), {}


class ToTheLastPlace(MaxPool2D):
    """Where kernels overlap, what comes from the last place is written over the others."""

    def back(self, columns, x_shape):
        window, dx = self.window(x_shape[1:3]), np.zeros(x_shape)
        places = columns.reshape(x_shape[0], *window.grid, *self.kernel_size, x_shape[3])
        for i, j, down, across in window.spans():
            dx[:, down, across] = np.where(places[:, :, :, i, j] != 0.0, places[:, :, :, i, j], dx[:, down, across])
        return dx


class Sums(AvgPool2D):
    def gradients(self, x_shape, dy):
        dx, none = super().gradients(x_shape, dy)
        return dx * np.prod(self.kernel_size), none


class MeanOfOne(AvgPool2D):
    """Another function: the kernel's first number alone."""

    def apply(self, x, train):
        columns, window = self.columns(x)
        return columns[:, 0].reshape(len(x), *window.grid, x.shape[3]), x.shape


def is_a_mean(pool, x):
    assert np.allclose(pool(np.ones_like(x)), 1.0)
    assert np.allclose(pool(x).mean(), x[:, :4].mean())


gradients("max pooling: dy to all under the kernel", "dx", ToAll, 2, x=picture)
gradients("max pooling: overlapping places", "dx", ToTheLastPlace, 2, stride=1, x=picture)
gradients("average pooling: a sum on the way back", "dx", Sums, 2, x=picture)
function("average pooling: one number for the mean", is_a_mean, MeanOfOne, 2, x=picture)
layer(
    "max pooling: the largest of v",
    TANGENT,
    with_rule(MaxPool2D, tangent=lambda of, cache, v: of.apply(v, True)[0]),
    2,
    x=picture,
)

# ---- larger images ---------------------------------------------------------------------------------------------------


class FirstOfEach(Upsample):
    def gradients(self, x_shape, dy):
        return dy[:, :: self.scale, :: self.scale], {}


class WithoutTheEdges(Upsample):
    """What an outermost pixel gives to itself is lost."""

    def _back(self, dy, axis):
        whole, dy = super()._back(dy, axis), np.swapaxes(dy, 0, axis)
        dx = np.swapaxes(whole.copy(), 0, axis)
        for p, t in self._phases():
            edge = 0 if t < 0.0 else -1
            dx[edge] -= abs(t) * dy[p :: self.scale][edge]
        return np.swapaxes(dx, 0, axis)


class ThereForBack(Upsample):
    """The way there, and every s-th pixel of it."""

    def _back(self, dy, axis):
        return self._stretched(dy, axis).swapaxes(0, axis)[:: self.scale**2].swapaxes(0, axis)


class ChannelsLast(PixelShuffle):
    """The way back takes the channels for the slowest of the parts, as another library arranges them."""

    def gradients(self, x_shape, dy):
        (n, h, w, c), r = x_shape, self.scale
        return dy.reshape(n, h, r, w, r, c // r**2).transpose(0, 1, 3, 2, 4, 5).reshape(x_shape), {}


gradients("upsampling: one of each pixel's copies", "dx", FirstOfEach, 2, x=small)
gradients("bilinear: edges", "dx", WithoutTheEdges, 2, mode="bilinear", x=small)
gradients("bilinear: the way there for the way back", "dx", ThereForBack, 2, mode="bilinear", x=small)
gradients("pixel shuffle: another order on the way back", "dx", ChannelsLast, 2, x=rng.standard_normal((2, 2, 3, 8)))

# ---- group normalisation ---------------------------------------------------------------------------------------------


def group_norm_dx(dx):
    class Other(GroupNorm):
        def gradients(self, cache, dy):
            return dx(self, *cache, dy), super().gradients(cache, dy)[1]

    return Other


def over(a, axes):
    return a.mean(axis=axes, keepdims=True)


def with_means_over(axes):
    def dx(self, xhat, inv_std, dy):
        d = self.grouped(self.params["gamma"] * dy)
        return ((d - over(d, axes) - xhat * over(d * xhat, axes)) * inv_std).reshape(dy.shape)

    return group_norm_dx(dx)


def constants(self, xhat, inv_std, dy):
    return (self.grouped(self.params["gamma"] * dy) * inv_std).reshape(dy.shape)


gradients("group norm: μ and σ constants", "dx", group_norm_dx(constants), 2, 4, x=small)
gradients("group norm: means over the pixels alone", "dx", with_means_over(1), 2, 4, x=small)
gradients("group norm: means over the channels alone", "dx", with_means_over(3), 2, 4, x=small)
gradients("group norm: means over all groups", "dx", with_means_over((1, 2, 3)), 2, 4, x=small)
gradients("group norm: gamma negated", "gamma", altered(GroupNorm, gamma=lambda g: -g), 2, 4, x=small)
nothing_bends = with_rule(GroupNorm, second_order=lambda *given: (None, RULES[GroupNorm].second_order(*given)[1]))
layer("group norm: nothing bends", r"second_order's dx is wrong", nothing_bends, 2, 4, x=small)

# ---- blocks ----------------------------------------------------------------------------------------------------------


def dense(n_out=3):
    return Dense(3, n_out, rng=1, dtype=np.float64)


def block(name, says, wrong, right, check=check_gradients, registered=True):
    def make(kind):
        return enliven(kind(Sequential(dense(), SiLU()), dense()), np.random.default_rng(1))

    if registered and check is check_second_order and wrong not in RULES:
        RULES[wrong] = RULES[right]
    entry = (lambda made: check(made, rows), GradientError, says, lambda: make(right), lambda: make(wrong))
    WRONG.append(Wrong(f"blocks: {name}", *entry, (name.split(":")[0], check)))


class Broken(Residual):
    """The direct way is forgotten going back."""

    def input_gradient(self, cache, dy):
        return Sequential.input_gradient(self, cache, dy)

    def backprop(self, cache, dy, add=True):
        return Sequential.backprop(self, cache, dy, add)


class OneBranch(Add):
    def backprop(self, cache, dy, add=True):
        return next(link.backprop(of_link, dy, add) for link, of_link, _ in cache)


class HalfEach(Add):
    def split(self, dy, cache):
        return [dy / len(cache) for _ in cache]


class FirstChannels(Concat):
    def split(self, dy, cache):
        return [dy[..., : shape[-1]] for _, _, shape in cache]


block("residual: the direct way forgotten", "dx is wrong", Broken, Residual)
block("add: one branch", "dx is wrong", OneBranch, Add)
block("add: half of dy to each", "is wrong", HalfEach, Add)
block("concat: the first channels to all", "is wrong", FirstChannels, Concat)
for name, kind, changes in (
    ("residual, second order: the tangent without v", Residual, {"tangent": RULES[Sequential].tangent}),
    ("add, second order: nothing bends", Add, {"second_order": lambda *given: (None, {})}),
    (
        "concat, second order: the tangent of the first branch",
        Concat,
        {"tangent": lambda of, cache, v: of.join([RULES[Concat].tangent(of, cache, v)[..., :3]] * 2)},
    ),
):
    block(name, "is wrong|no adjoints", with_rule(kind, **changes), kind, check=check_second_order, registered=False)
