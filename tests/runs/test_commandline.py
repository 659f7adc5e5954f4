"""The flags, and the examples from their command lines to their pictures; what is wrong comes out in one line."""

import copy
import json
import os
import re
import runpy
import signal
import struct
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.odd_streams import STREAM_ODDITIES, close
from support.small_runs import assert_same_files, contents, small_data

from tinygan import GAN, augment, checkpoints, load_trained, losses, models, optim
from tinygan import ops as registry
from tinygan.backends import loading
from tinygan.data import load
from tinygan.data.arrays import from_array
from tinygan.errors import ArgumentError, DataError, ShapeError
from tinygan.layers import Dense
from tinygan.network import Sequential
from tinygan.parallel import ALONE
from tinygan.runs import judging
from tinygan.runs.commandline import (
    LOSSES,
    OPTIMIZERS,
    Recipe,
    augmented,
    data_options,
    gan_options,
    launch,
    make_parser,
    parse,
    training_options,
)
from tinygan.runs.schedules import cosine, linear
from tinygan.runs.writer import Writer
from tinygan.testing.device import standin

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
EXAMPLE = EXAMPLES / "mnist_mlp_gan.py"
SYSTEMS = ["mnist_mlp_gan", "mnist_conv_gan", "mnist_lsgan", "dcgan", "dcgan --model dcgan64", "resnet"]
RECIPE = Recipe(name="gan", epochs=3, lr=5e-4)
OTHER = Recipe(name="other", steps=7, lr=1e-3, width=16, optimizer="sgd", beta1=0.9)


def flags_of(*argv, recipes=(RECIPE,)):
    return parse("A GAN.", *recipes, argv=[str(a) for a in argv])


@pytest.fixture
def images(tmp_path):
    """An IDX file of 300 images, 28 x 28."""
    pixels = np.random.default_rng(0).integers(0, 256, (300, 28, 28), dtype=np.uint8)
    path = tmp_path / "images-idx3-ubyte"
    path.write_bytes(struct.pack(">BBBBIII", 0, 0, 8, 3, *pixels.shape) + pixels.tobytes())
    return path


def program(name):
    """An example in this process, with narrow networks: what is returned takes arguments and gives the exit code."""
    name, *always = name.split()
    module = runpy.run_path(str(EXAMPLES / f"{name}.py"))
    recipes = [replace(value, width=4) for value in module.values() if isinstance(value, Recipe)]

    def run(*argv):
        try:
            launch(module["main"], module["__doc__"], *recipes, argv=[*always, *map(str, argv)])
        except SystemExit as ending:
            return ending.code
        return 0

    return run


@pytest.fixture(scope="module")
def example():
    return program("mnist_mlp_gan")


@pytest.fixture(scope="module", params=SYSTEMS)
def system(request):
    return program(request.param)


@pytest.fixture(scope="module")
def dcgan():
    return program("dcgan")


def settings_of(folder):
    return json.loads((folder / "config.json").read_text())["settings"]


