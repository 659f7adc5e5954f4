"""Whatever the checkpoint of a run says is held to what it may say: by load_trained, and on resuming."""

import numpy as np
import pytest
from support.small_runs import STEPS, contents, small_data, small_gan

from tinygan import GAN, Sequential, checkpoints
from tinygan.errors import CheckpointError
from tinygan.layers import Dense, Flatten, SpectralNorm
from tinygan.optim import SGD, RMSProp
from tinygan.runs import load_trained, read_checkpoint, state
from tinygan.runs.training import train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(small_gan(), small_data(), out=tmp_path_factory.mktemp("run"), **STEPS)


@pytest.fixture
def changed(run, tmp_path):
    """Write the checkpoint of ``run`` after change(arrays, about), with a right checksum, as a stranger would."""

    def change_it(change):
        arrays, about = checkpoints.read(run / "checkpoint.safetensors")
        change(arrays, about)
        checkpoints.write(tmp_path / "checkpoint.safetensors", arrays, about)
        return tmp_path

    return change_it


def resume(folder, gan=None):
    train(gan or small_gan(), small_data(), out=folder, resume=True, **{**STEPS, "steps": 12})


def put(**entries):
    return lambda arrays, about: about.update(entries)


def random_state(**entries):
    return lambda arrays, about: about["rngs"]["training"].update(entries)


def inner_state(**entries):
    return lambda arrays, about: about["rngs"]["training"]["state"].update(entries)


def losses(values):
    return lambda arrays, about: arrays.update(losses=values)


# What is wrong, how the record or the arrays are changed, and what is said whoever reads them
RUN_ODDITIES = [
    ("an infinite step", put(step=float("inf")), "its step is inf, not a whole number from 0"),
    ("half a step", put(step=10.5), "its step is 10.5, not a whole number"),
    ("a whole step that is a float", put(step=11.0), "its step is 11.0, not a whole number"),
    ("a step that is true", put(step=True), "its step is True, not a whole number"),
    ("a step in words", put(step="11"), "its step is '11', not a whole number"),
    ("a step that is null", put(step=None), "its step is None, not a whole number"),
    ("a step below 0", put(step=-1), "its step is -1, not a whole number"),
    ("a step of 4,000 digits", put(step=10**4000), "its step is 1000.*not a whole number"),
    ("a step of 64 bits", put(step=2**63), "not a whole number from 0 to"),
    ("a step that the losses deny", put(step=10), "does not hold the losses of its 10 steps"),
    ("no losses", lambda arrays, about: arrays.pop("losses"), "does not hold the losses of its 11 steps"),
    ("losses of nothing", losses(np.zeros((0, 2), np.float32)), "does not hold the losses of its 11 steps"),
    ("losses in a row", losses(np.zeros(11, np.float32)), "does not hold the losses of its 11 steps"),
    ("losses that are all NaN", losses(np.full((11, 2), np.nan, np.float32)), "is damaged, all its losses are NaN"),
    ("an average of 62 bits", put(average_t=2**62), "its average_t is 4611686018427387904, not a whole number from 0"),
    ("half an average", put(average_t=0.5), "its average_t is 0.5, not a whole number"),
    ("an average below 0", put(average_t=-1), "its average_t is -1, not a whole number"),
    ("an average without end", put(average_t=float("inf")), "its average_t is inf"),
    ("no average", lambda arrays, about: about.pop("average_t"), "there is no average_t in it"),
    ("an identity that is a list", put(identity=[]), r"its identity is \[\], not a dictionary"),
    ("an identity that is null", put(identity=None), "its identity is None, not a dictionary"),
    ("settings that are a list", put(settings=["lr"]), r"its settings is \['lr'\], not a dictionary"),
    ("settings that are null", put(settings=None), "its settings is None, not a dictionary"),
    ("no random states", lambda arrays, about: about.pop("rngs"), "there is no rngs in it"),
    ("random states that are a list", put(rngs=[]), r"its rngs is \[\], not the states of random generators"),
    ("random states that are null", put(rngs={"training": None}), "not the states of random generators"),
    ("a random state below 0", inner_state(state=-1), "not the states of random generators"),
    ("a random state too large", inner_state(state=2**128), "not the states of random generators"),
    ("half a random state", inner_state(state=0.5), "not the states of random generators"),
    ("a random state that is null", inner_state(inc=None), "not the states of random generators"),
    ("a random state that is true", random_state(has_uint32=True), "not the states of random generators"),
    ("a random state that hardly changes", inner_state(inc=2), "not the states of random generators"),
    ("a random state that never changes", random_state(state={"key": [0] * 624}), "not the states of random"),
    ("a place outside of memory", random_state(pos=10**6), "not the states of random generators"),
    ("a place before memory", random_state(buffer_pos=-5), "not the states of random generators"),
    ("another kind", put(kind="song"), "holds a song, not a training run"),
    ("a kind without end", put(kind=["x" * 9_000]), r"holds a \['x{38}, not a training run"),
    ("no kind", lambda arrays, about: about.pop("kind"), "holds a record of another kind, not a training run"),
]


