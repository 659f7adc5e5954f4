"""Losses, optimisers, networks and adversarial steps that are wrong on purpose; see wrong_layers.py."""

import numpy as np

from support import reference
from support.wrong_layers import WRONG, Wrong, numbers
from tinygan import GAN, Sequential
from tinygan.layers import BatchNorm, Dense, LeakyReLU, Tanh
from tinygan.losses import (
    Hinge,
    Labelled,
    LeastSquares,
    Minimax,
    NonSaturating,
    Relativistic,
    SoftmaxCrossEntropy,
    Wasserstein,
)
from tinygan.optim import SGD, Adam, ExponentialMovingAverage, RMSProp


def wrong(name, check, right, wrong):
    WRONG.append(Wrong(name, check, AssertionError, None, lambda: right, lambda: wrong, (check, right)))


# ---- losses --------------------------------------------------------------------------------------------------------


def altered(kind, discriminator=lambda v, r, f: (v, r, f), generator=lambda v, f: (v, f)):
    """A subclass of a loss that changes what its two methods return."""

    class Altered(kind):
        def discriminator(self, real_logits, fake_logits):
            return discriminator(*super().discriminator(real_logits, fake_logits))

        def generator(self, fake_logits, real_logits=None):
            return generator(*super().generator(fake_logits, real_logits))

    return g_cache(Altered)


def g_cache(kind):
    """A loss of this kind, with smooth labels if it has any."""
    return kind(real_label=0.9) if issubclass(kind, Labelled) else kind()


def sums(value, *slopes):
    return value, *(s * s.size for s in slopes)


class SmoothedFakes(Minimax):
    """Label smoothing on both sides: fakes are called 0.1."""

    def discriminator(self, real_logits, fake_logits):
        value, d_real, d_fake = super().discriminator(real_logits, fake_logits)
        return value - 0.1 * fake_logits.mean(), d_real, d_fake - 0.1 / fake_logits.size


class NaiveLogarithm(NonSaturating):
    def generator(self, fake_logits, real_logits=None):
        with np.errstate(all="ignore"):
            p = 1.0 / (1.0 + np.exp(-fake_logits))
            return -np.mean(np.log(p)), (p - 1.0) / p.size


class DividesByTheOtherSize(NonSaturating):
    def discriminator(self, real_logits, fake_logits):
        value, d_real, d_fake = super().discriminator(real_logits, fake_logits)
        return value, d_real, d_fake * fake_logits.size / real_logits.size


class WithoutAMargin(Hinge):
    """Real logits are pushed up beyond 1 too."""

    def discriminator(self, real_logits, fake_logits):
        _, _, d_fake = super().discriminator(real_logits, fake_logits)
        value, d_real, _ = Wasserstein.discriminator(self, real_logits, fake_logits)
        value += 1.0 - fake_logits.mean() + np.maximum(1.0 + fake_logits, 0.0).mean()
        return value, d_real, d_fake


class MarginAtZero(Hinge):
    def discriminator(self, real_logits, fake_logits):
        return super().discriminator(real_logits + 1.0, fake_logits - 1.0)


class MarginForG(Hinge):
    """G too stops to learn beyond the margin."""

    def generator(self, fake_logits, real_logits=None):
        below = fake_logits < 1.0
        return np.maximum(1.0 - fake_logits, 0.0).mean(), np.where(below, -1.0 / below.size, 0.0)


class ComparesWithTheMean(Relativistic):
    """The relativistic *average* loss: each sample against the mean of the others, not pair by pair."""

    def discriminator(self, real_logits, fake_logits):
        return super().discriminator(real_logits, np.full_like(fake_logits, fake_logits.mean()))


class TurnedRound(Relativistic):
    """D asks what G should ask."""

    def discriminator(self, real_logits, fake_logits):
        value, d_fake, d_real = super().discriminator(fake_logits, real_logits)
        return value, d_real, d_fake