@pytest.fixture(autouse=True, scope="module")
def few_samples():
    """As few as can be judged, so that these tests are about command lines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "SAMPLES", 20)
        yield


# ---- flags ---------------------------------------------------------------------------------------------------------


def test_defaults_are_the_recipe():
    flags = flags_of()
    assert (flags.epochs, flags.steps) == (3, None)
    for name in ("lr", "batch_size", "loss", "average", "beta1", "beta2", "data", "sample_every", "checkpoint_every"):
        assert getattr(flags, name) == getattr(RECIPE, name)
    assert flags.out == Path("runs/gan")


def test_steps_replace_epochs():
    flags = flags_of("--steps", 5)
    assert (flags.epochs, flags.steps) == (None, 5)


BAD_FLAG_ODDITIES = [
    ("--epochs 0", "argument --epochs: expected a whole number of at least 1, got '0'"),
    ("--epochs -3", "argument --epochs: expected a whole number of at least 1, got '-3'"),
    ("--epochs 1.5", "argument --epochs: expected a whole number of at least 1, got '1.5'"),
    ("--steps many", "argument --steps: expected a whole number of at least 1, got 'many'"),
    ("--epochs 1 --steps 1", "argument --steps: not allowed with argument --epochs"),
    ("--batch-size 0", "argument --batch-size: expected a whole number of at least 1, got '0'"),
    ("--lr 0", "argument --lr: expected a positive number, got '0'"),
    ("--lr nan", "argument --lr: expected a positive number, got 'nan'"),
    ("--lr inf", "argument --lr: expected a positive number, got 'inf'"),
    ("--d-lr fast", "argument --d-lr: expected a positive number, got 'fast'"),
    ("--beta1 1", "argument --beta1: expected a number in [0, 1), got '1'"),
    ("--beta2 -0.1", "argument --beta2: expected a number in [0, 1), got '-0.1'"),
    ("--loss focal", "argument --loss: invalid choice: 'focal' (choose from"),
    ("--loss hinge --real-label 0.9", "argument --real-label: --loss hinge has no labels; give --real-label 1 or"),
    ("--penalty r3", "argument --penalty: invalid choice: 'r3' (choose from"),
    ("--gamma -1", "argument --gamma: expected a number of at least 0, got '-1'"),
    ("--gp-weight heavy", "argument --gp-weight: expected a number of at least 0, got 'heavy'"),
    ("--gp-target inf", "argument --gp-target: expected a number of at least 0, got 'inf'"),
    ("--penalty-every 0", "argument --penalty-every: expected a whole number of at least 1, got '0'"),
    ("--weight-clip 0", "argument --weight-clip: expected a positive number, got '0'"),
    ("--augment shift,blur", "argument --augment: expected some of colour, shift, cutout, with commas between, all or"),
    ("--augment-strength 1.1", "argument --augment-strength: expected a number in [0, 1], got '1.1'"),
    ("--augment-target -1", "argument --augment-target: expected a number in [0, 1], got '-1'"),
    ("--augment-strength 0.5", "argument --augment-strength: there is nothing to be changed"),
    (
        "--augment all --augment-strength 0.5 --augment-target 0.6",
        "argument --augment-strength: --augment-target decides",
    ),
    ("--augment-target 0.6", "argument --augment-target: there is nothing to make stronger; give --augment all"),
    ("--until-equilibrium --judge none", "argument --until-equilibrium: how good samples are a judge must say"),
    ("--told-apart 0.4", "argument --told-apart: expected a number in [0.5, 1], got '0.4'"),
    ("--patience 0", "argument --patience: expected a whole number of at least 1, got '0'"),
    ("--lr-schedule step", "argument --lr-schedule: invalid choice: 'step' (choose from"),
    ("--optimizer adagrad", "argument --optimizer: invalid choice: 'adagrad' (choose from"),
    ("--noise-dim 0", "argument --noise-dim: expected a whole number of at least 1, got '0'"),
    ("--width 0", "argument --width: expected a whole number of at least 1, got '0'"),
    ("--width wide", "argument --width: expected a whole number of at least 1, got 'wide'"),
    ("--model dcgan", "unrecognized arguments: --model dcgan"),
    ("--real-label 0", "argument --real-label: expected a number in (0, 1], got '0'"),
    ("--real-label 1.1", "argument --real-label: expected a number in (0, 1], got '1.1'"),
    ("--clip-norm 0", "argument --clip-norm: expected a positive number, got '0'"),
    ("--clip-value -1", "argument --clip-value: expected a positive number, got '-1'"),
    ("--d-steps 0", "argument --d-steps: expected a whole number of at least 1, got '0'"),
    ("--average 1", "argument --average: expected a number in [0, 1), got '1'"),
    ("--seed -1", "argument --seed: expected a whole number of at least 0, got '-1'"),
    ("--backend torch", "argument --backend: invalid choice: 'torch' (choose from"),
    ("--precision fp16", "argument --precision: invalid choice: 'fp16' (choose from"),
    ("--sample-every 0", "argument --sample-every: expected a whole number of at least 1"),
    ("--checkpoint-every x", "argument --checkpoint-every: expected a whole number of at least 1"),
    ("--size 0", "argument --size: expected a height and a width such as 48x64, or one number for both, whole numbers"),
    ("--size 48x", "whole numbers from 1 to 8192, got '48x'"),
    ("--size x64", "whole numbers from 1 to 8192, got 'x64'"),
    ("--size 0x64", "whole numbers from 1 to 8192, got '0x64'"),
    ("--size 64x-1", "whole numbers from 1 to 8192, got '64x-1'"),
    ("--size 48x64x3", "whole numbers from 1 to 8192, got '48x64x3'"),
    ("--size 48,64", "whole numbers from 1 to 8192, got '48,64'"),
    ("--size 4e3", "whole numbers from 1 to 8192, got '4e3'"),
    ("--size 28.0", "whole numbers from 1 to 8192, got '28.0'"),
    ("--size 8193", "whole numbers from 1 to 8192, got '8193'"),
    ("--size 8x99999999999999999999", "whole numbers from 1 to 8192, got '8x99999999999999999999'"),
    ("--size=", "whole numbers from 1 to 8192, got ''"),
    ("--channels 2", "argument --channels: invalid choice: 2 (choose from"),
    ("--fit stretch", "argument --fit: invalid choice: 'stretch' (choose from"),
    ("--background 256", "argument --background: expected a whole number from 0 to 255, got '256'"),
    ("--background red", "argument --background: expected a whole number from 0 to 255, got 'red'"),
    ("--background 1,2", "argument --background: expected one grey level, or red,green,blue, got '1,2'"),
    ("--cache", "argument --cache: expected one argument"),
    ("--data=", "argument --data: expected a path, got the text ''; '.' is the current folder"),
    ("--cache=", "argument --cache: expected a path, got the text ''"),
    ("--out=", "argument --out: expected a path, got the text ''"),
    (
        "--data=~no-such-user/x",
        "argument --data: ~no-such-user/x: nobody knows the home folder ~no-such-user. Write the",
    ),
    ("--cache=~no-such-user", "argument --cache: ~no-such-user: nobody knows the home folder ~no-such-user"),
    ("--out ~no-such-user/x", "argument --out: ~no-such-user/x: nobody knows the home folder ~no-such-user"),
    ("--resume --out=", "argument --out: expected a path"),
    ("--resume --overwrite", "argument --overwrite: not allowed with argument --resume"),
    ("--epoch 3", "unrecognized arguments: --epoch 3"),
    ("surplus", "unrecognized arguments: surplus"),
    ("--out", "argument --out: expected one argument"),
]


@pytest.mark.parametrize(("line", "message"), BAD_FLAG_ODDITIES, ids=[line for line, _ in BAD_FLAG_ODDITIES])
def test_bad_flags(line, message, example, capsys):
    assert example(*line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert "Traceback" not in err


def test_help_is_worth_reading(example, capsys):
    assert example("--help") == 0
    text = capsys.readouterr().out
    for word in ("python examples/mnist_mlp_gan.py", "L_D = ", "minutes", "film.gif", "interruptions", *LOSSES):
        assert word in text, word
    for flag in vars(flags_of()).keys() - {"low"}:
        assert f"--{flag.replace('_', '-')}" in text
    assert "None" not in text
    assert max(len(line) for line in text.splitlines()) <= 120


def test_so_is_that_of_every_system(system, capsys):
    assert system("--help") == 0
    text = capsys.readouterr().out
    for word in ("python examples/", "L_D = ", "L_G = ", "minutes on two cores", "et al., 20", "--steps N"):
        assert word in text, word
    assert "None" not in text
    assert max(len(line) for line in text.splitlines()) <= 120


@pytest.mark.parametrize("name", sorted({line.split()[0] for line in SYSTEMS}))
def test_an_example_is_read_on_a_page(name):
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 90


def test_a_home_folder_is_meant_wherever_a_path_is(tmp_path, monkeypatch, example, images):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path / "..")
    assert flags_of("--out=~/x").out == tmp_path / "x"
    assert flags_of("--out", "~").out == tmp_path
    assert flags_of("--data=~/x").data == "~/x", "as it was typed, for a run that is resumed elsewhere"
    assert example("--data=~/images-idx3-ubyte", "--out=~/run", "--steps", 1, "--batch-size", 4) == 0
    assert (tmp_path / "run" / "samples.png").exists()
    assert example("--resume", "--out=~/run", "--steps", 2, "--batch-size", 4) == 0


def test_every_default_stands_in_the_help():
    helped = {action.dest: action.help for action in make_parser("A GAN.", RECIPE)._actions}
    unsaid = {"help", "mirror", "resume", "overwrite", "steps", "until_equilibrium"}
    for name in helped.keys() - unsaid:
        default = getattr(RECIPE, name)
        assert re.search(r"\([a-z' -]+\)$" if default is None else rf"\({re.escape(str(default))}\)$", helped[name]), (
            name
        )
    assert "(7)" in make_parser("A GAN.", OTHER).format_help()


def test_shapes_of_images_are_the_recipes_or_as_they_are():
    as_they_are = {"size": None, "channels": None, "fit": "crop", "background": 255, "mirror": False, "cache": None}
    alone = {"in_turn": ALONE.in_turn}  # of several processes, the first fetches and decodes
    assert data_options(flags_of()) == {**as_they_are, **alone}
    recipe = Recipe(name="gan", epochs=3, lr=5e-4, size=28, channels=1)
    line = "--channels 3 --fit letterbox --mirror --background 0,128,255 --cache here"
    assert data_options(flags_of(*line.split(), recipes=[recipe])) == {
        "size": 28,
        "channels": 3,
        "fit": "letterbox",
        "background": [0, 128, 255],
        "mirror": True,
        "cache": "here",
        **alone,
    }
    assert data_options(flags_of("--background", 7))["background"] == 7
    assert "(as they are)" in make_parser("A GAN.", RECIPE).format_help()
    assert "(28)" in make_parser("A GAN.", recipe).format_help()


def players(*argv, recipes=(RECIPE,)):
    """Options of the GAN that these flags make, for 1,000 images."""
    networks = Sequential(Dense(100, 2)), Sequential(Dense(2, 1))
    return gan_options(flags_of(*argv, recipes=recipes), *networks, small_data(n=1000))


def test_flags_become_players():
    options = players()
    assert repr(options["loss"]) == "NonSaturating()"
    for optimizer, network in ((options["g_optimizer"], "generator"), (options["d_optimizer"], "discriminator")):
        assert type(optimizer) is optim.Adam, network
        assert (optimizer.lr, optimizer.beta1, optimizer.beta2) == (5e-4, 0.5, 0.999)
        assert (optimizer.clip_norm, optimizer.clip_value) == (None, None)
    assert {key: options[key] for key in ("noise_dim", "d_steps", "average", "seed")} == {
        "noise_dim": 100,
        "d_steps": 1,
        "average": 0.999,
        "seed": 0,
    }
    line = "--loss leastsquares --real-label 0.9 --d-lr 0.1 --clip-norm 2 --clip-value 0.5 --noise-dim 9 --d-steps 3"
    options = players(*line.split())
    assert repr(options["loss"]) == repr(losses.LeastSquares(real_label=0.9))
    assert (options["g_optimizer"].lr, options["d_optimizer"].lr) == (5e-4, 0.1)
    for key in ("g_optimizer", "d_optimizer"):
        assert (options[key].clip_norm, options[key].clip_value) == (2.0, 0.5)
    assert (options["noise_dim"], options["d_steps"]) == (9, 3)


def test_every_loss_has_a_name():
    for name, kind in LOSSES.items():
        assert type(players("--loss", name, "--weight-clip", "1")["loss"]) is kind
    adversarial = [kind for kind in vars(losses).values() if isinstance(kind, type) and issubclass(kind, losses.Loss)]
    assert set(adversarial) - set(LOSSES.values()) == {losses.Loss, losses.Labelled}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", "[]"),
        ("--gamma 3 --gp-weight 2 --gp-target 0 --penalty-every 4", "[]"),
        ("--penalty none", "[]"),
        ("--penalty gp", "[GradientPenalty(weight=10.0, target=1.0)]"),
        ("--penalty gp --gp-weight 2 --gp-target 0 --gamma 7", "[GradientPenalty(weight=2.0, target=0.0)]"),
        ("--penalty r1", "[R1(gamma=10.0)]"),
        ("--penalty r2 --gamma 0.1 --gp-weight 7", "[R2(gamma=0.1)]"),
        ("--penalty r1+r2 --gamma 1 --penalty-every 4", "[R1(gamma=1.0, every=4), R2(gamma=1.0, every=4)]"),
        ("--penalty gp --penalty-every 2", "[GradientPenalty(weight=10.0, target=1.0, every=2)]"),
    ],
)
def test_flags_become_penalties(line, expected):
    assert repr(players(*line.split())["penalties"]) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", "[]"),
        ("--augment none", "[]"),
        ("--augment shift", "[Shift(0.125, fill=0.0)]"),
        ("--augment shift,colour", "[Colour(0.5, 1.0, 0.5), Shift(0.125, fill=0.0)]"),
        ("--augment all", "[Colour(0.5, 1.0, 0.5), Shift(0.125, fill=0.0), Cutout(0.5, fill=0.0)]"),
    ],
)
def test_flags_become_augmentations(line, expected):
    D = models.mlp((6, 6, 1))[1]
    changed = augmented(flags_of(*line.split()), D)
    assert repr([layer for layer in changed.layers if isinstance(layer, augment.Augmentation)]) == expected
    assert (changed is D) == (expected == "[]")


def test_augmentations_are_of_the_range_and_seed_of_the_run():
    low, D = replace(RECIPE, low=0.0), models.mlp((6, 6, 1))[1]
    layers = augmented(flags_of("--augment", "all", recipes=[low]), D).layers[:3]
    assert repr(layers) == repr((augment.Colour(0.25), augment.Shift(fill=0.5), augment.Cutout(fill=0.5)))
    draws = [
        [layer.rng.random() for layer in augmented(flags_of("--augment", "all", "--seed", k), D).layers[:3]]
        for k in (0, 0, 1)
    ]
    assert draws[0] == draws[1]
    assert len({*draws[0], *draws[2]}) == 6
    alone = augmented(flags_of("--augment", "cutout"), D).layers[0]
    assert alone.rng.random() == draws[0][2]


def test_a_strength_that_follows_d():
    flags = flags_of("--augment", "all", "--augment-target", 0.6)
    G, D = models.mlp((6, 6, 1))
    D = augmented(flags, D)
    loss = gan_options(flags, G, D, small_data(n=1000))["loss"]
    assert (repr(loss), loss.strength) == ("Adaptive(NonSaturating(), target=0.6, images=20000)", 0.0)
    steady = augmented(flags_of("--augment", "all", "--augment-strength", 0.3), models.mlp((6, 6, 1))[1])
    assert [layer.buffers["strength"][0] for layer in steady.layers[:3]] == [np.float32(0.3)] * 3


def test_weights_are_clipped_where_it_is_said():
    assert players()["weight_clip"] is None
    assert players("--weight-clip", 0.01)["weight_clip"] == 0.01


def test_a_recipe_may_have_it_all():
    recipe = replace(
        RECIPE, epochs=None, steps=9, loss="relativistic", penalty="r1+r2", gamma=0.5, lr_schedule="cosine", d_lr=0.1
    )
    options = players(recipes=[recipe])
    assert repr(options["loss"]) == "Relativistic()"
    assert repr(options["penalties"]) == "[R1(gamma=0.5), R2(gamma=0.5)]"
    assert (options["g_optimizer"].lr, options["d_optimizer"].lr) == (cosine(5e-4, 0.0, 9), cosine(0.1, 0.0, 9))
    text = make_parser("A GAN.", recipe).format_help()
    for default in ("(relativistic)", "(r1+r2)", "(0.5)", "(cosine)"):
        assert default in text
    options = players("--lr-schedule", "constant", "--epochs", 2, "--penalty", "none", recipes=[recipe])
    assert (options["g_optimizer"].lr, options["penalties"]) == (5e-4, [])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_learning_rates_fall_to_0_over_the_steps_of_the_run(optimizer):
    line = ["--optimizer", optimizer, "--lr", 0.2, "--d-lr", 0.4, "--lr-schedule"]
    options = players(*line, "linear", "--steps", 50)
    assert options["g_optimizer"].lr == linear(0.2, 0.0, 50)
    assert options["d_optimizer"].lr == linear(0.4, 0.0, 50)
    assert players(*line, "cosine", "--steps", 7)["g_optimizer"].lr == cosine(0.2, 0.0, 7)
    of_epochs = players(*line, "cosine", "--epochs", 3, "--batch-size", 30, "--d-steps", 2)
    assert of_epochs["g_optimizer"].lr == cosine(0.2, 0.0, 3 * 16)
    assert of_epochs["d_optimizer"].lr == cosine(0.4, 0.0, 3 * 16 * 2), "D takes two steps in each"
    assert players(*line, "constant")["g_optimizer"].lr == 0.2


def test_another_optimizer_comes_with_its_own_numbers():
    adam, rmsprop, sgd = (players("--optimizer", name)["g_optimizer"] for name in OPTIMIZERS)
    assert (adam.lr, adam.beta1, adam.beta2) == (5e-4, 0.5, 0.999), "the recipe's"
    assert (rmsprop.lr, rmsprop.rho) == (1e-4, 0.9)
    assert (sgd.lr, sgd.momentum) == (1e-2, 0.0)
    rmsprop = players("--optimizer", "rmsprop", "--lr", 3e-5, "--beta2", 0.99)["d_optimizer"]
    assert (rmsprop.lr, rmsprop.rho) == (3e-5, 0.99)
    sgd = players(recipes=[OTHER])["g_optimizer"]
    assert (sgd.lr, sgd.momentum) == (1e-3, 0.9), "the recipe's"
    for name, kind in zip(OPTIMIZERS, (optim.Adam, optim.RMSProp, optim.SGD), strict=True):
        mine = kind(Sequential(Dense(2, 1)))
        assert OPTIMIZERS[name]["lr"] == mine.lr, "the defaults of the class are the defaults here"


def test_a_run_may_end_at_an_equilibrium():
    for line, expected in (
        ("", None),
        ("--until-equilibrium", "Equilibrium(patience=4, apart=0.75)"),
        ("--until-equilibrium --patience 2 --told-apart 0.6", "Equilibrium(patience=2, apart=0.6)"),
        ("--until-equilibrium --no-until-equilibrium", None),
    ):
        flags = flags_of("--data", "digits", "--size", 28, "--channels", 1, *line.split())
        until = training_options(flags, small_data(n=60, size=28))["until"]
        assert (until if until is None else repr(until)) == expected


def test_an_equilibrium_needs_images_that_nobody_was_trained_on():
    with pytest.raises(ArgumentError, match=r"real images that it has not seen.* In Python, train\(..., judge="):
        training_options(flags_of("--until-equilibrium"), small_data(n=60))


def test_a_recipe_decides_the_range_of_images():
    images = from_array(np.zeros((30, 8, 8), np.uint8))
    for recipe, low in ((RECIPE, -1.0), (replace(RECIPE, low=0.0), 0.0)):
        options = training_options(flags_of(recipes=[replace(recipe, data="pictures")]), images)
        assert options["low"] == options["judge"].low == low


@pytest.mark.parametrize(
    ("line", "shape", "name"),
    [
        ("--data digits", (28, 28), "tinygan's classifier of digits, 1"),
        ("--data digits --judge random", (28, 28), "random convolutions 0, 1 channel"),
        ("--data digits --size 16", (16, 16), "random convolutions 0, 1 channel"),
        ("--data digits --size 28x32", (28, 32), "random convolutions 0, 1 channel"),
        ("--data shapes", (64, 64), "random convolutions 0, 3 channels"),
        ("--data shapes --size 12x20", (12, 20), "random convolutions 0, 3 channels"),
        ("--data digits --judge none", (28, 28), None),
    ],
)
def test_samples_are_judged_by_what_fits_the_data(line, shape, name, tmp_path):
    flags = flags_of(*line.split())
    images = load(flags.data, split="test", **data_options(flags))
    assert images.image_shape[:2] == shape
    judge = training_options(flags, images)["judge"]
    assert (judge.name if judge else None) == name


def test_samples_are_judged_beside_test_images_if_there_are_any(tmp_path, capsys):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 30, 8, 8), dtype=np.uint8)
    for name, of in zip(("train", "t10k"), pixels, strict=True):
        header = struct.pack(">BBBBIII", 0, 0, 8, 3, *of.shape)
        (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(header + of.tobytes())
    flags = flags_of("--data", tmp_path)
    images = load(flags.data)
    np.testing.assert_array_equal(training_options(flags, images)["judge"].data.images, pixels[1][..., None])
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(b"damaged")
    assert training_options(flags, images)["judge"].data is images
    assert "t10k-images-idx3-ubyte" in (said := capsys.readouterr().err)
    assert said.endswith("that are trained on, of which copies would be best.\n")


def test_a_few_pictures_of_ones_own_are_not_judged():
    few = from_array(np.zeros((19, 8, 8), np.uint8))
    assert training_options(flags_of("--data", "pictures"), few)["judge"] is None
    with pytest.raises(ArgumentError, match="has 19 images; to judge beside, 20 are the least"):
        training_options(flags_of("--data", "pictures", "--judge", "random"), few)


def test_digits_of_another_size_cannot_be_judged_as_digits():
    images = load("digits", split="test", size=16)
    with pytest.raises(ShapeError, match=r"expected images \(N, 28, 28, 1\)"):
        training_options(flags_of("--data", "digits", "--size", 16, "--judge", "digits"), images)


def test_one_of_several_recipes():
    two = (RECIPE, OTHER)
    assert vars(flags_of(recipes=two)) == {**vars(flags_of()), "model": "gan"}
    for line in (["--model", "other"], ["--model=other"], ["--lr", "1e-3", "--model", "other"]):
        flags = flags_of(*line, recipes=two)
        assert (flags.model, flags.steps, flags.epochs, flags.width, flags.optimizer) == ("other", 7, None, 16, "sgd")
        assert (flags.beta1, flags.out) == (0.9, Path("runs/other"))
    assert not hasattr(flags_of(), "model")


# ---- where a run computes ------------------------------------------------------------------------------------------


@pytest.fixture
def no_gpu(monkeypatch):
    """Wherever the tests run, CuPy cannot be had; and precision is fp32 again in the end."""
    without = {name: known for name, known in registry._by_name.items() if name != "cupy"}
    monkeypatch.setattr(registry, "_by_name", without)
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(loading, "_precision", "fp32")


@pytest.fixture
def gpu(no_gpu, monkeypatch):
    """A GPU of our own making, fit for tf32: whoever asks for CuPy gets the stand-in, which keeps its name."""
    other = copy.copy(standin)
    other.device, other.tf32 = "NVIDIA H200, 140 GB", True
    monkeypatch.setattr(registry, "_by_name", {**registry._by_name, "cupy": other, "standin": other})
    monkeypatch.setattr(registry, "_by_type", {**registry._by_type, other.array_type: other})


def test_backend_auto_takes_the_cpu_where_there_is_no_gpu(no_gpu, capsys):
    assert flags_of("--backend", "auto").backend == "numpy"
    err = capsys.readouterr().err
    assert err.startswith("backend auto: the CPU, since backend 'cupy': the package CuPy is missing. Install it")
    assert err.count("\n") == 1


def test_backend_auto_takes_the_gpu_where_there_is_one(gpu, capsys):
    assert flags_of("--backend", "auto").backend == "standin"
    assert capsys.readouterr().err == "backend auto: NVIDIA H200, 140 GB\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--backend cupy", "error: backend 'cupy': the package CuPy is missing. Install it"),
        ("--backend cupy --precision tf32", "error: backend 'cupy': the package CuPy is missing. Install it"),
        (
            "--precision tf32",
            "error: precision 'tf32' is a mode of the matrix units of NVIDIA GPUs since Ampere; backend",
        ),
        ("--backend numpy --precision tf32", "backend 'numpy' (the CPU) has none. Use precision 'fp32' (--precision"),
    ],
)
def test_a_backend_or_precision_that_is_not_there_ends_in_one_line(line, message, no_gpu, example, tmp_path, capsys):
    """And before any data is looked for."""
    assert example(*line.split(), "--data", "nowhere", "--out", tmp_path / "run") == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
    assert not (tmp_path / "run").exists()


def test_what_a_run_computes_on_is_told_and_recorded(gpu, system, tmp_path, images, capsys):
    """And every system goes on elsewhere: a checkpoint is made of NumPy arrays."""
    run = ["--out", tmp_path / "run", "--batch-size", 4]
    assert system("--data", images, *run, "--steps", 2, "--backend", "auto", "--precision", "tf32") == 0
    out, err = capsys.readouterr()
    assert "on NVIDIA H200, 140 GB, tf32\n" in out
    assert err.startswith("backend auto: NVIDIA H200, 140 GB\n")
    assert loading.precision() == "tf32"
    settings = settings_of(tmp_path / "run")
    assert (settings["backend"], settings["precision"]) == ("standin", "tf32")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["device"] == "NVIDIA H200, 140 GB, tf32"

    assert system("--resume", *run, "--steps", 3) == 0, "as it was"
    assert "on NVIDIA H200, 140 GB, tf32\n" in capsys.readouterr().out
    assert system("--resume", *run, "--steps", 4, "--backend", "numpy") == 1
    assert "precision 'tf32' is a mode" in capsys.readouterr().err
    assert system("--resume", *run, "--steps", 4, "--backend", "numpy", "--precision", "fp32") == 0
    assert "on the CPU\n" in capsys.readouterr().out
    assert loading.precision() == "fp32"
    settings = settings_of(tmp_path / "run")
    assert (settings["backend"], settings["precision"]) == ("numpy", "fp32")
    assert system("--resume", *run, "--steps", 5, "--backend", "cupy") == 0
    assert "on NVIDIA H200, 140 GB, fp32\n" in capsys.readouterr().out
    rows = np.loadtxt(tmp_path / "run" / "losses.csv", delimiter=",", skiprows=1)
    assert rows.shape == (5, 4 + ("penalty" in (tmp_path / "run" / "losses.csv").read_text()))
    assert np.isfinite(rows).all()


# ---- the example ---------------------------------------------------------------------------------------------------


def test_the_example_from_its_command_line(tmp_path):
    """In a folder of its own, on digits drawn by tinygan, with all output checked."""
    command = [sys.executable, "-W", "error", str(EXAMPLE), "--data", "digits", "--steps", "20", "--sample-every", "10"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "60,000 embedded digits" in ended.stdout
    assert "Dense(512, 1024)" in ended.stdout
    assert re.search(r"step 20/20  D \d\.\d+  G \d\.\d+  [\d,]+ images/s", ended.stderr)
    folder = tmp_path / "runs" / "mnist_mlp_gan"
    actual = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    frames = {f"samples/step_{t:06d}.png" for t in (0, 10, 20)}
    assert actual == frames | FILES - {"samples"}
    config = json.loads((folder / "config.json").read_text())
    assert config["settings"]["data"] == "digits"
    assert config["run"]["data"]["shape"] == [60000, 28, 28, 1]
    arrays, about = checkpoints.read(folder / "checkpoint.safetensors")
    assert about["step"] == 20
    assert arrays["losses"].shape == (20, 3)  # D, G, and the penalty
    with Image.open(folder / "samples.png") as picture:
        assert picture.size == (484, 484)
        assert np.asarray(picture).std() > 20


FILES = {"config.json", "losses.csv", "losses.png", "film.gif", "samples.png", "samples", "checkpoint.safetensors"}
FILES |= {"real.png", "metrics.csv", "metrics.png", "best.safetensors"}


def test_every_system_runs_and_goes_on(system, tmp_path, images, capsys):
    # A rate that falls to 0 at the end would depend on where the first part of the run meant to end
    run = ["--data", images, "--batch-size", 4, "--noise-dim", 6, "--lr-schedule", "constant"]
    assert system(*run, "--out", tmp_path / "whole", "--steps", 3) == 0
    out, err = capsys.readouterr()
    assert "300 images" in out
    assert "Conv2D(" in out or "Dense(784, 8)" in out
    assert f"Look at {tmp_path / 'whole' / 'samples.png'}" in out
    assert "error" not in err
    assert {path.name for path in (tmp_path / "whole").iterdir()} == FILES
    assert system(*run, "--out", tmp_path / "run", "--steps", 2) == 0
    assert system("--resume", "--out", tmp_path / "run", "--steps", 3) == 0
    assert_same_files(tmp_path / "run", tmp_path / "whole")


def test_every_system_takes_every_remedy(system, tmp_path, images):
    line = "--loss minimax --optimizer rmsprop --lr 1e-5 --clip-norm 1 --clip-value 0.1 --width 3 --average 0"
    run = [*line.split(), "--data", images, "--batch-size", 4, "--noise-dim", 5]
    assert system(*run, "--out", tmp_path / "whole", "--steps", 2) == 0
    settings = settings_of(tmp_path / "whole")
    for key, value in {"loss": "minimax", "optimizer": "rmsprop", "lr": 1e-5, "beta2": 0.9, "width": 3}.items():
        assert settings[key] == value
    assert (settings["clip_norm"], settings["clip_value"], settings["noise_dim"]) == (1.0, 0.1, 5)
    config = json.loads((tmp_path / "whole" / "config.json").read_text())["run"]
    assert (config["loss"], config["g_optimizer"]["kind"], config["noise_dim"]) == ("Minimax()", "RMSProp", 5)
    assert system(*run, "--out", tmp_path / "run", "--steps", 1) == 0
    assert system("--resume", "--out", tmp_path / "run", "--steps", 2) == 0
    assert_same_files(tmp_path / "run", tmp_path / "whole")


def test_every_system_takes_penalties_and_schedules(system, tmp_path, images):
    line = "--loss relativistic --penalty r1+r2 --gamma 0.1 --penalty-every 2 --lr-schedule cosine --weight-clip 0.5"
    run = [*line.split(), "--data", images, "--batch-size", 4, "--noise-dim", 5]
    assert system(*run, "--out", tmp_path / "run", "--steps", 3) == 0
    settings = settings_of(tmp_path / "run")
    wanted = {"loss": "relativistic", "penalty": "r1+r2", "gamma": 0.1, "penalty_every": 2, "weight_clip": 0.5}
    assert {key: settings[key] for key in (*wanted, "lr_schedule")} == {**wanted, "lr_schedule": "cosine"}
    config = json.loads((tmp_path / "run" / "config.json").read_text())["run"]
    assert config["penalties"] == ["R1(gamma=0.1, every=2)", "R2(gamma=0.1, every=2)"]
    assert config["weight_clip"] == 0.5
    rows = np.loadtxt(tmp_path / "run" / "losses.csv", delimiter=",", skiprows=1)
    np.testing.assert_array_equal(rows[:, 4] > 0, [True, False, True])


def test_every_system_takes_augmentation(system, tmp_path, images):
    line = "--augment shift,cutout,colour --augment-target 0.1 --penalty r1 --gamma 0.1"
    run = [*line.split(), "--data", images, "--batch-size", 4, "--noise-dim", 5, "--width", 3]
    assert system(*run, "--out", tmp_path / "whole", "--steps", 3) == 0
    config = json.loads((tmp_path / "whole" / "config.json").read_text())
    assert "Shift(0.125, fill=0" in json.dumps(config)
    assert config["run"]["loss"].startswith("Adaptive(")
    assert system(*run, "--out", tmp_path / "run", "--steps", 1) == 0
    assert system("--resume", "--out", tmp_path / "run", "--steps", 3) == 0
    assert_same_files(tmp_path / "run", tmp_path / "whole")
    assert load_trained(tmp_path / "run").discriminator.layers[0].buffers["strength"][0] >= 0.0


def test_a_run_keeps_the_strength_of_its_augmentations(tmp_path, images, capsys):
    """It is in the state of D's layers, so that another one would be taken and do nothing."""
    out, system = tmp_path / "run", program("mnist_mlp_gan")
    run = ["--data", images, "--batch-size", 4, "--noise-dim", 5, "--width", 3, "--augment", "shift", "--out", out]
    assert system(*run, "--augment-strength", 0.5, "--steps", 1) == 0
    before = (out / "checkpoint.safetensors").read_bytes()
    assert system("--resume", "--out", out, "--augment-strength", 0.7, "--steps", 2) == 1
    assert (
        "a run that goes on keeps its own --augment-strength, 0.5, got 0.7. Leave the flag" in capsys.readouterr().err
    )
    assert (out / "checkpoint.safetensors").read_bytes() == before
    assert system("--resume", "--out", out, "--augment-strength", 0.5, "--steps", 2) == 0
    assert load_trained(out).discriminator.layers[0].buffers["strength"][0] == 0.5


