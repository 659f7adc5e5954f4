"""check_layer: mathematics first, what is said, and layers of one's own that pass."""

import doctest

import numpy as np
import pytest
from scipy.special import erf

import tinygan.testing.contract
from tinygan import Sequential
from tinygan.errors import ArgumentError, ContractError, GradientError, ShapeError
from tinygan.layers import BatchNorm, Dense, Dropout, Layer, Tanh
from tinygan.testing import check_layer

numbers = np.random.default_rng(0).standard_normal

# ---- what is said ----------------------------------------------------------------------------------------------------


def test_it_says_what_why_and_how():
    class Overwrites(Dense):
        def backprop(self, cache, dy, add=True):
            return super().backprop(cache, dy, add=False)

    with pytest.raises(ContractError, match=r"^Overwrites: .*backprop\(\) answer.*Found: .*Why: .*Mend: "):
        check_layer(Overwrites(3, 2), numbers((4, 3)))


def test_it_wants_a_layer_and_a_batch_for_it():
    with pytest.raises(ArgumentError, match="expected a tinygan Layer"):
        check_layer(np.tanh, numbers((4, 3)))
    with pytest.raises(ShapeError, match=r"Dense: expected input \(N, 3\), got \(N, 4\)"):
        check_layer(Dense(3, 2), numbers((4, 4)))


def test_it_reports_a_crash_with_the_rule_that_met_it():
    class Crashes(Tanh):
        def gradients(self, cache, dy):
            raise RuntimeError("out of luck")

    with pytest.raises(ContractError, match=r"Crashes: apply\(x, train\) .*RuntimeError was raised: out of luck"):
        check_layer(Crashes(), numbers((4, 3)))


def test_a_method_that_is_missing_is_named():
    class Half(Layer):
        def apply(self, x, train):
            return x, None

    with pytest.raises(ContractError, match=r"Half has no apply|Half has no gradients\(cache, dy\), which returns"):
        check_layer(Half(), numbers((4, 3)))
    with pytest.raises(ContractError, match=r"Layer has no apply\(x, train\), which returns \(y, cache\)"):
        check_layer(Layer(), numbers((4, 3)))


def test_mathematics_comes_first():
    """Wrong in nearly every way, and it is the gradient that is named."""

    class Everything(Dense):
        def check_input(self, x):
            pass

        def output_shape(self, input_shape):
            return (99,)

        def apply(self, x, train):
            self.x = x
            self.params["W"] = self.params["W"] * 1.0
            return super().apply(x, train)

        def gradients(self, x, dy):
            dx, gradients = super().gradients(self.x, dy)
            return dx, {**gradients, "W": np.float64(1.5) * gradients["W"]}

        def zero_grad(self):
            for g in self.grads.values():
                g[...] = 0.0
            self.zeroed = True

        def __call__(self, x):
            return self.forward(x)

    with pytest.raises(GradientError, match=r"grads\['W'\] is wrong.*1\.5 times"):
        check_layer(Everything(3, 2), numbers((4, 3)))


def test_a_gradient_that_is_wrong_in_evaluation_only_is_found():
    class TrainingSlope(BatchNorm):
        def gradients(self, cache, dy):
            return super().gradients((*cache[:2], True), dy)

    with pytest.raises(GradientError, match="dx is wrong"):
        check_layer(TrainingSlope(3), numbers((4, 3)))
    with pytest.raises(ContractError):
        check_layer(SwitchedOff(3, 2), numbers((4, 3)), gradients=False)


class SwitchedOff(Dense):
    """Its gradient is wrong, and it takes a step of its own: without the first rule, the second is heard."""

    def gradients(self, x, dy):
        dx, gradients = super().gradients(x, dy)
        self.params["W"] -= 1e-3
        return 2.0 * dx, gradients


# ---- layers of one's own ---------------------------------------------------------------------------------------------


class Scale(Layer):
    """Two methods and a parameter are enough."""

    def __init__(self, c):
        super().__init__()
        self.add_param("a", np.full(c, 1.5, np.float32))

    def apply(self, x, train):
        return x * self.params["a"], x

    def gradients(self, x, dy):
        return dy * self.params["a"], {"a": (dy * x).sum(axis=0)}


class GELU(Layer):
    """y = x Φ(x), and dx = dy (Φ(x) + x φ(x))."""

    def apply(self, x, train):
        return x * self.cdf(x), x

    def gradients(self, x, dy):
        return dy * (self.cdf(x) + x * np.exp(-0.5 * x * x) / (2.0 * np.pi) ** 0.5), {}

    def cdf(self, x):
        return 0.5 * (1.0 + erf(x / 2.0**0.5))


