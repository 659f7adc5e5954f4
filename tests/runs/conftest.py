"""What matplotlib draws takes a third of a second; where a picture of losses is not what is looked at, a file of their
numbers stands for it, which tells one run from another just as well."""

import pytest

from tinygan import checkpoints, plotting

PLAIN = ["commandline", "interruptions", "record", "runs", "state", "trained", "training", "writer"]


@pytest.fixture(scope="module", autouse=True)
def plain_curves(request):
    with pytest.MonkeyPatch.context() as patch:
        if request.path.stem.removeprefix("test_") in PLAIN:
            write = checkpoints.replace_file
            patch.setattr(plotting, "save_loss_curves", lambda path, losses, **_: write(path, losses.tobytes()))
        yield
