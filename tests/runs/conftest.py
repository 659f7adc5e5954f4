"""What matplotlib draws takes a third of a second; where a picture of losses is not what is looked at, a file of their
numbers stands for it, which tells one run from another just as well."""

import pytest
from support.small_runs import small_data

from tinygan import checkpoints, metrics, plotting
from tinygan.runs import judging

PLAIN = ["commandline", "interruptions", "record", "runs", "state", "trained", "training", "writer"]


@pytest.fixture(scope="module", autouse=True)
def plain_curves(request):
    with pytest.MonkeyPatch.context() as patch:
        if request.path.stem.removeprefix("test_") in PLAIN:
            write = checkpoints.replace_file
            patch.setattr(plotting, "save_loss_curves", lambda path, losses, **_: write(path, losses.tobytes()))
        yield


@pytest.fixture(scope="session")
def judge():
    """Knows 60 images like those of the small runs, which none of them was trained on."""
    return metrics.Judge(small_data(n=60, seed=1), metrics.pixels)


@pytest.fixture
def forty_samples(monkeypatch):
    monkeypatch.setattr(judging, "SAMPLES", 40)
