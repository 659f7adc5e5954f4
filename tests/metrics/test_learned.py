"""What a discriminator has learned: its hidden layers as features, and the probes that say what features are worth."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygan import Sequential, features, models
from tinygan.errors import ArgumentError, DTypeError, NonFiniteError, PassError, ShapeError
from tinygan.layers import Conv2D, Dense, Flatten, LeakyReLU, Tanh, set_labels
from tinygan.metrics.learned.hidden import largest_of_fields
from tinygan.models import Residual

SHAPE = (8, 12, 1)


def images(n=7, seed=0):
    return np.random.default_rng(seed).uniform(-1.0, 1.0, (n, *SHAPE)).astype(np.float32)


def discriminator(**known):
    return models.dcgan(SHAPE, noise_dim=4, width=2, rng=1, **known)[1]


# ---- hidden layers ---------------------------------------------------------------------------------------------------


def test_the_last_hidden_layer_is_what_the_logit_is_made_of():
    D, x = discriminator(), images()
    f = features.HiddenFeatures(D).fit_transform(x)
    np.testing.assert_allclose(f @ D.params[f"{len(D.layers) - 1}.W"] + D.layers[-1].params["b"], D(x), atol=1e-5)


def test_all_hidden_layers_are_those_after_activations_and_blocks():
    D = Sequential(
        *(Conv2D(1, 2, 3, rng=0), LeakyReLU(), Residual(Conv2D(2, 2, 3, rng=1), Tanh())),
        *(Residual(Conv2D(2, 2, 3, rng=2)), LeakyReLU(), Flatten(), Dense(8 * 12 * 2, 1, rng=3)),
    )
    assert features.hidden_layers(D) == [1, 2, 4]
    assert features.hidden_layers(Sequential(Flatten(), Dense(4, 1))) == [0]
    x = images()
    found = features.HiddenFeatures(D, layers="all").fit_transform(x)
    first, second, third = np.split(found, 3, axis=1)
    np.testing.assert_allclose(first, D.layers[1](D.layers[0](x)).reshape(7, -1), rtol=1e-6)
    np.testing.assert_allclose(third @ D.params["6.W"] + D.params["6.b"], D(x), atol=1e-5)
    np.testing.assert_array_equal(second, features.HiddenFeatures(D, layers=[2]).fit_transform(x))


@given(
    h=st.integers(1, 9), w=st.integers(1, 9), k=st.integers(1, 5), c=st.integers(1, 2), seed=st.integers(0, 2**32 - 1)
)
def test_the_largest_of_each_field_is_that_of_plain_loops(h, w, k, c, seed):
    x = np.random.default_rng(seed).standard_normal((2, h, w, c))
    rows, columns = min(k, h), min(k, w)
    expected = np.empty((2, rows, columns, c))
    for i in range(rows):
        for j in range(columns):
            top, bottom = int(np.floor(i * h / rows)), int(np.ceil((i + 1) * h / rows))
            left, right = int(np.floor(j * w / columns)), int(np.ceil((j + 1) * w / columns))
            expected[:, i, j] = x[:, top:bottom, left:right].max(axis=(1, 2))
    np.testing.assert_array_equal(largest_of_fields(x, k), expected)


def test_rows_pieces_and_names_fit_the_images():
    D, x = discriminator(), images()
    every = features.HiddenFeatures(D, layers="all", pool=2, batch_size=3)
    f = every.fit_transform(x)
    np.testing.assert_allclose(every.transform(x.reshape(7, -1).tolist()), f, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(features.HiddenFeatures(D, layers="all", pool=2)(x), f, rtol=1e-5, atol=1e-6)
    told = features.HiddenFeatures(D, layers="all", pool=2, image_shape=SHAPE)
    np.testing.assert_allclose(told.fit_transform(x.reshape(7, -1)), f, rtol=1e-5, atol=1e-6)
    assert f.shape == (7, 2 * 2 * (2 + 4) + 1 * 2 * 8)
    names = every.get_feature_names_out()
    assert len(set(names)) == f.shape[1]
    assert (names[0], names[-1]) == ("layer1_0", "layer7_15")
    assert every.n_features_in_ == 96
    assert repr(every) == "HiddenFeatures(Sequential, layers='all', pool=2, batch_size=3)"


@pytest.mark.parametrize("way", ["concat", "projection"])
def test_a_discriminator_that_knows_classes_is_told_the_same_of_all_and_keeps_its_own(way):
    D, x = discriminator(classes=3, conditional=way), images()
    set_labels(D, np.array([1]))
    before = D.theta.copy()
    zero, two = (features.HiddenFeatures(D, label=k).fit_transform(x) for k in (0, 2))
    assert np.array_equal(zero, two) == (way == "projection")  # where the class comes in behind the features
    assert np.array_equal(before, D.theta)
    D(x)  # knows its labels still
    with pytest.raises(ArgumentError, match="label"):
        features.HiddenFeatures(D, label=3).fit(x)


def test_a_discriminator_on_a_device_gives_its_features_to_the_host(device):
    D, x = discriminator(), images()
    expected = features.HiddenFeatures(D, layers="all", pool=2)(x)
    there = features.HiddenFeatures(D.to(device.name), layers="all", pool=2)
    for shown in (device.put(x), x):
        found = there(shown)
        assert type(found) is np.ndarray
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_scikit_learn_finds_nothing_to_object_to():
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    warnings.filterwarnings("ignore", message="Estimator HiddenFeatures does not inherit")
    for pool in (None, 2):
        made = features.HiddenFeatures(Sequential(LeakyReLU(0.2), Tanh()), pool=pool)
        found = checks.check_estimator(made, on_skip=None)
        assert len(found) > 30
    from sklearn.base import clone
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    x, labels = images(40), np.arange(40) % 2
    x[labels == 1, :3] = 1.0
    pipeline = make_pipeline(features.HiddenFeatures(discriminator(), layers="all", pool=2), LogisticRegression())
    assert clone(pipeline).fit(x, labels).score(x, labels) == 1.0


def test_scikit_learn_is_not_needed():
    code = "import sys, tinygan; tinygan.features.HiddenFeatures; assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_does_not_fit_is_refused_by_name(monkeypatch):
    monkeypatch.delitem(sys.modules, "sklearn.exceptions", raising=False)  # its own error, where that is loaded
    D, x = discriminator(), images()
    fitted = features.HiddenFeatures(D).fit(x)
    refused = [
        (lambda: features.HiddenFeatures("D").fit(x), ArgumentError, "expected a Sequential, got str"),
        (lambda: features.hidden_layers("D"), ArgumentError, "expected a Sequential, got str"),
        (lambda: features.HiddenFeatures(D, layers="some").fit(x), ArgumentError, "'last', 'all', or rising"),
        (lambda: features.HiddenFeatures(D, layers=[2, 1]).fit(x), ArgumentError, "rising positions from 0 to 9"),
        (lambda: features.HiddenFeatures(D, layers=[10]).fit(x), ArgumentError, "got \\[10\\]"),
        (lambda: features.HiddenFeatures(D, pool=0).fit(x), ArgumentError, "pool"),
        (lambda: features.HiddenFeatures(D, batch_size=0).fit(x), ArgumentError, "batch_size"),
        (lambda: features.HiddenFeatures(D).transform(x), PassError, "not fitted yet"),
        (lambda: features.HiddenFeatures(D).get_feature_names_out(), PassError, "not fitted yet"),
        (lambda: fitted.transform(x[:, 1:]), ShapeError, "X has 84 features, but HiddenFeatures is expecting 96"),
        (lambda: fitted.transform(x[0, :, 0, 0]), ShapeError, "Reshape your data"),
        (lambda: fitted.transform(x[:0]), ShapeError, "0 sample"),
        (lambda: fitted.transform(np.full_like(x, np.nan)), NonFiniteError, "NaN"),
        (
            lambda: features.HiddenFeatures(D, image_shape=SHAPE).fit(x.reshape(7, -1)[:, 1:]),
            ShapeError,
            "no row of 95 numbers fills",
        ),
        (lambda: features.HiddenFeatures(D).fit(x.reshape(7, -1)), ShapeError, "expected input \\(N, H, W, 1\\)"),
        (lambda: fitted.set_params(size=3), ArgumentError, "no parameter 'size'"),
    ]
    for call, error, match in refused:
        with pytest.raises(error, match=match):
            call()


# ---- probes ----------------------------------------------------------------------------------------------------------


def groups(n=300, apart=10.0, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    return (np.eye(3)[labels] * apart + rng.standard_normal((n, 3))).astype(np.float32), labels


def test_groups_that_lie_apart_are_found_by_every_probe():
    (f, labels), (g, others) = groups(), groups(seed=1)
    assert features.linear_probe(f, labels).accuracy(g, others) > 0.99
    assert features.neighbour_accuracy(f, labels, g, others) > 0.99
    assert features.cluster_accuracy(features.k_means(f, 3), labels) > 0.99
    assert features.cluster_accuracy(features.k_means(features.principal_axes(f, 2).project(f), 3), labels) > 0.99
    mixed = np.random.default_rng(2).permutation(labels)
    assert features.linear_probe(f, mixed).accuracy(g, others) < 0.6
    assert features.neighbour_accuracy(f, mixed, g, others) < 0.6


def test_a_linear_probe_ends_where_its_loss_is_flat():
    """At the end the gradient of mean −log p + l2/2 Σ W², as its docstring states it, is nearly 0."""
    f, labels = groups(apart=1.0)
    probe = features.linear_probe(f, labels, l2=0.1)
    x = (f - probe.mean) / probe.scale
    np.testing.assert_allclose(x.mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(x.std(axis=0), 1.0, atol=2e-3)
    logits = probe.logits(f).astype(np.float64)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    dW = x.T @ (p - np.eye(3)[labels]) / len(f) + 0.1 * probe.network.params["0.W"]
    assert np.abs(dW).max() < 2e-3
    assert np.abs(dW - 0.1 * probe.network.params["0.W"]).max() > 0.01  # that without the second term is not
    again = features.linear_probe(f, labels, l2=0.1)
    np.testing.assert_array_equal(again.logits(f), probe.logits(f))


@given(n=st.integers(1, 12), m=st.integers(1, 12), size=st.integers(1, 4), seed=st.integers(0, 2**32 - 1))
def test_the_nearest_neighbour_is_that_of_plain_loops(n, m, size, seed):
    rng = np.random.default_rng(seed)
    f, g, a, b = rng.normal(size=(n, size)), rng.normal(size=(m, size)), rng.integers(0, 3, n), rng.integers(0, 3, m)
    right = sum(a[min(range(n), key=lambda i: ((f[i] - g[j]) ** 2).sum())] == b[j] for j in range(m))
    assert features.neighbour_accuracy(f, a, g, b) == pytest.approx(right / m)


@given(n=st.integers(2, 30), size=st.integers(1, 4), k=st.integers(1, 6), seed=st.integers(0, 2**32 - 1))
def test_each_row_is_in_the_cluster_of_the_nearest_centre(n, size, k, seed):
    f = np.random.default_rng(seed).normal(size=(n, size))
    k = min(k, n)
    found = features.k_means(f, k, rounds=200, rng=seed)
    present = np.unique(found)
    centres = np.stack([f[found == j].mean(axis=0) for j in present])
    far = ((f[:, None] - centres) ** 2).sum(axis=2)
    np.testing.assert_array_equal(present[far.argmin(axis=1)], found)
    np.testing.assert_array_equal(found, features.k_means(f, k, rounds=200, rng=seed))


def test_rows_that_are_all_alike_are_one_cluster():
    assert set(features.k_means(np.ones((5, 2)), 3)) == {0}


def test_the_accuracy_of_clusters_is_the_share_of_their_commonest_labels():
    assert features.cluster_accuracy(np.array([0, 0, 0, 5, 5]), [1, 1, 2, 0, 1]) == pytest.approx(3 / 5)


@given(n=st.integers(4, 12), size=st.integers(3, 12), k=st.integers(1, 3), seed=st.integers(0, 2**32 - 1))
def test_principal_axes_are_those_of_the_singular_values(n, size, k, seed):
    f = np.random.default_rng(seed).normal(size=(n, size)) * np.arange(1, size + 1)
    found = features.principal_axes(f, k)
    values = np.linalg.svd(f - f.mean(axis=0), compute_uv=False)
    np.testing.assert_allclose(found.axes.T @ found.axes, np.eye(k), atol=1e-7)
    np.testing.assert_allclose((found.project(f) ** 2).sum(axis=0), values[:k] ** 2, rtol=1e-6)


def test_probes_refuse_what_does_not_fit():
    f, labels = groups(20)
    refused = [
        (lambda: features.linear_probe(f, labels[1:]), ShapeError, "a label for each of 20 rows"),
        (lambda: features.linear_probe(f, labels * 1.0), DTypeError, "labels that are integers"),
        (lambda: features.linear_probe(f, labels - 1), ArgumentError, "counted from 0"),
        (lambda: features.linear_probe(f, labels, l2=-1.0), ArgumentError, "l2"),
        (lambda: features.linear_probe(f, labels).predict(f[:, 1:]), ShapeError, "expected 3 features"),
        (lambda: features.principal_axes(f, 2).project(f[:, 1:]), ShapeError, "expected 3 features"),
        (lambda: features.neighbour_accuracy(f, labels, f[:, 1:], labels), ShapeError, "not of one kind"),
        (lambda: features.k_means(f, 21), ArgumentError, "21 clusters of 20 rows"),
        (lambda: features.principal_axes(f, 4), ArgumentError, "20 rows of 3 numbers have fewer axes"),
    ]
    for call, error, match in refused:
        with pytest.raises(error, match=match):
            call()