class NaivePairs(Relativistic):
    def generator(self, fake_logits, real_logits=None):
        with np.errstate(all="ignore"):
            p = 1.0 / (1.0 + np.exp(real_logits - fake_logits))
            return -np.mean(np.log(p)), (p - 1.0) / p.size


for kind in (Minimax, NonSaturating, LeastSquares, Wasserstein, Hinge, Relativistic):
    name, right = kind.__name__, g_cache(kind)

    def check(loss, name=name):
        reference.check_loss(loss, name)

    wrong(f"{name}: 1/N missing for D", check, right, altered(kind, discriminator=sums))
    wrong(f"{name}: 1/N missing for G", check, right, altered(kind, generator=sums))
    wrong(f"{name}: G's gradient with the wrong sign", check, right, altered(kind, generator=lambda v, f: (v, -f)))
    wrong(f"{name}: half of d_fake", check, right, altered(kind, discriminator=lambda v, r, f: (v, r, f / 2)))
    wrong(f"{name}: d_real times 1.0005", check, right, altered(kind, discriminator=lambda v, r, f: (v, 1.0005 * r, f)))
    if issubclass(kind, Labelled):
        wrong(f"{name}: label smoothing ignored", check, right, kind())


def check_wasserstein(loss):
    reference.check_loss(loss, "Wasserstein")


def check_hinge(loss):
    reference.check_loss(loss, "Hinge")


def check_relativistic(loss):
    reference.check_loss(loss, "Relativistic")


def backwards(value, *slopes):
    return -value, *(-s for s in slopes)


wrong("Wasserstein: D goes the wrong way", check_wasserstein, Wasserstein(), altered(Wasserstein, backwards))
wrong("Wasserstein: a hinge under its name", check_wasserstein, Wasserstein(), Hinge())
wrong("Hinge: no margin for real samples", check_hinge, Hinge(), WithoutAMargin())
wrong("Hinge: a margin of 0", check_hinge, Hinge(), MarginAtZero())
wrong("Hinge: a margin for G", check_hinge, Hinge(), MarginForG())
wrong("Relativistic: against the mean of the fakes", check_relativistic, Relativistic(), ComparesWithTheMean())
wrong("Relativistic: D and G change places", check_relativistic, Relativistic(), TurnedRound())
wrong("Relativistic: log of a sigmoid", check_relativistic, Relativistic(), NaivePairs())


def check_minimax(loss):
    reference.check_loss(loss, "Minimax")


def check_non_saturating(loss):
    reference.check_loss(loss, "NonSaturating")


def check_least_squares(loss):
    reference.check_loss(loss, "LeastSquares")


minimax, non_saturating, least_squares = (kind(real_label=0.9) for kind in (Minimax, NonSaturating, LeastSquares))
wrong("Minimax: the non-saturating loss under its name", check_minimax, minimax, non_saturating)
wrong("NonSaturating: the saturating loss under its name", check_non_saturating, non_saturating, minimax)
wrong("Minimax: fakes smoothed too", check_minimax, minimax, SmoothedFakes(real_label=0.9))
wrong("NonSaturating: log of a sigmoid", check_non_saturating, non_saturating, NaiveLogarithm(real_label=0.9))
wrong(
    "NonSaturating: divides by the other size",
    check_non_saturating,
    non_saturating,
    DividesByTheOtherSize(real_label=0.9),
)
wrong(
    "LeastSquares: ½ missing in the value",
    check_least_squares,
    least_squares,
    altered(LeastSquares, lambda v, r, f: (2 * v, r, f)),
)
wrong(
    "LeastSquares: ½ left in the derivative",
    check_least_squares,
    least_squares,
    altered(LeastSquares, generator=lambda v, f: (v, f / 2)),
)
wrong(
    "cross-entropy: a sum for a mean",
    reference.check_cross_entropy,
    SoftmaxCrossEntropy(),
    lambda s, y: sums(*SoftmaxCrossEntropy()(s, y)),
)


