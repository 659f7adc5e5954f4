"""Several processes train one GAN: whatever their number and shares, as one process with the whole batch. Threads play
the processes here; test_mpi.py has real ones."""

import copy
import pickle
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.emulator import emulated, needs_compiler
from support.small_runs import STEPS, assert_same_files, small_data, small_gan
from support.together import (
    LOSSES,
    SYSTEMS,
    Thread,
    assert_alike,
    f8,
    joined_training,
    shares,
    small,
    state,
    system,
    together,
    train,
)

from tinygan import GAN, Sequential, checkpoints, metrics, models, optim
from tinygan.errors import ArgumentError, NonFiniteError, ShapeError
from tinygan.layers import BatchNorm, Dense, Dropout, MinibatchStdDev, Pack
from tinygan.network import Apart
from tinygan.parallel import ALONE, Group, OwnRows, Shard, SharedPenalty, SyncBatchNorm, batchnorm, joined
from tinygan.parallel.together import SharedLinks
from tinygan.penalties import R1, R2, GradientPenalty, standardized
from tinygan.penalties.rules import rule_of
from tinygan.runs import judging
from tinygan.runs import training as loop
from tinygan.runs.state import checksum
from tinygan.testing.strategies import rngs

PENALTIES = {
    "none": lambda: [],
    "r1": lambda: [R1(1.0)],
    "r1 r2": lambda: [R1(1.0), R2(2.0)],
    "gp": lambda: [GradientPenalty(3.0, every=2)],
    "all": lambda: [R2(1.0, every=2), R1(1.0), GradientPenalty(2.0, 0.0)],
}


def compare(make, batches, counts, *, tolerance=1e-10):
    """Train in one process, and in one for each count of samples; return how many sums one of those needed."""
    alone = make()
    losses = train(alone, batches)
    group_sums = []

    def process(group):
        actual = joined_training(group, make(), batches, shares(counts, batches.shape[2])[group.rank])
        group_sums.append(group.sums)
        return actual

    actual = together(len(counts), process)
    for other, after in actual:
        np.testing.assert_allclose(other, losses, rtol=tolerance, atol=tolerance)
        assert_alike(after, state(alone), tolerance=tolerance)
        np.testing.assert_array_equal(other, actual[0][0])
        assert_alike(after, actual[0][1], tolerance=0.0)
    return group_sums[0]


@st.composite
def splits(draw):
    """Shares of at least one sample each, of 1 to 4 processes.

    Three samples at least: BatchNorm makes ±1 of any two numbers, and what flows back from these is rounding alone.
    """
    return draw(st.lists(st.integers(1, 4), min_size=1, max_size=4).filter(lambda counts: sum(counts) > 2))


@given(
    counts=splits(),
    loss=st.sampled_from(sorted(LOSSES)),
    penalties=st.sampled_from(sorted(PENALTIES)),
    normalisation=st.sampled_from(["none", "batch", "layer", "spectral", "nested"]),
    d_steps=st.integers(1, 2),
    more=st.sampled_from([{}, {"average": 0.9}, {"weight_clip": 0.3}]),
    rng=rngs,
)
@settings(max_examples=60)
def test_several_processes_are_one(counts, loss, penalties, normalisation, d_steps, more, rng):
    batches = rng.standard_normal((3, d_steps, sum(counts), 3))

    def make():
        options = {"loss": LOSSES[loss](), "penalties": PENALTIES[penalties](), "d_steps": d_steps, **more}
        return small(normalisation, **options)

    compare(make, batches, counts)


@pytest.mark.parametrize("penalties", ["none", "r1 r2", "gp"])
@pytest.mark.parametrize("name", SYSTEMS)
def test_the_five_systems(name, penalties):
    shape = system(name).sample_shape
    batches = np.random.default_rng(3).uniform(-1, 1, (2, 2, 7, *shape))
    compare(lambda: system(name, penalties=PENALTIES[penalties](), d_steps=2), batches, [1, 4, 2])


