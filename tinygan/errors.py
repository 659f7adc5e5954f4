"""Every error that tinygan raises on purpose.

Each is also a built-in exception of the nearest meaning, so ``except ValueError`` keeps working for people who never
heard of these classes. A message says where (layer or file), what was expected, what came, and how to mend it.
"""


class TinyGANError(Exception):
    """Base of all errors below: ``except TinyGANError`` catches whatever tinygan refuses."""


class ArgumentError(TinyGANError, ValueError):
    """A setting has no meaning: a stride of 0, a rate of 1.5, a name that does not exist."""


class ShapeError(TinyGANError, ValueError):
    """An array does not fit a layer, or two layers do not fit each other."""


class DTypeError(TinyGANError, TypeError):
    """An array holds numbers of the wrong kind, such as integers where a layer wants floats."""


class PassError(TinyGANError, RuntimeError):
    """A backward pass that does not belong to exactly one forward pass."""


class SecondOrderError(TinyGANError, NotImplementedError):
    """A layer has no tangent or second-order part, which gradient penalties need."""


class BackendError(TinyGANError, RuntimeError):
    """NumPy and CuPy arrays were mixed, or a backend was asked for that is not there."""


class NonFiniteError(TinyGANError, FloatingPointError):
    """A loss or gradient became NaN or infinite."""


class DataError(TinyGANError, ValueError):
    """A data set cannot be read, or does not hold what it should."""


class CheckpointError(TinyGANError, ValueError):
    """A checkpoint is damaged, foreign, or belongs to another architecture."""


class GradientError(TinyGANError, AssertionError):
    """A hand-written gradient disagrees with finite differences."""


class UndecidedError(GradientError):
    """Finite differences cannot tell whether a gradient is right: there is a kink, or nothing depends on the input."""


class ContractError(TinyGANError, AssertionError):
    """A layer breaks the protocol that networks rely on."""
