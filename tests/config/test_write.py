import os
import stat
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choline_tui.config import load_project
from choline_tui.config.write import (
    _EXAMPLES,
    _TABLES,
    SCHEMA_FILE,
    edit_text,
    new_text,
    write_project,
)
from choline_tui.kernel.errors import ProjectError

BY_HAND = """\
# mine, keep it
command = "python a.py"   # the old one
gpu = "1x4090"

[env]
# why seven
SEED = "7"

[run]
max_life = "3h"
"""


def test_a_new_file_explains_every_key_and_says_where_values_come_from() -> None:
    text = new_text(
        {"command": "python train.py", "send": ["../a"], "run.max_life": "3h"},
        {"command": "README.md:3"},
        schema=True,
    )
    assert text.startswith(f"#:schema ./{SCHEMA_FILE}\n")
    assert '# what runs, as text for the shell or a list of words\n# from README.md:3\ncommand = "' in text
    assert "\n# max_price = 0.9\n" in text
    assert tomllib.loads(text) == {"command": "python train.py", "send": ["../a"], "run": {"max_life": "3h"}}
    assert "#:schema" not in new_text({}, {}, schema=False)


def test_every_example_is_a_value_that_the_project_reads(tmp_path: Path) -> None:
    """What stands there commented out must be right when somebody takes the # away."""
    lines = new_text({}, {}, schema=False).split("\n")
    plain = [line[2:] for line in lines if line.startswith("# [") or (" = " in line and line[0] == "#")]
    assert len(plain) == len(_EXAMPLES) + sum(1 + len(examples) for _, examples in _TABLES.values())
    (tmp_path / "choline.toml").write_text("\n".join(plain))
    assert load_project(tmp_path).command


def test_an_edit_keeps_what_a_person_wrote() -> None:
    text = edit_text(
        BY_HAND, {"command": "python b.py", "disk": 40, "gpu": None, "env.LR": "1", "run.max_life": None}
    )
    assert "# mine, keep it\n" in text and "# the old one" in text and "# why seven\n" in text
    assert tomllib.loads(text) == {
        "command": "python b.py",
        "disk": 40,
        "env": {"SEED": "7", "LR": "1"},
        "run": {},
    }
    assert edit_text(BY_HAND, {}) == BY_HAND


def test_a_value_takes_the_place_of_its_example_in_a_file_of_ours_only() -> None:
    ours = new_text({"command": "a"}, {}, schema=False)
    changed = edit_text(ours, {"disk": 40})
    assert "# disk = " not in changed and changed.count("\n") == ours.count("\n")
    tricky = 'setup = """\n# disk = 40\n"""\n'
    assert tomllib.loads(edit_text(tricky, {"disk": 7})) == {"setup": "# disk = 40\n", "disk": 7}


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@settings(max_examples=60, deadline=None)
@given(words, st.lists(words, max_size=3), words)
def test_whatever_a_value_holds_is_read_back(value: str, several: list[str], where: str) -> None:
    values = {"command": value, "send": several}
    assert tomllib.loads(new_text(values, {"command": where}, schema=True)) == values
    changed = edit_text(BY_HAND, {"command": value, "exclude": several})
    assert tomllib.loads(changed) == tomllib.loads(BY_HAND) | {"command": value, "exclude": several}


def test_nothing_is_written_that_could_not_be_read(tmp_path: Path) -> None:
    file = tmp_path / "choline.toml"
    file.write_text(BY_HAND)
    for text in ("command = [", "disk = -1", 'qeury = "x"'):
        with pytest.raises(ProjectError):
            write_project(tmp_path, text, schema="{}")
    assert file.read_text() == BY_HAND
    assert os.listdir(tmp_path) == ["choline.toml"]


def test_a_link_and_its_mode_stay(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.toml"
    real.write_text(BY_HAND)
    real.chmod(0o640)
    project = tmp_path / "p"
    project.mkdir()
    (project / "choline.toml").symlink_to(real)
    write_project(project, 'command = "x"\n', schema="{}")
    assert (project / "choline.toml").is_symlink() and real.read_text() == 'command = "x"\n'
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert (project / SCHEMA_FILE).read_text() == "{}"


def test_entries_of_a_list_keep_the_comments_beside_them() -> None:
    before = '# a\nexclude = [\n  "x",  # why x\n  "y",\n]\n'
    after = edit_text(before, {"exclude": ["x", "z"]})
    assert tomllib.loads(after) == {"exclude": ["x", "z"]} and "# why x" in after
    assert tomllib.loads(edit_text(before, {"exclude": ["y", "x"]})) == {"exclude": ["y", "x"]}
    assert tomllib.loads(edit_text(before, {"exclude": ["w", "x", "y"]})) == {"exclude": ["w", "x", "y"]}
    pairs = 'send = [{path = "a", into = "b"}, "c"]\n'
    assert tomllib.loads(edit_text(pairs, {"send": ["c", "d"]})) == {"send": ["c", "d"]}


def test_an_environment_that_was_emptied_goes_for_an_empty_one_means_something() -> None:
    emptied = edit_text('a = 1\n[environment]\nfrom = "x"\n', {"environment.from": None})
    assert tomllib.loads(emptied) == {"a": 1}
    kept = edit_text('[environment]\n# mine\nfrom = "x"\n', {"environment.from": None})
    assert "# mine" in kept
