"""What a GAN's next step depends on goes into a state and comes back; checkpoints of older versions are resumed."""

import json
import zlib

import numpy as np
import pytest
from safetensors.numpy import save as save_safetensors
from support.small_runs import STEPS, assert_same_files, small_data, small_gan

from tinygan import GAN, Sequential, checkpoints
from tinygan.errors import CheckpointError
from tinygan.layers import Dense, Dropout, SpectralNorm
from tinygan.ops import to_numpy
from tinygan.runs.state import checksum, load_state, rngs, state
from tinygan.runs.training import train


def real(n=8):
    return small_data().batch(np.arange(n))


def as_stored(about):
    return json.loads(json.dumps(about))


def assert_equal_states(a, b):
    (arrays, about), (others, other) = state(a), state(b)
    assert about == other
    assert arrays.keys() == others.keys()
    for key, array in arrays.items():
        np.testing.assert_array_equal(array, others[key], err_msg=key)


@pytest.mark.parametrize("options", [{}, {"d_steps": 2}, {"average": 0.0}], ids=str)
def test_a_state_comes_back_to_the_bit(options):
    first, second = small_gan(**options), small_gan(seed=1, **options)
    for _ in range(3):
        first.step(real())
    first.sample(2)
    arrays, about = state(first)
    load_state(second, arrays, as_stored(about))
    assert_equal_states(first, second)
    assert checksum(first) == checksum(second)
    np.testing.assert_array_equal(first.step(real()), second.step(real()))
    np.testing.assert_array_equal(first.sample(2), second.sample(2))
    assert_equal_states(first, second)


def test_each_optimiser_gets_its_own_count_of_steps():
    """D takes several for one of G, and Adam's corrections and all schedules go by them."""
    first, second = small_gan(d_steps=3), small_gan(d_steps=3)
    for _ in range(2):
        first.step(real(9))
    arrays, about = state(first)
    assert (arrays["d_optimizer.t"], arrays["g_optimizer.t"], about["step"], about["average_t"]) == (6, 2, 2, 2)
    load_state(second, arrays, about)
    assert (second.d_optimizer.t, second.g_optimizer.t, second.t, second.average.t) == (6, 2, 2, 2)
    numbers = second.draw(3)
    assert [turn[2] for turn in numbers.d] == [second.d_optimizer.numbers(t) for t in (6, 7, 8)]
    assert numbers.g[1] == second.g_optimizer.numbers(2)


@pytest.mark.parametrize("part", ["theta of G", "theta of D", "Adam's M", "a running mean", "the noise", "the average"])
def test_a_checksum_sees_whatever_the_next_step_depends_on(part):
    gan, other = small_gan(), small_gan()
    assert checksum(gan) == checksum(other)
    {
        "theta of G": lambda: gan.generator.theta.__setitem__(3, 0.5),
        "theta of D": lambda: gan.discriminator.theta.__setitem__(3, 0.5),
        "Adam's M": lambda: gan.d_optimizer.M.__setitem__(3, 0.5),
        "a running mean": lambda: gan.generator.layers[1].running_mean.__setitem__(3, 0.5),
        "the noise": lambda: gan.rng.random(),
        "the average": lambda: gan.average.network.theta.__setitem__(3, 0.5),
    }[part]()
    assert checksum(gan) != checksum(other)


def test_every_source_of_random_numbers_is_part_of_it():
    def make():
        G = Sequential(Dense(2, 3, rng=0), Dropout(0.5, rng=1))
        D = Sequential(SpectralNorm(Dense(3, 4, rng=2), rng=3), Sequential(Dropout(0.5, rng=4)), Dense(4, 1, rng=5))
        return GAN(G, D, noise_dim=2)

    first, second = make(), make()
    assert rngs(first).keys() >= {"training", "sampling", "generator.1.rng", "discriminator.1.0.rng"}
    x = np.ones((4, 3), dtype=np.float32)
    for _ in range(2):
        first.step(x)
    arrays, about = state(first)
    load_state(second, arrays, as_stored(about))
    np.testing.assert_array_equal(first.step(x), second.step(x))
    assert_equal_states(first, second)


def test_a_generator_of_another_kind_is_stored_too():
    """MT19937 keeps an array, which JSON cannot hold."""
    first, second = small_gan(), small_gan()
    first.rng, second.rng = (np.random.Generator(np.random.MT19937(seed)) for seed in (1, 2))
    arrays, about = state(first)
    load_state(second, arrays, as_stored(about))
    np.testing.assert_array_equal(first.rng.random(700), second.rng.random(700))


