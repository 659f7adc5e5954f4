"""Several processes that train one GAN together, each on its share of every batch (*data parallel*).

``group`` is who they are and what they can tell each other, ``together`` the step that they take, ``batchnorm`` the one
layer that must know of the others, ``mpi`` how they find each other, and ``console`` how they, or one alone, speak. The
book knows nothing of them. Imported from here are the book, ``backends`` and ``penalties``; ``runs`` stands above.
"""

from .batchnorm import SyncBatchNorm
from .group import ALONE, Group, OwnRows, Shard, require_alike
from .together import SharedLoss, SharedPenalty, Together, joined

__all__ = [
    "ALONE",
    "Group",
    "OwnRows",
    "Shard",
    "SharedLoss",
    "SharedPenalty",
    "SyncBatchNorm",
    "Together",
    "joined",
    "require_alike",
]
