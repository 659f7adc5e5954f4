"""The hidden layers of a discriminator as a transformer, in scikit-learn's convention."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ...errors import ArgumentError, BackendError, DTypeError, NonFiniteError, PassError, ShapeError, positive_int
from ...layers import ELU, LeakyReLU, MinibatchStdDev, Pack, ReLU, Sigmoid, SiLU, Softplus, Tanh
from ...models.conditional import classes_of, told
from ...network import Sequential
from ...ops import Array, as_array, get_xp, ops_of, to_backend, to_numpy

ACTIVATIONS = (ELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh)
PARAMETERS = ("discriminator", "layers", "pool", "image_shape", "label", "batch_size")


class HiddenFeatures:
    r"""Images to what hidden layers of a trained discriminator make of them.

    D learned without labels (but in a conditional GAN), and yet its features tell classes apart: Radford et al. (2016,
    section 5.1) take those of all layers, the largest of each field of a 4x4 grid, flattened and side by side.

    Parameters
    ----------
    discriminator : Sequential of which the last layer gives a logit. It stays as it is; running statistics are used.
    layers : "last", what D's last layer is given; "all", the output of each of :func:`hidden_layers`; or positions
        in ``discriminator.layers``, from 0.
    pool : None: maps of features as they are. k: of each map (H, W) the largest number in each of k x k fields, field i
        of a side of H pixels from ⌊i H / k⌋ to ⌈(i + 1) H / k⌉. Smaller maps stay as they are.
    image_shape : (H, W, C), what rows are brought to where D does not say: a convolution takes images of any size.
    label : the class that a D which knows classes is told of all images; one says nothing of the images then.
    batch_size : images that D looks at together.

    Attributes
    ----------
    n_features_in_ : numbers of an image, H·W·C.

    Notes
    -----
    X is (N, H, W, C) in D's range, or rows (N, H·W·C); features are float, (N, F), on the host. Nothing is learned by
    ``fit``, which looks whether X fits, and keeps its shape. Features are of very different size: put a StandardScaler
    behind this, or use :func:`linear_probe`, which does so itself.

    Raises
    ------
    ArgumentError, ShapeError, DTypeError, NonFiniteError
        A parameter has no meaning (said by ``fit``), or X does not fit.
    """

    def __init__(
        self,
        discriminator: Sequential,
        *,
        layers: str | Sequence[int] = "last",
        pool: int | None = None,
        image_shape: Sequence[int] | None = None,
        label: int = 0,
        batch_size: int = 500,
    ) -> None:
        self.discriminator, self.layers, self.pool = discriminator, layers, pool
        self.image_shape, self.label, self.batch_size = image_shape, label, batch_size

    def fit(self, X: Any, y: Any = None) -> HiddenFeatures:
        """Look at what X is; labels y are not looked at."""
        self._positions()
        x = self._images(X, fitting=True)
        parts = self._look(x[:1])
        self.n_features_in_, self._shape = int(np.prod(x.shape[1:])), x.shape[1:]
        self._sizes = [part.shape[1] for part in parts]
        if (names := getattr(X, "columns", None)) is not None and all(isinstance(name, str) for name in names):
            self.feature_names_in_ = np.asarray(names, dtype=object)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Features (N, F) of images."""
        if not hasattr(self, "_sizes"):
            raise _not_fitted("HiddenFeatures is not fitted yet: call fit(X) with images, then transform.")
        x, size = self._images(X), positive_int(self.batch_size, "HiddenFeatures: batch_size")
        return np.concatenate([np.concatenate(self._look(x[i : i + size]), axis=1) for i in range(0, len(x), size)])

    def fit_transform(self, X: Any, y: Any = None) -> np.ndarray:
        """``fit(X).transform(X)``."""
        return self.fit(X, y).transform(X)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Features (N, F) of images, so that they serve a :class:`tinygan.metrics.Judge`, too."""
        return self.fit_transform(images)

    @property
    def name(self) -> str:
        """What a score by these features is called by."""
        return f"hidden layers ({self.layers}) of a discriminator"

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """``layer2_0`` and so on: number 0 of what layer 2 of D gives."""
        if not hasattr(self, "_sizes"):
            raise _not_fitted("HiddenFeatures is not fitted yet: call fit(X) first.")
        if input_features is not None:
            given, own = (
                np.atleast_1d(np.asarray(input_features, dtype=object)),
                getattr(self, "feature_names_in_", None),
            )
            if own is not None and not np.array_equal(given, own):
                raise ArgumentError("input_features is not equal to feature_names_in_")
            if len(given) != self.n_features_in_:
                raise ArgumentError("input_features should have length equal to number of features")
        each = zip(self._positions(), self._sizes, strict=True)
        return np.array([f"layer{i}_{j}" for i, size in each for j in range(size)], dtype=object)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """What this was made with."""
        return {key: getattr(self, key) for key in PARAMETERS}

    def set_params(self, **params: Any) -> HiddenFeatures:
        """Change some of it."""
        if unknown := sorted(params.keys() - set(PARAMETERS)):
            raise ArgumentError(f"HiddenFeatures: no parameter {unknown[0]!r}; there are {', '.join(PARAMETERS)}.")
        for key, value in params.items():
            setattr(self, key, value)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_sizes")

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn, which alone asks for it, wants to know."""
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type="transformer",
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(preserves_dtype=["float64", "float32"]),
            input_tags=InputTags(two_d_array=True, three_d_array=True),
            requires_fit=True,
        )

    def __repr__(self) -> str:
        shown = [f"{key}={value!r}" for key in PARAMETERS[1:] if repr(value := getattr(self, key)) != repr(_USUAL[key])]
        return f"HiddenFeatures({', '.join([type(self.discriminator).__name__, *shown])})"

    def _positions(self) -> list[int]:
        """After which layers D is asked."""
        D = self.discriminator
        if not isinstance(D, Sequential):
            raise ArgumentError(f"HiddenFeatures: expected a Sequential, got {type(D).__name__}.")
        if together := [layer.name for layer in D.layers if isinstance(layer, Pack | MinibatchStdDev)]:
            why = "judges several images together, so that there are no features of one"
            raise ArgumentError(f"HiddenFeatures: {together[0]} {why}.")
        if self.pool is not None:
            positive_int(self.pool, "HiddenFeatures: pool")
        positive_int(self.batch_size, "HiddenFeatures: batch_size")
        known = max(classes_of(D), default=1)
        positive_int(self.label, "HiddenFeatures: label", least=0, most=known - 1)
        if self.layers == "last":
            return [max(len(D.layers) - 2, 0)]
        if self.layers == "all":
            return hidden_layers(D)
        if not isinstance(self.layers, str):
            try:
                found = [positive_int(i, "", least=0, most=len(D.layers) - 1) for i in self.layers]
            except (ArgumentError, TypeError):
                found = []
            if found and found == sorted(set(found)):
                return found
        what = f"'last', 'all', or rising positions from 0 to {len(D.layers) - 1}"
        raise ArgumentError(f"HiddenFeatures: layers must be {what}, got {self.layers!r:.100}.")

    def _images(self, X: Any, fitting: bool = False) -> Array:
        """X as D takes it."""
        if hasattr(X, "toarray"):
            raise DTypeError("HiddenFeatures: X is sparse, images are dense; X.toarray().")
        x = _numbers(X)
        if x.ndim < 2:
            raise ShapeError(
                f"HiddenFeatures: expected images (N, H, W, C) or rows (N, F), got shape {x.shape}. Reshape your data: "
                "x[None] for a single image, X.reshape(1, -1) for a single row."
            )
        for size, what in ((len(x), "sample(s)"), (int(np.prod(x.shape[1:])), "feature(s)")):
            if size == 0:
                raise ShapeError(f"0 {what} (shape={x.shape}) while a minimum of 1 is required.")
        features = int(np.prod(x.shape[1:]))
        if not fitting and features != self.n_features_in_:
            raise ShapeError(
                f"X has {features} features, but HiddenFeatures is expecting {self.n_features_in_} features as input"
            )
        if not fitting and x.ndim > 2 and x.shape[1:] != self._shape:
            raise ShapeError(f"HiddenFeatures: fitted to images {self._shape}, got {x.shape[1:]}.")
        D, xp = self.discriminator, get_xp(x)
        if not bool(xp.isfinite(x).all()):
            raise NotANumber("HiddenFeatures: X has NaN or infinity, which D knows nothing of.")
        if x.ndim == 2 and (shape := self._shape_of_rows(fitting)):
            if features != np.prod(shape):
                raise ShapeError(f"HiddenFeatures: images are {shape}, which no row of {features} numbers fills.")
            x = x.reshape(len(x), *shape)
        return to_backend(x, ops_of(D.theta)).astype(D.theta.dtype if D.size else xp.result_type(x.dtype, xp.float32))

    def _shape_of_rows(self, fitting: bool) -> tuple[int, ...]:
        """What each row is, () if that is not known."""
        if not fitting:
            return self._shape
        if self.image_shape is not None:
            if not isinstance(self.image_shape, Sequence):
                raise ArgumentError(f"HiddenFeatures: image_shape must be (H, W, C), got {self.image_shape!r:.100}.")
            return tuple(positive_int(size, "HiddenFeatures: each size of image_shape") for size in self.image_shape)
        sizes = self.discriminator.input_shape or (None,)
        return () if None in sizes else tuple(size for size in sizes if size)

    def _look(self, x: Array) -> list[np.ndarray]:
        """(N, F) of each layer that is asked."""
        wanted, found, D = self._positions(), [], self.discriminator
        D.check_input(x)
        with told(np.full(len(x), self.label) if classes_of(D) else None, D):
            for i, layer in enumerate(D.layers[: wanted[-1] + 1]):
                x = layer.apply(x, False)[0]
                if i in wanted:
                    seen = x if self.pool is None or x.ndim != 4 else largest_of_fields(x, self.pool)
                    found.append(to_numpy(seen).reshape(len(x), -1))
        return found


