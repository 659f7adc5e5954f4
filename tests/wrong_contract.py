"""Layers with the right formulas that break the contract, each in one way; see wrong_layers.py."""

import numpy as np
from wrong_layers import contract, numbers

from tinygan.layers import BatchNorm, Dense, Dropout, LeakyReLU, ReLU, Tanh

rows = numbers(4, 3)


def dense(name, says, wrong, x=rows):
    contract(f"dense: {name}", says, wrong, 3, 2, x=x)


class Overwrites(Dense):
    def backward(self, dy):
        (x,) = self._recall(dy)
        self.grads["W"][...] = x.T @ dy
        self.grads["b"][...] = dy.sum(axis=0)
        return dy @ self.params["W"].T


class ReplacesItsGradients(Dense):
    def backward(self, dy):
        (x,) = self._recall(dy)
        self.grads = {"W": x.T @ dy, "b": dy.sum(axis=0)}
        return dy @ self.params["W"].T


class RebindsItsGradients(Dense):
    """Adds to what is there, but in a new array."""

    def backward(self, dy):
        (x,) = self._recall(dy)
        self.grads["W"] = self.grads["W"] + x.T @ dy
        self.grads["b"] = self.grads["b"] + dy.sum(axis=0)
        return dy @ self.params["W"].T


class RebindsItsParameters(Dense):
    def forward(self, x, *, train=True):
        self.params["W"] = np.ascontiguousarray(self.params["W"]) + 0.0
        return super().forward(x, train=train)


class RebindsItsBuffers(BatchNorm):
    def forward(self, x, *, train=True):
        y = super().forward(x, train=train)
        if train:
            self.buffers = {key: np.array(value) for key, value in self.buffers.items()}
        return y


class AddsABuffer(Dense):
    def forward(self, x, *, train=True):
        self.buffers["calls"] = np.zeros(1, x.dtype)
        return super().forward(x, train=train)


class FirstForwardForever(Dense):
    def forward(self, x, *, train=True):
        self.first = getattr(self, "first", x)
        return super().forward(x, train=train)

    def backward(self, dy):
        self._recall(dy)
        self.grads["W"] += self.first.T @ dy
        self.grads["b"] += dy.sum(axis=0)
        return dy @ self.params["W"].T


class LatestForward(Dense):
    """Keeps x in an attribute, so the backward of D(real) sees the x of D(fake)."""

    def forward(self, x, *, train=True):
        self.x = x
        return super().forward(x, train=train)

    def backward(self, dy):
        self._recall(dy)
        self.grads["W"] += self.x.T @ dy
        self.grads["b"] += dy.sum(axis=0)
        return dy @ self.params["W"].T


class LatestPass(LatestForward):
    """The same, but careful where it only looks."""

    def __call__(self, x):
        before = getattr(self, "x", None)
        y = super().__call__(x)
        self.x = before
        return y


class LatestEvaluation(Dense):
    """Right in training, until somebody looks at another batch between forward and backward."""

    x = None

    def forward(self, x, *, train=True):
        if not train:
            self.x = x
        return super().forward(x, train=train)

    def backward(self, dy):
        (x,) = self._recall(dy)
        x, self.x = x if self.x is None else self.x, None
        self.grads["W"] += x.T @ dy
        self.grads["b"] += dy.sum(axis=0)
        return dy @ self.params["W"].T


class TrainingBatchInEvaluation(Dense):
    """Right in training, and in evaluation as long as no training came before."""

    last = None

    def forward(self, x, *, train=True):
        self._check_input(x)
        if train:
            self.last = x
        return self._remember(x @ self.params["W"] + self.params["b"], x if self.last is None else self.last)


class AnswersAlways(Dense):
    """The STYLE of many tutorials: a cache that is never taken."""

    cache = None

    def forward(self, x, *, train=True):
        self._check_input(x)
        self.cache = x
        return x @ self.params["W"] + self.params["b"]

    def backward(self, dy):
        x = self.cache if self.cache is not None else np.zeros((len(dy), self.n_in))
        self.grads["W"] += x.T @ dy
        self.grads["b"] += dy.sum(axis=0)
        return dy @ self.params["W"].T


class AnswersTwice(Dense):
    def backward(self, dy):
        taken = self.take_pass()
        self.restore_pass(taken)
        dx = super().backward(dy)
        self.restore_pass(taken)
        return dx


