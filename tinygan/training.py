"""The loop that trains every system, and the folder that a run leaves behind.

    train(gan, data, out="runs/mine", epochs=10)

fills the folder with

    checkpoint.safetensors    all that the next step depends on; resuming needs only this file
    losses.csv                both losses of every step
    samples.png               what G makes of fixed noise now
    samples/step_000500.png   ... and made of the same noise at intervals
    film.gif                  those pictures in a row
    losses.png                the loss curves
    config.json               settings, networks, versions

Every file but losses.csv is put in place whole, and losses.csv is made anew from the checkpoint on resuming. So a run
may be killed at any moment; resumed, it ends with the same bytes in every file as one that was never interrupted.
"""

from __future__ import annotations

import json
import signal
import threading
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import checkpoints, plotting
from .backend import backend_of, to_backend
from .data import ImageData, batches, steps_per_epoch
from .errors import ArgumentError, CheckpointError, NonFiniteError, ShapeError
from .gan import GAN, Losses
from .layers.base import positive_int, show_shape
from .progress import Progress

GRID = 64  # images in a grid of samples
LOOK_EVERY = 50  # steps between two looks at the losses; on a GPU each look waits for the device


def train(
    gan: GAN,
    data: ImageData,
    *,
    out: str | Path,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int = 128,
    seed: int = 0,
    low: float = -1.0,
    high: float = 1.0,
    sample_every: int = 500,
    checkpoint_every: int = 500,
    resume: bool = False,
    overwrite: bool = False,
    settings: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Path:
    """Train ``gan`` on ``data`` up to a number of steps, and return the folder with what came of it.

    Parameters
    ----------
    out : folder for all output; made if it is not there.
    epochs, steps : how long, counted from the very start; one of the two. A step shows D ``batch_size`` real images
        ``gan.d_steps`` times and trains G once. An epoch visits every image once, but for an incomplete last batch.
    seed : of the order of the data and the fixed noise of the pictures.
    low, high : the values of black and white in G's images: -1 and 1 for tanh.
    sample_every, checkpoint_every : steps between two grids, and between two checkpoints.
    resume : go on from the checkpoint in ``out``. Learning rates, clipping, intervals and the length may differ from the
        interrupted run's, nothing else.
    overwrite : remove an earlier run in ``out`` first, rather than refuse to start.
    settings : JSON-like values to record in config.json and the checkpoint, such as command-line flags.
    progress : whether to show a progress bar on stderr; plain lines now and then where that is no terminal.

    Raises
    ------
    ArgumentError, ShapeError, DataError
        A setting has no meaning, the data does not fit the networks or is smaller than a batch, or ``out`` cannot be
        written or holds a run already. All this is found before training starts.
    CheckpointError
        There is nothing to resume, or it is damaged or was made with other settings; the message names the difference.
    NonFiniteError
        A loss or gradient is not finite; the last checkpoint stays, and the message says how to go on.
    KeyboardInterrupt
        Ctrl-C or SIGTERM, after the step at hand was finished and a checkpoint written. A second one does not wait.
    """
    batch_size = positive_int(batch_size, "train: batch_size")
    every = positive_int(sample_every, "train: sample_every"), positive_int(checkpoint_every, "train: checkpoint_every")
    if (steps is None) == (epochs is None):
        raise ArgumentError(f"train: give either steps or epochs, got steps={steps!r}, epochs={epochs!r}.")
    if data.image_shape != gan.sample_shape:
        raise ShapeError(
            f"train: the images of {data.name} are {show_shape(data.image_shape)}, but G makes "
            f"{show_shape(gan.sample_shape)}. Build the networks for image_shape={data.image_shape}."
        )
    rows = batch_size * gan.d_steps
    per_epoch = steps_per_epoch(len(data), rows)
    last = positive_int(steps, "train: steps") if epochs is None else positive_int(epochs, "train: epochs") * per_epoch

    run = _Run(Path(out), gan, data, batch_size=batch_size, seed=seed, low=low, high=high, settings=settings)
    run.folder.mkdir_or_fail()
    if resume:
        run.resume(last)
    else:
        run.start(overwrite)

    backend, dtype = backend_of(gan.generator.theta), gan.discriminator.theta.dtype
    host = backend.name == "numpy"  # looking for NaN at every step costs nothing there
    with Progress(gan.t, last, rows, per_epoch, shown=progress) as bar, _StopSignal() as stop:
        for t, indices in zip(range(gan.t + 1, last + 1), batches(len(data), rows, seed=seed, start=gan.t), strict=False):
            due = [t % k == 0 for k in every]
            look = t % LOOK_EVERY == 0 or t == last or stop.asked or any(due)
            real = to_backend(data.batch(indices, low=low, high=high, dtype=dtype), backend)
            try:
                losses = gan.step(real, check=host or look)
            except NonFiniteError as error:
                run.draw()
                raise NonFiniteError(f"{error} {run.way_on()}") from error
            ...
    return run.folder
