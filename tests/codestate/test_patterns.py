"""Our reading of ignore patterns, against git's own."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choline_tui.codestate.patterns import Patterns, read_patterns
from choline_tui.codestate.repository import without_credentials
from tests.support import needs

PATHS = (
    b"a.py",
    b"b.pyc",
    b"sub/a.py",
    b"sub/deep/a.py",
    b"sub/deep/b.txt",
    b"build/x.o",
    b"sub/build/x.o",
    b"a[1].txt",
    b"a1.txt",
    b"#x",
    b"!y",
    b"sp ace",
    b"docs/a/b/c.md",
    b"docs/c.md",
    b"caf\xc3\xa9.txt",
)

LISTS = (
    ["*.pyc"],
    ["/a.py"],
    ["a.py"],
    ["sub/a.py"],
    ["build/"],
    ["/build/"],
    ["sub/*"],
    ["sub/**"],
    ["**/a.py"],
    ["docs/**/c.md"],
    ["*.py", "!a.py"],
    ["sub/", "!sub/a.py"],
    ["sub/*", "!sub/deep/", "sub/deep/*.txt"],
    ["a[1].txt"],
    ["a[!0-9].txt"],
    ["a\\[1\\].txt"],
    ["\\#x", "\\!y"],
    ["# comment", "", "   "],
    ["sp ace   "],
    ["?.py"],
    ["caf?.txt"],
    ["caf*.txt"],
    ["[a"],
    ["*"],
    ["/*", "!/docs"],
    ["deep"],
    ["x.o/"],
)


@pytest.mark.parametrize("lines", LISTS, ids=lambda lines: " ".join(lines) or "-")
def test_patterns_mean_what_git_means(tmp_path: Path, lines: list[str]) -> None:
    needs("git")
    subprocess.run(["git", "init", "-q", "."], cwd=tmp_path, check=True)
    for path in PATHS:
        file = tmp_path / path.decode()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
    (tmp_path / ".git/info/exclude").write_text("\n".join(lines) + "\n")
    kept = subprocess.run(
        ["git", "ls-files", "-z", "--others", "--exclude-standard"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    ).stdout
    patterns = Patterns(lines)
    ours = {path for path in PATHS if not patterns.leaves_out_within(path, {})}
    assert ours == set(kept.split(b"\0")) - {b""}


@settings(deadline=None, max_examples=200)
@given(st.lists(st.text(alphabet="ab*?[]!^-/\\#. ~&|", max_size=12), max_size=4), st.sampled_from(PATHS))
def test_no_pattern_whatever_raises(lines: list[str], path: bytes) -> None:
    Patterns(lines).leaves_out_within(path, {})


def test_many_stars_do_not_take_for_ever() -> None:
    assert not Patterns(["*a" * 12 + "b"]).leaves_out(b"a" * 40)
    assert not Patterns(["*" * 60 + "b"]).leaves_out(b"a" * 4000)


def test_no_file_no_patterns(tmp_path: Path) -> None:
    assert read_patterns(str(tmp_path / "none")) == []
    assert not Patterns([])


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:token@example.com/x.git", "https://example.com/x.git"),
        ("https://token@example.com/x.git", "https://example.com/x.git"),
        ("https://example.com/x.git?private_token=s#f", "https://example.com/x.git"),
        ("https://a@b@example.com/x", "https://example.com/x"),
        ("ssh://git:pw@example.com:22/x.git", "ssh://git@example.com:22/x.git"),
        ("ssh://git@example.com/x.git", "ssh://git@example.com/x.git"),
        ("git@example.com:x.git", "git@example.com:x.git"),
        ("/srv/git/x", "/srv/git/x"),
        ("", ""),
    ],
)
def test_a_remote_is_shown_without_credentials(url: str, shown: str) -> None:
    assert without_credentials(url) == shown
