"""Every parser of ``parsers.py``: a bounded value or one of the errors it may raise, in bounded time.

``python -m tests.hostile --examples 100000`` does the same for longer.
"""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hostile.parsers import PARSERS, Parser

EXAMPLES = 50
"""for each parser, in CI"""


def fuzz(parser: Parser, examples: int) -> int:
    """Run one parser on so many inputs; how many there were. Raises what hypothesis found."""
    count = 0

    @settings(
        max_examples=examples,
        deadline=2000,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def one(data: st.DataObject) -> None:
        nonlocal count
        count += 1
        value = data.draw(parser.inputs)
        try:
            parser.read(value)
        except parser.may:
            return

    one()
    return count


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_nothing_but_a_value_or_an_error_of_ours(parser: Parser) -> None:
    assert fuzz(parser, EXAMPLES) >= EXAMPLES // 2
