r"""Recording and replaying a training step without a GPU, to prove that the replayed step is the step.

The stand-in device does here what CUDA does with a captured stream: recording a step changes nothing, each operation is
written down with the memory that it reads and writes, and a replay does all of them again, in order, in that memory.
What spoils a graph on a GPU spoils this one, or is refused: a number of Python's that should have changed stays as it
was, a name bound to a new array leaves the old one behind, and reading a value or copying one from the host is an
error, as is what CuPy leaves to its own cuBLAS handle. To prove a GAN with parts of your own::

    from tinygan.testing.replay import check_replay
    check_replay(lambda: GAN(...))

Stricter than CUDA: memory that a step should fill itself holds NaN before each replay, so that a value left over from
the step before cannot pass for one of this step.
"""

from __future__ import annotations

import operator
import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..backends.cuda import graphs
from ..errors import BackendError, ContractError
from ..gan import GAN
from ..layers.initializers import Rng, as_generator
from ..models import ConditionalGAN
from ..ops import get_ops, to_numpy
from . import device_array
from .device import xp
from .syncs import forbid_syncs


def check_replay(
    build: Callable[[], GAN],
    *,
    steps: int = 6,
    batch: int = 4,
    change: Callable[[GAN, int], None] = lambda gan, t: None,
    rng: Rng = 0,
    backend: str = "standin",
) -> int:
    """Take steps with two equal GANs, one of them replayed, and compare all they are made of after each, to the bit.

    Parameters
    ----------
    build : returns the GAN, on NumPy; the same each time.
    steps, batch : how many steps, each of batch · d_steps real samples.
    change : called as change(gan, t) before each step; what it changes must show in a replayed step too.
    rng : Generator or seed that the samples are drawn from, uniform in [−1, 1).
    backend : ``"cupy"`` replays real graphs, on a GPU.

    Returns
    -------
    How many of the steps were replayed.

    Raises
    ------
    ContractError
        A replayed step differs, or none was replayed; the message says where, or why.
    """
    rng, device, (eager, replayed) = as_generator(rng), get_ops(backend), (build().to(backend) for _ in range(2))
    dtype = eager.generator.theta.dtype
    with enabled(), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        step: Any = graphs.stepper(replayed)
        for t in range(1, steps + 1):
            real = rng.uniform(-1.0, 1.0, (batch * eager.d_steps, *eager.sample_shape)).astype(dtype)
            for gan in (eager, replayed):
                change(gan, t)
            before = step.replayed
            of = (rng.integers(eager.classes, size=len(real)),) if isinstance(eager, ConditionalGAN) else ()
            losses = eager.step(device.from_host(real), *of), step(device.from_host(real), *of)
            what = f"step {t}, which was {'' if step.replayed > before else 'not '}replayed"
            for name, a, b in zip(losses[0]._fields, *losses, strict=True):
                _require_same(f"{what}: the loss {name}", a, b)
            others = everything(replayed)
            for name, value in everything(eager).items():
                _require_same(f"{what}: {name}", value, others[name])
    if not step.replayed:
        raise ContractError(f"no step was replayed: {step.why or 'there were too few of a kind'}.")
    return step.replayed


def everything(gan: GAN) -> dict[str, Any]:
    """All that a GAN is made of and that a step may change, by name: arrays, counts and the states of generators."""
    owners: dict[str, Any] = {"G": gan.generator, "D": gan.discriminator, "G's optimiser": gan.g_optimizer}
    owners |= {"D's optimiser": gan.d_optimizer} | ({"the average": gan.average.network} if gan.average else {})
    state = {f"{name}: {key}": a for name, owner in owners.items() for key, a in owner.state_arrays().items()}
    networks = {"G": gan.generator, "D": gan.discriminator}
    state |= {f"{name}: grad": to_numpy(network.grad) for name, network in networks.items()}
    rngs = {f"{name}: {key}": rng for name, network in networks.items() for key, rng in network.rngs()}
    rngs |= {"rng": gan.rng, "sample_rng": gan.sample_rng}
    state |= {f"the state of {name}": _flat(rng.bit_generator.state) for name, rng in rngs.items()}
    return state | {"t": float(gan.t), "t of the average": float(gan.average.t if gan.average else 0)}


def _flat(state: Any) -> np.ndarray:
    """The numbers in a generator's state, as bytes."""
    return np.frombuffer(pickle.dumps(state), dtype=np.uint8)


def _require_same(what: str, a: Any, b: Any) -> None:
    a, b = (v if isinstance(v, (float, np.ndarray)) else to_numpy(v) for v in (a, b))
    a, b = np.asarray(a), np.asarray(b)
    if a.tobytes() != b.tobytes() or a.shape != b.shape:
        wrong = np.abs(a.astype(float) - b).max() if a.shape == b.shape else "in shape"
        raise ContractError(f"{what} differs from that of an eager step, by {wrong}.")