@pytest.mark.parametrize(("what", "change", "words"), RUN_ODDITIES, ids=[case[0] for case in RUN_ODDITIES])
def test_odd_records_are_refused_by_all_who_read_them(changed, what, change, words):
    folder = changed(change)
    before = contents(folder)
    for read in (lambda folder: read_checkpoint(folder / "checkpoint.safetensors"), load_trained, resume):
        with pytest.raises(CheckpointError, match=rf"checkpoint\.safetensors: .*{words}") as refused:
            read(folder)
        assert len(str(refused.value)) < 500
    assert contents(folder) == before


def test_odd_random_states_that_only_a_generator_can_refuse(changed):
    for change in (
        random_state(bit_generator="MT19937"),
        random_state(uinteger=2**64),
        inner_state(state="7"),
        lambda arrays, about: about["rngs"]["training"].pop("state"),
        lambda arrays, about: about["rngs"].update(training={}),
        lambda arrays, about: about["rngs"].pop("training"),
        lambda arrays, about: about["rngs"].update(other={}),
    ):
        with pytest.raises(CheckpointError, match=r"checkpoint\.safetensors: the record of the run is incomplete or"):
            resume(changed(change))


def number(key, value):
    def change(arrays, about):
        arrays[key].reshape(-1)[-1] = value

    return change


# The array of a run's checkpoint, what one of its numbers becomes, and what is said
RUN_NUMBER_ODDITIES = [
    *((key, np.nan, "NaN or infinity") for key in ("generator.0.W", "discriminator.3.b", "average.3.W")),
    *((key, np.inf, "NaN or infinity") for key in ("generator.1.running_var", "average.1.running_mean")),
    *((key, np.nan, "NaN or infinity") for key in ("g_optimizer.M", "d_optimizer.V", "g_optimizer.lr")),
    ("d_optimizer.M", -np.inf, "NaN or infinity"),
    ("generator.1.running_var", -1.0, "a number below 0"),
    ("average.1.running_var", -1e-20, "a number below 0"),
]


@pytest.mark.parametrize(("key", "value", "words"), RUN_NUMBER_ODDITIES)
def test_numbers_that_spoil_all_that_follows_are_refused(changed, key, value, words):
    folder = changed(number(key, value))
    for read in (load_trained, resume):
        with pytest.raises(CheckpointError, match=rf"checkpoint\.safetensors: {key} holds {words}"):
            read(folder)


@pytest.mark.parametrize(("key", "value"), [("g_optimizer.V", -1.0), ("d_optimizer.t", -1), ("d_optimizer.lr", -0.1)])
def test_memories_that_are_never_negative(changed, key, value):
    with pytest.raises(CheckpointError, match=rf"checkpoint\.safetensors: {key} holds a number below 0"):
        resume(changed(number(key, value)))


# The array of a run's checkpoint that counts or scales what follows, what it becomes, and what is said
COUNT_ODDITIES = [
    ("g_optimizer.t", 2**62, "a number above 1,099,511,627,776"),
    ("d_optimizer.t", 2**40 + 1, "a number above 1,099,511,627,776"),
    ("g_optimizer.lr", 1e300, r"a number above 3\.4e\+38"),
    ("d_optimizer.lr", 1e39, r"a number above 3\.4e\+38"),
    ("d_optimizer.lr", -np.inf, "a number below 0"),
    ("g_optimizer.t", -(2**62), "a number below 0"),
]


@pytest.mark.parametrize(("key", "value", "words"), COUNT_ODDITIES)
def test_counts_and_rates_that_no_run_reaches(changed, key, value, words):
    with pytest.raises(CheckpointError, match=rf"checkpoint\.safetensors: {key} holds {words}"):
        resume(changed(number(key, value)))


