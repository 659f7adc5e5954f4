"""Runs that are killed (kill -9) at random moments and resumed: the checkpoint always loads, the end is the same.

    python benchmarks/interrupt.py --kills 500

A small GAN with BatchNorm, R1 and an average is trained in a process of its own, with a picture or a checkpoint every
two or three steps. The process is killed, resumed, killed again, until one gets to the end; then all files must have
the bytes of a run that nothing interrupted, and the next run begins. A third of the kills come at any time, a third
within the first instants of a run or of its resumption, and a third in the middle of a change to a file: right before a
file is opened, renamed or removed, or up to some milliseconds after. After each kill the checkpoint, if there is one,
must load.

Which kills are made is drawn from the seed; how far a process gets by then is the machine's affair. The exit code is 1
if anything was lost.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np

from tinygan import GAN, checkpoints, models, train
from tinygan.data import ImageData
from tinygan.errors import CheckpointError
from tinygan.parallel.console import forgiving_streams
from tinygan.penalties import R1

OPTIONS = {"steps": 60, "batch_size": 8, "sample_every": 3, "checkpoint_every": 2, "progress": False}
CHANGES = {"os.rename", "os.remove", "os.mkdir"}  # of files, as Python's audit events call them


def small_gan() -> GAN:
    networks = models.mlp((6, 6, 1), noise_dim=4, g_hidden=(8,), d_hidden=(8,), rng=0)
    return GAN(*networks, noise_dim=4, average=0.9, penalties=R1(1.0))


def small_data() -> ImageData:
    images = np.random.default_rng(0).integers(0, 256, (37, 6, 6, 1), dtype=np.uint8)
    return ImageData(images, name="small")


# ---- the process that is killed --------------------------------------------------------------------------------------


def victim(folder: Path, at: int, after: float) -> None:
    """Train in ``folder`` from where it stands; end at change ``at`` of a file in it, or so many seconds later."""
    changes = 0

    def die() -> None:
        time.sleep(after)
        os.kill(os.getpid(), signal.SIGKILL)

    def listen(event: str, args: tuple) -> None:
        nonlocal changes
        opened = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
        if (opened or event in CHANGES) and str(folder) in str(args[0]):
            changes += 1
            if changes == at:
                print("killed at", event, Path(str(args[0])).name, flush=True)
                threading.Thread(target=die, daemon=True).start() if after else die()

    print("ready", flush=True)
    if at:
        sys.addaudithook(listen)
    train(small_gan(), small_data(), out=folder, resume=(folder / "checkpoint.safetensors").exists(), **OPTIONS)


# ---- who kills it ----------------------------------------------------------------------------------------------------


def plan(draw: random.Random, seconds: float, changes: int) -> tuple[str, float, int, float]:
    """(kind of kill, seconds until it comes from outside, or else the change that it comes at, and how long after)"""
    kind = draw.choice(["any time", "at the beginning", "in a change"])
    if kind == "in a change":
        return kind, 0.0, draw.randint(1, changes), draw.choice([0.0, draw.uniform(0.0, 0.004)])
    return kind, draw.uniform(0.0, seconds if kind == "any time" else 0.03), 0, 0.0


def kill_once(folder: Path, until: float, at: int, after: float) -> tuple[bool, str]:
    """Let a process train in ``folder`` and end it; return whether it got to the end first, and what it said."""
    command = [sys.executable, "-W", "error", __file__, "--victim", str(folder), str(at), str(after)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said = process.stdout.readline()  # after the imports, of which no kill tells anything
    if not at:
        try:
            process.wait(until)
        except subprocess.TimeoutExpired:
            process.kill()
    out, err = process.communicate(timeout=120)
    if process.returncode not in (0, -signal.SIGKILL):
        raise CheckpointError(f"{folder}: the run ended with {process.returncode}: {err.strip()[-500:]}")
    return process.returncode == 0, (said + out).strip()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def interrupt(kills: int, seed: int, folder: Path) -> tuple[Counter, list[str]]:
    """Kill so many times; return (how often which kind of kill, and other counts; what was lost, in words)."""
    draw, counts, lost = random.Random(seed), Counter(), []
    began = time.monotonic()
    expected = contents(train(small_gan(), small_data(), out=folder / "whole", **OPTIONS))
    seconds = time.monotonic() - began
    out = folder / "run 0"
    while sum(counts[kind] for kind in ("any time", "at the beginning", "in a change")) < kills:
        kind, until, at, after = plan(draw, seconds, changes=180)
        what = f"{out.name}, killed {kind} ({until:.4f} s, change {at}, {after:.4f} s after)"
        try:
            ended, said = kill_once(out, until, at, after)
            if (out / "checkpoint.safetensors").exists():
                checkpoints.read(out / "checkpoint.safetensors")
        except CheckpointError as error:
            lost.append(f"{what}: {error}")
            counts[kind] += 1
            ended = True
        else:
            counts[kind] += not ended
            counts[f"  {said.splitlines()[-1]}"] += "killed at" in said and not ended
            if ended:
                counts["runs that got to the end"] += 1
                made = contents(out)
                other = [name for name in {**made, **expected} if made.get(name) != expected.get(name)]
                lost += [f"{what}: other bytes in {', '.join(other)}"] if other else []
        if ended:
            out = folder / f"run {counts['runs that got to the end']}-{len(lost)}"
    return counts, lost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, metavar="N", help="how many (50)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the kills (0)")
    parser.add_argument("--victim", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.victim:
        victim(Path(args.victim[0]), int(args.victim[1]), float(args.victim[2]))
        return
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        counts, lost = interrupt(args.kills, args.seed, Path(folder))
    for what, n in sorted(counts.items()):
        print(f"{n:>6,}  {what}") if n else None
    print(f"{args.kills} kills in {time.monotonic() - began:.0f} s, seed {args.seed}; {len(lost)} times something lost")
    print("\n".join(lost[:30]))
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    with forgiving_streams():  # a console may lack letters such as ×
        main()