class PixelShuffle(Layer):
    """Channels become pixels: (N, H, W, r·r·C) -> (N, H·r, W·r, C)."""

    def __init__(self, r):
        super().__init__()
        self.r = r

    def apply(self, x, train):
        n, h, w, c = x.shape
        split = x.reshape(n, h, w, self.r, self.r, c // self.r**2)
        return split.transpose(0, 1, 3, 2, 4, 5).reshape(n, h * self.r, w * self.r, -1), x.shape

    def gradients(self, shape, dy):
        n, h, w, _ = shape
        split = dy.reshape(n, h, self.r, w, self.r, -1)
        return split.transpose(0, 1, 3, 2, 4, 5).reshape(shape), {}

    def output_shape(self, input_shape):
        h, w, c = input_shape
        return h * self.r, w * self.r, c // self.r**2


class GroupNorm(Layer):
    """The channels of each sample, normalised in groups over all pixels, then scaled and shifted."""

    def __init__(self, groups, c):
        super().__init__()
        self.groups = groups
        self.add_param("gamma", np.linspace(0.5, 1.5, c).astype(np.float32))
        self.add_param("beta", np.linspace(-1.0, 1.0, c).astype(np.float32))

    def split(self, x):
        n, h, w, c = x.shape
        return x.reshape(n, h * w, self.groups, c // self.groups)

    def apply(self, x, train):
        rows = self.split(x)
        inv_std = 1.0 / np.sqrt(rows.var(axis=(1, 3), keepdims=True) + 1e-5)
        xhat = (rows - rows.mean(axis=(1, 3), keepdims=True)) * inv_std
        return xhat.reshape(x.shape) * self.params["gamma"] + self.params["beta"], (xhat, inv_std)

    def gradients(self, cache, dy):
        (xhat, inv_std), over = cache, {"axis": (1, 3), "keepdims": True}
        d = self.split(dy * self.params["gamma"])
        dx = inv_std * (d - d.mean(**over) - xhat * (d * xhat).mean(**over))
        dgamma = (dy * xhat.reshape(dy.shape)).sum(axis=(0, 1, 2))
        return dx.reshape(dy.shape), {"gamma": dgamma, "beta": dy.sum(axis=(0, 1, 2))}


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Scale(3), (4, 3)),
        (Sequential(Scale(3), Tanh(), Dense(3, 2)), (4, 3)),
        (GELU(), (4, 3)),
        (PixelShuffle(2), (2, 3, 2, 8)),
        (GroupNorm(2, 4), (2, 3, 2, 4)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_right_layer_of_ones_own_passes_with_its_mathematics_alone(layer, shape):
    check_layer(layer, numbers(shape))


class Branches(Layer):
    """Layers in a layer that is no network: what random numbers they draw is found only if rngs() is told."""

    def __init__(self, listed):
        super().__init__()
        self.inner, self.listed = (Dropout(0.5, rng=1), Dropout(0.5, rng=2)), listed

    def apply(self, x, train):
        ys, caches = zip(*(layer.apply(x, train) for layer in self.inner), strict=True)
        return sum(ys), caches

    def gradients(self, caches, dy):
        return sum(layer.gradients(c, dy)[0] for layer, c in zip(self.inner, caches, strict=True)), {}

    def rngs(self):
        if self.listed:
            yield from ((f"{i}.{key}", rng) for i, layer in enumerate(self.inner) for key, rng in layer.rngs())


def test_generators_of_layers_within_a_layer():
    check_layer(Branches(listed=True), numbers((6, 5)))
    with pytest.raises(ContractError, match=r"random numbers come only from Generators that rngs\(\) finds"):
        check_layer(Branches(listed=False), numbers((6, 5)), gradients=False)


def test_constants_belong_into_buffers_and_arrays_without_influence_are_nobodys_business():
    class Fixed(Layer):
        def __init__(self, known):
            super().__init__()
            self.history = [np.zeros(3)]
            if known:
                self.buffers["filter"] = np.eye(3, dtype=np.float32) + 0.5
            else:
                self.filter = np.eye(3, dtype=np.float32) + 0.5

        def apply(self, x, train):
            return x @ self.buffers.get("filter", getattr(self, "filter", None)), None

        def gradients(self, cache, dy):
            return dy @ self.buffers.get("filter", getattr(self, "filter", None)).T, {}

    check_layer(Fixed(known=True), numbers((4, 3)))
    with pytest.raises(ContractError, match=r"self\.filter \(3, 3\) is in neither.*self\.buffers"):
        check_layer(Fixed(known=False), numbers((4, 3)))


def test_examples_in_docstrings():
    result = doctest.testmod(tinygan.testing.contract, optionflags=doctest.ELLIPSIS)
    assert result.attempted
    assert not result.failed
