"""One full training step on one GPU, tinygan beside PyTorch, in one run: both at fp32, and both at tf32.

    pip install -e '.[cuda12,bench]'                  # or cuda13, whatever the driver is for
    python benchmarks/gpu_step.py                     # about ten minutes; prints the tables that RESULTS.md keeps
    python benchmarks/gpu_step.py --only mlp --precision fp32
    python benchmarks/gpu_step.py --backend numpy --only mlp --batch 4 --seconds 0.1    # no GPU: only whether it runs

A step is that of systems_step.py, PyTorch's loops are those of peer.py: *as usual* in tutorials, and *tuned*, without
what nobody reads; both eager, with fused Adam and cuDNN's search for the fastest algorithm, in the faster of PyTorch's
two memory layouts. The MLP GAN, whose operations are shorter than it takes to launch them, stands also beside
torch.compile with mode="reduce-overhead", which replays CUDA graphs, and beside the tuned loop captured as one graph.
tinygan replays its step as a graph; next to that stands what it takes with every operation *launched* by itself.

Times are medians between two events on the device, after a warm-up, over random images that lie there already. The
libraries run in turn, each in a process of its own; ratios are medians over the rounds, and above 1 tinygan is faster.

The *floor* is the longer of two times: that of the operations of the products that somebody reads (systems_step.py) at
the device's peak for this precision, and that of the bytes that these products and Adam must move (``traffic``) at its
bandwidth. *Reached* is the floor over tinygan's time. A step of few operations may lie in the caches, and so below.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from math import prod
from typing import NamedTuple

from peer import ADAM, Peer, System, build, capture_loop, compile_loop
from systems_step import operations

from tinygan.parallel.console import forgiving_streams

SYSTEMS = {
    "mlp": System("mlp", (28, 28, 1), 128),
    "dcgan28": System("dcgan", (28, 28, 1), 64),
    "dcgan32": System("dcgan", (32, 32, 3), 32),
    "dcgan64": System("dcgan64", (64, 64, 3), 128),
}
GOALS = {  # least ratios on an H200, by precision and PyTorch's loop
    "mlp": {"fp32": {"usual": 2.0, "compiled": 1.0}, "tf32": {"usual": 2.0, "compiled": 1.0}},
    "dcgan28": {"fp32": {"usual": 1.0}, "tf32": {"usual": 1.0}},
    "dcgan32": {"fp32": {"usual": 1.0}, "tf32": {"usual": 1.0}},
    "dcgan64": {"fp32": {"usual": 0.7}, "tf32": {}},
}
LOOPS = {"usual": "as usual", "tuned": "tuned", "compiled": "compiled", "graph": "as one graph"}


class Peak(NamedTuple):
    """What a device can do at most: TFLOP/s of dense products in both precisions, and TB/s from its memory."""

    fp32: float
    tf32: float
    memory: float


PEAKS = {  # by a part of the device's name, from NVIDIA's data sheets
    "H200": Peak(67, 495, 4.8),
    "H100 PCIe": Peak(51, 378, 2.0),
    "H100": Peak(67, 495, 3.35),
    "A100": Peak(19.5, 156, 1.9),
}


def traffic(system: System) -> float:
    """Bytes that one step moves at least, if all but products is done along with them and nothing stays in a cache.

    A product of n samples reads two of input, output and weights, and writes the third: 4 (n (in + out) + |W|) bytes.
    Adam reads θ, its gradient and both moments, and writes all but the gradient: 28 bytes a parameter.
    """
    G, D = build(system)

    def products(network, shape, n: int, *, data_gradient: bool) -> list[float]:
        sizes, first = [], True
        for layer in network.layers:
            after = layer.output_shape(shape)
            if "W" in layer.params and not (data_gradient and first):
                sizes.append(4.0 * (n * (prod(shape) + prod(after)) + layer.params["W"].size))
            first = first and "W" not in layer.params
            shape = after
        return sizes

    def of_g(**options) -> float:
        return sum(products(G, (100,), system.batch, **options))

    def of_d(batches: int, **options) -> float:
        return sum(products(D, system.image_shape, batches * system.batch, **options))

    d_step = of_g(data_gradient=False) + 2 * of_d(2, data_gradient=False) + of_d(2, data_gradient=True)
    g_step = 2 * of_g(data_gradient=False) + of_g(data_gradient=True) + 2 * of_d(1, data_gradient=False)
    return d_step + g_step + 28.0 * (G.size + D.size)


# ---- clocks --------------------------------------------------------------------------------------------------------

Clock = Callable[[Callable[[], object], int], float]  # milliseconds a step, of so many in a row


def host_clock(step: Callable[[], object], times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        step()
    return 1e3 * (time.perf_counter() - start) / times


def cupy_clock(step: Callable[[], object], times: int) -> float:
    import cupy

    start, stop = cupy.cuda.Event(), cupy.cuda.Event()
    cupy.cuda.Device().synchronize()
    start.record()
    for _ in range(times):
        step()
    stop.record()
    stop.synchronize()
    return cupy.cuda.get_elapsed_time(start, stop) / times


def torch_clock(step: Callable[[], object], times: int) -> float:
    import torch

    start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    for _ in range(times):
        step()
    stop.record()
    stop.synchronize()
    return start.elapsed_time(stop) / times


def median_ms(step: Callable[[], object], clock: Clock, seconds: float) -> float:
    """Median of samples of about 20 ms each, after a warm-up of 10 steps and a third of the time."""
    clock(step, 10 if seconds >= 1 else 2)
    each = clock(step, 1)
    times = max(1, round(20 / max(each, 1e-3)))
    end = time.perf_counter() + seconds / 3
    while time.perf_counter() < end:
        clock(step, times)
    samples, end = [], time.perf_counter() + seconds
    while len(samples) < 3 or time.perf_counter() < end:
        samples.append(clock(step, times))
    return statistics.median(samples)


# ---- the two libraries ---------------------------------------------------------------------------------------------


def run_tinygan(system: System, backend: str, precision: str, seconds: float) -> dict[str, object]:
    import numpy as np

    from tinygan import GAN, losses, optim
    from tinygan.backends import device_of, set_precision, to_backend
    from tinygan.backends.cuda import stepper

    set_precision(precision, backend)
    loss = losses.LeastSquares() if system.loss == "least squares" else losses.NonSaturating()
    G, D = build(system)
    adams = [optim.Adam(network, ADAM["lr"], *ADAM["betas"]) for network in (G, D)]
    gan = GAN(G, D, noise_dim=100, loss=loss, g_optimizer=adams[0], d_optimizer=adams[1]).to(backend)
    images = np.random.default_rng(0).uniform(-1, 1, (system.batch, *system.image_shape)).astype(np.float32)
    real, clock = to_backend(images, backend), cupy_clock if backend == "cupy" else host_clock
    measured = {"launched": median_ms(lambda: gan.step(real), clock, seconds)}
    step = stepper(gan)
    measured["tinygan"] = median_ms(lambda: step(real), clock, seconds)
    return {**measured, "why": getattr(step, "why", None), "device": device_of(real)}


def run_torch(system: System, device: str, precision: str, seconds: float, *, compiled: bool) -> dict[str, object]:
    import torch

    if device == "cuda":
        for products in (torch.backends.cuda.matmul, torch.backends.cudnn.conv):
            products.fp32_precision = {"fp32": "ieee", "tf32": "tf32"}[precision]
        torch.backends.cudnn.benchmark = True
    clock = torch_clock if device == "cuda" else host_clock
    measured: dict[str, object] = {"version": torch.__version__}
    layouts = ["first"] if system.model == "mlp" else ["first", "last"]
    for loop in ("usual", "tuned"):
        times = [median_ms(getattr(Peer(system, layout, device), loop), clock, seconds) for layout in layouts]
        measured[loop] = min(times)
    if compiled:
        for loop, make in (("compiled", compile_loop), ("graph", capture_loop)):
            try:
                measured[loop] = median_ms(make(Peer(system, "first", device, capturable=True)), clock, seconds)
            except Exception as error:  # an extra of theirs that fails takes nothing from the rest
                measured[f"{loop} failed"] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    return measured


# ---- rounds and tables ---------------------------------------------------------------------------------------------


def turn(args: argparse.Namespace, library: str, name: str, precision: str) -> dict[str, object]:
    """One library, measured in a process of its own; what went wrong is said in one line, and {} comes back."""
    command = [sys.executable, __file__, "--turn", library, "--only", name, "--precision", precision]
    command += ["--seconds", str(args.seconds), "--backend", args.backend, "--batch", str(args.batch)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    reason = (done.stderr.strip().splitlines() or ["without a word"])[-1]
    print(f"{library}, {name}, {precision}: failed ({reason})", file=sys.stderr)
    return {}


def floor_ms(system: System, precision: str, device: str) -> float | None:
    """The least time of a step, None on a device whose peaks are not listed."""
    peak = next((peak for part, peak in PEAKS.items() if part in device), None)
    if peak is None:
        return None
    return 1e3 * max(operations(system) / getattr(peak, precision) / 1e12, traffic(system) / peak.memory / 1e12)


def row(name: str, system: System, precision: str, rounds: list[tuple[dict, dict]]) -> str:
    """A line of the table, from what both libraries measured in each round."""
    ours = statistics.median(measured["tinygan"] for measured, _ in rounds)
    launched = statistics.median(measured["launched"] for measured, _ in rounds)
    cells = [f"{name} {'x'.join(map(str, system.image_shape))}, {system.batch}", f"{ours:.3g}", f"{launched:.3g}"]
    goals, floor = [], floor_ms(system, precision, rounds[0][0]["device"])
    for loop in LOOPS:
        both = [(measured["tinygan"], other[loop]) for measured, other in rounds if loop in other]
        if not both:
            cells += ["", ""]
            continue
        ratios = [theirs / tinygan for tinygan, theirs in both]
        ratio = statistics.median(ratios)
        cells.append(f"{statistics.median(theirs for _, theirs in both):.3g}")
        cells.append(f"**{ratio:.2f}** ({min(ratios):.2f} - {max(ratios):.2f})")
        if floor and (goal := GOALS[name][precision].get(loop)):
            goals.append(f"{goal:g} of {LOOPS[loop]}: {'yes' if ratio >= goal else 'no'}")
    cells += ["", ""] if floor is None else [f"{floor:.3g}", f"{floor / ours:.0%}"]
    return f"| {' | '.join([*cells, '; '.join(goals)])} |"


def table(args: argparse.Namespace, precision: str) -> None:
    """Measure and print, system by system."""
    heads = ["system, batch", "tinygan ms", "launched ms"]
    heads += [head for loop in LOOPS.values() for head in (f"PyTorch {loop} ms", "ratio")]
    heads += ["floor ms", "reached", "goals"]
    told: list[str] = []
    headed = False
    for name in [args.only] if args.only else SYSTEMS:
        system, rounds = sized(name, args.batch), []
        for _ in range(args.rounds):
            measured = turn(args, "tinygan", name, precision)
            if measured:
                rounds.append((measured, turn(args, "torch", name, precision)))
        if not rounds:
            continue
        measured, other = rounds[-1]
        if not headed:
            headed = True
            many = "1 round" if args.rounds == 1 else f"{args.rounds} rounds"
            print(f"\n{measured['device']}; {many}; PyTorch {other.get('version', 'is not there')}\n")
            print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}", flush=True)
        print(row(name, system, precision, rounds), flush=True)
        told += [f"{name}: PyTorch's {key}: {why}" for key, why in other.items() if key.endswith("failed")]
        told += [f"{name}: tinygan replays no graph, since {measured['why']}"] if measured["why"] else []
    if told:
        print("\n" + "\n".join(f"- {line}." for line in told))


def sized(name: str, batch: int) -> System:
    return SYSTEMS[name]._replace(batch=batch) if batch else SYSTEMS[name]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often the two take turns (default: 3)")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each measurement (default: 3)")
    parser.add_argument("--only", choices=list(SYSTEMS), help="only this system")
    parser.add_argument("--precision", choices=["fp32", "tf32"], help="only this precision")
    parser.add_argument("--backend", choices=["cupy", "numpy"], default="cupy", help="numpy: whether this program runs")
    parser.add_argument("--batch", type=int, default=0, help="another batch for all systems")
    parser.add_argument("--turn", choices=["tinygan", "torch"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.turn:
        system, device = sized(args.only, args.batch), {"cupy": "cuda", "numpy": "cpu"}[args.backend]
        if args.turn == "tinygan":
            measured = run_tinygan(system, args.backend, args.precision, args.seconds)
        else:
            compiled = args.only == "mlp" and device == "cuda"
            measured = run_torch(system, device, args.precision, args.seconds, compiled=compiled)
        print(json.dumps(measured))
        return

    from tinygan.backends import get_ops
    from tinygan.errors import BackendError

    try:
        backend = get_ops(args.backend)
    except BackendError as error:
        sys.exit(f"There is nothing to measure here: {error}")
    precisions = ["fp32", "tf32"] if getattr(backend, "tf32", False) else ["fp32"]
    for precision in [args.precision] if args.precision else precisions:
        table(args, precision)


if __name__ == "__main__":
    with forgiving_streams():  # a console may lack letters such as ×
        main()
