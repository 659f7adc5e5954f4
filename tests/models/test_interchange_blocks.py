"""Blocks, labels and embeddings on their way to PyTorch and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.both_sides import check, close, here, there

from tinygan import Sequential, interchange, layers, models
from tinygan.errors import ArgumentError
from tinygan.layers import set_labels
from tinygan.testing.strategies import enliven

torch = pytest.importorskip("torch")
nn = torch.nn

f8 = {"dtype": np.float64}
K = 3  # classes
LABELS = np.array([0, 2, 1, 1, 0])


def dense(n_in, n_out, seed=0):
    return layers.Dense(n_in, n_out, rng=seed, **f8)


def conv(c_in, c_out, k=3):
    return layers.Conv2D(c_in, c_out, k, rng=0, **f8)


def image():
    return layers.Reshape(2, 2, 3)


def values(shape):
    return np.random.default_rng(0).standard_normal((len(LABELS), *shape))


# ---- structure that is drawn -----------------------------------------------------------------------------------------


def bare(*row):
    """A branch of one layer, or of several."""
    return row[0] if len(row) == 1 else Sequential(*row)


@st.composite
def of_rows(draw, n, depth=2):
    """Layers on rows of n numbers, and how many they make of them."""
    row = []
    for kind in draw(
        st.lists(st.sampled_from(["dense", "each", "norm", "class", "add", "concat", "image"]), max_size=3)
    ):
        if kind == "dense":
            m = draw(st.integers(1, 6))
            row.append(dense(n, m))
            n = m
        elif kind == "each":
            row.append(draw(st.sampled_from([layers.Tanh, layers.SiLU, layers.LeakyReLU]))())
        elif kind == "norm":
            row.append(draw(st.sampled_from([layers.BatchNorm, layers.LayerNorm][: min(n, 2)]))(n, **f8))
        elif kind == "class":
            row.append(draw(st.sampled_from([layers.ConcatLabels(K), layers.ConditionalScale(n, K, **f8)])))
            n += K if isinstance(row[-1], layers.ConcatLabels) else 0
        elif kind == "image":
            row += [dense(n, 12), layers.BatchNorm(12, **f8), layers.Reshape(2, 3, 2), conv(2, 3), layers.Flatten()]
            n = 18
        elif depth:
            branches = [draw(of_rows(n, depth - 1)) for _ in range(draw(st.integers(1, 3)))]
            if kind == "concat":
                row.append(models.Concat(*(bare(*(made or [layers.Tanh()])) for made, _ in branches)))
                n = sum(m for _, m in branches)
                continue
            ended = [bare(*made, dense(m, n), layers.Tanh()) for made, m in branches]
            row.append(models.Residual(ended[0]) if len(ended) == 1 else models.Add(*ended))
            if draw(st.booleans()):  # the row as it is, whose order the others must take
                row[-1] = models.Add(*(branch.copy() for branch in ended), layers.Tanh())
    return row, n


@st.composite
def of_images(draw, c, depth=1):
    """Layers on images of c channels that keep their size, and how many channels they make."""
    row = []
    for kind in draw(st.lists(st.sampled_from(["conv", "each", "norm", "class", "add", "concat"]), max_size=3)):
        if kind == "conv":
            m = draw(st.integers(1, 3))
            row.append(conv(c, m, draw(st.sampled_from([1, 2, 3]))))
            c = m
        elif kind == "each":
            row.append(draw(st.sampled_from([layers.Tanh, layers.Softplus]))())
        elif kind == "norm":
            row.append(draw(st.sampled_from([layers.BatchNorm(c, **f8), layers.GroupNorm(1, c, **f8)])))
        elif kind == "class":
            row.append(draw(st.sampled_from([layers.ConcatLabels(K), layers.ConditionalScale(c, K, **f8)])))
            c += K if isinstance(row[-1], layers.ConcatLabels) else 0
        elif depth:
            branches = [draw(of_images(c, depth - 1)) for _ in range(draw(st.integers(1, 3)))]
            if kind == "concat":
                row.append(models.Concat(*(bare(*(made or [layers.Tanh()])) for made, _ in branches)))
                c = sum(m for _, m in branches)
                continue
            ended = [bare(*made, conv(m, c)) for made, m in branches]
            row.append(models.Residual(ended[0]) if len(ended) == 1 else models.Add(*ended))
    return row, c


def told(network):
    return LABELS if models.conditional.classes_of(network) else None


@settings(max_examples=80)
@given(data=st.data())
def test_any_structure_of_rows(data):
    """From rows or images, with or without an image at the end: whatever is asked of the order of numbers is heard."""
    start = data.draw(st.sampled_from([(4,), (2, 3, 2)]))
    row, n = data.draw(of_rows(12 if len(start) == 3 else 4))
    row = [layers.Flatten(), *row] if len(start) == 3 else row
    end = data.draw(st.sampled_from(["row", "image", "logit"]))
    row += {"row": [dense(n, 2)], "logit": [layers.Projection(n, K, rng=0, **f8)]}.get(end, [])
    if end == "image":
        row += [dense(n, 12), layers.BatchNorm(12, **f8)]
        row += data.draw(st.sampled_from([[], [models.Residual(dense(12, 5), layers.Tanh(), dense(5, 12))]]))
        row += [layers.ConditionalScale(12, K, **f8), layers.Reshape(3, 2, 2), conv(2, 2)]
    network = enliven(Sequential(*row), np.random.default_rng(2))
    check(network, values(start), told(network), tolerance=1e-11)


@settings(max_examples=60)
@given(data=st.data())
def test_any_structure_of_images(data):
    row, c = data.draw(of_images(2))
    row += data.draw(st.sampled_from([[conv(c, 1)], [layers.Tanh(), layers.Flatten(), dense(12 * c, 2)]]))
    network = enliven(Sequential(*row), np.random.default_rng(2))
    check(network, values((4, 3, 2)), told(network), tolerance=1e-11)


# ---- blocks and labels -----------------------------------------------------------------------------------------------

CASES = {
    "a block alone": (models.Residual(conv(2, 2), layers.ReLU()), (4, 3, 2)),
    "blocks in blocks": (models.Add(models.Residual(conv(2, 2)), models.Concat(conv(2, 1), conv(2, 1, 1))), (4, 3, 2)),
    "a row in the order of its image, and x beside it": (
        [layers.Flatten(), models.Residual(dense(12, 12), layers.LayerNorm(12, **f8)), dense(12, 1)], (2, 2, 3)),
    "an image asked for behind blocks": (
        [dense(4, 12), models.Residual(dense(12, 12, 1)), models.Add(dense(12, 12, 2), layers.Tanh()), image()], (4,)),
    "an image asked for in a block": (
        [dense(4, 12), models.Residual(image(), conv(3, 3), layers.Flatten()), layers.Tanh(), dense(12, 2)], (4,)),
    "two ends that must agree": (
        [models.Add(Sequential(layers.Flatten(), dense(12, 12)), layers.Flatten()), dense(12, 1)], (2, 2, 3)),
    "several orders one behind the other": (
        [models.Concat(Sequential(conv(3, 2), layers.Flatten()), layers.Flatten(),
                       Sequential(layers.Flatten(), dense(12, 4))), layers.BatchNorm(24, **f8), dense(24, 2)],
        (2, 2, 3)),
    "an image in a branch, beside x": (
        [dense(4, 4), models.Add(layers.Tanh(), Sequential(dense(4, 12), image(), layers.Flatten(), dense(12, 4)))],
        (4,)),
    "labels behind a row of an image": (
        [layers.Flatten(), layers.ConcatLabels(K), layers.ConditionalScale(15, K, **f8),
         layers.Projection(15, K, rng=0, **f8)], (2, 2, 3)),
    "labels within networks within": (
        [Sequential(conv(2, 2), Sequential(layers.ConditionalScale(2, K, **f8)), layers.ReLU()),
         models.Add(conv(2, 1), Sequential(layers.ConcatLabels(K), conv(5, 1)))], (4, 3, 2)),
    "a network of one class": ([layers.ConcatLabels(1), dense(5, 2)], (4,)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_blocks_and_labels(name):
    network, shape = CASES[name]
    network = Sequential(*(layer.copy() for layer in network)) if isinstance(network, list) else network.copy()
    network = enliven(network, np.random.default_rng(2))
    labels = None if told(network) is None else LABELS % max(models.conditional.classes_of(network))
    check(network, values(shape), labels)


@pytest.mark.parametrize("rest", [[], [dense(6, 12), layers.Reshape(2, 3, 2)], [layers.ConditionalScale(6, K, **f8)]])
def test_an_embedding(rest):
    network = Sequential(layers.Embedding(4, 6, rng=0, **f8), *(layer.copy() for layer in rest))
    module = check(enliven(network, np.random.default_rng(2)), np.array([3, 0, 1, 1, 2]), told(network))
    assert type(module[0]) is nn.Embedding


def test_embeddings_in_branches():
    network = Sequential(models.Add(layers.Embedding(4, 12, rng=0), layers.Embedding(4, 12, rng=1)), layers.Tanh(),
                         layers.Reshape(2, 3, 2))  # fmt: skip
    module, x = interchange.to_pytorch(network), np.array([3, 0, 1, 1, 2])
    close(here(module(there(x))), network(x), 1e-6)
    close(interchange.from_pytorch(module)(x), network(x), 1e-6)


def test_names_of_what_knows_a_class():
    G, D = models.mlp((8, 8, 1), noise_dim=3, g_hidden=(5,), d_hidden=(5,), classes=K, conditional="projection")
    assert {"1.weight", "1.running_mean", "2.weight", "2.bias"} <= interchange.to_pytorch(G).state_dict().keys()
    state = interchange.to_pytorch(D, (8, 8, 1)).state_dict()
    assert [key for key in state if key.endswith("by_class")]
    plain = interchange.to_pytorch(models.dcgan((8, 8, 1), noise_dim=3, width=2)[0])
    assert type(plain) is nn.Sequential
    assert {type(part).__module__.split(".")[0] for part in plain.modules()} == {"torch"}


def test_labels_that_are_none():
    network = Sequential(layers.ConcatLabels(K), dense(4 + K, 2), layers.ConditionalScale(2, K, **f8))
    module, x = interchange.to_pytorch(network, (4,)), there(values((4,)))
    with pytest.raises(ValueError, match=r"Which class is each sample of\? Call module\(x, labels\)"):
        module(x)
    for labels in ([0, 1, 2, 3, 0], [0, 1, 2, -1, 0]):
        with pytest.raises(IndexError):
            module(x, torch.tensor(labels))


# ---- refusals --------------------------------------------------------------------------------------------------------


class MyBlock(models.Residual):
    pass


@pytest.mark.parametrize(
    ("network", "shape", "says"),
    [
        ([MyBlock(dense(4, 4))], (4,), r"layer 0 MyBlock\(.* has no counterpart"),
        ([models.Add(dense(4, 4), MyBlock(dense(4, 4)))], (4,), r"layer 0\.1 MyBlock\(.* has no counterpart"),
        ([models.Residual(dense(4, 4), layers.MinibatchStdDev(), dense(5, 4))], (4,), r"layer 0\.1 MinibatchStdDev"),
        ([models.Residual(dense(12, 12), image(), layers.Flatten())], (12,), r"layer 0 Residual.* in several orders"),
        ([models.Add(Sequential(dense(12, 12), image(), layers.Flatten()), layers.Tanh())], (12,),
         "layer 0 Add.* in several orders"),
        ([models.Residual(image(), layers.Flatten())], (12,), r"layer 0\.0 Reshape.*no Dense stands before it"),
        ([models.Concat(layers.Tanh(), dense(4, 8)), image()], (4,), "layer 1 Reshape.*no Dense stands before it"),
        ([models.Concat(layers.Flatten(), layers.Flatten())], (2, 2, 3), "ends in Flatten of images"),
        ([layers.Embedding(4, 3)], (5,), r"layer 0 Embedding.*samples \(N, 5\); only one index each"),
    ],
)  # fmt: skip
def test_networks_that_are_refused(network, shape, says):
    network = Sequential(*(layer.copy().astype("float64") for layer in network))
    with pytest.raises(ArgumentError, match=says):
        interchange.to_pytorch(network, shape)


def block(kind, *parts):
    """A block of PyTorch's modules, as to_pytorch would make it."""
    from tinygan.models.interchange import torch_blocks

    return getattr(torch_blocks, kind)(*parts) if kind == "Residual" else getattr(torch_blocks, kind)(parts)


