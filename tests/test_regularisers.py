"""SpectralNorm, MinibatchStdDev and Pack: forward, both orders of derivatives, state, and whole steps of a GAN."""

import copy
import pickle

import counting
import naive_regularisers as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import svdvals

from tinygan import GAN, Sequential, losses, optim, to_numpy
from tinygan.errors import ArgumentError, ShapeError
from tinygan.layers import (
    BatchNorm,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Flatten,
    LeakyReLU,
    MinibatchStdDev,
    Pack,
    Softplus,
    SpectralNorm,
    Tanh,
)
from tinygan.penalties import R1, R2, GradientPenalty
from tinygan.testing import check_layer, strategies
from tinygan.testing.strategies import batches, geometries, images, rngs

modes = pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
numbers = np.random.default_rng(0).standard_normal
f8 = {"dtype": np.float64}

#: One of each, and a batch for it.
KINDS = {
    "dense": (SpectralNorm(Dense(4, 3, rng=1, **f8)), numbers((4, 4))),
    "conv": (SpectralNorm(Conv2D(2, 3, 3, stride=2, rng=1, **f8)), numbers((4, 4, 5, 2))),
    "transposed": (SpectralNorm(ConvTranspose2D(2, 3, 4, stride=2, bias=False, rng=1, **f8)), numbers((4, 3, 2, 2))),
    "std": (MinibatchStdDev(), numbers((4, 3, 2, 2))),
    "pack": (Pack(2), numbers((4, 3, 2, 2))),
}
every_kind = pytest.mark.parametrize("name", KINDS)


# ---- derivatives, contract -----------------------------------------------------------------------------------------


@modes
@settings(max_examples=200)
@given(case=strategies.regularisers())
def test_gradients(train, case):
    counting.check_gradients(case.layer, case.x, train=train)


@modes
@settings(max_examples=150)
@given(case=strategies.regularisers())
def test_second_order(train, case):
    counting.check_second_order(case.layer, case.x, train=train, random=True)


@settings(max_examples=60)
@given(parts=st.integers(1, 3), m=st.integers(3, 5), pixels=st.sampled_from(((), (2, 1), (2, 3))), rng=rngs)
def test_both_orders_of_the_standard_deviation_of_parts(parts, m, pixels, rng):
    layer, x = MinibatchStdDev(eps=1e-3), rng.standard_normal((parts * m, *pixels, 2))
    layer.parts = parts
    counting.check_gradients(layer, x)
    counting.check_second_order(layer, x, random=True)


@every_kind
def test_the_contract(device, name):
    layer, x = KINDS[name]
    check_layer(layer.to(device.name) if device.name == "numpy" else layer.copy().to(device.name), device.put(x))


@pytest.mark.parametrize("shift", [0.0, 0.5], ids=["converged", "not converged"])
def test_the_gradient_is_that_of_what_was_computed_wherever_u_is(shift):
    """Both terms of ∂σ/∂W: without the second, the first case would pass and the other fail."""
    layer = naive.spectral(Dense(6, 4, **f8))
    for _ in range(50):
        layer.forward(numbers((2, 6)))
        layer.forget()
    layer.buffers["u"] += shift * numbers(6)
    counting.check_gradients(layer, numbers((3, 6)))


# ---- forward -------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(x=batches(), n_out=strategies.sizes, bias=st.booleans(), seed=st.integers(0, 99))
def test_spectral_norm_of_dense(x, n_out, bias, seed):
    naive.check_spectral_norm(naive.spectral(Dense(x.shape[1], n_out, bias=bias, **f8), seed=seed), x)


@pytest.mark.parametrize("transposed", [False, True])
@settings(max_examples=30)
@given(data=st.data(), c=st.integers(1, 3), seed=st.integers(0, 99))
def test_spectral_norm_of_convolutions(transposed, data, c, seed):
    kernel_size, stride, padding, hw = data.draw(geometries(transposed=transposed, largest=3))
    kind = ConvTranspose2D if transposed else Conv2D
    inner = kind(c, 2, kernel_size, stride=stride, padding=padding, **f8)
    naive.check_spectral_norm(
        naive.spectral(inner, seed=seed), data.draw(images(n=st.just(1), hw=st.just(hw), c=st.just(c)))
    )


@settings(max_examples=40)
@given(parts=st.integers(1, 3), m=st.integers(1, 4), x=images(n=st.just(12)), eps=st.sampled_from((1e-8, 0.1)))
def test_standard_deviation_of_a_minibatch(parts, m, x, eps):
    naive.check_minibatch_std(MinibatchStdDev(eps=eps), x[: parts * m], parts=parts)


