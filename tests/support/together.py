"""Processes played by threads, and GANs to train in several of them: what one process does must come out of many."""

import threading
from functools import partial
from itertools import pairwise

import numpy as np

import tinygan.testing.device  # noqa: F401  (registers the backend "standin")
from tinygan import GAN, Sequential, losses, models, optim
from tinygan.backends import get_ops, ops_of, to_backend, to_numpy
from tinygan.layers import BatchNorm, Dense, LayerNorm, LeakyReLU, Softplus, SpectralNorm, Tanh
from tinygan.parallel import ALONE, Group, joined
from tinygan.penalties import R1, R2, GradientPenalty
from tinygan.runs.state import state as state_of
from tinygan.runs.tracing import require_finite

f8 = {"dtype": np.float64}


class Meeting:
    """Where threads meet: each leaves something, and finds what all have left."""

    def __init__(self, size):
        self.slots, self.barrier = [None] * size, threading.Barrier(size, timeout=60)

    def exchange(self, rank, value):
        self.slots[rank] = value
        self.barrier.wait()
        losses = list(self.slots)
        self.barrier.wait()
        return losses


class Thread(Group):
    """One of several processes that are threads of this one."""

    def __init__(self, rank, meeting):
        self.rank, self.size, self.meeting, self.sums = rank, len(meeting.slots), meeting, 0

    def exchange(self, value):
        return self.meeting.exchange(self.rank, value)

    def sum(self, a):
        self.sums += 1
        losses = self.exchange(a.copy())
        total = losses[0].copy()
        for other in losses[1:]:
            total += other
        a[...] = total

    def gather(self, a):
        return ops_of(a).xp.stack(self.exchange(a.copy()))


