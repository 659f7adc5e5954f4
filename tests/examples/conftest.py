"""What tests of an example share."""

import runpy
import sys

import pytest


@pytest.fixture(scope="module")
def example(request):
    """The names in the file that the test's module calls EXAMPLE, which looks for others beside it."""
    path = request.module.EXAMPLE
    sys.path.insert(0, str(path.parent))
    try:
        yield runpy.run_path(str(path))
    finally:
        sys.path.remove(str(path.parent))
