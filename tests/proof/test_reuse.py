"""Machines that were kept, and the runs that go on there."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from choline_tui.engine import machine, reuse
from tests.proof.mutations import Edit, Mutation, applied
from tests.proof.reuse import REUSE
from tests.proof.trials import try_one

MISTAKES = [
    Mutation(
        "a machine that was kept keeps the life of the run before",
        "longer_than_the_first_life",
        (Edit(machine._lease, 'more["deadline_s"] = max(60.0, rental.deadline - now)', "pass"),),
    ),
    Mutation(
        "whoever has a machine, another may have it, too",
        "busy",
        (
            Edit(reuse.check_free, "if owner.live:", "if False:"),
            Edit(
                reuse.check_free,
                "if state is not RentalState.HELD or not owner.results_complete:",
                "if False:",
            ),
        ),
    ),
]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", REUSE)
def test_a_kept_machine_is_used_again_and_every_rule_is_kept(tmp_path: Path, name: str) -> None:
    try_one(tmp_path, name, REUSE)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: m.name)
def test_a_mistake_is_noticed(tmp_path: Path, mistake: Mutation) -> None:
    with applied(mistake), pytest.raises(AssertionError) as noticed:
        try_one(tmp_path, mistake.trial, REUSE)
    assert "has changed" not in str(noticed.value)
