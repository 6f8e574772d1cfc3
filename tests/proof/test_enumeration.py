"""A fixed part of the enumeration; ``python -m tests.proof enumerate`` lives through all of it."""

import logging
import tempfile
from pathlib import Path

import pytest

from tests.proof.enumeration import STORIES, combinations, live_one, record

PART = 16
"""CI lives one of so many combinations, chosen by what they are: the same ones every time"""


@pytest.mark.parametrize("name", STORIES)
def test_whatever_call_goes_wrong_the_life_ends_well(tmp_path: Path, name: str) -> None:
    logging.disable(logging.CRITICAL)
    try:
        calls = record(tmp_path, name)
        every = list(combinations(name, calls))
        chosen = [c for c in every if c.hash % PART == 0]
        assert len(every) > 300 and len(chosen) > len(every) / PART / 2
        for c in chosen:
            with tempfile.TemporaryDirectory() as folder:
                live_one(Path(folder), name, c)
        print(f"{name}: {len(chosen)} of {len(every)} combinations")
    finally:
        logging.disable(logging.NOTSET)
