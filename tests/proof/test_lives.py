"""Random lives, and that one which fails can be shrunk to what matters in it."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proof import ranges
from tests.proof.catches import known
from tests.proof.mutations import MUTATIONS, applied
from tests.proof.recipe import Recipe, draw
from tests.proof.shrink import check_of, failure, shrunk

SEEDS = 300
PARTS = 12


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)  # trouble is what these lives are made of
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_happens_nothing_bills_and_nothing_is_lost(part: int) -> None:
    size = SEEDS // PARTS
    failed = [lived for lived in ranges.live_range(range(part * size, (part + 1) * size)) if lived.check]
    told = "\n".join(f"seed {f.seed}: {f.words[:300]}" for f in failed)
    again = "python -m tests.proof lives --shrink SEED"
    assert not failed, f"{told}\n{again} tells the shortest story of it"


def test_the_same_seed_is_the_same_life() -> None:
    first, second = ([(s.name, s.at, s.what, s.args) for s in draw(n).steps] for n in (5, 5))
    assert first == second and [s.name for s in draw(6).steps] != []
    ends = [list(_events(5)), list(_events(5))]
    assert ends[0] == ends[1] and len(ends[0]) > 10


def _events(seed: int) -> Iterator[str]:
    import tempfile

    from tests.proof import lives

    with tempfile.TemporaryDirectory() as folder:
        life = lives.one(Path(folder), seed)
        for home in life.homes:
            yield from lives.events(home).replace(folder, "").splitlines()


def test_decisions_left_out_leave_the_others_as_they_are() -> None:
    whole = draw(7)
    kept = whole.only(["s0", "f0"])
    assert [s.name for s in kept.live_steps()] == ["s0"] and kept.live_steps()[0] == whole.steps[0]
    assert kept.rules()[0] == whole.faults[0] and len(kept.rules()) == len(whole.faults)
    assert all(rule.chance == 0 for rule in kept.rules()[1:])
    assert kept.only(kept.names()).names() == kept.names()


def test_shrinking_leaves_what_the_failure_needs() -> None:
    """By a rule made up for the purpose: it is broken by two decisions together."""
    whole = draw(11)
    needed = {whole.steps[1].name, whole.steps[-2].name}
    lived = 0

    def fails(recipe: Recipe) -> Exception | None:
        nonlocal lived
        lived += 1
        return AssertionError("broken") if needed <= set(recipe.names()) else None

    assert set(shrunk(11, "AssertionError", fails).names()) == needed
    assert lived < 60


def test_a_life_that_a_mistake_in_the_engine_breaks_is_shrunk() -> None:
    name = "the label is forgotten"
    mutation = next(m for m in MUTATIONS if m.name == name)
    catch = known()[name]
    with applied(mutation):
        recipe = shrunk(catch.seed, catch.check, tries=40)
        error = failure(recipe)
    assert error is not None and check_of(error) == catch.check
    assert len(recipe.names()) < len(draw(catch.seed).names()) and len(recipe.names()) <= 3
    story = "\n".join(recipe.story())
    assert story.startswith(f"seed {catch.seed},") and "start" in story
    assert failure(recipe) is None, "it is the mistake that breaks it"


def test_a_range_is_written_down(tmp_path: Path) -> None:
    log = tmp_path / "ranges.tsv"
    ranges.write_down(ranges.parse("5-9"), {7: "unseen"}, 0.25, log, lambda: "abc")
    ranges.write_down(ranges.parse("10-19"), {}, 0.25, log, lambda: "abc")
    head, first, second = log.read_text().splitlines()
    assert first.split("\t")[0] == "5-9" and first.endswith("7 (unseen)") and second.endswith("none")
    assert len(first.split("\t")) == len(head.split("\t"))
