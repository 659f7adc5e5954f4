"""Optimisers against loops over single numbers, and what people expect of them."""

import os
import signal
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.reference import adam, check_average, check_clipping, check_optimizer, rmsprop, sgd, small_network

from tinygan import Sequential, optim, to_numpy
from tinygan.backends.cpu import blocks, threads
from tinygan.errors import ArgumentError, CheckpointError
from tinygan.layers import BatchNorm, Dense
from tinygan.runs.schedules import cosine, linear, warmup

fractions = st.floats(0.0, 0.99)
numbers = st.floats(1e-4, 1.0)
rates = numbers | st.builds(linear, numbers, st.floats(0.0, 1.0), st.integers(1, 9))
rates |= st.builds(warmup, st.integers(1, 5), st.builds(cosine, numbers, numbers, st.integers(1, 9)))


@given(lr=rates, beta1=fractions, beta2=fractions, eps=st.floats(1e-8, 1e-2))
def test_adam_is_algorithm_1(lr, beta1, beta2, eps):
    check_optimizer(optim.Adam, adam, lr=lr, beta1=beta1, beta2=beta2, eps=eps)


@given(lr=rates, rho=fractions, eps=st.floats(1e-8, 1e-2))
def test_rmsprop(lr, rho, eps):
    check_optimizer(optim.RMSProp, rmsprop, lr=lr, rho=rho, eps=eps)


@given(lr=rates, momentum=fractions)
def test_sgd(lr, momentum):
    check_optimizer(optim.SGD, sgd, lr=lr, momentum=momentum)


def test_clipping():
    check_clipping(optim.SGD)


@pytest.mark.parametrize("decay", [0.5, 0.8, 0.999])
def test_moving_average(decay):
    check_average(optim.ExponentialMovingAverage, decay=decay)


def test_the_average_follows_running_statistics_too():
    network = Sequential(Dense(2, 3), BatchNorm(3))
    average = optim.ExponentialMovingAverage(network, 0.9)
    for _ in range(200):
        network.buffers["1.running_mean"][...] = 5.0
        average.update()
    np.testing.assert_allclose(average.network.buffers["1.running_mean"], 5.0, rtol=1e-5)


@pytest.mark.parametrize("make", [optim.SGD, optim.RMSProp, optim.Adam])
def test_every_optimizer_finds_the_bottom_of_a_bowl(device, make):
    """L = ½ |θ − 3|², whose gradient is θ − 3."""
    network = small_network().to(device.name)
    optimizer = make(network, lr=0.02)
    for _ in range(800):
        network.grad[...] = network.theta - 3.0
        optimizer.step()
    np.testing.assert_allclose(to_numpy(network.theta), 3.0, atol=0.05)


@pytest.mark.parametrize("make", [optim.SGD, optim.RMSProp, optim.Adam])
def test_state_continues_to_the_same_bytes(device, make):
    def run(optimizer, steps):
        for k in steps:
            optimizer.network.grad[...] = float(k) + 0.1
            optimizer.step()
        return to_numpy(optimizer.network.theta).tobytes()

    whole, first, second = (make(small_network().to(device.name), lr=0.1) for _ in range(3))
    run(first, range(3))
    second.load_state_arrays(first.state_arrays())
    second.network.theta[...] = first.network.theta
    assert run(whole, range(6)) == run(second, range(3, 6))


@pytest.mark.parametrize("make", [optim.SGD, optim.RMSProp, optim.Adam])
def test_a_schedule_goes_on_where_it_was_to_the_same_bytes(device, make):
    schedule = warmup(2, cosine(0.1, 0.0, 4))
    whole, first, second = (make(small_network().to(device.name), lr=schedule) for _ in range(3))
    rates = []

    def run(optimizer, steps):
        for k in steps:
            rates.append(optimizer.rate(optimizer.t))
            optimizer.network.grad[...] = float(k) + 0.1
            optimizer.step()
        return to_numpy(optimizer.network.theta).tobytes()

    expected = run(whole, range(7))
    assert rates == [schedule(t) for t in range(7)]
    run(first, range(3))
    arrays = first.state_arrays()
    assert arrays.keys() == {*first.state_names, "t", "lr"}
    assert (arrays["t"], arrays["lr"], arrays["lr"].dtype) == (3, schedule(3), np.float64)
    second.load_state_arrays(arrays)
    second.network.theta[...] = first.network.theta
    assert run(second, range(3, 7)) == expected
    assert second.lr == schedule


@pytest.mark.parametrize("make", [optim.SGD, optim.RMSProp, optim.Adam])
def test_a_schedule_that_stays_at_one_number_is_that_number(make):
    networks = [small_network(), small_network()]
    optimizers = [make(networks[0], lr=0.1), make(networks[1], lr=linear(0.1, 0.1, 5))]
    for k in range(8):
        for optimizer in optimizers:
            optimizer.network.grad[...] = float(k) - 2.5
            optimizer.step()
    assert networks[0].theta.tobytes() == networks[1].theta.tobytes()