@pytest.mark.parametrize("way", ["concat", "projection"])
def test_each_process_has_the_labels_of_its_samples(way):
    rng = np.random.default_rng(0)
    real, labels = rng.standard_normal((3, 6, 4, 4, 1)), rng.integers(3, size=(3, 6))

    def steps(group, rows):
        networks = models.mlp((4, 4, 1), noise_dim=3, g_hidden=(5,), d_hidden=(6,), classes=3, conditional=way, **f8)
        for network in networks:  # each class has its own, and no bias is nothing but noise
            network.theta[...] += 0.1 * np.random.default_rng(1).standard_normal(network.theta.shape)
        gan = models.ConditionalGAN(*networks, noise_dim=3, penalties=[R1(1.0), GradientPenalty(1.0)])
        with joined(gan, group) as player:
            for x, of in zip(real, labels, strict=True):
                player.step(x[rows], of[rows])
        return state(gan)

    alone = steps(ALONE, slice(None))
    cut = shares([4, 2], 6)
    for of_process in together(2, lambda group: steps(group, cut[group.rank])):
        assert_alike(of_process, alone, tolerance=1e-9)


@pytest.mark.parametrize("clipping", [{"clip_norm": 0.05}, {"clip_value": 0.01}])
def test_gradients_are_clipped_when_they_are_whole(clipping):
    def make():
        gan = small()
        gan.d_optimizer = optim.SGD(gan.discriminator, 0.1, **clipping)
        return gan

    compare(make, np.random.default_rng(0).standard_normal((3, 1, 7, 3)), [4, 3])


def test_one_sum_of_each_gradient():
    """All else that is added up is a few numbers: the losses, and BatchNorm's."""
    batches = np.random.default_rng(0).standard_normal((3, 1, 6, 3))
    sums = compare(lambda: small("none"), batches, [3, 3])
    assert sums == 3 * (2 + 2 + 1)  # two gradients, two pairs of losses, and the BatchNorm in G


def test_on_a_device(device):
    """The same on arrays that live elsewhere."""
    batches = np.random.default_rng(1).standard_normal((2, 1, 5, 3))
    expected = train(small(), batches)

    def process(group):
        gan = small(penalties=[R1(1.0)]).to(device.backend)
        with joined(gan, group) as player:
            return train(player, batches, shares([2, 3], 5)[group.rank]), checksum(gan)

    alone = train(small(penalties=[R1(1.0)]), batches)
    assert (alone != expected).any()
    (a, actual), (b, other) = together(2, process)
    np.testing.assert_allclose(a, alone, rtol=1e-10)
    np.testing.assert_array_equal(a, b)
    assert actual == other


def test_batch_norm_statistics_far_from_zero():
    """Chan's formula: a mean of 1e6 leaves the variance its digits, which Σx² − (Σx)²/M would not."""
    x = 1e6 + np.random.default_rng(2).standard_normal((9, 2))
    alone = BatchNorm(2, dtype=np.float64)
    y = alone.forward(x)

    def process(group):
        layer = BatchNorm(2, dtype=np.float64)
        link = SyncBatchNorm(layer, 1, group)
        return link.apply(x[shares([1, 6, 2], 9)[group.rank]], True)[0], layer.buffers

    actual = together(3, process)
    np.testing.assert_allclose(np.concatenate([part for part, _ in actual]), y, rtol=1e-8)
    for _, buffers in actual:
        np.testing.assert_allclose(buffers["running_var"], alone.running_var, rtol=1e-12)


# ---- wrong ways of doing it ----------------------------------------------------------------------------------------


class PlainMean(Shard):
    """All shares count the same, however many samples they have."""

    @property
    def share(self):
        return 1.0 / self.group.size


class OwnNoise(Shard):
    """Each process draws its own noise from the common seed."""

    def rng(self, rng):
        return rng


class NoSum(Shard):
    """The gradients stay at home."""

    def sum(self, grad, *values):
        return super().sum(grad.copy(), *values)


class LossesAtHome(Shard):
    """Each process shows the losses of its own samples."""

    def sum(self, grad, *values):
        super().sum(grad, *values)
        return values


class Unweighted(Shard):
    """Gradients of means are added as if they were parts of one mean."""

    def weighted(self, value, *slopes):
        return value * self.share, *slopes