@settings(max_examples=40)
@given(x=st.one_of(batches(n=st.just(12)), images(n=st.just(12))), m=st.sampled_from((1, 2, 3, 4, 6, 12)))
def test_packing(x, m):
    naive.check_pack(Pack(m), x)


def test_numbers_that_one_can_check_by_hand():
    x = np.array([[0.0, 5.0], [6.0, 5.0]])
    np.testing.assert_allclose(MinibatchStdDev(eps=1e-8)(x)[:, 2], (3.0 + 1e-4) / 2)  # of 0, 6: 3; of 5, 5: √eps
    np.testing.assert_array_equal(Pack(2)(x), [[0.0, 5.0, 6.0, 5.0]])
    layer = SpectralNorm(Dense(2, 2, **f8))
    layer.params["W"][...] = [[4.0, 0.0], [0.0, 2.0]]
    layer.buffers["u"][...] = [2.0, 0.0]  # any length will do
    np.testing.assert_allclose(layer(np.eye(2)), [[1.0, 0.0], [0.0, 0.5]])


def test_one_sample_has_no_deviation_and_its_gradient_passes_as_it_came():
    layer = MinibatchStdDev()
    y = layer.forward(np.ones((1, 3)))
    np.testing.assert_allclose(y, [[1.0, 1.0, 1.0, 1e-4]])
    np.testing.assert_array_equal(layer.backward(np.full((1, 4), 2.0)), np.full((1, 3), 2.0))


# ---- u -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inner", [Dense(20, 10), Conv2D(8, 16, 3), ConvTranspose2D(16, 8, 3)], ids=repr)
def test_sigma_is_close_from_the_start_and_never_above(inner):
    layer = SpectralNorm(inner, rng=3)
    W = layer.params["W"]
    np.testing.assert_array_equal(W, inner.params["W"])
    found = float(layer._normalise(train=False).sigma)
    largest = svdvals(W.reshape(-1, W.shape[-1]))[0]
    assert 0.95 * largest < found <= 1.00001 * largest


def test_only_training_moves_u_and_both_modes_compute_the_same():
    layer, x = naive.spectral(Dense(5, 4, **f8)), numbers((3, 5))
    before = layer.buffers["u"].copy()
    looked = layer(x)
    np.testing.assert_array_equal(layer.buffers["u"], before)
    np.testing.assert_array_equal(layer.forward(x), looked)
    assert (layer.buffers["u"] != before).any()
    assert np.linalg.norm(layer.buffers["u"]) == pytest.approx(1.0)


def test_a_refused_batch_does_not_move_u():
    layer = naive.spectral(Dense(5, 4, **f8))
    before = layer.buffers["u"].copy()
    with pytest.raises(ShapeError, match=r"SpectralNorm: expected input \(N, 5\), got \(N, 3\)"):
        layer.forward(numbers((2, 3)))
    np.testing.assert_array_equal(layer.buffers["u"], before)