def hooked(module):
    module.register_forward_hook(lambda module, given, y: 2.0 * y)
    return module


@pytest.mark.parametrize(
    ("make", "shape", "says"),
    [
        (lambda: hooked(block("Residual", nn.Linear(4, 4))), (4,), "0 Residual.* it has hooks"),
        (lambda: block("Residual", hooked(nn.Linear(4, 4))), (4,), r"0\.0 Linear.* it has hooks"),
        (lambda: block("Add", nn.Linear(4, 4), nn.PReLU()), (4,), r"0\.1 PReLU.* has no counterpart"),
        (lambda: block("Add", nn.Linear(4, 4), nn.Identity()), (4,), "0 Add.* a branch with nothing in it"),
        (lambda: block("Residual", nn.ZeroPad2d(1)), (4, 4, 1), r"0\.0: a padding without a convolution"),
        (lambda: block("Residual", nn.Linear(12, 12), nn.Unflatten(1, (3, 2, 2)), nn.Flatten()), (12,),
         "0 Residual.* in several orders"),
        (lambda: nn.Embedding(4, 3, padding_idx=0), None, "0 Embedding.*padding_idx=0 has no counterpart"),
        (lambda: nn.Sequential(nn.Tanh(), nn.Embedding(4, 3)), None, "0.1 Embedding.*only at the beginning"),
    ],
)  # fmt: skip
def test_modules_that_are_refused(make, shape, says):
    torch.manual_seed(0)
    with pytest.raises(ArgumentError, match=says):
        interchange.from_pytorch(nn.Sequential(make()), shape)