def test_resume_keeps_penalties_and_schedule(tmp_path, example, images):
    """--resume alone goes on to the bytes of the whole run; stopped by hand, the schedule keeps its length."""
    run = ["--data", images, "--batch-size", 16, "--loss", "wasserstein", "--penalty", "gp", "--gp-target", 0.5]
    run += ["--weight-clip", 0.4, "--lr-schedule", "linear", "--checkpoint-every", 2]
    assert example(*run, "--steps", 5, "--out", tmp_path / "whole") == 0
    with pytest.MonkeyPatch.context() as patch:
        steps = iter(range(3))
        step = GAN.step
        patch.setattr(GAN, "step", lambda gan, *a, **k: step(gan, *a, **k) if next(steps, None) is not None else 1 / 0)
        with pytest.raises(ZeroDivisionError):
            example(*run, "--steps", 5, "--out", tmp_path / "run")
    assert example("--resume", "--out", tmp_path / "run") == 0
    assert_same_files(tmp_path / "run", tmp_path / "whole")


def test_a_run_from_before_there_were_such_flags_goes_on(tmp_path, images):
    """Whatever the recipe says by now, it is resumed with what it was made with."""
    out = tmp_path / "run"
    run = ["--data", images, "--out", out, "--steps", 1, "--batch-size", 4, "--penalty", "none"]
    assert program("mnist_mlp_gan")(*run) == 0
    arrays, about = checkpoints.read(out / "checkpoint.safetensors")
    new = {"penalty", "gamma", "gp_weight", "gp_target", "penalty_every", "weight_clip", "lr_schedule", "precision"}
    new |= {"augment", "augment_strength", "augment_target"}
    about["settings"] = {key: value for key, value in about["settings"].items() if key not in new}
    checkpoints.write(out / "checkpoint.safetensors", arrays, about)
    recipe = replace(RECIPE, penalty="r1", weight_clip=0.1, lr_schedule="cosine", epochs=None, steps=5)
    flags = flags_of("--resume", "--out", out, recipes=[recipe])
    assert (flags.penalty, flags.weight_clip, flags.lr_schedule, flags.steps) == ("none", None, "constant", 1)
    assert program("mnist_mlp_gan")("--resume", "--out", out, "--steps", 2) == 0