def test_a_rate_may_be_changed_between_steps():
    """A number for a schedule, and the other way; a state's rate is taken over by a number only."""
    optimizer = optim.SGD(small_network(), lr=0.5)
    for lr, expected in ((linear(1.0, 0.0, 4), 1.0), (linear(1.0, 0.0, 4), 0.75), (0.25, 0.25)):
        optimizer.lr = lr
        before = optimizer.network.theta.copy()
        optimizer.network.grad[...] = 1.0
        optimizer.step()
        np.testing.assert_allclose(before - optimizer.network.theta, expected, rtol=1e-12)
    scheduled = optim.SGD(small_network(), lr=linear(1.0, 0.0, 4))
    optimizer.load_state_arrays(scheduled.state_arrays())
    assert optimizer.lr == 1.0


@pytest.mark.parametrize("make", [optim.SGD, optim.RMSProp, optim.Adam])
def test_a_schedule_without_a_meaning_is_refused_before_anything_moves(make):
    for bad in (-1.0, float("nan"), "fast"):
        with pytest.raises(ArgumentError, match=rf"{make.__name__}: lr: .* at step 0; a finite number of at least 0"):
            make(small_network(), lr=lambda t, bad=bad: bad)
    network = small_network()
    optimizer = make(network, lr=lambda t: 0.1 if t < 1 else float("inf"))
    network.grad[...] = 1.0
    optimizer.step()
    memory, theta = getattr(optimizer, optimizer.state_names[0]), network.theta.copy()
    state = memory.copy()
    with pytest.raises(ArgumentError, match="gives inf at step 1"):
        optimizer.step()
    assert optimizer.t == 1
    np.testing.assert_array_equal(network.theta, theta)
    np.testing.assert_array_equal(memory, state)


def test_state_of_another_optimizer_is_refused():
    with pytest.raises(CheckpointError, match=r"missing: M, V; unexpected: u"):
        optim.Adam(small_network()).load_state_arrays(optim.SGD(small_network()).state_arrays())


@pytest.mark.parametrize("make", [optim.SGD, optim.RMSProp, optim.Adam])
def test_blocks_and_threads_change_no_bit(monkeypatch, make):
    """However the vector is cut up, every number is computed alike."""

    def run(block, workers):
        monkeypatch.setattr(blocks, "BLOCK", block)
        monkeypatch.setattr(threads, "workers", lambda: workers)
        network = Sequential(Dense(40, 50, rng=1), Dense(50, 3, rng=2))
        optimizer = make(network, lr=0.1)
        for k in range(3):
            network.grad[...] = np.random.default_rng(k).standard_normal(network.size)
            optimizer.step()
        return network.theta.tobytes()

    whole = run(1 << 16, 1)
    assert run(7, 1) == whole
    assert run(64, 3) == whole


def test_parameters_keep_their_dtype(device):
    for dtype in (np.float32, np.float64):
        network = Sequential(Dense(2, 3, dtype=dtype)).to(device.name)
        for make in (optim.SGD, optim.RMSProp, optim.Adam):
            optimizer = make(network, lr=0.1, clip_norm=1.0, clip_value=0.5)
            network.grad[...] = 1.0
            optimizer.step()
            assert network.theta.dtype == dtype
            assert all(getattr(optimizer, name).dtype == dtype for name in optimizer.state_names)


def test_share_out_covers_everything_once_and_passes_errors_on(monkeypatch):
    monkeypatch.setattr(threads, "workers", lambda: 3)
    seen = np.zeros(1000, dtype=int)

    def work(start, stop):
        seen[start:stop] += 1

    threads.share_out(work, 1000, least=10)
    threads.share_out(work, 0, least=10)
    assert (seen == 1).all()

    def fail(start, stop):
        raise RuntimeError(f"part {start}")

    with pytest.raises(RuntimeError, match="part"):
        threads.share_out(fail, 1000, least=10)


def test_share_out_waits_for_every_part_before_it_raises(monkeypatch):
    monkeypatch.setattr(threads, "workers", lambda: 3)
    done = []

    def work(start, stop):
        if start < 500:
            raise RuntimeError("early")
        time.sleep(0.05)
        done.append(start)

    with pytest.raises(RuntimeError, match="early"):
        threads.share_out(work, 1000, least=10)
    assert done == [666]


def test_errstate_of_the_caller_holds_in_every_thread(monkeypatch):
    monkeypatch.setattr(threads, "workers", lambda: 3)
    huge = np.full(900, 3e38, dtype=np.float32)
    with np.errstate(over="ignore"):
        threads.share_out(lambda start, stop: huge[start:stop] * huge[start:stop], 900, least=10)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own(monkeypatch):
    """multiprocessing forks by default on Linux; a child must not wait for threads that only its parent has."""
    monkeypatch.setattr(threads, "workers", lambda: 2)
    threads.share_out(lambda start, stop: None, 1000, least=10)
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        threads.share_out(lambda start, stop: None, 1000, least=10)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_workers_follow_the_environment(monkeypatch):
    for text, expected in (("1", 1), ("5", 5)):
        monkeypatch.setenv("OMP_NUM_THREADS", text)
        assert threads.workers.__wrapped__() == expected
    for text in ("", "0", "many", "²"):
        monkeypatch.setenv("OMP_NUM_THREADS", text)
        assert threads.workers.__wrapped__() >= 1


def test_adam_begins_with_the_settings_of_dcgan():
    adam = optim.Adam(small_network())
    assert (adam.lr, adam.beta1, adam.beta2, adam.eps) == (2e-4, 0.5, 0.999, 1e-8)
    assert (adam.clip_norm, adam.clip_value, adam.t) == (None, None, 0)