def test_a_weight_shared_by_two_branches_and_a_block_of_ones_own():
    one = nn.Linear(4, 4)
    with pytest.raises(ArgumentError, match=r"0\.1 Linear: shares weights with another"):
        interchange.from_pytorch(nn.Sequential(block("Add", one, one)), (4,))

    class Scaled(type(block("Residual", one))):
        def forward(self, x, labels=None):
            return 0.5 * super().forward(x, labels)

    with pytest.raises(ArgumentError, match=r"0 Scaled.*has no counterpart"):
        interchange.from_pytorch(nn.Sequential(Scaled(nn.Linear(4, 4))), (4,))


def test_labels_set_before_are_not_carried_over():
    network = Sequential(layers.ConcatLabels(K), dense(4 + K, 2))
    set_labels(network, LABELS)
    back = interchange.from_pytorch(interchange.to_pytorch(network, (4,)))
    assert back[0].labels is None


def test_what_would_be_silently_another_thing_is_refused():
    """In place, a block adds an x that is overwritten; and a forward or a hook of one's own is not seen."""
    blocks = pytest.importorskip("tinygan.models.interchange.torch_blocks")
    for block in (
        blocks.Residual(torch.nn.ReLU(inplace=True), torch.nn.Linear(4, 4)),
        blocks.Add([torch.nn.LeakyReLU(inplace=True), torch.nn.Tanh()]),
    ):
        with pytest.raises(ArgumentError, match="inplace=False has a counterpart"):
            interchange.from_pytorch(torch.nn.Sequential(torch.nn.Linear(3, 4), block), (3,))
    changed, hooked = torch.nn.Linear(3, 4), torch.nn.Linear(3, 4)
    changed.forward = lambda x: 2.0 * x
    hooked.register_full_backward_hook(lambda *_: None)
    for part in (changed, hooked):
        with pytest.raises(ArgumentError, match="hooks, or a forward of its own"):
            interchange.from_pytorch(torch.nn.Sequential(part), (3,))


def test_labels_of_another_shape_are_refused():
    blocks = pytest.importorskip("tinygan.models.interchange.torch_blocks")
    x = torch.zeros(5, 4)
    for part in (blocks.ConcatLabels(3), blocks.ConditionalScale(4, 3), blocks.Projection(4, 3)):
        for labels in (torch.zeros(5, 1, dtype=torch.long), torch.zeros(1, dtype=torch.long)):
            with pytest.raises(ValueError, match="Expected labels of shape"):
                part(x, labels)
