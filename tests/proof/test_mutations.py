"""Mistakes put into the engine on purpose: each must be noticed, and the engine as it is must pass the same
lives."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proof.catches import known
from tests.proof.mutations import MUTATIONS, Mutation, applied
from tests.proof.recipe import draw
from tests.proof.shrink import check_of, failure
from tests.proof.trials import TRIALS, try_one


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)  # a broken engine has much to say
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", TRIALS)
def test_the_engine_passes_every_trial(tmp_path: Path, name: str) -> None:
    try_one(tmp_path, name)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_a_mistake_in_the_engine_is_noticed(tmp_path: Path, mutation: Mutation) -> None:
    with applied(mutation), pytest.raises(Exception) as noticed:
        try_one(tmp_path, mutation.trial)
    assert issubclass(noticed.type, AssertionError), f"not noticed, but broken: {noticed.value!r}"
    assert "has changed" not in str(noticed.value), "the mutation does not fit the engine any more"


def test_every_trial_is_good_for_something() -> None:
    assert {m.trial for m in MUTATIONS} == set(TRIALS)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_a_random_life_notices_it_too(mutation: Mutation) -> None:
    """``python -m tests.proof mutations --seeds 300 --record`` finds them anew when lives have changed."""
    catch = known()[mutation.name]
    with applied(mutation):
        error = failure(draw(catch.seed))
    assert isinstance(error, AssertionError), f"life {catch.seed} does not notice it: {error!r}"
    assert check_of(error) == catch.check, error
    # that the engine as it is keeps every rule in this life is one of the 300 of test_lives; a later one is
    # lived here
    assert catch.seed < 300 or failure(draw(catch.seed)) is None