# ---- optimisers ----------------------------------------------------------------------------------------------------


def optimizer(name, kind, rule, update, **settings):
    """A ``kind`` whose step is ``update(self, theta, g, state vectors...)`` must disagree with ``rule``."""

    class WrongOptimizer(kind):
        def step(self, numbers=None):
            self.t += 1
            state = [getattr(self, n) for n in self.state_names]
            update(self, self.network.theta, self.network.grad, *state)

    wrong(name, lambda make: reference.check_optimizer(make, rule, **settings), kind, WrongOptimizer)


def adam_update(*, late=0, inside=False, corrected=True, swapped=False):
    def update(self, theta, g, m, v):
        t, (b1, b2) = self.t + late, (self.beta2, self.beta1) if swapped else (self.beta1, self.beta2)
        m[...] = b1 * m + (1 - b1) * g
        v[...] = b2 * v + (1 - b2) * g * g
        m_hat, v_hat = (m / (1 - b1**t), v / (1 - b2**t)) if corrected else (m, v)
        theta -= self.lr * m_hat / (np.sqrt(v_hat + self.eps) if inside else np.sqrt(v_hat) + self.eps)

    return update


adam = {"kind": Adam, "rule": reference.adam, "lr": 0.1, "beta1": 0.5, "beta2": 0.9, "eps": 1e-3}
optimizer("Adam: bias correction one step late", update=adam_update(late=1), **adam)
optimizer("Adam: eps inside the square root", update=adam_update(inside=True), **adam)
optimizer("Adam: no bias correction", update=adam_update(corrected=False), **adam)
optimizer("Adam: beta1 and beta2 swapped", update=adam_update(swapped=True), **adam)


def rmsprop_update(divisor):
    def update(self, theta, g, v):
        v[...] = self.rho * v + (1 - self.rho) * g * g
        theta -= self.lr * g / divisor(v, self.eps)

    return update


rmsprop = {"kind": RMSProp, "rule": reference.rmsprop, "lr": 0.1, "rho": 0.9, "eps": 1e-3}
optimizer("RMSProp: square root missing", update=rmsprop_update(lambda v, eps: v + eps), **rmsprop)
optimizer("RMSProp: eps inside the square root", update=rmsprop_update(lambda v, eps: np.sqrt(v + eps)), **rmsprop)


def sgd_update(rule):
    def update(self, theta, g, u):
        u[...] = rule(self.momentum, u, g)
        theta -= self.lr * u

    return update


sgd = {"kind": SGD, "rule": reference.sgd, "lr": 0.1, "momentum": 0.7}
optimizer("SGD: momentum with the wrong sign", update=sgd_update(lambda k, u, g: g - k * u), **sgd)
optimizer("SGD: damped gradient", update=sgd_update(lambda k, u, g: k * u + (1 - k) * g), **sgd)
optimizer("SGD: uphill", update=sgd_update(lambda k, u, g: k * u - g), **sgd)


RATES = [0.3, 0.0, 0.2, 0.5, 0.01, 0.4, 0.1, 0.6]


def schedule(name, rate):
    """Every optimiser whose learning rate is ``rate(self)`` must disagree with its rule."""
    for kind, rule, options in (
        (SGD, reference.sgd, {"momentum": 0.5}),
        (RMSProp, reference.rmsprop, {"rho": 0.9, "eps": 1e-3}),
        (Adam, reference.adam, {"beta1": 0.5, "beta2": 0.9, "eps": 1e-3}),
    ):

        def check(make, rule=rule, options=options):
            reference.check_optimizer(make, rule, lr=RATES.__getitem__, **options)

        wrong(f"{kind.__name__}: {name}", check, kind, type("WrongRate", (kind,), {"rate": rate}))


schedule("the schedule read one step late", rate=lambda self, t: self.lr(t + 1))
schedule("the schedule read at the start only", rate=lambda self, t: self.lr(0))


