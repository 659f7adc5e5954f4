"""Layers with the right formulas that break the contract, each in one way; see wrong_layers.py."""

import numpy as np

from support.wrong_layers import contract, numbers
from tinygan.errors import GradientError
from tinygan.layers import BatchNorm, Dense, Dropout, Layer, ReLU, Tanh

rows = numbers(4, 3)


def dense(name, says, wrong, x=rows, **options):
    contract(f"dense: {name}", says, wrong, 3, 2, x=x, **options)


# ---- what the methods return, and where the weights are --------------------------------------------------------------


class OnlyAnOutput(Tanh):
    def apply(self, x, train):
        return np.tanh(x)


class OnlyDx(Tanh):
    def gradients(self, y, dy):
        return dy * (1.0 - y * y)


class OneGradientMissing(Dense):
    def gradients(self, x, dy):
        dx, gradients = super().gradients(x, dy)
        return dx, {"W": gradients["W"]}


class MisshapenAnswer(Dense):
    def gradients(self, x, dy):
        dx, gradients = super().gradients(x, dy)
        return dx, {**gradients, "b": gradients["b"][None]}


class WeightsInAnAttribute(Layer):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.W = Dense(n_in, n_out, rng=0).params["W"]

    def apply(self, x, train):
        return x @ self.W, x

    def gradients(self, x, dy):
        return dy @ self.W.T, {}

    def output_shape(self, input_shape):
        return (self.W.shape[1],)


class WeightsInADict(WeightsInAnAttribute):
    def __init__(self, n_in, n_out):
        Layer.__init__(self)
        self.weights = {"W": Dense(n_in, n_out, rng=0).params["W"]}

    @property
    def W(self):
        return self.weights["W"]


class LayersInALayer(Layer):
    """A block that forgets to say that what its layers learn is its own."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.inner = [Dense(n_in, n_out, rng=0)]

    def apply(self, x, train):
        return self.inner[0].apply(x, train)

    def gradients(self, x, dy):
        return self.inner[0].gradients(x, dy)[0], {}

    def output_shape(self, input_shape):
        return self.inner[0].output_shape(input_shape)

    def astype(self, dtype):
        new = super().astype(dtype)
        new.inner = [layer.astype(dtype) for layer in self.inner]
        return new


# ---- passes ----------------------------------------------------------------------------------------------------------


class FirstForwardForever(Dense):
    """Keeps the x that it saw first for the gradient of W."""

    first = None

    def apply(self, x, train):
        self.first = x if self.first is None else self.first
        return super().apply(x, train)

    def gradients(self, x, dy):
        dx, gradients = super().gradients(x, dy)
        return dx, {**gradients, "W": self.first.T @ dy}


class LatestForward(Dense):
    """Keeps x in an attribute, so the backward of D(real) sees the x of D(fake)."""

    def apply(self, x, train):
        self.x = x
        return super().apply(x, train)

    def gradients(self, x, dy):
        return super().gradients(self.x, dy)


class LatestOutputInEvaluation(Tanh):
    """Right in training; when somebody looks at another batch in between, the slope is that batch's."""

    seen = None

    def apply(self, x, train):
        y, cache = super().apply(x, train)
        self.seen = None if train else y
        return y, cache

    def gradients(self, y, dy):
        return super().gradients(y if self.seen is None else self.seen, dy)


class TrainingBatchInEvaluation(Dense):
    """Right in training, and in evaluation as long as no training came before."""

    last = None

    def apply(self, x, train):
        if train:
            self.last = x
        return super().apply(x, train)[0], x if self.last is None else self.last


class OneScratchForAll(Tanh):
    """Saves memory by computing every y of one shape in the same array."""

    scratch = None

    def apply(self, x, train):
        if self.scratch is None or (self.scratch.shape, self.scratch.dtype) != (x.shape, x.dtype):
            self.scratch = np.empty_like(x)
        np.tanh(x, out=self.scratch)
        return self.scratch.copy(), self.scratch


class RunningStatisticsInTheCache(BatchNorm):
    """In evaluation the cache holds the running mean itself, which moves before it is used."""

    def apply(self, x, train):
        y, cache = super().apply(x, train)
        return y, cache if train else (x, self.running_mean, cache[1])

    def gradients(self, cache, dy):
        if isinstance(cache[2], bool):
            return super().gradients(cache, dy)
        x, mean, inv_std = cache
        return super().gradients(((x - mean) * inv_std, inv_std, False), dy)


class UsesTheCacheUp(Tanh):
    def gradients(self, y, dy):
        y *= y
        y -= 1.0
        return -dy * y, {}

    def apply(self, x, train):
        y = np.tanh(x)
        return y, y.copy()


