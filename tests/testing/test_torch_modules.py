"""Gradients of PyTorch's modules: right ones pass, also beside kinks, and wrong ones are found."""

import numpy as np
import pytest

from tinygan.errors import ArgumentError, GradientError
from tinygan.testing import check_torch

torch = pytest.importorskip("torch")
nn = torch.nn


class Cube(torch.autograd.Function):
    """x³, with a backward by hand."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return 3.0 * x**2 * dy


class WrongCube(Cube):
    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return 2.0 * x**2 * dy


class Scale(nn.Module):
    def __init__(self, function=Cube):
        super().__init__()
        self.gamma, self.function = nn.Parameter(torch.linspace(0.5, 1.5, 3)), function

    def forward(self, x):
        return self.gamma * self.function.apply(x)


x = np.random.default_rng(0).standard_normal((4, 3))


@pytest.mark.parametrize(
    "module",
    [nn.Linear(3, 2), nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.SiLU()), nn.LayerNorm(3), Scale()],
    ids=lambda module: type(module).__name__,
)
def test_right_modules(module):
    before = {key: value.clone() for key, value in module.state_dict().items()}
    for batch in (x, torch.from_numpy(x).float()):
        assert check_torch(module, batch).comparisons > 0
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    check_torch(module, x, train=False)


def test_images():
    module = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.MaxPool2d(2), nn.LeakyReLU())
    check_torch(module, np.random.default_rng(1).standard_normal((2, 2, 4, 4)), exhaustive=20)


def test_a_wrong_backward_is_found():
    with pytest.raises(GradientError, match="Scale: dx is wrong"):
        check_torch(Scale(WrongCube), x)


def test_a_gradient_that_is_cut_off_is_found():
    class Cut(nn.Module):
        def forward(self, t):
            return t * t.detach()

    with pytest.raises(GradientError, match="Cut: dx is wrong"):
        check_torch(Cut(), x)


def test_beside_a_kink_it_says_that_it_cannot_tell_where_gradcheck_errs():
    near = torch.tensor([[1e-8, 1.0]], dtype=torch.float64, requires_grad=True)
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        torch.autograd.gradcheck(nn.ReLU(), (near,))
    with pytest.raises(GradientError, match=r"kink|cannot"):
        check_torch(nn.ReLU(), near)


def test_a_small_gradient_that_is_wrong_is_found_where_gradcheck_is_content():
    class Small(Scale):
        def forward(self, x):
            return 1e-7 * super().forward(x)

    module = Small(WrongCube).double()
    assert torch.autograd.gradcheck(module, (torch.from_numpy(x).requires_grad_(),))
    with pytest.raises(GradientError, match="Small: dx is wrong"):
        check_torch(module, x)


def test_odd_modules():
    frozen = nn.Linear(3, 2)
    frozen.weight.requires_grad_(False)
    assert check_torch(frozen, x).comparisons > 0
    check_torch(nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2)), x, train=False)
    check_torch(nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 2)), x)
    with torch.no_grad():
        check_torch(nn.Linear(3, 2), torch.from_numpy(x).bfloat16())

    class Detached(nn.Module):
        def forward(self, t):
            return (t * t).detach()

    with pytest.raises(GradientError, match="Detached: dx is wrong"):
        check_torch(Detached(), x)
    with pytest.raises(ArgumentError, match=r"torch\.int64 cannot be moved a little"):
        check_torch(nn.Embedding(3, 2), np.array([0, 1]))
    with pytest.raises(ArgumentError, match="weight has no size yet"):
        check_torch(nn.LazyLinear(2), x)


def test_refusals():
    with pytest.raises(ArgumentError, match=r"expected a torch\.nn\.Module, got builtin_function_or_method"):
        check_torch(torch.relu, x)
    with pytest.raises(GradientError, match=r"draws random numbers.*train=False"):
        check_torch(nn.Dropout(0.5), x)
    check_torch(nn.Dropout(0.5), x, train=False)
    with pytest.raises(ArgumentError, match="must give one tensor, got tuple"):
        check_torch(nn.LSTM(3, 2), x[None])