class StretchesShortGradients(SGD):
    def _clip(self, g):
        if self.clip_norm is not None:
            g *= self.clip_norm / np.sqrt(g @ g)
        super()._clip(g)


class ClipsTheNormOfEachEntry(SGD):
    def _clip(self, g):
        limit = self.clip_norm if self.clip_norm is not None else self.clip_value
        np.clip(g, -limit, limit, out=g)


def average(decay_at):
    class WrongAverage(ExponentialMovingAverage):
        def update(self, part=None):
            self.t += 1
            d = decay_at(self.decay, self.t)
            self.network.theta[...] = d * self.network.theta + (1 - d) * self.source.theta

    return WrongAverage


wrong("clip_norm: stretches short gradients", reference.check_clipping, SGD, StretchesShortGradients)
wrong("clip_norm: limits entries", reference.check_clipping, SGD, ClipsTheNormOfEachEntry)
for name, decay_at in {
    "the decay of the new": lambda decay, t: 1 - decay,
    "no warm-up": lambda decay, t: decay,
    "warm-up off by one": lambda decay, t: min(decay, (t - 1) / (t + 8)),
}.items():
    wrong(f"average: {name}", reference.check_average, ExponentialMovingAverage, average(decay_at))


# ---- networks ------------------------------------------------------------------------------------------------------


def check_flat_vectors(make):
    reference.check_flat_vectors(
        make(Dense(3, 4, dtype=np.float64), Tanh(), Dense(4, 1, dtype=np.float64)), numbers(4, 3)
    )


class DisconnectedTheta(Sequential):
    def __init__(self, *layers):
        super().__init__(*layers)
        self._theta = self._theta.copy()


class DisconnectedGradient(Sequential):
    def __init__(self, *layers):
        super().__init__(*layers)
        self._grad = self._grad.copy()


wrong("network: theta a copy", check_flat_vectors, Sequential, DisconnectedTheta)
wrong("network: grad a copy", check_flat_vectors, Sequential, DisconnectedGradient)


# ---- the adversarial step ------------------------------------------------------------------------------------------


def game(kind, loss=None, **options):
    """A GAN whose networks have batch normalisation, so that modes matter."""
    rng = np.random.default_rng(3)
    f8 = {"dtype": np.float64}
    G = Sequential(Dense(3, 5, rng=rng, **f8), BatchNorm(5, **f8), LeakyReLU(), Dense(5, 4, rng=rng, **f8), Tanh())
    D = Sequential(Dense(4, 5, rng=rng, **f8), BatchNorm(5, **f8), LeakyReLU(), Dense(5, 1, rng=rng, **f8))
    return kind(G, D, noise_dim=3, loss=loss, g_optimizer=SGD(G, 0.5), d_optimizer=SGD(D, 0.5), **options)


def check_step(kind):
    reference.check_adversarial_step(game(kind), numbers(6, 4))


def check_pairs(kind):
    reference.check_adversarial_step(game(kind, Relativistic()), numbers(6, 4))


def check_two_turns(kind):
    reference.check_adversarial_step(game(kind, Relativistic(), d_steps=2), numbers(8, 4))


def check_average_in_a_step(kind):
    reference.check_average_in_a_step(game(kind, average=0.9), numbers(6, 4))


def generator_step(backward, *, train=True):
    class WrongGAN(GAN):
        def _generator_turn(self, real, z, numbers, watch):
            G, D = self.generator, self.discriminator
            fake, g_cache = G.apply(z, train)
            logits, d_cache = D.apply(fake, True)
            value, d_logits = self.loss.generator(logits)
            backward(G, D, fake, g_cache, d_cache, d_logits)
            self.g_optimizer.step(numbers)
            return value

    return WrongGAN


def rightly(G, D, fake, g_cache, d_cache, d_logits):
    G.store_gradients(g_cache, D.input_gradient(d_cache, d_logits), add=False)


