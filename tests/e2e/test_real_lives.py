"""A few lives on real parts (see ``lives``); ``python -m tests.e2e.lives --seeds A-B`` lives more of them."""

from pathlib import Path

import pytest

from tests.e2e.homes import leftovers
from tests.e2e.lives import live
from tests.support import eventually, needs

SEEDS = (4, 8, 12, 15, 17, 19)
"""short ones in which much happens; four of them with two homes, and all with runs that succeed"""


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_real_life_loses_nothing_and_does_nothing_twice(tmp_path: Path, seed: int) -> None:
    needs("sshd", "ssh", "rsync", "git")
    await live(tmp_path, seed)
    await eventually(lambda: not leftovers(tmp_path), what="nothing is left of it")
