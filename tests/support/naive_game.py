"""The adversarial game once more, in plain NumPy: what :meth:`tinygan.GAN.step` must do to every number it changes.

No formula of a gradient is written here. With i = √−1 and a tiny h, f(θ + ih) = f(θ) + ih f'(θ) + O(h²) (Squire and
Trapp, 1998), so that a slope is the imaginary part over h, to the last digit: there is no difference that cancels.
"""

import numpy as np

EPS, MOMENTUM, SLOPE, H = 1e-5, 0.9, 0.2, 1e-30


class NaiveNetwork:
    """Dense, BatchNorm, LeakyReLU, Dense, and a function at the end: its flat θ, and BatchNorm's two statistics."""

    def __init__(self, sizes, theta, end):
        self.sizes, self.theta, self.end = sizes, theta.copy(), end
        self.mean, self.var = np.zeros(sizes[1]), np.ones(sizes[1])

    def __call__(self, x, theta=None, *, train=True, remember=False):
        a, b, c = self.sizes
        lengths = np.cumsum([a * b, b, b, b, b * c])
        W, shift, gamma, beta, V, last = np.split(self.theta if theta is None else theta, lengths)
        h = x @ W.reshape(a, b) + shift
        if train:
            mean = h.sum(axis=0) / len(h)
            var = ((h - mean) ** 2).sum(axis=0) / len(h)
            if remember:
                self.mean = MOMENTUM * self.mean + (1 - MOMENTUM) * mean
                self.var = MOMENTUM * self.var + (1 - MOMENTUM) * var * len(h) / (len(h) - 1)
        else:
            mean, var = self.mean, self.var
        h = gamma * (h - mean) / np.sqrt(var + EPS) + beta
        h = np.where(h.real > 0, h, SLOPE * h)
        return self.end(h @ V.reshape(b, c) + last)


def slope(f, theta):
    """df/dθ of a function that takes complex numbers."""
    return np.array([f(theta + 1j * H * unit).imag / H for unit in np.eye(len(theta))])


def softplus(s):
    return np.log(1 + np.exp(s))


#: name: (L_D(r, f), L_G(f, r)) with labels of 0.9
LOSSES = {
    "Minimax": (
        lambda r, f: (softplus(-r) + 0.1 * r).mean() + softplus(f).mean(),
        lambda f, r: -softplus(f).mean(),
    ),
    "NonSaturating": (
        lambda r, f: (softplus(-r) + 0.1 * r).mean() + softplus(f).mean(),
        lambda f, r: softplus(-f).mean(),
    ),
    "LeastSquares": (
        lambda r, f: ((r - 0.9) ** 2).mean() / 2 + (f**2).mean() / 2,
        lambda f, r: ((f - 1) ** 2).mean() / 2,
    ),
    "Relativistic": (lambda r, f: softplus(f - r).mean(), lambda f, r: softplus(r - f).mean()),
}


class NaiveGame:
    """The game of two such networks, in float64, each learning by plain descent with a rate lr(t) of its own."""

    def __init__(self, G, D, loss, *, g_lr, d_lr, d_steps, decay, clip, seed):
        self.G, self.D, self.g_lr, self.d_lr, self.k, self.decay, self.clip = G, D, g_lr, d_lr, d_steps, decay, clip
        self.d_loss, self.g_loss = LOSSES[loss]
        self.compares = loss == "Relativistic"
        self.average = NaiveNetwork(G.sizes, G.theta, G.end)
        self.rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(2)[0])
        self.t = 0

    def step(self, real):
        """L_D of the last turn of D, and L_G."""
        G, D, n = self.G, self.D, len(real) // self.k
        noise = [self.rng.standard_normal((n, G.sizes[0])) for _ in range(self.k + 1)]
        for turn in range(self.k):
            x, fake = real[turn * n : turn * n + n], G(noise[turn], remember=True)

            def d_loss(theta, x=x, fake=fake):
                return self.d_loss(D(x, theta), D(fake, theta))

            d_value, self.d_grad = d_loss(D.theta), slope(d_loss, D.theta)
            D(x, remember=True)
            D(fake, remember=True)
            D.theta = D.theta - self.d_lr(self.t * self.k + turn) * self.d_grad
            if self.clip is not None:
                D.theta = np.minimum(np.maximum(D.theta, -self.clip), self.clip)
        real_logits = D(x, remember=True) if self.compares else None

        def g_loss(theta):
            return self.g_loss(D(G(noise[-1], theta)), real_logits)

        g_value, self.g_grad = g_loss(G.theta), slope(g_loss, G.theta)
        D(G(noise[-1], remember=True), remember=True)
        G.theta = G.theta - self.g_lr(self.t) * self.g_grad
        self.t += 1
        d = min(self.decay, self.t / (self.t + 9))
        for name in ("theta", "mean", "var"):
            new = d * getattr(self.average, name) + (1 - d) * getattr(G, name)
            setattr(self.average, name, new)
        return d_value, g_value