def past_the_discriminator(G, D, fake, g_cache, d_cache, d_logits):
    G.store_gradients(g_cache, np.broadcast_to(d_logits, fake.shape).copy(), add=False)


def through_an_evaluated_discriminator(G, D, fake, g_cache, d_cache, d_logits):
    rightly(G, D, fake, g_cache, D.apply(fake, False)[1], d_logits)


def into_the_discriminators_gradients(G, D, fake, g_cache, d_cache, d_logits):
    G.store_gradients(g_cache, D.backprop(d_cache, d_logits), add=False)


def never_zeroed(G, D, fake, g_cache, d_cache, d_logits):
    G.store_gradients(g_cache, D.input_gradient(d_cache, d_logits))


def uphill(G, D, fake, g_cache, d_cache, d_logits):
    rightly(G, D, fake, g_cache, d_cache, -d_logits)


class TrainsBothInGsStep(GAN):
    def _generator_turn(self, real, z, numbers, watch):
        value = super()._generator_turn(real, z, numbers, watch)
        self.discriminator.theta[...] *= 0.999
        return value


class SameNoise(GAN):
    def _draw_noise(self, n, rng):
        state = rng.bit_generator.state
        z = super()._draw_noise(n, rng)
        rng.bit_generator.state = state
        return z


class ForgetsTheReal(GAN):
    def _discriminator_turn(self, real, z, drawn, numbers, watch):
        G, D = self.generator, self.discriminator
        logits, d_cache = D.apply(G.apply(z, True)[0], True)
        value, _, d_fake = self.loss.discriminator(D(real), logits)
        D.store_gradients(d_cache, d_fake, add=False)
        self.d_optimizer.step(numbers)
        return value, 0.0


class JudgesBothAsOneBatch(GAN):
    """Batch normalisation of D mixes real and generated samples, and the gradient is right for that."""

    def _discriminator_turn(self, real, z, drawn, numbers, watch):
        D = self.discriminator
        logits, d_cache = D.apply(np.concatenate([real, self.generator.apply(z, True)[0]]), True)
        value, d_real, d_fake = self.loss.discriminator(*np.split(logits, 2))
        D.store_gradients(d_cache, np.concatenate([d_real, d_fake]), add=False)
        self.d_optimizer.step(numbers)
        return value, 0.0


class LearnsFromTheOldDiscriminator(GAN):
    def _discriminator_turn(self, *given):
        self.old = self.discriminator.theta.copy()
        return super()._discriminator_turn(*given)

    def _generator_turn(self, *given):
        D = self.discriminator
        new, D.theta[...] = D.theta.copy(), self.old
        value = super()._generator_turn(*given)
        D.theta[...] = new
        return value


for name, kind in {
    "D's gradient ignored on the way to G": generator_step(past_the_discriminator),
    "D evaluated where it should train": generator_step(through_an_evaluated_discriminator),
    "G's step adds to D's gradients": generator_step(into_the_discriminators_gradients),
    "G's gradient never zeroed": generator_step(never_zeroed),
    "G goes uphill": generator_step(uphill),
    "G evaluated where it should train": generator_step(rightly, train=False),
    "G's step moves D": TrainsBothInGsStep,
    "G learns through D as it was before its step": LearnsFromTheOldDiscriminator,
    "the same noise for both": SameNoise,
    "D sees real and generated samples as one batch": JudgesBothAsOneBatch,
    "D sees no real samples": ForgetsTheReal,
}.items():
    wrong(f"step: {name}", check_step, GAN, kind)


def comparing_step(judge):
    """A step of G with a comparing loss, whose real logits come from ``judge(D, real)``."""

    class WrongGAN(GAN):
        def _generator_turn(self, real, z, numbers, watch):
            G, D = self.generator, self.discriminator
            fake, g_cache = G.apply(z, True)
            real_logits = judge(D, real)
            logits, d_cache = D.apply(fake, True)
            value, d_logits = self.loss.generator(logits, real_logits)
            rightly(G, D, fake, g_cache, d_cache, d_logits)
            self.g_optimizer.step(numbers)
            return value

    return WrongGAN