@pytest.mark.parametrize("wrong", [PlainMean, OwnNoise, NoSum, LossesAtHome, Unweighted])
@pytest.mark.parametrize("penalties", ["none", "all"])
def test_wrong_shards_are_caught(monkeypatch, wrong, penalties):
    batches = np.random.default_rng(4).standard_normal((2, 1, 5, 3))
    compare(lambda: small(penalties=PENALTIES[penalties]()), batches, [2, 3])
    honest = Group.shard
    monkeypatch.setattr(Group, "shard", lambda self, n: wrong(*vars(honest(self, n)).values()))
    with pytest.raises(AssertionError):
        compare(lambda: small(penalties=PENALTIES[penalties]()), batches, [2, 3])


def test_a_penalty_that_counts_whole_in_each_process_is_caught(monkeypatch):
    batches = np.random.default_rng(4).standard_normal((2, 1, 5, 3))
    monkeypatch.setattr(SharedPenalty, "store_gradients", lambda self, *args: self.penalty.store_gradients(*args))
    with pytest.raises(AssertionError):
        compare(lambda: small(penalties=[R1(1.0)]), batches, [2, 3])


def own_rows(group, pool, blocks):
    """As if this process had the whole batch."""
    return pool(blocks)


def without_scatter(group, pool, blocks):
    """The sum of the squares around each process's own mean."""
    *others, squares = honest_pool(group, pool, blocks)
    return *others, squares if group is None else group.gather(pool(blocks)[-1]).sum(axis=0)


def whole_slope(*args):
    """All of ∂(gᵀ J v)/∂gamma in each process, so that their sum has it several times."""
    *_, group = args
    return honest_second_order(*args) * (1 if group is None else group.size)


honest_pool, honest_second_order = standardized.pool_all, standardized.second_order_in_channels
honest_dx = SyncBatchNorm._dx


def own_sums(self, cache, dy, sums):
    """dx from the sums over the own rows."""
    alone = SyncBatchNorm(self.layer, self.batches, ALONE)
    return honest_dx(alone, cache, dy, sums)


@pytest.mark.parametrize(
    ("room", "name", "wrong"),
    [
        (batchnorm, "pool_all", own_rows),
        (batchnorm, "pool_all", without_scatter),
        (standardized, "pool_all", own_rows),
        (standardized, "pool_all", without_scatter),
        (batchnorm, "second_order_in_channels", whole_slope),
        (SyncBatchNorm, "_dx", own_sums),
        (Thread, "sum", lambda self, a: None if a.ndim == 2 else honest_sum(self, a)),  # those of dx
    ],
)
def test_wrong_batch_norms_are_caught(monkeypatch, room, name, wrong):
    batches = np.random.default_rng(4).standard_normal((2, 1, 6, 3))
    compare(lambda: small(penalties=[R1(1.0)]), batches, [2, 4])
    monkeypatch.setattr(room, name, wrong)
    with pytest.raises(AssertionError):
        compare(lambda: small(penalties=[R1(1.0)]), batches, [2, 4])


honest_sum = Thread.sum


# ---- small parts ---------------------------------------------------------------------------------------------------


@given(total=st.integers(1, 100), size=st.integers(1, 10))
def test_rows_cover_a_batch(total, size):
    groups = [Group() for _ in range(size)]
    for rank, group in enumerate(groups):
        group.rank, group.size = rank, size
    rows = [np.arange(total)[group.rows(total)] for group in groups]
    np.testing.assert_array_equal(np.concatenate(rows), np.arange(total))
    assert max(map(len, rows)) - min(map(len, rows)) <= 1
    assert min(map(len, rows)) >= (1 if total >= size else 0)


@given(counts=splits(), rng=rngs)
def test_noise_is_that_of_one_process(counts, rng):
    seed = int(rng.integers(1 << 32))
    whole = np.random.default_rng(seed)
    expected = whole.standard_normal((sum(counts), 3), dtype="float32"), whole.random(sum(counts)), whole.random()

    def process(group):
        rng = np.random.default_rng(seed)
        mine = group.shard(counts[group.rank]).rng(rng)
        n = counts[group.rank]
        return mine.standard_normal((n, 3), dtype="float32"), mine.random(n), rng.random()

    actual = together(len(counts), process)
    for k in range(2):
        np.testing.assert_array_equal(np.concatenate([f[k] for f in actual]), expected[k])
    assert {f[2] for f in actual} == {expected[2]}


