from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.remote.box import Remote, old_python


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Remote]:
    home = tmp_path / "ho me 'q\" ü$x"
    home.mkdir()
    remote = Remote(home, old_python())
    yield remote
    remote.close()
