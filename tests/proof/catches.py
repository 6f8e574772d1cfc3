"""Which of the random lives catches which mutation: searched for, and written down in ``catches.tsv``."""

from pathlib import Path
from typing import NamedTuple

from tests.proof import trials
from tests.proof.mutations import MUTATIONS, Mutation, applied, notices
from tests.proof.recipe import GENERATOR, draw
from tests.proof.shrink import check_of, failure

__all__ = ["TABLE", "Catch", "first_catch", "known", "report"]

TABLE = Path(__file__).with_name("catches.tsv")
HEAD = f"mutation\tseed\tcheck\tgenerator {GENERATOR}\n"


class Catch(NamedTuple):
    mutation: str
    seed: int
    check: str
    """the rule that was seen broken"""


def known() -> dict[str, Catch]:
    rows = [line.split("\t") for line in TABLE.read_text().splitlines()[1:]]
    return {row[0]: Catch(row[0], int(row[1]), row[2]) for row in rows}


def first_catch(mutation: Mutation, seeds: int) -> Catch | None:
    """The first random life that keeps every rule, and with the mutation does not."""
    for seed in range(seeds):
        with applied(mutation):
            error = failure(draw(seed))
        if isinstance(error, AssertionError) and failure(draw(seed)) is None:
            return Catch(mutation.name, seed, check_of(error))
    return None


def report(seeds: int, record: bool) -> int:
    """Print what notices each mutation; 1 when its trial, or (with ``seeds``) every life, misses one."""
    missed = 0
    found: list[Catch] = []
    for mutation in MUTATIONS:
        with applied(mutation):
            by = notices(lambda root, m=mutation: trials.try_one(root, m.trial))  # type: ignore[misc]
        catch = first_catch(mutation, seeds)
        missed += not by or (catch is None and seeds > 0)
        chance = ""
        if catch is not None:
            found.append(catch)
            chance = f"; random life {catch.seed}: {catch.check}"
        elif seeds:
            chance = "; NO RANDOM LIFE"
        print(f"{mutation.name}: {mutation.trial}: {by or 'NOT NOTICED'}{chance}", flush=True)
    print(f"{len(MUTATIONS)} mutations, {missed} not noticed")
    if record:
        TABLE.write_text(HEAD + "".join(f"{c.mutation}\t{c.seed}\t{c.check}\n" for c in found))
    return 1 if missed else 0