DAMAGES = {
    "no step": lambda arrays, about: about.pop("step"),
    "a step in words": lambda arrays, about: about.update(step="two"),
    "a step below 0": lambda arrays, about: about.update(step=-1),
    "no random states": lambda arrays, about: about.pop("rngs"),
    "one random state less": lambda arrays, about: about["rngs"].pop("sampling"),
    "one random state more": lambda arrays, about: about["rngs"].update(other=about["rngs"]["sampling"]),
    "a random state of another kind": lambda arrays, about: about["rngs"]["training"].update(bit_generator="MT19937"),
    "an array less": lambda arrays, about: arrays.pop("d_optimizer.V"),
    "an array more": lambda arrays, about: arrays.update({"d_optimizer.W": np.zeros(3)}),
    "an array of another shape": lambda arrays, about: arrays.update({"generator.0.b": np.zeros(9, np.float32)}),
    "an array of another dtype": lambda arrays, about: arrays.update({"generator.0.b": np.zeros(8)}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_changes_nothing(damage):
    first, second, untouched = small_gan(), small_gan(seed=1), small_gan(seed=1)
    first.step(real())
    arrays, about = state(first)
    about = as_stored(about)
    DAMAGES[damage](arrays, about)
    with pytest.raises(CheckpointError, match=r"^the file"):
        load_state(second, arrays, about, source="the file")
    assert_equal_states(second, untouched)


# ---- checkpoints of older versions -----------------------------------------------------------------------------------

# What 0.1.0 wrote of a run of small_gan() on small_data(), before the engine was rearranged
OLD_ARRAYS = {
    **{f"{name}.0.W": (4, 8) for name in ("generator", "average")},
    **{f"{name}.0.b": (8,) for name in ("generator", "average")},
    **{f"{name}.1.{key}": (8,) for name in ("generator", "average") for key in ("beta", "gamma", "running_mean")},
    **{f"{name}.1.running_var": (8,) for name in ("generator", "average")},
    **{f"{name}.3.W": (8, 36) for name in ("generator", "average")},
    **{f"{name}.3.b": (36,) for name in ("generator", "average")},
    "discriminator.1.W": (36, 8),
    "discriminator.1.b": (8,),
    "discriminator.3.W": (8, 1),
    "discriminator.3.b": (1,),
    "g_optimizer.M": (380,),
    "g_optimizer.V": (380,),
    "d_optimizer.M": (305,),
    "d_optimizer.V": (305,),
    "losses": (6, 2),
}
ADAM = {"kind": "Adam", "beta1": 0.5, "beta2": 0.999, "eps": 1e-08}
OLD_RECORD = {
    "kind": "run",
    "step": 6,
    "average_t": 6,
    "settings": {},
    "identity": {
        "generator": ["Dense(4, 8)", "BatchNorm(8)", "LeakyReLU(0.2)", "Dense(8, 36)", "Tanh()", "Reshape(6, 6, 1)"],
        "discriminator": ["Flatten()", "Dense(36, 8)", "LeakyReLU(0.2)", "Dense(8, 1)"],
        "noise_dim": 4,
        "dtype": "float32",
        "loss": "NonSaturating()",
        "g_optimizer": ADAM,
        "d_optimizer": ADAM,
        "average": 0.9,
        "d_steps": 1,
        "batch_size": 8,
        "seed": 0,
        "range": [-1.0, 1.0],
        "data": {"name": "small", "shape": [37, 6, 6, 1], "mirrored": False, "checksum": 1525614567},
    },
    "rngs": {
        "training": {
            "bit_generator": "PCG64",
            "state": {
                "state": 47166722371666857846347009544976706144,
                "inc": 273096372282096494456322297521699537235,
            },
            "has_uint32": 1,
            "uinteger": 963752819,
        },
        "sampling": {
            "bit_generator": "PCG64",
            "state": {
                "state": 274062950216661760324866166825095223283,
                "inc": 329002041808208584022837328454739705169,
            },
            "has_uint32": 0,
            "uinteger": 0,
        },
    },
}


def old_arrays():
    rng = np.random.default_rng(11)
    arrays = {key: rng.uniform(0.01, 0.1, shape).astype(np.float32) for key, shape in OLD_ARRAYS.items()}
    for name in ("g_optimizer", "d_optimizer"):
        arrays |= {f"{name}.t": np.array(6), f"{name}.lr": np.array(1e-3)}
    return arrays


def old_file(path, arrays, record, form="2"):
    """The bytes as they were written then, put together without the library."""
    layout = [[key, str(arrays[key].dtype), arrays[key].shape] for key in sorted(arrays)]
    total = zlib.crc32(json.dumps([record, layout], sort_keys=True).encode())
    for key in sorted(arrays):
        total = zlib.crc32(arrays[key].tobytes(), total)
    label = json.dumps({"format": form, "about": record, "crc32": total}, sort_keys=True)
    path.write_bytes(save_safetensors(arrays, metadata={"tinygan": label}))


def test_a_run_of_an_older_version_goes_on(tmp_path):
    arrays = old_arrays()
    old_file(tmp_path / "checkpoint.safetensors", arrays, OLD_RECORD)
    gan = small_gan()
    train(gan, small_data(), out=tmp_path, resume=True, **STEPS)
    now, about = checkpoints.read(tmp_path / "checkpoint.safetensors")
    assert (about["step"], now["losses"].shape) == (11, (11, 2))
    np.testing.assert_array_equal(now["losses"][:6], arrays["losses"])

    # What the next step is, said without load_state
    gan, whole = small_gan(), small_gan()
    old = {key.partition(".")[::2]: array for key, array in arrays.items() if key != "losses"}
    for name, network in (
        ("generator", gan.generator),
        ("discriminator", gan.discriminator),
        ("average", gan.average.network),
    ):
        for key, array in {**network.params, **network.buffers}.items():
            array[...] = old[name, key]
    for name, optimizer in (("g_optimizer", gan.g_optimizer), ("d_optimizer", gan.d_optimizer)):
        optimizer.M[...], optimizer.V[...], optimizer.t = old[name, "M"], old[name, "V"], 6
    gan.rng.bit_generator.state = OLD_RECORD["rngs"]["training"]
    gan.sample_rng.bit_generator.state = OLD_RECORD["rngs"]["sampling"]
    gan.t = gan.average.t = 6
    load_state(whole, {key: a for key, a in arrays.items() if key != "losses"}, OLD_RECORD)
    assert_equal_states(whole, gan)
    np.testing.assert_array_equal(whole.step(real()), gan.step(real()))
    np.testing.assert_array_equal(to_numpy(whole.generator.theta), to_numpy(gan.generator.theta))


def test_what_is_written_now_is_what_was_written_then(tmp_path):
    """The same names, shapes, dtypes and record: an old reader would take it, too."""
    folder = train(small_gan(), small_data(), out=tmp_path / "new", **{**STEPS, "steps": 6})
    arrays, about = checkpoints.read(folder / "checkpoint.safetensors")
    expected = {key: (a.shape, a.dtype) for key, a in old_arrays().items()}
    assert {key: (a.shape, a.dtype) for key, a in arrays.items()} == expected
    assert about == OLD_RECORD
    (tmp_path / "again").mkdir()
    old_file(tmp_path / "again" / "checkpoint.safetensors", arrays, about)
    train(small_gan(), small_data(), out=tmp_path / "new", resume=True, **{**STEPS, "steps": 7, "sample_every": 20})
    train(small_gan(), small_data(), out=tmp_path / "again", resume=True, **{**STEPS, "steps": 7, "sample_every": 20})
    for name in ("checkpoint.safetensors", "losses.csv", "config.json"):
        assert (tmp_path / "new" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_a_file_of_another_format_is_refused_with_the_reason(tmp_path):
    old_file(tmp_path / "checkpoint.safetensors", old_arrays(), OLD_RECORD, form="1")
    with pytest.raises(CheckpointError, match="expected a tinygan checkpoint of format '2', found format '1'"):
        train(small_gan(), small_data(), out=tmp_path, resume=True, **STEPS)


def test_resuming_takes_the_steps_of_each_player_where_they_were(tmp_path):
    """With three turns of D in each step, to the bytes of the run that nothing interrupted."""
    options = {**STEPS, "batch_size": 3}
    train(small_gan(d_steps=3), small_data(), out=tmp_path / "whole", **options)
    train(small_gan(d_steps=3), small_data(), out=tmp_path / "run", **{**options, "steps": 5})
    train(small_gan(d_steps=3), small_data(), out=tmp_path / "run", resume=True, **options)
    assert_same_files(tmp_path / "run", tmp_path / "whole")