def test_a_label_for_a_loss_without_labels(tmp_path, images, example, capsys):
    """Given or resumed, in one line."""
    out = tmp_path / "run"
    run = ["--data", images, "--out", out, "--steps", 1, "--batch-size", 4, "--real-label", 0.9]
    assert example(*run, "--loss", "relativistic") == 2
    assert "argument --real-label: --loss relativistic has no labels" in capsys.readouterr().err
    assert not out.exists()
    assert example(*run) == 0
    assert example("--resume", "--out", out, "--loss", "wasserstein") == 2
    assert example("--resume", "--out", out, "--loss", "hinge", "--real-label", 1) == 1
    assert "another loss: NonSaturating(real_label=0.9) then, Hinge() now" in capsys.readouterr().err


@pytest.mark.parametrize("penalty", ["none", "r1 --gamma 0", "r1+r2 --gamma 0 --gp-weight 5", "gp --gp-weight 0"])
def test_a_critic_without_a_bound(tmp_path, images, example, capsys, penalty):
    run = ["--data", images, "--steps", 1, "--batch-size", 4, "--loss", "wasserstein", "--penalty", *penalty.split()]
    assert example(*run, "--out", tmp_path / "run") == 2
    assert "argument --loss: the wasserstein loss falls for ever unless D's slope is bounded" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert example(*run, "--weight-clip", 0.01, "--out", tmp_path / "clipped") == 0


