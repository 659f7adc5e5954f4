"""Bad and odd inputs, which the tests keep in tables: how many there are."""

import importlib.util
import re
from pathlib import Path

TESTS = Path(__file__).parent
LEAST = 1_500  # which the README says


def test_there_are_over_1500_odd_inputs():
    """In lists called ..._ODDITIES, each where it is tried; print the sizes with ``pytest -s``."""
    sizes = {}
    for path in sorted(TESTS.rglob("*.py")):
        names = re.findall(r"^([A-Z_]*ODDITIES)\b.*?=", path.read_text("utf-8"), flags=re.M)
        if names and path != Path(__file__):
            spec = importlib.util.spec_from_file_location(f"odd_{len(sizes)}", path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            sizes |= {f"{path.relative_to(TESTS)}: {name}": len(getattr(module, name)) for name in names}
    print("", *(f"{size:5}  {name}" for name, size in sizes.items()), f"{sum(sizes.values()):5}  in all", sep="\n")
    assert sum(sizes.values()) >= LEAST
