"""A short run of the fuzz: every kind of files, in this process, and the table of a longer one."""

from collections import Counter

import pytest

from benchmarks import fuzz


@pytest.mark.parametrize("name", fuzz.KINDS)
def test_odd_files_are_refused_in_words_or_are_what_they_were(tmp_path, name):
    kind, outcomes = fuzz.KINDS[name](tmp_path), Counter()
    for number in range(30):
        what, more = fuzz.attempt(kind, name, 1, number)
        assert not what.startswith("FAULT"), f"{name}:{number} of seed 1, {what}: {more}"
        outcomes[what] += 1
    assert outcomes["accepted" if name in ("pictures", "cache") else "refused"] > 10


def test_a_file_is_the_same_in_every_run(tmp_path):
    made = []
    for folder in (tmp_path / "one", tmp_path / "other"):
        folder.mkdir()
        kind = fuzz.Checkpoint(folder)
        for number in (3, 4, 3):
            fuzz.attempt(kind, "checkpoint", 0, number)
            made.append(kind.path.read_bytes())
    assert made[0] == made[2] == made[3] == made[5]
    assert made[1] == made[4] != made[0]


def test_the_table_tells_of_every_fault():
    counts = Counter({("idx", "refused"): 3, ("idx", "FAULT hang"): 1, ("run", "accepted"): 1200})
    lines = fuzz.table(counts, {"idx": 10.5, "run": 0.25}).splitlines()
    assert [line.split() for line in lines] == [
        ["kind", "files", "refused", "accepted", "FAULT", "hang", "slowest"],
        ["idx", "4", "3", "0", "1", "10.50s"],
        ["run", "1,200", "0", "1,200", "0", "0.25s"],
    ]