def test_different_seeds_start_apart_and_equal_ones_alike():
    u = [SpectralNorm(Dense(9, 8), rng=seed).buffers["u"] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(u[0], u[1])
    assert (u[0] != u[2]).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_of_zero_make_no_nan_and_do_not_spoil_u(device, dtype):
    layer = SpectralNorm(Dense(4, 3, dtype=dtype)).to(device.name)
    x, dy = device.put(numbers((5, 4)).astype(dtype)), device.put(numbers((5, 3)).astype(dtype))
    layer.params["W"][...] = 0.0
    before = device.get(layer.buffers["u"]).copy()
    assert not device.get(layer.forward(x)).any()
    layer.second_order(x, dy)
    assert not device.get(layer.backward(dy)).any()
    np.testing.assert_array_equal(device.get(layer.buffers["u"]), before)
    dW = to_numpy(x).T @ to_numpy(dy)
    np.testing.assert_allclose(device.get(layer.grads["W"]), 2.0 * dW, rtol=1e-5)  # σ = 1 has taken its place
    layer.params["W"][...] = device.put(numbers((4, 3)).astype(dtype))
    assert np.isfinite(device.get(layer.forward(x))).all()
    assert np.isfinite(device.get(layer.backward(dy))).all()


def test_scaling_the_weights_changes_nothing():
    layer, x = naive.spectral(Dense(5, 4, bias=False, **f8)), numbers((3, 5))
    before = layer(x)
    layer.params["W"] *= 1e-7
    np.testing.assert_allclose(layer(x), before, rtol=1e-9)


def test_a_wrapped_layer_is_copied():
    inner = Dense(3, 2, rng=1)
    layer = SpectralNorm(inner)
    layer.params["W"][...] = 7.0
    assert (inner.params["W"] != 7.0).all()
    assert layer.input_shape == (3,)
    assert repr(layer) == "SpectralNorm(Dense(3, 2))"
    assert repr(SpectralNorm(Dense(3, 2, bias=False))) == "SpectralNorm(Dense(3, 2, bias=False))"


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_spectral_norm_agrees_with_pytorch(kind):
    """Once u has converged; there v and û are constants, which only then makes no difference."""
    torch = pytest.importorskip("torch")
    from torch.nn.utils.parametrizations import spectral_norm

    if kind == "dense":
        ours, theirs = Dense(5, 4, **f8), torch.nn.Linear(5, 4).double()
        x = numbers((3, 5))
    else:
        ours, theirs = Conv2D(2, 4, 3, padding="valid", **f8), torch.nn.Conv2d(2, 4, 3).double()
        x = numbers((3, 5, 4, 2))
    ours = naive.spectral(ours)
    ours.params["b"][...] = numbers(4)
    W = ours.params["W"]
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(W.T if kind == "dense" else W.transpose(3, 2, 0, 1)))
        theirs.bias.copy_(torch.tensor(ours.params["b"]))
    theirs = spectral_norm(theirs, n_power_iterations=60).train()
    for _ in range(60):
        ours.forward(x)
        ours.forget()
    a = torch.tensor(x if kind == "dense" else x.transpose(0, 3, 1, 2).copy(), requires_grad=True)
    expected = theirs(a)
    y = ours.forward(x)
    dy = numbers(y.shape)
    expected.backward(torch.tensor(dy if kind == "dense" else dy.transpose(0, 3, 1, 2).copy()))
    dx = ours.backward(dy)
    pairs = [(expected, y), (a.grad, dx)]
    there = theirs.parametrizations.weight.original.grad
    for theirs_, mine in pairs:
        found = theirs_.detach().numpy()
        np.testing.assert_allclose(
            found if kind == "dense" else found.transpose(0, 2, 3, 1), mine, rtol=1e-9, atol=1e-9
        )
    there = there.numpy().T if kind == "dense" else there.numpy().transpose(2, 3, 1, 0)
    np.testing.assert_allclose(ours.grads["W"], there, rtol=1e-8, atol=1e-9)


# ---- in networks ---------------------------------------------------------------------------------------------------


def network(**options):
    return Sequential(
        MinibatchStdDev(),
        SpectralNorm(Conv2D(3, 4, 3, stride=2, rng=1, **options)),
        Softplus(),
        SpectralNorm(ConvTranspose2D(4, 2, 2, stride=2, rng=2, **options)),
        Flatten(),
        SpectralNorm(Dense(32, 1, rng=3, **options), rng=4),
    )


def test_it_learns_in_a_network_and_its_arrays_are_views(device, tmp_path):
    net = network(dtype=np.float32).to(device.name)
    x = device.put(numbers((6, 4, 4, 2)).astype(np.float32))
    adam = optim.Adam(net, 0.01)
    for _ in range(3):
        y = net.forward(x)
        net.backward(y - 1.0, grads="write", need_dx=False)
        adam.step()
    assert set(net.buffers) == {"1.u", "3.u", "5.u"}
    expected = device.get(net(x))
    net.save(tmp_path / "net.safetensors")
    fresh = network(dtype=np.float32).to(device.name).load(tmp_path / "net.safetensors")
    others = [fresh, net.copy(), net.astype(np.float32)]
    if device.name == "numpy":
        others += [pickle.loads(pickle.dumps(net)), copy.deepcopy(net), net.copy().to("standin").to("numpy")]
    for other in others:
        np.testing.assert_array_equal(device.get(other(x)), expected)
        other.forward(x)
        other.backward(other(x), grads="write")
        other.theta[...] = 0.0
    np.testing.assert_array_equal(device.get(net(x)), expected)


def test_bound_layers_errors_and_summaries_name_the_place():
    net = network()
    with pytest.raises(ShapeError, match=r"layer 1 SpectralNorm\(Conv2D\(3, 4.*: expected input \(N, H, W, 3\)"):
        net.layers[1].forward(numbers((2, 4, 4, 5)).astype("f4"))
    assert "SpectralNorm(Dense(32, 1))" in net.summary((4, 4, 2))
    with pytest.raises(ArgumentError, match=r"layer 0 Dense\(3, 2\) is part of a network already"):
        SpectralNorm(Sequential(Dense(3, 2)).layers[0])