def of_device(X: Any) -> bool:
    """Whether it is an array of another library that is known here."""
    try:
        return get_xp(X) is not np
    except BackendError:
        return False


def _numbers(X: Any) -> Array:
    """X as an array of real numbers, which scikit-learn's users may give as lists, too."""
    try:
        x = as_array(X) if isinstance(X, np.ndarray) or of_device(X) else np.asarray(X)
        if x.dtype.kind == "c":
            raise ArgumentError("HiddenFeatures: Complex data not supported.")
        return x if x.dtype.kind in "fiub" else x.astype(np.float64)
    except (TypeError, ValueError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise NoNumbers(f"HiddenFeatures: X must hold real numbers: {error}") from error


_USUAL = {"layers": "last", "pool": None, "image_shape": None, "label": 0, "batch_size": 500}


class NoNumbers(DTypeError, ValueError):
    """What is no number where scikit-learn wants to be told by a TypeError or ValueError."""


class NotANumber(NonFiniteError, ValueError):
    """Numbers that are not finite where scikit-learn wants to be told by a ValueError."""


def hidden_layers(discriminator: Sequential) -> list[int]:
    """The positions of the layers whose outputs are hidden features: activations, and blocks of several layers that no
    activation follows; the last layer, which gives the logit, is none."""
    if not isinstance(discriminator, Sequential):
        raise ArgumentError(f"hidden_layers: expected a Sequential, got {type(discriminator).__name__}.")
    found = []
    for i, (layer, after) in enumerate(pairwise(discriminator.layers)):
        block = isinstance(layer, Sequential) and not isinstance(after, ACTIVATIONS)
        found += [i] if block or isinstance(layer, ACTIVATIONS) else []
    return found or [max(len(discriminator.layers) - 2, 0)]


def largest_of_fields(x: Array, k: int) -> Array:
    """(N, H, W, C) -> (N, k, k, C), the largest number in each field; no more fields than pixels."""
    xp = get_xp(x)
    for axis in (1, 2):
        size = x.shape[axis]
        n = min(k, size)
        fields = [slice(i * size // n, -(-(i + 1) * size // n)) for i in range(n)]
        x = xp.stack([x[(slice(None),) * axis + (field,)].max(axis=axis) for field in fields], axis=axis)
    return x


def _not_fitted(text: str) -> Exception:
    """The error that scikit-learn's users expect, where it is loaded."""
    exceptions = sys.modules.get("sklearn.exceptions")
    return PassError(text) if exceptions is None else exceptions.NotFittedError(text)