def learns_from_the_real(D, real):
    """As if D's gradient of the real samples were part of G's step."""
    logits, d_cache = D.apply(real, True)
    D.store_gradients(d_cache, np.full_like(logits, 1.0 / len(logits)), add=False)
    return logits


class RemembersTheRealLogits(GAN):
    """The real logits of D's own step, from before D moved."""

    def _discriminator_turn(self, real, *given):
        self.old = self.discriminator.copy().apply(real, True)[0]
        return super()._discriminator_turn(real, *given)

    def _generator_turn(self, *given):
        return comparing_step(lambda D, real: self.old)._generator_turn(self, *given)


for name, kind in {
    "real logits in evaluation": comparing_step(lambda D, real: D(real)),
    "D's gradients written by the real samples": comparing_step(learns_from_the_real),
    "real logits of the old D": RemembersTheRealLogits,
    "the fake logits of others for the real ones": comparing_step(lambda D, real: D.copy().apply(-real, True)[0]),
}.items():
    wrong(f"step in pairs: {name}", check_pairs, GAN, kind)


# ---- two turns of D for one of G, and the average --------------------------------------------------------------------


class OneFakeForAllTurns(GAN):
    def _discriminator_turn(self, real, z, drawn, numbers, watch):
        first = self.discriminator_turns = getattr(self, "discriminator_turns", []) or [z]
        if self.d_optimizer.t % self.d_steps == 0:
            first[0] = z
        return super()._discriminator_turn(real, first[0], drawn, numbers, watch)


class OneDrawForAllTurns(GAN):
    def draw(self, n):
        draws = super().draw(n)
        return draws._replace(d=draws.d[:1] * self.d_steps)


class TheFirstRealForAllTurns(GAN):
    def play(self, real, draws, watch=None):
        n = len(real) // self.d_steps
        return super().play(np.concatenate([real[:n]] * self.d_steps), draws, watch)


class ComparesWithTheFirstReal(GAN):
    def play(self, real, draws, watch=None):
        self.first = real[: len(real) // self.d_steps]
        return super().play(real, draws, watch)

    def _generator_turn(self, real, z, numbers, watch):
        return super()._generator_turn(self.first, z, numbers, watch)


class OneTurnOnly(GAN):
    def play(self, real, draws, watch=None):
        return super().play(real, draws._replace(d=draws.d[-1:]), watch)


class AveragesBeforeTheStep(GAN):
    def _generator_turn(self, *given):
        self.average.update()
        average, self.average = self.average, None
        value = super()._generator_turn(*given)
        self.kept = average
        return value

    def play(self, real, draws, watch=None):
        losses = super().play(real, draws, watch)
        self.average = self.kept
        return losses


class AveragesTwice(GAN):
    def play(self, real, draws, watch=None):
        self.average.update()
        return super().play(real, draws, watch)


class NeverAverages(GAN):
    def play(self, real, draws, watch=None):
        average, self.average = self.average, None
        losses = super().play(real, draws, watch)
        self.average = average
        return losses


for name, kind in {
    "one fake for all": OneFakeForAllTurns,
    "one draw for all": OneDrawForAllTurns,
    "the first real samples for all": TheFirstRealForAllTurns,
    "G compares with the first real samples": ComparesWithTheFirstReal,
    "one turn only": OneTurnOnly,
}.items():
    wrong(f"two turns of D: {name}", check_two_turns, GAN, kind)
for name, kind in {
    "before G moves": AveragesBeforeTheStep,
    "twice": AveragesTwice,
    "never": NeverAverages,
}.items():
    wrong(f"average in a step: {name}", check_average_in_a_step, GAN, kind)
