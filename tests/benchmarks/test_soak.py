"""The soak tells what grows from what does not."""

import itertools

import pytest

from benchmarks import soak

HOUR = 3600.0


@pytest.mark.parametrize(
    ("held", "fine"),
    [
        (lambda k: (50.0, 6, 2), True),
        (lambda k: (50.0 + 0.3 * (k % 3), 6, 2), True),  # it goes up and down
        (lambda k: (50.0 + 20.0 * (k < 5), 6, 2), True),  # the warm-up does not count
        (lambda k: (50.0 + 0.1 * k, 6, 2), False),  # 10 MB in an hour
        (lambda k: (50.0 + 0.005 * k, 6, 2), True),  # half a MB
        (lambda k: (50.0, 6 + (k > 50), 2), False),
        (lambda k: (50.0, 6, 2 + (k > 98)), False),
    ],
)
def test_what_grows_is_told(monkeypatch, capsys, held, fine):
    looks, clock = itertools.count(), itertools.count()
    monkeypatch.setattr(soak, "held", lambda: held(next(looks)))
    monkeypatch.setattr(soak.time, "monotonic", lambda: next(clock) * HOUR / soak.LOOKS)
    assert soak.watch(iter([None] * soak.LOOKS), "steps", soak.LOOKS) is fine
    assert "MB an hour" in capsys.readouterr().out


def test_both_kinds_of_work_come_in_parts():
    assert len(list(soak.steps(100))) == soak.LOOKS
    assert len(list(soak.runs(1))) == 1
    megabytes, files, threads = soak.held()
    assert megabytes > 10.0
    assert threads >= 1
    assert files >= 0