def test_other_draws_are_refused():
    mine = OwnRows(Shard(ALONE, 2, 4, 0), np.random.default_rng(0))
    with pytest.raises(ArgumentError, match="2; got 3"):
        mine.random(3)
    with pytest.raises(ArgumentError, match="not normal"):
        mine.normal(size=2)


def test_one_process_needs_nobody():
    assert ALONE.any(True)
    assert not ALONE.any(False)
    assert ALONE.exchange("a") == ["a"]
    assert ALONE.first(lambda: 3) == 3
    assert ALONE.rows(5) == slice(0, 5)
    np.testing.assert_array_equal(ALONE.gather(np.arange(2)), [[0, 1]])
    messages = []
    ALONE.end(lambda: messages.append("the error"))
    assert messages == ["the error"]
    rng = np.random.default_rng(0)
    assert ALONE.shard(3).rng(rng) is rng
    assert ALONE.shard(3).share == 1.0


def test_an_error_of_the_first_process_is_everybodys():
    def process(group):
        with pytest.raises(ArgumentError, match="no room"):
            group.first(fail)
        return group.first(lambda: group.rank), group.any(group.rank == 2), group.any(False)

    def fail():
        raise ArgumentError("no room")

    assert together(3, process) == [(0, True, False)] * 3


def test_the_first_process_goes_first():
    """What it fetches the others find; if it cannot, nobody tries."""
    events = []

    def process(group):
        def work():
            time.sleep(0.02 if group.rank == 0 else 0.0)
            events.append(group.rank)
            return group.rank

        def fail():
            events.append("failed")
            raise OSError("no network")

        assert group.in_turn(work) == group.rank
        with pytest.raises(OSError, match="no network"):
            group.in_turn(fail)

    together(3, process)
    assert events[0] == 0
    assert sorted(map(str, events)) == ["0", "1", "2", "failed"]


def test_all_is_as_before_when_processes_part():
    """And within a step that breaks off in the middle, too."""

    def process(group):
        gan = small("nested", penalties=[R1(1.0)])
        before = gan.loss, gan.rng, gan.penalty
        with pytest.raises(KeyboardInterrupt), joined(gan, group) as player:
            player.step(np.ones((3, 3)), watch=interrupt)
        assert all(a is b for a, b in zip((gan.loss, gan.rng, gan.penalty), before, strict=True))
        for network in (gan.generator, gan.discriminator, gan.discriminator.layers[0]):
            assert not isinstance(network._make_links, SharedLinks)
        gan.step(np.ones((3, 3)))  # alone

    def interrupt(gan, turn):
        assert repr(gan.loss) == "NonSaturating()"
        raise KeyboardInterrupt

    together(2, process)


def test_whoever_watches_sees_the_whole_batch():
    batches = np.random.default_rng(5).standard_normal((1, 1, 5, 3))

    def watched(player, real):
        turns = []
        player.step(real, watch=lambda gan, turn: turns.append((turn.player, float(turn.loss), float(turn.penalty))))
        return turns

    def process(group):
        with joined(small(penalties=[R1(1.0)]), group) as player:
            return watched(player, batches[0, 0, shares([2, 3], 5)[group.rank]])

    alone = watched(small(penalties=[R1(1.0)]), batches[0, 0])
    for turns in together(2, process):
        assert [turn[0] for turn in turns] == [turn[0] for turn in alone] == ["D", "G"]
        np.testing.assert_allclose([turn[1:] for turn in turns], [turn[1:] for turn in alone], rtol=1e-10)