@pytest.mark.parametrize("penalty", ["r2 --gamma 0.1 --gp-weight 0", "gp --gp-weight 0.1 --gamma 0"])
def test_a_critic_with_a_bound(tmp_path, images, example, penalty):
    run = ["--data", images, "--steps", 1, "--batch-size", 4, "--loss", "wasserstein", "--penalty", *penalty.split()]
    assert example(*run, "--out", tmp_path / "run") == 0


@pytest.mark.parametrize("name", SYSTEMS)
def test_what_is_shown_to_the_networks(name, tmp_path, images):
    """The range, the size and the loss of SYSTEMS, in the run's own record."""
    assert program(name)("--data", images, "--batch-size", 4, "--steps", 1, "--out", tmp_path / "run") == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())["run"]
    low = 0.0 if name in ("mnist_conv_gan", "mnist_lsgan") else -1.0
    size = 64 if "dcgan64" in name else 28
    assert config["range"] == [low, 1.0]
    assert config["data"]["shape"] == [300, size, size, 1]
    losses = {"mnist_lsgan": "LeastSquares()", "resnet": "Relativistic()"}
    assert config["loss"] == losses.get(name, "NonSaturating()")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--size 30", "one number for both, multiples of 4 from 4 to 8192, got '30'"),
        ("--size 32x30", "one number for both, multiples of 4 from 4 to 8192, got '32x30'"),
        ("--model dcgan64 --size 66", "one number for both, multiples of 4 from 4 to 8192, got '66'"),
        ("--model dcgan64 --size 50x64", "one number for both, multiples of 4 from 4 to 8192, got '50x64'"),
        ("--size 0", "one number for both, multiples of 4 from 4 to 8192, got '0'"),
        ("--model vgg", "argument --model: invalid choice: 'vgg' (choose from"),
        ("--model", "argument --model: expected one argument"),
        ("--mode dcgan64", "unrecognized arguments: --mode dcgan64"),
    ],
)
def test_what_dcgan_refuses(line, message, dcgan, capsys):
    assert dcgan(*line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err


def test_dcgan_help_is_that_of_the_model(dcgan, capsys):
    assert dcgan("--help") == dcgan("--model", "dcgan64", "--help") == 0
    text = capsys.readouterr().out
    first, second = text.split("usage: ")[1:]
    assert "(runs/dcgan)" in first
    assert "(runs/dcgan64)" in second


def test_dcgan_resumes_the_model_that_was_trained(dcgan, tmp_path, images, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert dcgan("--model", "dcgan64", "--data", images, "--size", 16, "--batch-size", 4, "--steps", 1) == 0
    assert settings_of(tmp_path / "runs" / "dcgan64")["model"] == "dcgan64"
    assert dcgan("--resume", "--model", "dcgan64", "--steps", 2) == 0
    assert dcgan("--resume", "--out", "runs/dcgan64", "--steps", 3) == 0
    capsys.readouterr()
    assert dcgan("--resume", "--out", "runs/dcgan64", "--model", "dcgan", "--steps", 4) == 1
    assert "the run was made with another generator" in capsys.readouterr().err


def test_resume_takes_what_is_not_said_from_the_run(tmp_path, example, images):
    out = tmp_path / "run"
    first = ["--data", images, "--out", out, "--batch-size", 16, "--loss", "leastsquares", "--seed", 4]
    assert example(*first, "--steps", 4) == 0
    assert example("--resume", "--out", out, "--steps", 6) == 0  # longer
    assert example(*first, "--steps", 6, "--out", tmp_path / "whole") == 0
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        assert path.read_bytes() == (tmp_path / "whole" / path.relative_to(out)).read_bytes(), path
    assert example("--resume", "--out", out) == 0  # it is finished already, which is no error
    assert example("--resume", "--out", out, "--steps", 7, "--lr", "1e-5") == 0
    assert json.loads((out / "config.json").read_text())["settings"]["lr"] == 1e-5


def photos(tmp_path, mode="RGB"):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(5):
        pixels = np.random.default_rng(i).integers(0, 256, (40 + i, 30, len(mode)), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize(
    ("flags", "shape"),
    [([], [5, 28, 28, 1]), (["--size", 12, "--channels", 3, "--fit", "letterbox", "--mirror"], [5, 12, 12, 3])],
    ids=["as in the recipe", "as in the flags"],
)
def test_a_folder_of_pictures(tmp_path, example, monkeypatch, flags, shape):
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache")
    folder, out = photos(tmp_path), tmp_path / "run"
    run = ["--out", out, "--batch-size", 4]
    assert example("--data", folder, *flags, *run, "--steps", 1) == 0
    about = json.loads((out / "config.json").read_text())["run"]["data"]
    assert (about["shape"], about["mirrored"]) == (shape, "--mirror" in flags)
    assert example("--resume", *run, "--steps", 2) == 0, "the flags of the data come back with the run"


def test_dcgan_on_pictures_of_ones_own(tmp_path, dcgan, monkeypatch):
    """In their colours, from any size, with a background of one's own that comes back with the run; the cache does not,
    as no file decides where others are written."""
    monkeypatch.setattr("pooch.os_cache", lambda name: pytest.fail("the cache was given"))
    out, cache = tmp_path / "run", tmp_path / "cache"
    run = ["--out", out, "--batch-size", 4]
    what = ["--data", photos(tmp_path, "RGBA"), "--cache", cache, "--fit", "letterbox", "--background", "0,128,255"]
    assert dcgan(*what, *run, "--steps", 1) == 0
    about = json.loads((out / "config.json").read_text())["run"]["data"]
    assert about["shape"] == [5, 28, 28, 3]
    (stored,) = cache.rglob("*.npy")
    np.testing.assert_array_equal(np.load(stored)[:, 0, 0], [[0, 128, 255]] * 5)
    assert dcgan("--resume", "--cache", cache, *run, "--steps", 2) == 0
    assert list(cache.rglob("*.npy")) == [stored]


def test_images_that_are_not_square(system, tmp_path, capsys):
    """From the flag to the pictures of a run, a run that goes on, and what is made of it later."""
    out, cache, recorded = tmp_path / "run", tmp_path / "cache", [8, 12]
    what = ["--data", photos(tmp_path), "--cache", cache, "--size", "8x12", "--fit", "letterbox", "--augment", "all"]
    run = [*what, "--batch-size", 4, "--lr-schedule", "constant"]
    assert system(*run, "--out", tmp_path / "whole", "--steps", 2) == 0
    assert system(*run, "--out", out, "--steps", 1) == 0
    assert settings_of(out)["size"] == recorded
    assert system("--resume", "--cache", cache, "--out", out, "--steps", 2) == 0, "the size comes back with the run"
    assert_same_files(out, tmp_path / "whole")
    assert len(list(cache.rglob("*.npy"))) == 1, "and the decoded pictures are those of before"
    with Image.open(out / "samples.png") as picture:
        assert picture.size == (2 * (8 * 14 + 2), 2 * (8 * 10 + 2))
    trained = load_trained(out)
    assert trained.image_shape[:2] == (8, 12)
    assert trained.sample(3).shape == (3, *trained.image_shape)
    capsys.readouterr()
    assert system("--resume", "--cache", cache, "--out", out, "--size", "12x8", "--steps", 3) == 1
    assert "the run was made with another " in capsys.readouterr().err


def test_a_size_is_one_number_or_two():
    assert [flags_of("--size", text).size for text in ("28", "28x28", "48x64")] == [28, 28, [48, 64]]
    wide = replace(RECIPE, size=(48, 64))
    assert flags_of(recipes=[wide]).size == (48, 64)
    assert "(48x64)" in make_parser("A GAN.", wide).format_help()
    assert "(0,128,255)" in make_parser("A GAN.", replace(RECIPE, background=(0, 128, 255))).format_help()


def test_ctrl_c(tmp_path, images):
    command = [sys.executable, str(EXAMPLE), "--data", str(images), "--out", str(tmp_path / "run"), "--epochs", "999"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "run" / "samples.png").exists() and process.poll() is None:
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume goes on" in err
    assert "Traceback" not in err
    _, about = checkpoints.read(tmp_path / "run" / "checkpoint.safetensors")
    assert f"stopped at step {about['step']} of" in err


def finished_run(folder, example, images):
    assert example("--data", images, "--out", folder, "--steps", 1, "--batch-size", 4) == 0
    return folder / "checkpoint.safetensors"


def _cut(path):
    path.write_bytes(path.read_bytes()[:10_000])


def _flip(path):
    data = bytearray(path.read_bytes())
    data[-5] ^= 4
    path.write_bytes(data)


def _grow(path):
    with open(path, "r+b") as file:
        file.truncate((4 << 30) + 1)  # sparse: takes no room


BAD_CHECKPOINTS = {
    "gone": (Path.unlink, "there is no checkpoint to go on from. Start without --resume"),
    "empty": (lambda path: path.write_bytes(b""), "is no checkpoint, or a damaged one"),
    "cut short": (_cut, "is no checkpoint, or a damaged one"),
    "garbage": (lambda path: path.write_bytes(bytes(range(256)) * 99), "is no checkpoint, or a damaged one"),
    "a bit flipped": (_flip, "its contents do not match their checksum"),
    "too large": (_grow, "is more than the 4,294,967,296 that are read at most"),
    "foreign": (lambda path: checkpoints.write(path, {"x": np.zeros(3)}, {"kind": "song"}), "holds a song, not a"),
}


@pytest.mark.parametrize("what", BAD_CHECKPOINTS)
def test_bad_checkpoints(what, tmp_path, example, images, capsys):
    spoil, message = BAD_CHECKPOINTS[what]
    spoil(finished_run(tmp_path / "run", example, images))
    capsys.readouterr()
    assert example("--resume", "--out", tmp_path / "run", "--steps", 2) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert "checkpoint.safetensors: " in err
    assert message in err
    assert err.count("\n") == 1


# What a checkpoint records of a flag, and what is said
FLAG_ODDITIES = [
    ({"loss": "futuristic"}, "argument --loss: invalid choice: 'futuristic'"),
    ({"loss": None}, "argument --loss: invalid choice: 'None'"),
    ({"loss": ["minimax"]}, "argument --loss: expected it as it is written there, got ['minimax']"),
    ({"loss": {"a": 1}}, "argument --loss: invalid choice"),
    ({"penalty": "r3"}, "argument --penalty: invalid choice: 'r3'"),
    ({"optimizer": "lion"}, "argument --optimizer: invalid choice: 'lion'"),
    ({"optimizer": 7}, "argument --optimizer: invalid choice: '7'"),
    ({"lr_schedule": "step"}, "argument --lr-schedule: invalid choice: 'step'"),
    ({"lr": "0.1"}, "argument --lr: expected it as it is written there, got '0.1'"),
    ({"lr": -1.0}, "argument --lr: expected a positive number, got '-1.0'"),
    ({"lr": float("nan")}, "argument --lr: expected a positive number, got 'nan'"),
    ({"lr": float("inf")}, "argument --lr: expected a positive number, got 'inf'"),
    ({"lr": True}, "argument --lr: expected a positive number, got 'True'"),
    ({"lr": None}, "argument --lr: expected a positive number, got 'None'"),
    ({"lr": [0.1]}, "argument --lr: expected it as it is written there, got [0.1]"),
    ({"d_lr": "fast"}, "argument --d-lr: expected a positive number, got 'fast'"),
    ({"beta1": 1.0}, "argument --beta1: expected a number in [0, 1), got '1.0'"),
    ({"batch_size": 0}, "argument --batch-size: expected a whole number of at least 1, got '0'"),
    ({"batch_size": 4.0}, "argument --batch-size: expected a whole number of at least 1, got '4.0'"),
    ({"batch_size": "4"}, "argument --batch-size: expected it as it is written there, got '4'"),
    ({"seed": -1}, "argument --seed: expected a whole number of at least 0, got '-1'"),
    ({"seed": False}, "argument --seed: expected a whole number of at least 0, got 'False'"),
    ({"width": float("inf")}, "argument --width: expected a whole number of at least 1, got 'inf'"),
    ({"average": 1}, "argument --average: expected a number in [0, 1), got '1'"),
    ({"mirror": "yes"}, "argument --mirror: ignored explicit argument 'yes'"),
    ({"mirror": 1}, "argument --mirror: ignored explicit argument '1'"),
    ({"mirror": None}, "argument --mirror: ignored explicit argument 'None'"),
    ({"channels": 2}, "argument --channels: invalid choice: 2"),
    ({"size": 0}, "argument --size: expected"),
    ({"size": "48x64"}, "argument --size: expected it as it is written there, got '48x64'"),
    ({"size": [48, 48]}, "argument --size: expected it as it is written there, got [48, 48]"),
    ({"size": [48, 64, 3]}, "argument --size: expected a height and a width"),
    ({"size": []}, "argument --size: expected a height and a width"),
    ({"background": [1, 2]}, "argument --background: expected one grey level, or red,green,blue, got '1,2'"),
    ({"background": [0.0, 0, 0]}, "argument --background: expected a whole number from 0 to 255, got '0.0'"),
    ({"data": 7}, "argument --data: expected it as it is written there, got 7"),
    ({"data": ["mnist"]}, "argument --data: expected it as it is written there, got ['mnist']"),
    ({"data": None}, "argument --data: expected it as it is written there, got None"),
    ({"steps": 1, "epochs": 1}, "not allowed with argument"),
    ({"steps": 1.5}, "argument --steps: expected a whole number of at least 1, got '1.5'"),
    ({"precision": "fp8"}, "argument --precision: invalid choice: 'fp8'"),
    ({"backend": 7}, "argument --backend: invalid choice: '7'"),
    ({"backend": "torch"}, "unknown backend 'torch'"),
    ({"sample_every": 0}, "argument --sample-every: expected a whole number of at least 1, got '0'"),
    ({"real_label": 0.9, "loss": "hinge"}, "argument --real-label: --loss hinge has no labels"),
]


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """The folder of a run of one step, and its images."""
    folder = tmp_path_factory.mktemp("short")
    pixels = np.random.default_rng(0).integers(0, 256, (300, 28, 28), dtype=np.uint8)
    (folder / "images-idx3-ubyte").write_bytes(struct.pack(">BBBBIII", 0, 0, 8, 3, *pixels.shape) + pixels.tobytes())
    finished_run(folder / "run", program("mnist_mlp_gan"), folder / "images-idx3-ubyte")
    return folder / "run"


def with_settings(run, folder, **entries):
    arrays, about = checkpoints.read(run / "checkpoint.safetensors")
    about["settings"].update(entries)
    folder.mkdir()
    checkpoints.write(folder / "checkpoint.safetensors", arrays, about)
    return folder


@pytest.mark.parametrize(("entries", "message"), FLAG_ODDITIES, ids=[str(entries) for entries, _ in FLAG_ODDITIES])
def test_odd_flags_in_a_checkpoint(entries, message, short, tmp_path, example, capsys):
    folder = with_settings(short, tmp_path / "run", **entries)
    capsys.readouterr()
    assert example("--resume", "--out", folder) in (1, 2)
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert message in err.replace("\n", " ")
    if err.startswith("error: ") and "backend" not in message:
        assert err.count("\n") == 1
        assert f"{folder / 'checkpoint.safetensors'}: what it records of the run's flags cannot be taken: " in err


def test_a_flag_that_is_typed_replaces_what_a_checkpoint_says(short, tmp_path, example, capsys):
    folder = with_settings(short, tmp_path / "run", loss="futuristic", lr=None, unknown={"a": [1]})
    assert example("--resume", "--out", folder, "--loss", "nonsaturating", "--lr", 1e-4, "--steps", 2) == 0


def test_a_checkpoint_does_not_decide_where_files_go(short, tmp_path, example, monkeypatch):
    """Nor whether a run is replaced: all that is about this start, and not about the run."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "checkpoint.safetensors").write_bytes((short / "checkpoint.safetensors").read_bytes())
    before = contents(victim)
    places = {"out": str(victim), "cache": str(tmp_path / "cache"), "overwrite": True, "resume": False, "low": 0.5}
    folder = with_settings(short, tmp_path / "run", **places)
    flags = flags_of("--resume", "--out", folder)
    assert (flags.out, flags.cache, flags.resume, flags.overwrite, flags.low) == (folder, None, True, False, -1.0)
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "users")
    assert example("--resume", "--out", folder, "--steps", 2) == 0
    assert contents(victim) == before
    assert not (tmp_path / "cache").exists()
    assert {path.name for path in tmp_path.iterdir()} <= {"victim", "run", "users"}
    assert not {"out", "cache", "resume", "overwrite"} & settings_of(folder).keys()


def test_another_cache_changes_nothing_that_a_run_leaves(tmp_path, dcgan):
    what = ["--data", photos(tmp_path), "--batch-size", 4, "--size", 8]
    for name in ("one", "two"):
        assert dcgan(*what, "--cache", tmp_path / f"cache {name}", "--out", tmp_path / name, "--steps", 1) == 0
    assert_same_files(tmp_path / "one", tmp_path / "two")


BAD_RUNS = {
    "no such data": (["--data", "nowhere"], "data 'nowhere': neither a name"),
    "a batch too large": (["--batch-size", 301], "a batch of 301 is larger than the data, which has 300 images"),
    "a batch too large with d_steps": (["--batch-size", 151, "--d-steps", 2], "a batch of 302 is larger than the data"),
    "out is a file": (["--out", "images-idx3-ubyte"], "images-idx3-ubyte: the output folder cannot be written"),
    "out lies in a file": (["--out", "images-idx3-ubyte/run"], "the output folder cannot be written"),
    "the run is there": (["--out", "run"], "run holds a run of 1 steps already. Go on with it (--resume"),
    "another batch": (["--out", "run", "--resume", "--batch-size", 5], "another batch_size: 4 then, 5 now"),
    "another loss": (["--out", "run", "--resume", "--loss", "minimax"], "another loss: NonSaturating"),
    "another optimizer": (["--out", "run", "--resume", "--optimizer", "sgd"], "another g_optimizer"),
    "another width": (["--out", "run", "--resume", "--width", 5], "another generator: Dense(100, 4) then"),
    "another noise": (["--out", "run", "--resume", "--noise-dim", 9], "another generator: Dense(100, 4) then"),
    "another label": (["--out", "run", "--resume", "--real-label", 0.9], "another loss: NonSaturating"),
    "a penalty": (["--out", "run", "--resume", "--penalty", "none"], "['R1(gamma=1.0, every=4)'] then, none now"),
    "clipped weights": (["--out", "run", "--resume", "--weight-clip", 1], "another weight_clip: none then, 1.0 now"),
    "another seed": (["--out", "run", "--resume", "--seed", 9], "another seed: 0 then, 9 now"),
    "another average": (["--out", "run", "--resume", "--average", 0], "then, 0.0 now"),
    "too late": (["--out", "run", "--resume"], "is at step 2 already, beyond the 1 asked for"),
}


@pytest.mark.parametrize("what", BAD_RUNS)
def test_bad_runs(what, tmp_path, example, images, capsys, monkeypatch):
    argv, message = BAD_RUNS[what]
    monkeypatch.chdir(tmp_path)
    if "run" in argv:
        finished_run(tmp_path / "run", example, images)
        if what == "too late":
            assert example("--out", "run", "--resume", "--steps", 2) == 0
    data = [] if "--data" in argv or "--resume" in argv else ["--data", images]
    capsys.readouterr()
    assert example(*data, "--steps", 1, *argv) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1


def test_divergence_is_told_with_the_way_on(tmp_path, example, images, capsys):
    assert example("--data", images, "--out", tmp_path / "run", "--steps", 40, "--lr", "1e30", "--batch-size", 4) == 1
    err = capsys.readouterr().err
    assert "error: step " in err
    assert "layer" in err
    assert "The checkpoint of step 0 is kept" in err
    assert "--resume --lr" in err
    assert example("--resume", "--out", tmp_path / "run", "--steps", 3, "--lr", "1e-4") == 0


def test_a_full_disk_is_told_in_one_line(tmp_path, example, images, capsys, monkeypatch):
    def disk_full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", disk_full)
    assert example("--data", images, "--out", tmp_path / "run", "--steps", 3, "--batch-size", 4) == 1
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith(f"error: {tmp_path / 'run' / 'checkpoint.safetensors'}: cannot be written (No space left on")
    assert last.endswith(" bytes there. Make room for it, or name another place.")


@pytest.mark.parametrize("how", [[], ["--overwrite"], ["--resume"]], ids=["start", "overwrite", "resume"])
def test_a_folder_that_another_run_writes_in_is_refused_before_any_data_is_read(how, tmp_path, example, images, capsys):
    finished_run(tmp_path, example, images)
    with Writer(tmp_path) as writer:
        writer.hold()
        capsys.readouterr()
        assert example("--data", "nowhere", "--out", tmp_path, *how) == 1
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert "this very process writes in this folder" in err


LAUNCH_ODDITIES = [
    ("nothing to show", [], 0),
    ("help", ["--help"], 0),
    ("a bad flag", ["--epochs", "0"], 2),
    ("no such data", ["--data", "nowhere \udce9 写真"], 1),
]


@pytest.mark.parametrize(("what", "argv", "code"), LAUNCH_ODDITIES, ids=[row[0] for row in LAUNCH_ODDITIES])
@pytest.mark.parametrize(("stream", "make"), STREAM_ODDITIES, ids=[row[0] for row in STREAM_ODDITIES])
def test_the_exit_code_is_right_whatever_the_console_is(what, argv, code, stream, make, monkeypatch):
    monkeypatch.setattr(sys, "stdout", make())
    monkeypatch.setattr(sys, "stderr", make())

    def main(flags):
        print("σ(D) of 写真")
        if flags.data.startswith("nowhere"):
            raise DataError(f"data {flags.data}: not there.")
        return Path("caf\udce9")

    endings = []
    try:
        launch(main, "A GAN of σ.", RECIPE, argv=argv)
    except SystemExit as ending:
        endings.append(ending.code)
    assert (endings or [0]) == [code]
    close(sys.stdout)
    close(sys.stderr)


def test_pipes_that_nobody_reads_any_more(tmp_path, images):
    """| head -1, and 2>&1 | true: the run goes on to its end, and nothing is met again as Python shuts down."""
    ends = [os.pipe(), os.pipe()]
    for reader, _ in ends:
        os.close(reader)
    run = ["--data", images, "--out", tmp_path / "run", "--steps", "3", "--width", "4", "--batch-size", "4"]
    command = [sys.executable, str(EXAMPLE), *map(str, run)]
    process = subprocess.Popen(command, stdout=ends[0][1], stderr=ends[1][1])
    for _, writer in ends:
        os.close(writer)
    assert process.wait(timeout=120) == 0
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES


def test_a_word_of_the_end_without_a_console(tmp_path, images, monkeypatch):
    """An interrupted run ends with its own code, and with everything drawn, whoever looks on."""
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(sys, "stdout", None)
    step = GAN.step

    def interrupted(gan, *args, **options):
        if gan.t == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(gan, *args, **options)

    monkeypatch.setattr(GAN, "step", interrupted)
    assert program("mnist_mlp_gan")("--data", images, "--out", tmp_path / "run", "--batch-size", 4) == 130
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES


def test_interrupted_before_training(capsys):
    def main(flags):
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ending:
        launch(main, "A GAN.", RECIPE, argv=[])
    assert ending.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"