@contextmanager
def enabled() -> Iterator[None]:
    """Let :func:`tinygan.backends.cuda.graphs.stepper` replay on the stand-in device inside the ``with`` block."""
    graphs.ENGINES["standin"] = Engine
    try:
        yield
    finally:
        del graphs.ENGINES["standin"]


class Engine:
    """As :class:`tinygan.backends.cuda.capture.Engine`, on the stand-in device."""

    def run(self, work: Callable[[], Any]) -> Any:
        return work()

    def capture(self, work: Callable[[], Any]) -> Callable[[], None]:
        recording = Recording()
        if device_array.recorder is not None:
            raise BackendError("a step is being recorded already.")
        device_array.recorder = recording
        try:
            with forbid_syncs():
                work()
        finally:
            device_array.recorder = None
            recording.undo()
        return recording.replay

    def staging(self, nbytes: int) -> Staging:
        return Staging(nbytes)


class Staging:
    """As :class:`tinygan.backends.cuda.capture.Staging`, on the stand-in device."""

    def __init__(self, nbytes: int) -> None:
        self.device = xp.zeros(nbytes, dtype=np.uint8)

    def host(self) -> np.ndarray:
        self._host = np.full(len(self.device), 255, dtype=np.uint8)  # NaN, where nothing will be written
        return self._host

    def send(self) -> None:
        self.device._host[...] = self._host


#: Functions that CuPy computes with its own cuBLAS handle, which it refuses to do while a stream is captured.
REFUSED = {np.dot, np.ndarray.dot, np.vdot, np.inner, np.tensordot, operator.matmul}


class Recording:
    """Operations on the memory of device arrays, and what they leave behind."""

    def __init__(self) -> None:
        self._operations: list[tuple[Callable, tuple, dict, list[np.ndarray | None]]] = []
        self._own: dict[int, np.ndarray] = {}  # memory made by them, by its identity
        self._saved: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # memory that was there before, and its contents

    def run(self, function: Callable, args: tuple, kwargs: dict) -> Any:
        self._refuse(function, args)
        given = list(_arrays((args, tuple(kwargs.values()))))
        for array in given:
            memory = _memory(array)
            if id(memory) not in self._own and id(memory) not in self._saved:
                self._saved[id(memory)] = memory, memory.copy()
        result = function(*args, **kwargs)
        results = [None if r is None else np.asarray(r) for r in _listed(result)]
        new = [None if r is None or any(np.may_share_memory(r, a) for a in given) else r for r in results]
        self._own.update({id(_memory(r)): _memory(r) for r in new if r is not None})
        self._operations.append((function, args, kwargs, new))
        return results if isinstance(result, (list, tuple)) else results[0]

    def _refuse(self, function: Callable, args: tuple) -> None:
        contracts = function is np.einsum and len(args) > 2 and _contracts(args[0])
        if function in REFUSED or contracts:
            raise BackendError(
                f"{function.__name__}: CuPy leaves this to its own cuBLAS handle, which cannot be recorded. Write it "
                "with ops_of(x).matmul, or as a sum of products, (a * b).sum()."
            )
        if function is np.concatenate and len(args[0]) > 8:
            raise BackendError(
                "concatenate: CuPy uploads the addresses of more than 8 arrays, which cannot be recorded."
            )

    def refuse_upload(self) -> None:
        raise BackendError(
            "a copy from the host cannot be recorded: it would be that of this step for ever. What a step draws is "
            "decided before it, in GAN.draw."
        )

    def undo(self) -> None:
        """Give all memory that was there before its contents back."""
        for memory, contents in self._saved.values():
            memory[...] = contents

    def replay(self) -> None:
        """Do all operations again, in the same memory."""
        for memory in self._own.values():
            memory.fill({"f": np.nan, "b": True}.get(memory.dtype.kind, 111))
        with np.errstate(all="ignore"):
            for function, args, kwargs, new in self._operations:
                if function in (np.empty, np.empty_like):
                    continue
                for into, result in zip(new, _listed(function(*args, **kwargs)), strict=True):
                    if into is not None:
                        into[...] = result


def _listed(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (list, tuple)) else [result]


def _arrays(value: Any) -> Iterator[np.ndarray]:
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, (list, tuple)):
        for v in value:
            yield from _arrays(v)


def _memory(array: np.ndarray) -> np.ndarray:
    """The array that owns the memory of a view."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _contracts(subscripts: str) -> bool:
    """Whether a label that both operands have is summed over."""
    inputs, _, output = subscripts.replace(" ", "").partition("->")
    first, _, second = inputs.partition(",")
    return bool({*first} & {*second} - {*output, "."})