@pytest.mark.parametrize("batches", [1, 2, 3])
def test_batches_that_pass_joined_have_statistics_of_their_own(batches):
    """One message tells those of all; all that comes out is what the layer gives, batch by batch."""
    rng = np.random.default_rng(6)
    x, dy = rng.standard_normal((2, batches, 5, 4))
    alone = BatchNorm(4, dtype=np.float64)
    apart = Apart(alone, batches)
    y, cache = apart.apply(x.reshape(-1, 4), True)
    dx = apart.backprop(cache, dy.reshape(-1, 4))

    def process(group):
        rows = shares([2, 3], 5)[group.rank]
        layer = BatchNorm(4, dtype=np.float64)
        link = SyncBatchNorm(layer, batches, group)
        y, cache = link.apply(x[:, rows].reshape(-1, 4), True)
        dx = link.backprop(cache, dy[:, rows].reshape(-1, 4))
        return (*(a.reshape(batches, -1, 4) for a in (y, dx)), layer)

    actual = together(2, process)
    for k, expected in enumerate((y, dx)):
        whole = np.concatenate([part[k] for part in actual], axis=1)
        np.testing.assert_allclose(whole, expected.reshape(batches, 5, 4), rtol=1e-10, atol=1e-12)
    for key, grad in alone.grads.items():
        np.testing.assert_allclose(sum(part[2].grads[key] for part in actual), grad, rtol=1e-10, atol=1e-12)
    for *_, layer in actual:
        for key, buffer in alone.buffers.items():
            np.testing.assert_allclose(layer.buffers[key], buffer, rtol=1e-12)
    with pytest.raises(ShapeError, match="7 samples are not 2 batches of one size"):
        SyncBatchNorm(BatchNorm(4), 2, ALONE).apply(np.ones((7, 4), dtype=np.float32), True)


@needs_compiler
@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize("train", [True, False])
def test_the_kernels_for_a_gpu_say_the_same(batches, train):
    x, dy, v = np.random.default_rng(8).standard_normal((3, batches * 6, 4))

    def passes(layer):
        link = SyncBatchNorm(layer, batches, ALONE)
        y, cache = link.apply(x.copy(), train)
        dx = link.backprop(cache, dy.copy())
        bend = rule_of(link).add(link, cache, v.copy(), dy.copy())
        link.store_gradients(cache, v.copy(), True)
        actual = [y, dx, link.input_gradient(cache, v.copy()), *layer.grads.values(), *layer.buffers.values()]
        return [*actual, bend] if train else actual

    expected = passes(BatchNorm(4, dtype=np.float64))
    with emulated(layers=True) as launched:
        actual = passes(BatchNorm(4, dtype=np.float64))
    assert {"batchnorm.normalise", "batchnorm.backward_sums", "batchnorm.backward"} <= set(launched)
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_copies_of_a_network_are_alone():
    """Somebody looks at a copy, and the others know nothing of it."""

    def process(group):
        gan = small()
        with joined(gan, group):
            G, z = gan.generator, np.ones((4, 2))
            assert any(isinstance(link, SyncBatchNorm) for link in G.links(z))
            for network in (G.copy(), pickle.loads(pickle.dumps(G)), copy.deepcopy(G)):
                assert not any(isinstance(link, SyncBatchNorm) for link in network.links(z))
                if group.rank == 0:
                    network.forward(z)
            if group.rank == 0:
                gan.sample(3)
        assert not any(isinstance(link, SyncBatchNorm) for link in G.links(z))
        assert not isinstance(G._make_links, SharedLinks)

    together(2, process)


# ---- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [Dropout(0.5), MinibatchStdDev(), Pack(2)], ids=repr)
def test_layers_that_cannot_be_divided_are_refused(layer):
    def process(group):
        c = 6 if isinstance(layer, Pack) else 4 if isinstance(layer, MinibatchStdDev) else 3
        D = Sequential(Sequential(layer.copy()), Dense(c, 1, rng=0))
        gan = GAN(Sequential(Dense(2, 3, rng=0)), D, noise_dim=2)
        with joined(gan, ALONE) as player:
            player.step(np.ones((4, 3), dtype=np.float32))
        with pytest.raises(ArgumentError, match=r"layer 0\.0 .*in one process"), joined(gan, group):
            pass
        assert not isinstance(gan.discriminator._make_links, SharedLinks)

    together(2, process)


class Shuffling(BatchNorm):
    """An apply of its own, which knows nothing of other processes."""

    def apply(self, x, train):
        return super().apply(x, train)


def test_a_batch_norm_with_another_apply_is_refused():
    def process(group):
        gan = GAN(Sequential(Dense(2, 3, rng=0), Shuffling(3)), Sequential(Dense(3, 1, rng=0)), noise_dim=2)
        with pytest.raises(ArgumentError, match="layer 1 Shuffling"), joined(gan, group):
            pass

    together(2, process)