class AnswersAlways(Dense):
    """The style of many tutorials: a cache that is never taken."""

    cache = None

    def forward(self, x, *, train=True):
        self.check_input(x)
        y, self.cache = self.apply(x, train)
        return y

    def backward(self, dy):
        return self.backprop(np.zeros((len(dy), self.n_in)) if self.cache is None else self.cache, dy)


class AnswersTwice(Dense):
    def backward(self, dy):
        passes = self._passes
        dx = super().backward(dy)
        self._passes = passes
        return dx


class AnswersTheLatestOfTwo(Dense):
    def backward(self, dy):
        self._passes = self._passes[-1:]
        return super().backward(dy)


class LooksWithAPass(Dense):
    def __call__(self, x):
        return self.forward(x, train=False)


class LooksInTrainingMode(BatchNorm):
    def __call__(self, x):
        self.check_input(x)
        return self.apply(x, True)[0]


class NeverForgets(Dense):
    def forget(self):
        self._passes = getattr(self, "_passes", [])

    def backward(self, dy):
        dx = super().backward(dy)
        self._passes = []
        return dx


class AnyShapeOfDy(Dense):
    def backward(self, dy):
        return super().backward(dy.reshape(-1)[: 4 * 2].reshape(4, 2))


# ---- what a network asks ---------------------------------------------------------------------------------------------


class WriteAdds(Dense):
    def store_gradients(self, cache, dy, add=True):
        super().store_gradients(cache, dy, True)


class AddWrites(Dense):
    def store_gradients(self, cache, dy, add=True):
        super().store_gradients(cache, dy, False)


class WriteScalesWhatIsThere(Dense):
    """0 · NaN is NaN: what was in grads must not be looked at."""

    def store_gradients(self, cache, dy, add=True):
        for g in self.grads.values():
            g *= 1.0 if add else 0.0
        super().store_gradients(cache, dy, True)


class BackpropAlwaysAdds(Dense):
    def backprop(self, cache, dy, add=True):
        return super().backprop(cache, dy, True)


class BackpropOverwrites(Dense):
    def backprop(self, cache, dy, add=True):
        return super().backprop(cache, dy, False)


class InputGradientStores(Dense):
    def input_gradient(self, cache, dy):
        return self.backprop(cache, dy)


class NothingForTheInput(Dense):
    def input_gradient(self, cache, dy):
        return 0.0 * super().input_gradient(cache, dy)


class StoresNoBias(Dense):
    def store_gradients(self, cache, dy, add=True):
        self.grads["W"][...] = cache.T @ dy + (self.grads["W"] if add else 0.0)


class NeverZeroes(Dense):
    def zero_grad(self):
        pass


# ---- arrays ----------------------------------------------------------------------------------------------------------


class ReplacesItsGradients(Dense):
    def _store(self, gradients, add):
        self.grads = {key: g + gradients[key] if add else gradients[key] for key, g in self.grads.items()}


class RebindsItsGradients(Dense):
    """Adds to what is there, but in a new array."""

    def _store(self, gradients, add):
        for key, g in self.grads.items():
            self.grads[key] = g + gradients[key] if add else gradients[key]


class RebindsWhenItWrites(Dense):
    def store_gradients(self, cache, dy, add=True):
        if add:
            super().store_gradients(cache, dy, add)
        else:
            self.grads.update(self.gradients(cache, dy)[1])


class RebindsItsParameters(Dense):
    def apply(self, x, train):
        self.params["W"] = self.params["W"] + 0.0
        return super().apply(x, train)


class RebindsItsBuffers(BatchNorm):
    def apply(self, x, train):
        result = super().apply(x, train)
        if train:
            self.buffers = {key: np.array(value) for key, value in self.buffers.items()}
        return result


class AddsABuffer(Dense):
    def apply(self, x, train):
        self.buffers["calls"] = np.zeros(1, x.dtype)
        return super().apply(x, train)


class MutatesInput(Tanh):
    def apply(self, x, train):
        np.tanh(x, out=x)
        return x, x


class MutatesDy(Tanh):
    def gradients(self, y, dy):
        dy *= 1.0 - y * y
        return dy, {}


class MutatesInputBackward(ReLU):
    """Keeps dx in the memory of x, where it is not needed any more."""

    def apply(self, x, train):
        return np.maximum(x, 0.0), (x, x > 0)

    def gradients(self, cache, dy):
        x, positive = cache
        x[...] = dy * positive
        return x.copy(), {}


class MutatesParameters(Dense):
    def backward(self, dy):
        dx = super().backward(dy)
        self.params["W"] -= 1e-3 * self.grads["W"]
        return dx