def test_a_direction_of_nothing_but_zeros_would_stay_so(tmp_path):
    """SpectralNorm would divide by 1 ever after, and say nothing."""

    def gan():
        G, D = small_gan().generator, Sequential(Flatten(), Sequential(SpectralNorm(Dense(36, 1, rng=0))))
        return GAN(G, D, noise_dim=4)

    path = train(gan(), small_data(), out=tmp_path, **STEPS) / "checkpoint.safetensors"
    arrays, about = checkpoints.read(path)
    arrays["discriminator.1.0.u"][...] = 0.0
    checkpoints.write(path, arrays, about)
    untouched, network = gan(), gan().discriminator
    with pytest.raises(
        CheckpointError, match=r"checkpoint\.safetensors: discriminator\.1\.0\.u holds nothing but zeros"
    ):
        resume(tmp_path, untouched)
    assert state.checksum(untouched) == state.checksum(gan())
    with pytest.raises(CheckpointError, match=r"checkpoint\.safetensors: .*1\.0\.u holds nothing but zeros"):
        load_trained(tmp_path)
    with pytest.raises(CheckpointError, match=r"^the state: 1\.0\.u holds nothing but zeros"):
        network.load_state_arrays({**network.state_arrays(), "1.0.u": np.zeros(36, np.float32)})


@pytest.mark.parametrize(("kind", "key", "allowed"), [(SGD, "u", True), (RMSProp, "v", False)])
def test_each_optimiser_knows_which_of_its_vectors_are_sums_of_squares(kind, key, allowed):
    optimizer = kind(small_gan().generator)
    arrays = optimizer.state_arrays()
    arrays[key][0] = -1.0
    if allowed:
        optimizer.load_state_arrays(arrays)
    else:
        with pytest.raises(CheckpointError, match="the state: v holds a number below 0"):
            optimizer.load_state_arrays(arrays)


def test_losses_need_not_be_finite(changed):
    """They are what a run has seen: only some are looked at on a device."""
    folder = changed(number("losses", np.inf))
    load_trained(folder)
    resume(folder)


def test_a_refused_state_leaves_a_gan_as_it_was(run):
    arrays, about = checkpoints.read(run / "checkpoint.safetensors")
    arrays.pop("losses")
    arrays["d_optimizer.M"][0] = np.nan
    gan, untouched = small_gan(), small_gan()
    with pytest.raises(CheckpointError, match=r"the file: d_optimizer\.M holds NaN"):
        state.load_state(gan, arrays, about, source="the file")
    assert state.checksum(gan) == state.checksum(untouched)


def test_a_place_in_the_memory_of_another_generator():
    """NumPy takes any, and reads from there."""
    gan, other = small_gan(), small_gan()
    for kind, limit in ((np.random.MT19937, 624), (np.random.Philox, 4)):
        gan.rng, other.rng = np.random.Generator(kind(1)), np.random.Generator(kind(2))
        arrays, about = state.state(gan)
        state.load_state(other, arrays, about)
        key = "pos" if kind is np.random.MT19937 else "buffer_pos"
        record = about["rngs"]["training"]
        (record["state"] if key in record["state"] else record)[key] = limit + 1
        with pytest.raises(CheckpointError, match="not the states of random generators"):
            state.load_state(other, arrays, about)


# ---- a checkpoint that is there and cannot be read -------------------------------------------------------------------


@pytest.mark.parametrize("how", ["a link to itself", "a folder", "a link to nowhere"])
def test_a_run_is_not_begun_over_a_checkpoint_that_cannot_be_read(tmp_path, how):
    path = tmp_path / "checkpoint.safetensors"
    path.mkdir() if how == "a folder" else path.symlink_to(path.name if how == "a link to itself" else "nowhere")
    with pytest.raises(CheckpointError, match=r"checkpoint\.safetensors: (cannot be read|there is no such)"):
        load_trained(tmp_path)
    with pytest.raises(CheckpointError, match=r"checkpoint\.safetensors: (cannot be read|there is no such)"):
        resume(tmp_path)
    with pytest.raises(ValueError, match="holds a run of an unknown number of steps already"):
        train(small_gan(), small_data(), out=tmp_path, **STEPS)