def test_other_weights_are_refused():
    def process(group):
        with (
            pytest.raises(ArgumentError, match=r"process 1 of 2 .*other weights.*same seed"),
            joined(small(seed=group.rank), group),
        ):
            pass

    together(2, process)


# ---- training runs -------------------------------------------------------------------------------------------------


def run(group, out, *, double=True, options=None, **more):
    """A run of a small GAN; in float64 to compare, in float32 as it is used."""
    gan = small_gan(**(options or {}))
    if double:
        gan = in_float64(gan, options or {})
    loop.train(gan, small_data(), out=out, group=group, **{**STEPS, "batch_size": 7, **more})
    return state(gan)


def in_float64(gan, options):
    G, D = gan.generator.astype(np.float64), gan.discriminator.astype(np.float64)
    adam = {"lr": 1e-3, "eps": 1e-4}
    return GAN(
        G, D, noise_dim=4, g_optimizer=optim.Adam(G, **adam), d_optimizer=optim.Adam(D, **adam), average=0.9, **options
    )


@pytest.mark.parametrize("options", [{}, {"d_steps": 2}], ids=["", "d_steps"])
@pytest.mark.parametrize("size", [2, 3])
def test_a_run_of_several_processes_is_the_run_of_one(tmp_path, size, options):
    expected = run(ALONE, tmp_path / "one", options=options)
    actual = together(size, lambda group: run(group, tmp_path / "many", options=options))
    for one in actual:
        assert_alike(one, expected, tolerance=1e-9)
        assert_alike(one, actual[0], tolerance=0.0)
    names = [sorted(str(p.relative_to(f)) for p in f.rglob("*")) for f in (tmp_path / "one", tmp_path / "many")]
    assert names[0] == names[1]
    assert (tmp_path / "one/config.json").read_bytes() == (tmp_path / "many/config.json").read_bytes()
    losses = [np.loadtxt(tmp_path / name / "losses.csv", delimiter=",", skiprows=1) for name in ("one", "many")]
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-5)


def test_the_same_run_twice_gives_the_same_bytes(tmp_path):
    for name in "ab":
        together(2, lambda group, name=name: run(group, tmp_path / name, double=False))
    assert_same_files(tmp_path / "a", tmp_path / "b")


def test_a_run_goes_on_with_another_number_of_processes(tmp_path):
    """And, with the same number, to the very bytes of one that was never interrupted."""
    expected = run(ALONE, tmp_path / "one")
    together(3, lambda group: run(group, tmp_path / "run", steps=4))
    together(2, lambda group: run(group, tmp_path / "run", steps=9, resume=True))
    actual = run(ALONE, tmp_path / "run", resume=True)
    assert_alike(actual, expected, tolerance=1e-9)
    together(2, lambda group: run(group, tmp_path / "a", double=False))
    together(2, lambda group: run(group, tmp_path / "b", double=False, steps=6))
    together(2, lambda group: run(group, tmp_path / "b", double=False, resume=True))
    assert_same_files(tmp_path / "a", tmp_path / "b")


def test_only_the_first_process_needs_the_folder(tmp_path):
    """Processes on other machines may have no such folder: they get what the first one reads."""
    together(2, lambda group: run(group, tmp_path / "run", steps=4))
    actual = together(2, lambda group: run(group, tmp_path / ("run" if group.rank == 0 else "elsewhere"), resume=True))
    assert_alike(actual[1], actual[0], tolerance=0.0)
    assert not (tmp_path / "elsewhere").exists()


def test_what_the_first_process_cannot_do_ends_all(tmp_path):
    (tmp_path / "file").write_text("no folder")

    def process(group):
        with pytest.raises(ArgumentError, match="cannot be written"):
            run(group, tmp_path / "file")

    together(2, process)


def test_a_batch_smaller_than_the_processes_is_refused(tmp_path):
    def process(group):
        with pytest.raises(ArgumentError, match=r"batch of 2 .* 3 processes.*--batch-size.*mpiexec -n"):
            run(group, tmp_path / "run", batch_size=2)

    together(3, process)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("what", ["seed", "data"])