@pytest.mark.parametrize("wrong", [Tanh(), BatchNorm(3), Sequential(Dense(3, 2)), Dense, np.ones((3, 2)), None])
def test_other_layers_have_no_weights_to_divide(wrong):
    with pytest.raises(ArgumentError, match="SpectralNorm: expected a Dense, Conv2D or ConvTranspose2D"):
        SpectralNorm(wrong)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pack(0), "Pack: m must be a whole number of at least 1"),
        (lambda: Pack(2.0), "Pack: m must be a whole number"),
        (lambda: MinibatchStdDev(eps=0.0), "MinibatchStdDev: eps must be positive"),
        (lambda: SpectralNorm(Dense(2, 2), rng=-1), "rng must be"),
    ],
)
def test_settings_without_meaning(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


@pytest.mark.parametrize(("layer", "n", "parts", "multiple"), [(Pack(3), 4, 1, 3), (Pack(2), 6, 2, 4)])
def test_batches_that_cannot_be_packed(layer, n, parts, multiple):
    layer = layer.copy()
    layer.parts = parts
    with pytest.raises(ShapeError, match=f"Pack: a batch of {n} samples.*cannot be split.*a multiple of {multiple}"):
        layer.forward(np.ones((n, 3)))


def test_parts_that_do_not_divide_a_batch():
    layer = MinibatchStdDev()
    layer.parts = 2
    with pytest.raises(ShapeError, match=r"MinibatchStdDev: a batch of 5 samples.*in 2 equal parts.*multiple of 2"):
        layer.forward(np.ones((5, 3)))
    assert layer(np.ones((5, 3))).shape == (5, 4)  # parts are for training


@pytest.mark.parametrize("kind", [MinibatchStdDev, Pack])
def test_a_class_with_another_forward_is_not_split_without_its_knowledge(kind):
    class Another(kind):
        def forward(self, x, *, train=True):
            return super().forward(x, train=train)

    class Knows(Another):
        parts = 1

        def forward(self, x, *, train=True):
            return super().forward(x, train=train)

    assert (kind.parts, Another.parts, Knows.parts) == (1, None, 1)


def test_sizes_not_known_stay_so():
    assert Pack(3).output_shape((None, None, None)) == (None, None, None)
    assert Pack(3).output_shape((None, 5, 2)) == (None, 5, 6)
    assert MinibatchStdDev().output_shape((None,)) == (None,)
    assert SpectralNorm(Conv2D(2, 3, 3, stride=2)).output_shape((None, 5, 2)) == (None, 3, 3)


# ---- in the game ---------------------------------------------------------------------------------------------------

LOSSES = [
    losses.Minimax(),
    losses.NonSaturating(),
    losses.LeastSquares(),
    losses.Wasserstein(),
    losses.Hinge(),
    losses.Relativistic(),
]


def critic(name, seed=0):
    """D for samples (N, 3), of one kind."""
    rng = np.random.default_rng(seed)

    def dense(n_in, n_out):
        return Dense(n_in, n_out, rng=rng, **f8)

    if name == "pack":
        return Sequential(Pack(2), dense(6, 5), LeakyReLU(), dense(5, 1))
    if name == "std":
        return Sequential(dense(3, 5), LeakyReLU(), MinibatchStdDev(), dense(6, 1))
    if name == "spectral":
        return Sequential(SpectralNorm(dense(3, 5), rng=rng), LeakyReLU(), SpectralNorm(dense(5, 1), rng=rng))
    return Sequential(
        Pack(2),
        SpectralNorm(dense(6, 5), rng=rng),
        BatchNorm(5, **f8),
        Softplus(),
        MinibatchStdDev(),
        SpectralNorm(dense(6, 1), rng=rng),
    )


def gan(D, device=None, **options):
    G = Sequential(Dense(2, 4, rng=1, **f8), Tanh(), Dense(4, 3, rng=2, **f8))
    options = {"d_optimizer": optim.SGD(D, 0.1), "g_optimizer": optim.SGD(G, 0.1), **options}
    return GAN(G, D, noise_dim=2, **options).to(device.name if device else "numpy")


critics = pytest.mark.parametrize("name", ["pack", "std", "spectral", "all"])


@critics
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_a_whole_step_with_every_loss_and_penalty(device, name, loss):
    game = gan(critic(name), device, loss=loss, penalties=[R1(1.0), R2(1.0), GradientPenalty()], d_steps=2, average=0.9)
    before = device.get(game.discriminator.theta).copy(), device.get(game.generator.theta).copy()
    for _ in range(2):
        result = game.step(device.put(numbers((16, 3))), check=True)
    assert np.isfinite([float(v) for v in result]).all()
    assert (device.get(game.discriminator.theta) != before[0]).any()
    assert (device.get(game.generator.theta) != before[1]).any()
    assert game.discriminator.parts == 1


class Whole(Sequential):
    """Layers that take a batch only as a whole."""

    parts = None


@pytest.mark.parametrize("name", ["pack", "std"])
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_real_and_generated_samples_do_not_mix(name, loss):
    """In one batch of two parts, and in two batches: the same losses and gradients."""
    games = []
    for D in (critic(name), Sequential(*(layer.copy() for layer in critic(name).layers))):
        if games:
            D = Sequential(Whole(*(layer.copy() for layer in D.layers)))
        game = gan(D, loss=loss, penalties=[R1(1.0), GradientPenalty()])
        games.append((game, game.step(np.random.default_rng(5).standard_normal((8, 3)))))
    (parts, found), (whole, expected) = games
    assert (parts.discriminator.parts, whole.discriminator.parts) == (1, None)
    np.testing.assert_allclose([float(v) for v in found], [float(v) for v in expected], rtol=1e-9)
    np.testing.assert_allclose(parts.discriminator.grad, whole.discriminator.grad, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(parts.generator.grad, whole.generator.grad, rtol=1e-9, atol=1e-12)


@critics
@pytest.mark.parametrize(
    ("penalty", "where", "value"),
    [
        (R1(3.0), "real", lambda r: 1.5 * np.mean(r**2)),
        (GradientPenalty(), "between", lambda r: 10.0 * np.mean((r - 1.0) ** 2)),
    ],
    ids=["R1", "GP"],
)
def test_penalties_are_exact_through_them(name, penalty, where, value):
    rng = np.random.default_rng(3)
    counting.check_penalty(penalty, critic(name), *rng.standard_normal((2, 8, 3)), where=where, value=value)


def test_generators_learn_through_them():
    G = Sequential(Dense(2, 4, rng=1, **f8), Tanh(), Dense(4, 3, rng=2, **f8))
    for name in ("pack", "std", "spectral", "all"):
        counting.check_generator_gradient(G, critic(name), losses.NonSaturating(), numbers((8, 2)))


def test_a_resumed_run_is_the_same_run():
    """u is part of the state: without it the first resumed step would differ."""
    game, real = gan(critic("all"), penalties=R1(1.0)), numbers((5, 8, 3))
    for batch in real[:2]:
        game.step(batch)
    arrays, metadata = game.state()
    resumed = gan(critic("all", seed=9), penalties=R1(1.0))
    resumed.load_state(arrays, metadata)
    for batch in real[2:]:
        assert [float(v) for v in game.step(batch)] == [float(v) for v in resumed.step(batch)]
    np.testing.assert_array_equal(game.discriminator.theta, resumed.discriminator.theta)


def test_a_batch_that_cannot_be_packed_says_so_in_the_step():
    with pytest.raises(ShapeError, match=r"layer 0 Pack\(2\): a batch of 14 samples.*2 equal parts.*multiple of 4"):
        gan(critic("pack")).step(numbers((7, 3)))


def test_packing_notices_a_generator_that_makes_one_sample_only():
    """Alone, each fake is as real as can be; side by side, two that are alike are not. Without Pack, D cannot tell."""
    rng = np.random.default_rng(0)
    real = np.sign(rng.standard_normal((2000, 1)))  # two modes, ±1
    fake = np.repeat(np.sign(rng.standard_normal((1000, 1))), 2, axis=0)  # both as often, but two in a row alike

    def learned(*head):
        c = 2 if head else 1
        D = Sequential(*head, Dense(c, 16, rng=1, **f8), LeakyReLU(), Dense(16, 1, rng=2, **f8))
        loss, adam = losses.NonSaturating(), optim.Adam(D, 0.02)
        for _ in range(60):
            logits = D.forward(np.concatenate([real, fake]))
            half = len(logits) // 2
            value, *slopes = loss.discriminator(logits[:half], logits[half:])
            D.backward(np.concatenate(slopes), grads="write")
            adam.step()
        return float(value)

    assert learned() > 1.3  # 2 log 2 = 1.386: it can only guess
    assert learned(Pack(2)) < 1.1
