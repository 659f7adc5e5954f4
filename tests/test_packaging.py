"""What is shown and installed where the rest of the repository is not."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_the_readme_alone_points_to_no_file_beside_it():
    hook = PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    text = "".join((ROOT / part["path"]).read_text("utf-8") for part in hook["fragments"])
    links = r"\]\((?!https?:|#)[^)]*\)|<img "
    assert re.search(links, text), "the README itself has pictures and links"
    for rule in hook["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    assert not re.findall(links, text)
    assert "`python examples/mnist_lsgan.py`" in text


def test_every_file_that_the_readme_points_to_is_kept():
    text = (ROOT / "README.md").read_text("utf-8")
    files = re.findall(r"\]\((?!https?:|#)([^)]*)\)", text) + re.findall(r'src="([^"]*)"', text)
    assert len(files) > 10
    assert not [file for file in files if not (ROOT / file).is_file()]
