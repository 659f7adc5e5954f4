"""Odd values for every parameter of everything public: whatever is refused, is refused by an error of tinygan's own.

What is public is found by itself: the functions and classes in the packages' ``__all__``, or of a module that has none
those that are defined there, and the methods of these classes. Each parameter gets each odd value, while the others get
usual ones. A raw error of Python or NumPy fails the test, unless its place stands in :data:`RAW` with the reason.
"""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections import Counter

import numpy as np

import tinygan
from tinygan import GAN, Sequential, data, features, layers, losses, optim, penalties
from tinygan.errors import TinyGANError
from tinygan.models import ConditionalGAN

MODULES = [
    *("tinygan", "tinygan.backends", "tinygan.checkpoints", "tinygan.data", "tinygan.layers"),
    *("tinygan.layers.initializers", "tinygan.losses", "tinygan.metrics.learned", "tinygan.models"),
    *("tinygan.models.latent", "tinygan.optim"),
    *("tinygan.parallel", "tinygan.penalties", "tinygan.runs", "tinygan.runs.plotting"),
    *("tinygan.runs.schedules", "tinygan.runs.state", "tinygan.testing"),
]

#: Called by networks, optimisers and penalties a hundred times a step, with what was checked on entry; and what a
#: class of one's own overrides. Who writes such a class has tinygan.testing.
PROTOCOL = set(
    [
        *("apply", "gradients", "input_gradient", "store_gradients", "backprop", "add_param", "misfit"),
        *("check_kind", "check_input", "output_shape", "rngs", "links", "relink", "update", "numbers"),
        *("rate", "part", "play", "decide", "points", "of_squares", "discriminator", "generator"),
        *("terms", "from_host", "to_host", "gather_columns", "scatter_columns", "convolve"),
        *("convolve_adjoint", "convolve_weights", "matmul", "mix", "place", "loss", "normalise", "inner"),
        *(
            "window",
            "columns",
            "back",
            "grouped",
            "sum_by_class",
            "labels_of",
            "join",
            "split",
            "move_statistics",
            "check_rows",
            "GAN.draw",
            "ConditionalGAN.draw",
            "ConditionalGAN.expect",
            "Penalty.draw",
            "Sum.draw",
        ),
    ]
)

#: Not for users: joined() and stored networks make them, run folders and backends call them with what was checked.
PLUMBING = set(
    [
        *("SharedLoss", "SharedPenalty", "OwnRows", "Shard", "SyncBatchNorm", "Together", "Group"),
        *("require_alike", "joined", "register_at_fork", "StoredOptimizer", "Stored", "replace_file"),
        *("require_same", "he_normal", "glorot_uniform", "dcgan_normal", "require_finite", "Schedule"),
        *("Initializer", "Run.start", "Run.resume", "Run.record", "Run.sample", "Run.save", "Run.finish"),
        *("Inversion", "Run.rescue", "as_path", "mend", "patiently", "explained", "require_record", "require_sound"),
    ]
)

ODDITIES = [
    *(None, True, False, 0, -1, 1, 2**63, 10**30),
    *(0.5, -0.5, float("nan"), float("inf"), -float("inf"), 1e308, 1j),
    *("", "10", "adam", "a\0b", "~nobody_of_that_name/x", b"x", Ellipsis),
    *([], [1], [[1], [1, 2]], (), {}, {"a": 1}, object(), int, print),
    *(np.float32(0.5), np.bool_(True), np.float64("nan"), np.datetime64("2020-01-01"), np.array(3)),
    *(np.zeros(0), np.zeros((2, 3)), np.zeros((2, 3), int), np.array(["a"]), np.zeros((1,) * 9, "f4")),
    *(np.ma.masked_array(np.zeros((2, 3), "f4"), True), layers.Dense, layers.ReLU()),
]


# ---- usual values ----------------------------------------------------------------------------------------------------


def f32(*shape):
    return np.ones(shape, np.float32)


class Kind(layers.ReLU):
    """A class of layers for which rules may be registered without harm."""


def network():
    return Sequential(layers.Dense(2, 3, rng=0), layers.Tanh(), layers.Dense(3, 1, rng=1))


def gan():
    return GAN(Sequential(layers.Dense(2, 2, rng=0)), network(), noise_dim=2)


def known_gan():
    G = Sequential(layers.ConcatLabels(3), layers.Dense(5, 2, rng=0))
    return ConditionalGAN(G, Sequential(layers.Projection(2, 3, rng=0)), noise_dim=2)


def images():
    return data.ImageData(np.zeros((6, 2, 2, 1), np.uint8), np.arange(6))


