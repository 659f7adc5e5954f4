"""Names of cases that are the same in every process."""

import re


def brief(value):
    """The beginning of repr(value), without addresses in memory."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))[:40]
