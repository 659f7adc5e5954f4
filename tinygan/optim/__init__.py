"""Optimisers: ``adam``, with what all of them share, belongs to the book; ``classic`` and ``average`` beside it.

They import the network, whose two flat vectors they work on, ``errors``, ``ops`` and ``checkpoints``.
"""

from .adam import Adam, Optimizer
from .average import ExponentialMovingAverage
from .classic import SGD, RMSProp

__all__ = ["SGD", "Adam", "ExponentialMovingAverage", "Optimizer", "RMSProp"]