USUAL = {  # by the name of the parameter
    **{"network": network, "discriminator": network, "generator": lambda: Sequential(layers.Dense(2, 2, rng=0))},
    **{"layer": lambda: layers.Dense(2, 3, rng=0), "gan": gan, "data": images, "digits": images},
    **{"x": lambda: f32(4, 2), "dy": lambda: f32(4, 2), "z": lambda: f32(4, 2), "a": lambda: f32(4, 2)},
    **{"real": lambda: f32(4, 2), "fake": lambda: 2 * f32(4, 2), "real_logits": lambda: f32(4, 1)},
    **{"fake_logits": lambda: f32(4, 1), "logits": lambda: f32(4, 3), "labels": lambda: np.zeros(4, int)},
    **{"images": lambda: f32(4, 2, 2, 1), "indices": lambda: np.arange(3), "losses": lambda: f32(4, 2)},
    **{"arrays": lambda: {"x": f32(2)}, "loss": losses.NonSaturating, "penalty": lambda: penalties.R1()},
    **{"n": lambda: 2, "n_in": lambda: 2, "n_out": lambda: 3, "c": lambda: 3, "c_in": lambda: 1, "c_out": lambda: 2},
    **{"kernel_size": lambda: 3, "rate": lambda: 0.5, "m": lambda: 2, "lr": lambda: 0.1, "steps": lambda: 3},
    **{"start": lambda: 0.1, "end": lambda: 0.1, "then": lambda: 0.1, "noise_dim": lambda: 2, "seed": lambda: 0},
    **{"rng": lambda: 0, "name": lambda: "numpy", "backend": lambda: "numpy", "dtype": lambda: "float32"},
    **{"shape": lambda: (2, 3), "fan_in": lambda: 2, "fan_out": lambda: 3, "epoch": lambda: 0, "batch_size": lambda: 2},
    **{"t": lambda: 0, "path": lambda: "a file", "out": lambda: "a folder", "folder": lambda: "a folder"},
    **{"metadata": dict, "about": dict, "picture": lambda: np.zeros((4, 4), np.uint8), "kind": lambda: Kind},
    **{"where": lambda: "real", "value": lambda: lambda r: float((r**2).mean()), "image_shape": lambda: (4, 4, 1)},
    **{"g_hidden": lambda: (3,), "d_hidden": lambda: (3,), "width": lambda: 1, "size": lambda: 8, "frames": list},
    **{"factors": lambda: data.random_factors(2, rng=0), "ops": lambda: tinygan.backends.get_ops("numpy")},
    **{"function": lambda: lambda a: ((a * a).sum(), 2 * a), "real_label": lambda: 0.9, "form": data.Form},
    **{"like": lambda: None, "group": lambda: tinygan.parallel.ALONE, "turn": lambda: None},
}

PROBES = ("neighbour_accuracy", "cluster_accuracy", "LinearProbe.accuracy")

#: Usual values that differ from these, by the callable.
OF_CALLABLE = {
    "tinygan.data.load": {"name": lambda: np.zeros((2, 4, 4, 1), np.uint8)},
    "tinygan.train": {"steps": lambda: 1},
    "tinygan.runs.train": {"steps": lambda: 1},
    "tinygan.data.digits": {"n": lambda: 1},
    "tinygan.testing.check_gradients": {"dy": lambda: f32(4, 3)},
    "tinygan.runs.plotting.save_loss_curves": {"losses": lambda: f32(2, 5)},  # refused: matplotlib takes its time
    **{
        f"tinygan.models.{name}": {"width": lambda: 1, "image_shape": lambda: (4, 4, 1)}
        for name in ("dcgan", "dcgan64", "resnet")
    },
    **{
        f"tinygan.models.{name}": {key: USUAL[key] for key in ("image_shape", "g_hidden", "d_hidden", "width")}
        for name in ("mlp", "mlp_conv", "lsgan")
    },
    "tinygan.models.ConditionalGAN": {
        "generator": lambda: known_gan().generator.copy(),
        "discriminator": lambda: known_gan().discriminator.copy(),
    },
    **{f"tinygan.metrics.learned.{name}": {"labels": lambda: np.zeros(4, int)} for name in PROBES},
    "tinygan.metrics.learned.linear_probe": {"labels": lambda: np.zeros(4, int), "steps": lambda: 1},
    "tinygan.models.latent.invert": {"guesses": lambda: f32(4, 2), "x": lambda: f32(4, 2, 2, 1)},
    "tinygan.models.latent.inpaint": {"guesses": lambda: f32(4, 2), "x": lambda: f32(4, 2, 2, 1)},
    "tinygan.Sequential.load_state_arrays": {"arrays": lambda: network().state_arrays()},
    "tinygan.testing.check_generator_gradient": {"options": dict},
}

QUICK = {"exhaustive": lambda: 0, "directions": lambda: 1}  # checks of gradients

#: How an object of a class is made, where its constructor with usual values is not it.
MADE = {
    layers.SpectralNorm: lambda: layers.SpectralNorm(layers.Dense(2, 3, rng=0)),
    layers.Reshape: lambda: layers.Reshape(2, 1),
    Sequential: network,
    features.HiddenFeatures: lambda: features.HiddenFeatures(network()).fit(f32(4, 2)),
    features.LinearProbe: lambda: features.linear_probe(f32(4, 2), np.zeros(4, int), steps=1),
    features.Axes: lambda: features.principal_axes(f32(4, 2), 1),
    GAN: gan,
    ConditionalGAN: known_gan,
    data.ImageData: images,
    data.Factors: lambda: data.random_factors(2, rng=0),
    penalties.Sum: lambda: penalties.R1() + penalties.R2(),
    optim.Optimizer: lambda: optim.Adam(network()),
}

