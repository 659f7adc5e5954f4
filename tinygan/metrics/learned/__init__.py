"""What a discriminator has learned of images, beside telling real from fake: its hidden layers as features.

    D = load_trained("runs/dcgan").discriminator
    features = HiddenFeatures(D, layers="all", pool=4)             # as Radford et al. (2016) take them
    f, g = features.fit_transform(x), features.transform(y)        # (N, F) of images (N, H, W, C)
    probe = linear_probe(f, labels)
    print(probe.accuracy(g, labels_of_y))

``hidden`` makes features of D, by the convention of scikit-learn's transformers, with which it goes into a pipeline;
``probes`` say what features are worth, whatever they are of. scikit-learn is not needed. The book,
``models``, ``data`` and the ``metrics`` above this are imported here.
"""

from .hidden import HiddenFeatures, hidden_layers
from .probes import Axes, LinearProbe, cluster_accuracy, k_means, linear_probe, neighbour_accuracy, principal_axes

__all__ = [
    "Axes",
    "HiddenFeatures",
    "LinearProbe",
    "cluster_accuracy",
    "hidden_layers",
    "k_means",
    "linear_probe",
    "neighbour_accuracy",
    "principal_axes",
]