class GrowsToFloat64(Dense):
    def apply(self, x, train):
        y, cache = super().apply(x, train)
        return y * np.float64(1.0), cache


class ShrinksToFloat32(Tanh):
    def apply(self, x, train):
        y, cache = super().apply(x, train)
        return y.astype(np.float32), cache


class GradientGrowsToFloat64(Tanh):
    def gradients(self, y, dy):
        return dy * (1.0 - y * y) * np.float64(1.0), {}


class ParametersGradientGrows(Dense):
    def gradients(self, x, dy):
        dx, gradients = super().gradients(x, dy)
        return dx, {key: g * np.float64(1.0) for key, g in gradients.items()}


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
    def gradients(self, x, dy):
        dx, gradients = super().gradients(x, dy)
        return dx[:, None, :], gradients


class AnnouncesAnotherShape(Dense):
    def output_shape(self, input_shape):
        return (self.n_in,)


class ReadsMemoryAsItLies(Tanh):
    def apply(self, x, train):
        return super().apply(x.ravel(order="K").reshape(x.shape), train)


class TakesIntegers(Tanh):
    def check_input(self, x):
        pass


class LooksAtOtherSamples(Dense):
    """Centres the batch, with the right gradient, and does not say so."""

    def apply(self, x, train):
        return super().apply(x - x.mean(axis=0), train)

    def gradients(self, x, dy):
        dx, gradients = super().gradients(x, dy)
        return dx - dx.mean(axis=0), gradients


class SharesMemoryWithCopies(Dense):
    def copy(self):
        new = super().copy()
        new.params = self.params
        return new


# ---- random numbers --------------------------------------------------------------------------------------------------


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

    def apply(self, x, train):
        self.calls += 1
        self.rng = np.random.default_rng(self.calls)
        return super().apply(x, train)


class DropoutOneMaskForAllCopies(Dropout):
    shared = np.random.default_rng(0)

    def apply(self, x, train):
        self.rng = self.shared
        return super().apply(x, train)


# ---- indices ---------------------------------------------------------------------------------------------------------


class Embedding(Layer):
    """y[n] = W[x[n]] for indices x (N,): right."""

    takes_integers = True

    def __init__(self, n, c):
        super().__init__()
        self.add_param("W", np.random.default_rng(0).standard_normal((n, c)).astype(np.float32))

    def apply(self, x, train):
        return self.params["W"][x], x

    def gradients(self, x, dy):
        dW = np.zeros_like(self.params["W"])
        np.add.at(dW, x, dy)
        return None, {"W": dW}

    def output_shape(self, input_shape):
        return (*input_shape, self.params["W"].shape[1])


class OneOfEqualIndices(Embedding):
    def gradients(self, x, dy):
        dW = np.zeros_like(self.params["W"])
        dW[x] += dy  # NumPy adds once where an index comes twice
        return None, {"W": dW}


class TakesFloats(Embedding):
    def check_input(self, x):
        pass

    def apply(self, x, train):
        return super().apply(x.astype(int), train)


class LatestIndices(Embedding):
    def apply(self, x, train):
        self.x = x
        return super().apply(x, train)

    def gradients(self, x, dy):
        return super().gradients(self.x, dy)


def embedding(name, says, wrong, **options):
    contract(f"embedding: {name}", says, wrong, 5, 3, x=np.array([1, 3, 3, 0, 4]), right=Embedding, **options)