# ---- what is public --------------------------------------------------------------------------------------------------


def public():
    """(name, function or class, how an object is made whose method it is) of everything public, once each."""
    seen = set()
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        names = getattr(module, "__all__", None) or [
            name
            for name, value in vars(module).items()
            if not name.startswith("_") and getattr(value, "__module__", None) == module_name and callable(value)
        ]
        for name in names:
            value = getattr(module, name)
            if not callable(value) or id(value) in seen or name in PLUMBING:
                continue
            seen.add(id(value))
            yield f"{module_name}.{name}", value, None
            if inspect.isclass(value):
                for method, function in inspect.getmembers(value, callable):
                    if not {method, getattr(function, "__qualname__", "")} & (PROTOCOL | PLUMBING) and (
                        not method.startswith("_") or method == "__call__"
                    ):
                        if inspect.isclass(function) or not inspect.isroutine(function):
                            continue
                        if method == "__call__" and "__call__" not in vars(value) and value.__call__ is type.__call__:
                            continue
                        if id(function) not in seen:
                            seen.add(id(function))
                            yield f"{module_name}.{name}.{method}", function, value


def signature(function):
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name != "self"]


def usual_of(name, parameters, odd):
    own = OF_CALLABLE.get(name, {}) | (QUICK if name.startswith("tinygan.testing.") else {})
    chosen = {}
    for p in parameters:
        if p.name in own or p.default is p.empty:
            make = own.get(p.name) or USUAL.get(p.name)
            chosen[p.name] = make() if make else odd
    return chosen


def call(function, parameters, values):
    positional = [values.pop(p.name) for p in parameters if p.kind == p.POSITIONAL_ONLY and p.name in values]
    return function(*positional, **values)


def outcomes():
    """(place, odd value, raw error or None) of every call."""
    for name, function, of_class in public():
        parameters = signature(function)
        if of_class is not None and not isinstance(
            inspect.getattr_static(of_class, function.__name__, None), classmethod
        ):
            parameters = [p for p in signature(function) if p.name != "self"]
        for p in parameters:
            for odd in ODDITIES:
                values = {**usual_of(name, parameters, odd), p.name: odd}
                try:
                    target = function
                    if of_class is not None:
                        target = getattr(made(of_class), function.__name__)
                    result = call(target, parameters, values)
                    if inspect.isgenerator(result):
                        next(result, None)
                except TinyGANError:
                    yield f"{name}({p.name})", odd, None
                except Exception as error:
                    yield f"{name}({p.name})", odd, error
                else:
                    yield f"{name}({p.name})", odd, None


def made(kind):
    if kind in MADE:
        return MADE[kind]()
    parameters = signature(kind)
    return kind(**usual_of(kind.__name__, parameters, None))


#: Where a raw error stays, and why.
RAW = {
    "tinygan.GAN.step(watch)": "called as it is, by the step that a reader of the book sees",
    "tinygan.Sequential.summary(input_shape)": "a shape, which only the first layer can judge",
    "tinygan.backends.register(ops)": "for who writes a backend",
    "tinygan.optim.SGD.step(numbers)": "for a GAN, which has asked the optimiser for them",
    "tinygan.runs.plotting.attempt(failing)": "a run's own set of what it has failed to make",
    "tinygan.runs.schedules.cosine.__call__(t)": "an optimiser asks, with its own count of steps",
    "tinygan.runs.schedules.linear.__call__(t)": "an optimiser asks, with its own count of steps",
    "tinygan.runs.schedules.warmup.__call__(t)": "an optimiser asks, with its own count of steps",
    "tinygan.layers.Conv2D(init)": "a function of the user's, which takes other arguments",
    "tinygan.layers.ConvTranspose2D(init)": "a function of the user's, which takes other arguments",
    "tinygan.layers.Dense(init)": "a function of the user's, which takes other arguments",
    "tinygan.optim.Adam(lr)": "a function of the user's, which takes other arguments",
    "tinygan.optim.Optimizer(lr)": "a function of the user's, which takes other arguments",
    "tinygan.optim.RMSProp(lr)": "a function of the user's, which takes other arguments",
    "tinygan.optim.SGD(lr)": "a function of the user's, which takes other arguments",
}
RAW |= {
    "tinygan.testing.check_penalty(penalty)": "a function of the user's, which takes other arguments",
    "tinygan.testing.check_penalty(value)": "a function of the user's, which takes other arguments",
}
AT_MOST = 0.02  # of all calls


def test_odd_values_are_taken_or_refused_in_our_words(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    calls, raw = 0, Counter()
    examples = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for place, odd, error in outcomes():
            calls += 1
            if error is not None:
                raw[place] += 1
                examples.setdefault(place, f"{place} with {odd!r:.40}: {type(error).__name__}: {error!s:.80}")
    unknown = [text for place, text in examples.items() if place not in RAW]
    assert not unknown, "\n".join(unknown)
    assert not RAW.keys() - raw.keys(), "these have no raw errors any more"
    assert calls > 10_000
    assert sum(raw.values()) <= AT_MOST * calls, raw.most_common()