def together(size, work):
    """Return [work(group), ...] of so many processes, or raise what one of them raised."""
    meeting, results, errors = Meeting(size), [None] * size, []

    def process(rank):
        try:
            results[rank] = work(Thread(rank, meeting))
        except BaseException as error:
            errors.append(error)
            meeting.barrier.abort()  # nobody shall wait for this one

    threads = [threading.Thread(target=process, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    errors.sort(key=lambda error: isinstance(error, threading.BrokenBarrierError))  # the cause before what it caused
    if errors:
        raise errors[0]
    return results


def shares(counts, n):
    """The rows of each process: slices of n rows in proportion to counts, or of exactly so many."""
    edges = np.concatenate([[0], np.cumsum(counts)])
    assert edges[-1] == n
    return [slice(a, b) for a, b in pairwise(edges.tolist())]


def train(player, batches, rows=slice(None)):
    """The losses of a step for each batch (d_steps, N, ...), of which this process sees ``rows`` of each N.

    ``player`` is a GAN, or what :func:`tinygan.parallel.joined` gives for one."""
    losses = []
    for batch in batches:
        mine = batch[:, rows]
        losses.append(step(player, mine.reshape(-1, *mine.shape[2:])))
    return np.array(losses)


def step(player, real):
    """The losses of a step, looked at."""
    gan, group = getattr(player, "gan", player), getattr(player, "group", ALONE)
    real = to_backend(real, ops_of(gan.generator.theta))
    return [float(x) for x in player.step(real, watch=partial(require_finite, group=group))]


def state(gan):
    """All that the next step depends on, and the last gradients."""
    arrays, about = state_of(gan)
    return {**arrays, "d_grad": to_numpy(gan.discriminator.grad), "g_grad": to_numpy(gan.generator.grad)}, about


def assert_alike(losses, expected, *, tolerance=1e-10):
    """That two states are equal up to rounding; a tolerance of 0 means to the bit."""
    assert losses[1] == expected[1]
    assert losses[0].keys() == expected[0].keys()
    for key, a in losses[0].items():
        b = expected[0][key]
        size = max(float(np.abs(b).max(initial=0.0)), 1e-3)
        np.testing.assert_allclose(a, b, rtol=0.0, atol=tolerance * size, err_msg=key)


# ---- GANs ----------------------------------------------------------------------------------------------------------

LOSSES = {
    "minimax": losses.Minimax,
    "nonsaturating": losses.NonSaturating,
    "leastsquares": losses.LeastSquares,
    "wasserstein": losses.Wasserstein,
    "hinge": losses.Hinge,
    "relativistic": losses.Relativistic,
}


def small(normalisation="batch", seed=0, **options):
    """A GAN for samples (N, 3), whose D is smooth, so that penalties bend, and normalised in one way or another."""
    rng = np.random.default_rng(seed)

    def dense(n_in, n_out):
        layer = Dense(n_in, n_out, rng=rng, **f8)
        layer.params["b"][...] = 0.1 * rng.standard_normal(n_out)  # before BatchNorm a bias of 0 stays 0, but for noise
        return layer

    G = Sequential(dense(2, 5), BatchNorm(5, **f8), LeakyReLU(), dense(5, 3), Tanh())
    D = {
        "none": lambda: Sequential(dense(3, 6), Softplus(), dense(6, 1)),
        "batch": lambda: Sequential(dense(3, 6), BatchNorm(6, **f8), Softplus(), dense(6, 1)),
        "layer": lambda: Sequential(dense(3, 6), LayerNorm(6, **f8), Softplus(), dense(6, 1)),
        "spectral": lambda: Sequential(SpectralNorm(dense(3, 6), rng=rng), Softplus(), dense(6, 1)),
        "nested": lambda: Sequential(Sequential(dense(3, 6), BatchNorm(6, **f8)), Softplus(), dense(6, 1)),
    }[normalisation]()
    options = {"noise_dim": 2, "g_optimizer": optim.SGD(G, 0.1), "d_optimizer": optim.SGD(D, 0.1), **options}
    return GAN(G, D, seed=seed, **options)


SYSTEMS = {
    "mlp": lambda **options: models.mlp((6, 6, 1), g_hidden=(8, 12), d_hidden=(10,), **options),
    "mlp_conv": lambda **options: models.mlp_conv((8, 8, 1), width=3, g_hidden=(8,), **options),
    "lsgan": lambda **options: models.lsgan((8, 8, 1), width=2, g_hidden=(8,), **options),
    "dcgan": lambda **options: models.dcgan((8, 8, 3), width=2, **options),
    "dcgan64": lambda **options: models.dcgan64((16, 16, 3), width=2, **options),
    "resnet": lambda **options: models.resnet((8, 8, 1), width=2, **options),
}


def system(name, seed=0, **options):
    """One of the six systems, narrow, in float64."""
    G, D = SYSTEMS[name](noise_dim=4, rng=seed, **f8)
    adam = {"g_optimizer": optim.Adam(G, 1e-3, eps=1e-4), "d_optimizer": optim.Adam(D, 1e-3, eps=1e-4)}
    return GAN(G, D, noise_dim=4, seed=seed, average=0.9, **{**adam, **options})


def joined_training(group, gan, batches, rows):
    with joined(gan, group) as player:
        return train(player, batches, rows), state(gan)


# ---- what real processes train, in processes.py beside this file -----------------------------------------------------

COUNTS = {1: [8], 2: [3, 5], 3: [1, 4, 3], 4: [2, 1, 4, 1]}  # shares of 8 samples
STEPS = 3


def cases():
    """The name of each case, its GAN, and its batches."""
    penalties = [R1(1.0), R2(2.0, every=2), GradientPenalty(3.0)]
    for name, loss in LOSSES.items():
        yield f"{name}, penalties", small("batch", loss=loss(), penalties=penalties, d_steps=2), (2, 8, 3)
    yield (
        "relativistic, r1 r2, layer norm",
        small("layer", loss=losses.Relativistic(), penalties=[R1(), R2()]),
        (1, 8, 3),
    )
    yield "spectral norm", small("spectral", penalties=GradientPenalty(one_sided=True), average=0.9), (1, 8, 3)
    for name in SYSTEMS:
        gan = system(name)
        yield name, gan, (1, 8, *gan.sample_shape)
    gan = system("dcgan", loss=losses.Relativistic(), penalties=[R1(0.5), R2(0.5)], d_steps=2)
    yield "dcgan, relativistic, r1 r2", gan, (2, 8, *gan.sample_shape)
    yield "on a device", small("batch", penalties=penalties).to(get_ops("standin")), (1, 8, 3)


def batches_of(shape):
    return np.random.default_rng(7).uniform(-1.0, 1.0, (STEPS, *shape))
