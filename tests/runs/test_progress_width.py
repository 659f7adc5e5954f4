"""The bar: whatever the width of the terminal, there is something of a bar to be seen."""

import io

import pytest
from tqdm import tqdm

from tinygan.runs.progress import Progress

#: columns of a terminal, steps, images of a batch and of an epoch, whether the epoch is shown
WIDTH_ODDITIES = [
    (80, 1000, 128, 100, False),
    (80, 23_450, 128, 469, False),
    (80, 234_500, 512, 4690, False),
    (80, 20, 8, 4, False),
    (100, 23_450, 128, 469, True),
    (120, 234_500, 512, 4690, True),
    (200, 23_450, 128, 469, True),
    (None, 23_450, 128, 469, True),
]


@pytest.mark.parametrize(("columns", "steps", "rows", "per_epoch", "epoch"), WIDTH_ODDITIES)
def test_there_is_room_for_a_bar(monkeypatch, columns, steps, rows, per_epoch, epoch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("tqdm.std._screen_shape_wrapper", lambda: lambda file: (columns, 24))
    monkeypatch.setattr(tqdm, "monitor_interval", 0)
    progress = Progress(0, steps, rows=rows, per_epoch=per_epoch, shown=True)
    progress.bar.mininterval = 0.0
    with progress:
        for t in (steps // 3, steps // 2):
            progress.show(t, (1.386, 10.693))
        line = str(progress.bar)
    assert f"step {steps // 2}/{steps}  D 1.386  G 10.693 |" in line
    assert line.startswith("epoch ") == epoch
    assert line.endswith(" left")
    assert len(line.split("|")[1]) >= 10
    assert columns is None or len(line) <= columns