contract("tanh: apply returns y alone", "apply returns ndarray|ValueError", OnlyAnOutput, x=rows)
contract("tanh: gradients returns dx alone", "gradients returns ndarray", OnlyDx, x=rows)
dense("gradients leaves one out", r"must give b as .* got only \['W'\]", OneGradientMissing, error=GradientError)
dense("gradients gives db with another shape", r"must give b .*\(1, 2\)", MisshapenAnswer, error=GradientError)
dense("weights in an attribute", r"self\.W \(3, 2\) is in neither", WeightsInAnAttribute, right=Dense)
dense("weights in a dict of its own", r"self\.weights\['W'\] \(3, 2\) is in neither", WeightsInADict, right=Dense)
dense("layers in a layer", r"self\.inner\[0\].* is in neither", LayersInALayer, right=Dense)
dense("the first forward's x forever", "in between|second pass of a layer", FirstForwardForever)
dense("the latest forward's x", "another batch is applied in between", LatestForward)
contract("tanh: the latest evaluation's y", "applied in between", LatestOutputInEvaluation, x=rows)
dense("the x of training in evaluation", "train=True, then False", TrainingBatchInEvaluation)
contract("tanh: one scratch array for all passes", "applied in between", OneScratchForAll, x=rows)
contract("batch norm: running mean in the cache", "in between", RunningStatisticsInTheCache, 3, x=rows)
contract("tanh: uses the cache up", "dx is another when it is asked for again", UsesTheCacheUp, x=rows)
dense("backward without a forward", "without any forward was answered", AnswersAlways)
dense("second backward for one forward", "second backward for one forward", AnswersTwice)
dense("backward after two forwards", "after two forwards was answered", AnswersTheLatestOfTwo)
dense("layer(x) opens a pass", "after layer\\(x\\) was answered", LooksWithAPass)
contract("batch norm: layer(x) as in training", "train=False\\) differ", LooksInTrainingMode, 3, x=rows)
dense("forget() forgets nothing", "opens no pass|left a pass open", NeverForgets)
dense("any shape of dy", "was taken for an output", AnyShapeOfDy)
dense("add=False adds", r"after store_gradients\(cache, dy, add=False\)", WriteAdds)
dense("add=True writes", r"after store_gradients\(cache, dy, add=True\)", AddWrites)
dense("add=False scales what is there", r"after store_gradients\(cache, dy, add=False\)", WriteScalesWhatIsThere)
dense("backprop always adds", r"after backprop\(cache, dy, add=False\)", BackpropAlwaysAdds)
dense("gradient overwritten, not accumulated", r"after backprop\(cache, dy, add=True\)", BackpropOverwrites)
dense("input_gradient stores", "input_gradient\\(\\) has changed grads", InputGradientStores)
dense("input_gradient stops dx", "dx is another|gives another dx", NothingForTheInput)
dense("store_gradients forgets the bias", r"grads\['b'\] is not|the gradient of b is another", StoresNoBias)
dense("zero_grad() does nothing", "has left something|is another|differs", NeverZeroes)
dense("gradient dict replaced", r"grads\['.'\] is another array", ReplacesItsGradients)
dense("gradients in new arrays", r"grads\['.'\] is another array", RebindsItsGradients)
dense("gradients in new arrays where they are written", r"grads\['.'\] is another array", RebindsWhenItWrites)
dense("parameters in new arrays", r"params\['W'\] is another array", RebindsItsParameters)
contract("batch norm: buffers in new arrays", "buffers.* is another array", RebindsItsBuffers, 3, x=rows)
dense("a buffer that comes with the first pass", r"buffers\['calls'\] is another array", AddsABuffer)
contract("tanh: works in place on x", "forward has changed x", MutatesInput, x=rows)
contract("tanh: works in place on dy", "backward has changed dy", MutatesDy, x=rows)
contract("ReLU: keeps dx in the memory of x", "backward has changed x", MutatesInputBackward, x=rows)
dense("takes a step of its own", "changed the parameter W", MutatesParameters)
dense("float64 from float32", "the output is float64 for float32", GrowsToFloat64)
contract(
    "tanh: float32 from float64", "the output is float32 for float64", ShrinksToFloat32, x=rows, error=GradientError
)
contract("tanh: dx float64 from float32", "dx is float64 for float32", GradientGrowsToFloat64, x=rows)
dense("dW float64 from float32", "must give W as float32 .* got float64", ParametersGradientGrows)
dense("a gradient that is the parameter", "the parameter itself", AliasedGradient)
dense("gradient (1, O) for a bias (O,)", r"its gradient float64 \(1, 2\)", MisshapenGradient)
dense("no gradient for b", "grads has", UnknownGradient)
dense("dx with one axis too many", r"dx has shape \(4, 1, 3\)", KeepsNoAxis, error=GradientError)
dense("output_shape() of the input", "expected an output of shape", AnnouncesAnotherShape)
contract("tanh: reads memory as it lies", "with transposed x", ReadsMemoryAsItLies, x=rows)
contract("tanh: takes integers", "batch of int64 was taken", TakesIntegers, x=rows)
dense("looks at other samples", "other samples have changed", LooksAtOtherSamples)
dense("copies share memory", "changing a copy", SharesMemoryWithCopies)
contract("dropout: a Generator in a list", "the same pass runs again|second pass", HidesItsGenerator, 0.5, x=rows)
contract("dropout: seeds by counting", "the same pass runs again|second pass", SeedsByCounting, 0.5, x=rows)
contract(
    "dropout: one Generator for all",
    "two equal copies give different",
    DropoutOneMaskForAllCopies,
    0.5,
    x=rows,
    error=GradientError,
)
embedding("one of equal indices", r"grads\['W'\] is wrong", OneOfEqualIndices, error=GradientError)
embedding("takes floats", "batch of float64 was taken", TakesFloats)
embedding("the latest indices", "another batch is applied in between", LatestIndices)
