"""Everything once more, slowly and independently: what layers, losses, optimisers and steps are compared with.

Loops over single numbers in float64, or SciPy's special functions; nothing here uses tinygan's own formulas. The
``check_...`` functions raise AssertionError; the gate (test_wrong_layers.py) proves that they notice mistakes.
"""

from itertools import product

import numpy as np
from scipy.special import expit, log_expit, log_softmax

from tinygan import Sequential
from tinygan.layers import ConvTranspose2D, Dense
from tinygan.testing import check_function
from tinygan.testing.trial import rewinder

# ---- convolutions --------------------------------------------------------------------------------------------------


def pads_of(padding, size, k, s, axis):
    """Zeros before and after, by the definitions: TensorFlow's "same" puts an odd one after."""
    if padding == "same":
        total = max(((size + s - 1) // s - 1) * s + k - size, 0)
        return total // 2, (total + 1) // 2
    if padding == "valid":
        return 0, 0
    return (padding, padding) if isinstance(padding, int) else padding[axis]


def convolution(x, W, b, stride, padding):
    """y[n,p,q,o] = b[o] + Σ x̄[n, p·sh+i, q·sw+j, c] W[i,j,c,o], a loop over every output and every kernel entry."""
    n, h, w, _ = x.shape
    kh, kw, _, c_out = W.shape
    (top, bottom), (left, right) = pads_of(padding, h, kh, stride[0], 0), pads_of(padding, w, kw, stride[1], 1)
    ho, wo = (h + top + bottom - kh) // stride[0] + 1, (w + left + right - kw) // stride[1] + 1
    y = np.zeros((n, ho, wo, c_out))
    for p, q, i, j in product(range(ho), range(wo), range(kh), range(kw)):
        u, v = p * stride[0] + i - top, q * stride[1] + j - left
        if 0 <= u < h and 0 <= v < w:
            y[:, p, q] += x[:, u, v] @ W[i, j]
    return y + b


def transposed_convolution(x, W, b, stride, padding):
    """Every input pixel stamps the kernel, times its value, on the output; what falls outside is lost."""
    n, h, w, _ = x.shape
    kh, kw, c_out, _ = W.shape
    if padding == "same":
        ho, wo = h * stride[0], w * stride[1]
        top, left = pads_of("same", ho, kh, stride[0], 0)[0], pads_of("same", wo, kw, stride[1], 1)[0]
    else:
        (top, bottom), (left, right) = pads_of(padding, 0, kh, 1, 0), pads_of(padding, 0, kw, 1, 1)
        ho, wo = (h - 1) * stride[0] + kh - top - bottom, (w - 1) * stride[1] + kw - left - right
    y = np.zeros((n, ho, wo, c_out))
    for p, q, i, j in product(range(h), range(w), range(kh), range(kw)):
        u, v = p * stride[0] + i - top, q * stride[1] + j - left
        if 0 <= u < ho and 0 <= v < wo:
            y[:, u, v] += x[:, p, q] @ W[i, j].T
    return y + b


# ---- normalisation -------------------------------------------------------------------------------------------------


def normalized(values, eps):
    """A list of numbers minus their mean, over the root of their biased variance plus eps."""
    mean = sum(values) / len(values)
    var = sum((v - mean) ** 2 for v in values) / len(values)
    return [(v - mean) / (var + eps) ** 0.5 for v in values]


def check_batch_norm(layer, x):
    """Forward in training and evaluation, and both running statistics, of a float64 BatchNorm."""
    gamma, beta, eps, c = layer.params["gamma"], layer.params["beta"], layer.eps, x.shape[-1]
    old_mean, old_var, keep = layer.running_mean.copy(), layer.running_var.copy(), layer.momentum
    rows = x.reshape(-1, c)
    y = np.stack([normalized(rows[:, k].tolist(), eps) for k in range(c)], axis=1).reshape(x.shape) * gamma + beta
    layer = layer.copy()
    np.testing.assert_allclose(layer.forward(x), y, rtol=1e-10, atol=1e-12)
    new_mean, new_var = keep * old_mean + (1 - keep) * rows.mean(0), keep * old_var + (1 - keep) * rows.var(0, ddof=1)
    np.testing.assert_allclose(layer.running_mean, new_mean, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(layer.running_var, new_var, rtol=1e-12, atol=1e-14)
    expected = (x - new_mean) / np.sqrt(new_var + eps) * gamma + beta
    np.testing.assert_allclose(layer(x), expected, rtol=1e-10, atol=1e-12)


# ---- losses --------------------------------------------------------------------------------------------------------

#: name: (L_D(r, f, t), its derivatives by r and f times N, L_G(f, r), its derivative by f times N), of float64 columns
LOSSES = {
    "Minimax": (
        lambda r, f, t: -np.mean(t * log_expit(r) + (1 - t) * log_expit(-r)) - np.mean(log_expit(-f)),
        lambda r, f, t: (expit(r) - t, expit(f)),
        lambda f, r: np.mean(log_expit(-f)),
        lambda f, r: -expit(f),
    ),
    "NonSaturating": (
        lambda r, f, t: -np.mean(t * log_expit(r) + (1 - t) * log_expit(-r)) - np.mean(log_expit(-f)),
        lambda r, f, t: (expit(r) - t, expit(f)),
        lambda f, r: -np.mean(log_expit(f)),
        lambda f, r: expit(f) - 1.0,
    ),
    "LeastSquares": (
        lambda r, f, t: np.mean((r - t) ** 2) / 2 + np.mean(f**2) / 2,
        lambda r, f, t: (r - t, f),
        lambda f, r: np.mean((f - 1) ** 2) / 2,
        lambda f, r: f - 1,
    ),
    "Wasserstein": (
        lambda r, f, t: sum(f.ravel()) / f.size - sum(r.ravel()) / r.size,
        lambda r, f, t: (-np.ones(r.shape), np.ones(f.shape)),
        lambda f, r: -sum(f.ravel()) / f.size,
        lambda f, r: -np.ones(f.shape),
    ),
    "Hinge": (  # a loop over single logits, with a branch for each side of the margin
        lambda r, f, t: (
            np.mean([1 - v if v < 1 else 0 for v in r.flat]) + np.mean([1 + v if v > -1 else 0 for v in f.flat])
        ),
        lambda r, f, t: (
            np.array([[-1.0 if v < 1 else 0.0] for v in r.flat]),
            np.array([[1.0 if v > -1 else 0.0] for v in f.flat]),
        ),
        lambda f, r: -np.mean(f),
        lambda f, r: -np.ones(f.shape),
    ),
    "Relativistic": (
        lambda r, f, t: -np.mean([log_expit(a - b) for a, b in zip(r, f, strict=True)]),
        lambda r, f, t: (expit(r - f) - 1.0, 1.0 - expit(r - f)),
        lambda f, r: -np.mean([log_expit(b - a) for a, b in zip(r, f, strict=True)]),
        lambda f, r: expit(f - r) - 1.0,
    ),
}
LABELLED = ["Minimax", "NonSaturating", "LeastSquares"]


def check_loss(loss, name, *, real_label=0.9, check=check_function):
    """Values and gradients of both players against SciPy, by finite differences, and far out, where naive ones fail."""
    rng = np.random.default_rng(5)
    d_value, d_slopes, g_value, g_slope = LOSSES[name]
    for n_real, n_fake, scale in ((4, 4, 1.0), (5, 3, 4.0), (1, 1, 30.0)):
        n_real = n_fake if loss.compares else n_real
        r, f = scale * rng.standard_normal((n_real, 1)), scale * rng.standard_normal((n_fake, 1))
        value, d_real, d_fake = loss.discriminator(r, f)
        np.testing.assert_allclose(value, d_value(r, f, real_label), rtol=1e-12)
        for given, slope in zip((d_real, d_fake), d_slopes(r, f, real_label), strict=True):
            np.testing.assert_allclose(given, slope / slope.size, rtol=1e-10, atol=1e-15)
        value, d_fake = loss.generator(f, r if loss.compares else None)
        np.testing.assert_allclose(value, g_value(f, r), rtol=1e-12)
        np.testing.assert_allclose(d_fake, g_slope(f, r) / f.size, rtol=1e-10, atol=1e-15)
    r, f = rng.standard_normal((3 if loss.compares else 4, 1)), rng.standard_normal((3, 1))
    check(loss.discriminator, r, f)
    check(lambda f: loss.generator(f, r if loss.compares else None), f)
    far = np.array([[1e4], [-1e4]])
    for result in (*loss.discriminator(far, -far), *loss.generator(far, -far)):
        assert np.isfinite(result).all(), "a logit of ±1e4 gives something that is not finite"


def check_cross_entropy(loss):
    """SoftmaxCrossEntropy against SciPy's log_softmax, and by finite differences."""
    rng = np.random.default_rng(6)
    for n, k in ((1, 2), (5, 3)):
        s, labels = 3.0 * rng.standard_normal((n, k)), rng.integers(0, k, n)
        value, _ = loss(s, labels)
        np.testing.assert_allclose(value, -log_softmax(s, axis=1)[range(n), labels].mean(), rtol=1e-12)
        check_function(lambda s, labels=labels: loss(s, labels), s)


# ---- optimisers ----------------------------------------------------------------------------------------------------


def rate(lr, t):
    """The learning rate of the step that is taken after t others."""
    return lr(t) if callable(lr) else lr


def sgd(theta, gradients, *, lr, momentum):
    u = 0.0
    for t, g in enumerate(gradients):
        u = momentum * u + g
        theta -= rate(lr, t) * u
    return theta


def rmsprop(theta, gradients, *, lr, rho, eps):
    v = 0.0
    for t, g in enumerate(gradients):
        v = rho * v + (1 - rho) * g * g
        theta -= rate(lr, t) * g / (v**0.5 + eps)
    return theta


def adam(theta, gradients, *, lr, beta1, beta2, eps):
    """Kingma and Ba, algorithm 1, for one number."""
    m = v = 0.0
    for t, g in enumerate(gradients, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        theta -= rate(lr, t - 1) * m_hat / (v_hat**0.5 + eps)
    return theta


def small_network(seed=0):
    rng = np.random.default_rng(seed)
    return Sequential(Dense(3, 4, rng=rng, dtype=np.float64), Dense(4, 2, rng=rng, dtype=np.float64))


def check_optimizer(make, rule, *, steps=7, **settings):
    """Several steps of ``make(network, **settings)`` on random gradients against ``rule``, number by number."""
    network = small_network()
    optimizer = make(network, **settings)
    start = network.theta.copy()
    gradients = np.random.default_rng(1).standard_normal((steps, start.size))
    for g in gradients:
        network.grad[...] = g
        optimizer.step()
    expected = [rule(float(theta), gradients[:, i].tolist(), **settings) for i, theta in enumerate(start)]
    np.testing.assert_allclose(network.theta, expected, rtol=1e-10, atol=1e-12)


def check_clipping(make):
    """clip_norm shortens a long gradient and leaves a short one; clip_value limits each entry."""
    for length, limit in ((10.0, 2.0), (1.0, 2.0)):
        network = small_network()
        g = np.random.default_rng(2).standard_normal(network.theta.size)
        g *= length / np.sqrt(sum(v * v for v in g))
        before = network.theta.copy()
        network.grad[...] = g
        make(network, lr=1.0, clip_norm=limit).step()
        np.testing.assert_allclose(before - network.theta, g * min(1.0, limit / length), rtol=1e-9, atol=1e-12)
    network = small_network()
    g, before = np.random.default_rng(3).standard_normal(network.theta.size), network.theta.copy()
    network.grad[...] = g
    make(network, lr=1.0, clip_value=0.5).step()
    np.testing.assert_allclose(before - network.theta, [min(max(v, -0.5), 0.5) for v in g], rtol=1e-9, atol=1e-12)


def check_average(make, *, decay=0.8, steps=60):
    """The moving average of weights, number by number: θ̄ ← d θ̄ + (1 − d) θ with d = min(decay, t / (t + 9))."""
    network = small_network()
    average = make(network, decay)
    expected = network.theta.tolist()
    rng = np.random.default_rng(4)
    for t in range(1, steps + 1):
        network.theta[...] = rng.standard_normal(network.theta.size)
        average.update()
        d = min(decay, t / (t + 9))
        expected = [d * old + (1 - d) * new for old, new in zip(expected, network.theta.tolist(), strict=True)]
        np.testing.assert_allclose(average.network.theta, expected, rtol=1e-10, atol=1e-12)


# ---- one adversarial step ------------------------------------------------------------------------------------------


def check_adversarial_step(gan, real, *, steps=2, check=check_function):
    """What ``gan.step(real)`` does to both networks, against finite differences of the two losses.

    ``gan`` is in float64 with plain SGD, so that a change of weights is −lr · gradient. In each of its turns D must
    move along the slope of its loss, of real samples and a noise of its own; G along that of its loss through the
    *updated* D, and its turn must leave D's weights and gradients alone.
    """
    G, D, loss, k = gan.generator, gan.discriminator, gan.loss, gan.d_steps
    for _ in range(steps):
        drawn, before, after = [], [], []
        g_before = G.copy()
        draw, update = type(gan).draw.__get__(gan), type(gan.d_optimizer).step.__get__(gan.d_optimizer)

        def recording_draw(n, draw=draw, drawn=drawn):
            drawn.append(draw(n))
            return drawn[-1]

        def recording_update(*numbers, update=update, before=before, after=after):
            before.append(D.copy())
            update(*numbers)
            after.append((D.theta.copy(), D.grad.copy()))

        gan.draw, gan.d_optimizer.step = recording_draw, recording_update
        result = gan.step(real)
        [draws] = drawn
        noise = [*(turn[0] for turn in draws.d), draws.g[0]]
        assert len(after) == k, f"D has taken {len(after)} steps, not {k}"
        for i, z in enumerate(noise):
            assert all(not np.array_equal(z, other) for other in noise[:i]), "two turns had the same noise"
        assert np.array_equal(D.theta, after[-1][0]), "G's step has changed D's parameters"
        assert np.array_equal(D.grad, after[-1][1]), "G's step has changed D's gradients"
        batches = np.split(real, k)

        for d, (theta_after, _), z, part in zip(before, after, noise, batches, strict=False):
            d_slope = (d.theta - theta_after) / gan.d_optimizer.lr

            fake = g_before.copy().forward(z)

            d_then = as_it_was(d)

            def d_loss(theta, at=d_then, fake=fake, part=part, slope=d_slope):
                d = at(theta)
                return loss.discriminator(d.forward(part), d.forward(fake))[0], slope

            check(d_loss, d.theta)
        np.testing.assert_allclose(result.d, d_loss(d.theta)[0], rtol=1e-10)  # the loss of the last turn
        g_slope = (g_before.theta - G.theta) / gan.g_optimizer.lr

        real_logits = (
            D.copy().forward(batches[-1]) if loss.compares else None
        )  # by the D that G learns through, in training

        g_then, d_now = as_it_was(g_before), as_it_was(D)

        def g_loss(theta, at=g_then, d=d_now, z=noise[-1], real=real_logits, slope=g_slope):
            return loss.generator(d().forward(at(theta).forward(z)), real)[0], slope

        np.testing.assert_allclose(result.g, g_loss(g_before.theta)[0], rtol=1e-10)
        check(g_loss, g_before.theta)


def check_average_in_a_step(gan, real, *, steps=3):
    """The average of G's weights takes in, once in each step, those that G has when the step is over."""
    G, average = gan.generator, gan.average
    expected = average.network.theta.copy()
    for t in range(1, steps + 1):
        gan.step(real)
        d = min(average.decay, t / (t + 9))
        expected = d * expected + (1 - d) * G.theta
        np.testing.assert_allclose(average.network.theta, expected, rtol=1e-10, atol=1e-12)


def as_it_was(network):
    """A function that returns the network as it is now, buffers and Generators included, with another theta if given:
    always the same copy, which is quicker than a new one for each difference."""
    copy, before = network.copy(), network.theta.copy()
    rewind = rewinder(copy)

    def at(theta=before):
        rewind()
        copy.theta[...] = theta
        return copy

    return at


# ---- the rest ------------------------------------------------------------------------------------------------------


def check_convolution(layer, x):
    """Forward of either kind of convolution against a loop."""
    loop = transposed_convolution if isinstance(layer, ConvTranspose2D) else convolution
    np.testing.assert_allclose(
        layer(x), loop(x, layer.params["W"], layer.params["b"], layer.stride, layer.padding), rtol=1e-10, atol=1e-12
    )


def check_dropout(layer, x):
    """In training each entry is 0 or x / (1 − rate), the share of zeros is the rate; in evaluation nothing happens."""
    layer, scale = layer.copy(), 1.0 / (1.0 - layer.rate)
    y = layer.forward(x)
    kept = y != 0.0
    np.testing.assert_allclose(y[kept], x[kept] * scale, rtol=1e-12)
    spread = (layer.rate * (1.0 - layer.rate) / x.size) ** 0.5
    assert abs((1.0 - kept.mean()) - layer.rate) <= 5.0 * spread, f"{kept.mean():.3f} were kept"
    np.testing.assert_array_equal(layer(x), x)


def check_flat_vectors(network, x):
    """theta and grad *are* the layers' parameters and gradients: what is written to one is seen in the other."""
    before = network(x)
    network.theta[...] *= 0.5
    assert not np.allclose(network(x), before), "the layers do not see a change of theta"
    network.zero_grad()
    network.backward(np.ones_like(network.forward(x)))
    for flat, arrays in ((network.theta, network.params), (network.grad, network.grads)):
        joined = np.concatenate([a.ravel() for a in arrays.values()])
        np.testing.assert_array_equal(flat, joined, err_msg="a flat vector differs from its layers' arrays")
    assert network.grad.any()