class AnswersTheLatestOfTwo(Dense):
    def backward(self, dy):
        self.restore_pass(self.take_pass()[-1:])
        return super().backward(dy)


class LooksWithAPass(Dense):
    def __call__(self, x):
        return self.forward(x, train=False)


class NeverForgets(Dense):
    def forget(self):
        self._passes = getattr(self, "_passes", [])

    def _recall(self, dy, grads="add"):
        cache = super()._recall(dy, grads)
        self._passes = []
        return cache


class AnyShapeOfDy(Dense):
    def backward(self, dy):
        return super().backward(dy.reshape(-1)[: 4 * 2].reshape(4, 2))


class MutatesInput(LeakyReLU):
    def forward(self, x, *, train=True):
        x[x < 0] *= self.slope
        return super().forward(x, train=train)


class MutatesDy(Tanh):
    def backward(self, dy):
        (y,) = self._recall(dy)
        dy *= 1.0 - y * y
        return dy


class MutatesInputBackward(ReLU):
    def forward(self, x, *, train=True):
        return self._remember(np.maximum(x, 0.0), x)

    def backward(self, dy):
        (x,) = self._recall(dy)
        x[...] = dy * (x > 0)
        return x.copy()


class MutatesParameters(Dense):
    def backward(self, dy):
        dx = super().backward(dy)
        self.params["W"] -= 1e-3 * self.grads["W"]
        return dx


class GrowsToFloat64(Dense):
    def forward(self, x, *, train=True):
        return super().forward(x, train=train) * np.float64(1.0)


class ShrinksToFloat32(Tanh):
    def forward(self, x, *, train=True):
        return super().forward(x, train=train).astype(np.float32)


class GradientGrowsToFloat64(Tanh):
    def backward(self, dy):
        return super().backward(dy) * np.float64(1.0)


class AliasedGradient(Dense):
    def astype(self, dtype):
        new = super().astype(dtype)
        new.grads["b"] = new.params["b"]
        return new


class MisshapenGradient(Dense):
    def astype(self, dtype):
        new = super().astype(dtype)
        new.grads["b"] = np.zeros((1, 2), dtype)
        return new


class UnknownGradient(Dense):
    def astype(self, dtype):
        new = super().astype(dtype)
        new.grads.pop("b", None)
        return new


class KeepsNoAxis(Dense):
    def backward(self, dy):
        return super().backward(dy)[:, None, :]


class AnnouncesAnotherShape(Dense):
    def output_shape(self, input_shape):
        return (self.n_in,)


class WriteAdds(Dense):
    def backward(self, dy, *, grads="add", need_dx=True):
        return super().backward(dy, grads="add" if grads == "write" else grads, need_dx=need_dx)


class SkipStores(Dense):
    def backward(self, dy, *, grads="add", need_dx=True):
        return super().backward(dy, grads="add" if grads == "skip" else grads, need_dx=need_dx)


class SkipSkipsTheWayDown(Dense):
    def backward(self, dy, *, grads="add", need_dx=True):
        dx = super().backward(dy, grads=grads, need_dx=need_dx)
        return 0.0 * dx if grads == "skip" else dx


class AlwaysReturnsDx(Dense):
    def backward(self, dy, *, grads="add", need_dx=True):
        return super().backward(dy, grads=grads)


class ReadsMemoryAsItLies(Tanh):
    def forward(self, x, *, train=True):
        return super().forward(x.ravel(order="K").reshape(x.shape), train=train)


class TakesIntegers(Tanh):
    def _check_input(self, x):
        pass


class LooksAtOtherSamples(Dense):
    """Centres the batch, with the right gradient, and does not say so."""

    def forward(self, x, *, train=True):
        self._check_input(x)
        return super().forward(x - x.mean(axis=0), train=train)

    def backward(self, dy):
        dx = super().backward(dy)
        return dx - dx.mean(axis=0)


class SharesMemoryWithCopies(Dense):
    def copy(self):
        new = super().copy()
        new.params = self.params
        return new


class NeverZeroes(Dense):
    def zero_grad(self):
        pass


class HidesItsGenerator(Dropout):
    """Keeps it in a list, where no checkpoint finds it."""

    @property
    def rng(self):
        return self.hidden[0]

    @rng.setter
    def rng(self, rng):
        self.hidden = [rng]