def test_processes_with_other_settings_are_refused(tmp_path, what):
    def process(group):
        data = small_data(seed=group.rank if what == "data" else 0)
        with pytest.raises(ArgumentError, match=r"process 1 of 2 .*other data or settings"):
            loop.train(
                small_gan(), data, out=tmp_path / "run", group=group, seed=group.rank if what == "seed" else 0, **STEPS
            )

    together(2, process)
    assert not (tmp_path / "run").exists()


def test_a_nan_is_found_where_it_is(tmp_path):
    """The gradient is bad everywhere; the sample that it came from is one process's."""

    def process(group):
        gan, original = small_gan(), GAN.step

        def step(real, **options):
            if gan.t + 1 == 8 and group.rank == 1:
                real[0, 0, 0] = np.nan
            return original(gan, real, **options)

        gan.step = step
        with pytest.raises(NonFiniteError, match=r"step 8: D's loss is nan.*first in the real samples in process 1"):
            loop.train(gan, small_data(), out=tmp_path / "run", group=group, **STEPS)

    together(2, process)
    assert checkpoints.read(tmp_path / "run/checkpoint.safetensors")[1]["step"] == 6


def test_weights_that_drift_apart_are_never_saved(tmp_path):
    def process(group):
        gan, original = small_gan(), GAN.step

        def step(real, **options):
            if gan.t == 4 and group.rank == 1:
                gan.generator.theta[3] += 1e-6
            return original(gan, real, **options)

        gan.step = step
        with pytest.raises(ArgumentError, match=r"process 1 of 2 .*other weights after step 6"):
            loop.train(gan, small_data(), out=tmp_path / "run", group=group, **STEPS)

    together(2, process)
    assert checkpoints.read(tmp_path / "run/checkpoint.safetensors")[1]["step"] == 3


def test_a_signal_to_one_process_stops_all_after_the_same_step(tmp_path, monkeypatch, capfd):
    signalled = set()

    class Signals:
        """Those that came to the process which this thread plays."""

        came = property(lambda self: threading.current_thread() in signalled)

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            pass

        def pass_on(self):
            pass

    def process(group):
        gan, original = small_gan(), GAN.step

        def step(real, **options):
            if group.rank == 1 and gan.t == 4:  # in the fifth step
                signalled.add(threading.current_thread())
            return original(gan, real, **options)

        gan.step = step
        with pytest.raises(KeyboardInterrupt):
            loop.train(gan, small_data(), out=tmp_path / "run", group=group, **{**STEPS, "progress": True})
        return gan.t

    monkeypatch.setattr(loop, "Signals", Signals)
    assert together(2, process) == [6, 6]
    assert checkpoints.read(tmp_path / "run/checkpoint.safetensors")[1]["step"] == 6
    assert capfd.readouterr().err.count("stopped at step 6 of 11") == 1


def test_threads_that_play_processes_see_the_same_sums():
    def process(group):
        assert isinstance(group, Thread)
        a = np.array([1.0, 10.0]) * (group.rank + 1)
        group.sum(a)
        return a.tolist(), group.gather(np.array([group.rank])).tolist()

    assert together(3, process) == [([6.0, 60.0], [[0], [1], [2]])] * 3


def test_a_judged_run_of_several_processes_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(judging, "SAMPLES", 20)
    judge = metrics.Judge(small_data(n=60, seed=1), metrics.pixels)
    options = {"double": False, "judge": judge, "judge_every": 3}
    together(2, lambda group: run(group, tmp_path / "a", **options))
    together(2, lambda group: run(group, tmp_path / "b", steps=5, **options))
    together(2, lambda group: run(group, tmp_path / "b", resume=True, **options))
    assert_same_files(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "metrics.csv").read_text().count("\n") > 3


def test_processes_that_judge_at_different_times_are_refused(tmp_path):
    judge = metrics.Judge(small_data(n=60, seed=1), metrics.pixels)
    with pytest.raises(ArgumentError, match=r"process 1 of 2 .*other data or settings"):
        together(2, lambda group: run(group, tmp_path / "run", judge=judge, judge_every=3 + group.rank))
