import pytest

from tests.cli.fakes import Bench


@pytest.fixture
def bench() -> Bench:
    return Bench()