class SeedsByCounting(Dropout):
    """Every forward has a seed of its own, from a counter that no checkpoint keeps."""

    calls = 0

    def forward(self, x, *, train=True):
        self.calls += 1
        self.rng = np.random.default_rng(self.calls)
        return super().forward(x, train=train)


class DropoutOneMaskForAllCopies(Dropout):
    shared = np.random.default_rng(0)

    def forward(self, x, *, train=True):
        self.rng = self.shared
        return super().forward(x, train=train)


dense("gradient overwritten, not accumulated", "not the old one plus", Overwrites)
dense("gradient dict replaced", r"grads\['.'\] is another array", ReplacesItsGradients)
dense("gradients in new arrays", r"grads\['.'\] is another array", RebindsItsGradients)
dense("parameters in new arrays", r"params\['W'\] is another array", RebindsItsParameters)
contract("batch norm: buffers in new arrays", "buffers.* is another array", RebindsItsBuffers, 3, x=rows)
dense("a buffer that comes with the first pass", r"buffers\['calls'\] is another array", AddsABuffer)
dense("the first forward's x forever", "second pass of a layer", FirstForwardForever)
dense("the latest forward's x", "looks at another batch in between", LatestForward)
dense("the latest pass's x", "another pass ran in between", LatestPass)
dense("the latest evaluation's x", "looks at another batch in between", LatestEvaluation)
dense("the x of training in evaluation", "train=True, then False", TrainingBatchInEvaluation)
dense("backward without a forward", "without any forward was answered", AnswersAlways)
dense("second backward for one forward", "second backward for one forward", AnswersTwice)
dense("backward after two forwards", "after two forwards was answered", AnswersTheLatestOfTwo)
dense("layer(x) opens a pass", "after layer\\(x\\) was answered", LooksWithAPass)
dense("forget() forgets nothing", "opens no pass|left a pass open", NeverForgets)
dense("any shape of dy", "was taken for an output", AnyShapeOfDy)
contract("leaky ReLU: works in place on x", "forward has changed x", MutatesInput, x=rows)
contract("tanh: works in place on dy", "backward has changed dy", MutatesDy, x=rows)
contract("ReLU: keeps dx in the memory of x", "backward has changed x", MutatesInputBackward, x=rows)
dense("takes a step of its own", "changed the parameter W", MutatesParameters)
dense("float64 from float32", "the output is float64 for float32", GrowsToFloat64)
contract("tanh: float32 from float64", "the output is float32 for float64", ShrinksToFloat32, x=rows)
contract("tanh: dx float64 from float32", "dx is float64 for float32", GradientGrowsToFloat64, x=rows)
dense("a gradient that is the parameter", "the parameter itself", AliasedGradient)
dense("gradient (1, O) for a bias (O,)", r"its gradient float64 \(1, 2\)", MisshapenGradient)
dense("no gradient for b", "grads has", UnknownGradient)
dense("dx with one axis too many", r"dx \(4, 1, 3\)", KeepsNoAxis)
dense("output_shape() of the input", "expected an output of shape", AnnouncesAnotherShape)
dense("grads='write' adds", "with grads='write'", WriteAdds)
dense("grads='skip' stores", "grads='skip' has changed", SkipStores)
dense("grads='skip' stops dx", "dx is another", SkipSkipsTheWayDown)
dense("need_dx=False returns dx", "still returns dx", AlwaysReturnsDx)
contract("tanh: reads memory as it lies", "with transposed x", ReadsMemoryAsItLies, x=rows)
contract("tanh: takes integers", "int64 array was taken", TakesIntegers, x=rows)
dense("looks at other samples", "other samples have changed", LooksAtOtherSamples)
dense("copies share memory", "changing a copy", SharesMemoryWithCopies)
dense("zero_grad() does nothing", "has left something", NeverZeroes)
contract("dropout: a Generator in a list", "the same pass runs again", HidesItsGenerator, 0.5, x=rows)
contract("dropout: seeds by counting", "the same pass runs again", SeedsByCounting, 0.5, x=rows)
contract("dropout: one Generator for all", "in two copies|second pass", DropoutOneMaskForAllCopies, 0.5, x=rows)
