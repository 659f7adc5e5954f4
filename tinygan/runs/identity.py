"""What makes a run the same run when it is resumed, and what it records besides."""

from __future__ import annotations

import json
import platform
import reprlib
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import __version__
from ..backends import device_of
from ..data import ImageData
from ..errors import ArgumentError, CheckpointError
from ..gan import GAN
from ..layers.stored import describe, described
from ..models import ConditionalGAN
from ..optim import Optimizer
from .feeding import labels_for

READ = 1 << 28  # bytes of images that are compared, in a tenth of a second or two


def identity(gan: GAN, data: ImageData, batch_size: int, seed: int, low: float, high: float) -> dict[str, Any]:
    """Whatever must be the same for a resumed run to be the same run; of what may be absent, only what is there."""
    bounds = {"penalties": [describe(penalty) for penalty in gan.penalties], "weight_clip": gan.weight_clip}
    bounds |= {"gan": None if type(gan) is GAN else type(gan).__name__}
    first: dict[str, Any] = {}  # what is named first, where it differs
    labels: dict[str, Any] = {}
    if isinstance(gan, ConditionalGAN):
        bounds["shares"] = gan.shares.tolist()
        first = {"classes": gan.classes}
        labels = {"classes": list(data.classes)} if data.classes else {}
        labels |= {"labels": zlib.crc32(np.ascontiguousarray(labels_for(gan, data)).data)}
    G, D = described(gan.generator), described(gan.discriminator)
    bounds |= {"generator_class": G.get("network"), "discriminator_class": D.get("network")}
    return {
        **first,
        "generator": G["layers"],
        "discriminator": D["layers"],
        "noise_dim": gan.noise_dim,
        "dtype": str(gan.generator.theta.dtype),
        "loss": describe(gan.loss),
        **{key: value for key, value in bounds.items() if value},
        "g_optimizer": _fixed(gan.g_optimizer),
        "d_optimizer": _fixed(gan.d_optimizer),
        "average": gan.average.decay if gan.average else 0.0,
        "d_steps": gan.d_steps,
        "batch_size": batch_size,
        "seed": seed,
        "range": [float(low), float(high)],
        "data": {
            "name": data.name,
            "shape": list(data.images.shape),
            "mirrored": data.mirrored,
            "checksum": zlib.crc32(np.ascontiguousarray(data.images[:1000]).data),
            **({"of_all": _checksum(data.images)} if len(data.images) > 1000 else {}),
            **labels,
        },
    }


def configuration(gan: GAN, identity: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """What a run writes down for people: its settings, and of its identity the networks as tables."""
    G, D = gan.generator, gan.discriminator
    tables = {"generator": G.summary(), "discriminator": D.summary(gan.sample_shape)}
    return {
        "settings": settings,
        "device": device_of(G.theta),
        "run": {key: value for key, value in identity.items() if key not in tables},
        **{name: table.splitlines() for name, table in tables.items()},
        "versions": {"tinygan": __version__, "numpy": np.__version__, "python": platform.python_version()},
    }


def _checksum(images: np.ndarray) -> int:
    """Of all images, or of every second, third, ... of them if they are very many."""
    every, checksum = -(-images.nbytes // READ), 0
    for start in range(0, len(images), 1000 * every):
        checksum = zlib.crc32(np.ascontiguousarray(images[start : start + 1000 * every : every]).data, checksum)
    return checksum


def _fixed(optimizer: Optimizer) -> dict[str, Any]:
    """The kind of an optimiser and its constants, without those that may change on the way and what a step leaves."""
    free = ("t", "lr", "clip_norm", "clip_value")
    public = {k: v for k, v in vars(optimizer).items() if k not in free and not k.startswith("_")}
    return {"kind": type(optimizer).__name__, **{k: v for k, v in public.items() if isinstance(v, (int, float))}}


def require_same_run(then: Mapping[str, Any], now: Mapping[str, Any], checkpoint: str) -> None:
    """Raise CheckpointError, naming the first difference, unless both identities are equal.

    What the data is called makes no difference: a folder may be renamed, and its images are compared: the first 1,000
    by older checkpoints, by newer ones all, or an even choice of them where they have more than READ bytes.
    """
    then, now = _of_images(then), _of_images(now)
    if isinstance(then["data"], Mapping) and "of_all" not in then["data"]:
        now["data"].pop("of_all", None)
    for key in {**now, **then}:
        was, is_now = then.get(key, "none"), now.get(key, "none")
        if was != is_now:
            was, is_now = _difference(was, is_now)
            raise CheckpointError(
                f"{checkpoint}: the run was made with another {key!s:.40}: {was!s:.400} then, {is_now!s:.400} now. "
                "Give the same settings again, or start a run in another folder (--out, out=...)."
            )


def _of_images(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Without the name of the data."""
    data = identity.get("data")
    rest = {key: value for key, value in data.items() if key != "name"} if isinstance(data, Mapping) else data
    return {**identity, "data": rest}


def _plain(value: Any) -> Any:
    """A number of NumPy's as Python's; TypeError for anything else, as JSON has it."""
    if getattr(value, "shape", None) != () or not hasattr(value, "item"):
        raise TypeError
    return value.item()


def as_json(key: Any, value: Any) -> Any:
    """The setting as a checkpoint will give it back; ArgumentError if it is none that JSON can hold."""
    try:
        if isinstance(key, str):
            return json.loads(json.dumps(value, allow_nan=False, default=_plain))
    except (TypeError, ValueError, RecursionError):
        pass
    raise ArgumentError(
        f"train: settings[{key!r}] is {reprlib.repr(value)}, which JSON cannot hold: text as key; text, finite "
        "numbers, true, false, None, and lists and dicts of these. str(...) or float(...) makes one."
    )


def _difference(then: Any, now: Any) -> tuple[Any, Any]:
    """Narrow two unequal values down to their first different entries."""
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        return next(_difference(a, b) for a, b in zip(then, now, strict=True) if a != b)
    if isinstance(then, dict) and isinstance(now, dict) and then.keys() == now.keys():
        key = next(key for key in now if then[key] != now[key])
        return f"{key} {then[key]}", f"{key} {now[key]}"
    return then, now
