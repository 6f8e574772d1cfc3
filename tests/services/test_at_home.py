"""What lies at home of a run is read with bounds, follows no links and believes no name."""

import os
from pathlib import Path

from choline_tui.services.at_home import LastLines, files_in, log_end, read_start
from tests.cli.fakes import attempt, live_view, run
from tests.ui.fake import RunView


def test_files_by_path_with_sizes_and_without_links(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "deep.pt").write_bytes(b"x" * 10)
    (tmp_path / "a" / "z.txt").write_bytes(b"y")
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    Path(os.fsdecode(bytes(tmp_path) + b"/\xff\xfe")).write_bytes(b"zz")
    found = files_in(tmp_path)
    assert [(f.path, f.size) for f in found.files] == [
        ("a/b/deep.pt", 10),
        ("a/z.txt", 1),
        ("\ufffd\ufffd", 2),
    ]
    assert (found.total, found.more, found.there) == (13, False, True)
    few = files_in(tmp_path, most=1)
    assert (len(few.files), few.more) == (1, True)
    assert not files_in(tmp_path / "none").there


def test_a_file_is_read_as_far_as_wanted_and_only_a_regular_one(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"0123456789")
    (tmp_path / "link").symlink_to(tmp_path / "f")
    os.mkfifo(tmp_path / "pipe")
    assert read_start(tmp_path / "f", 4) == b"0123"
    assert read_start(tmp_path / "link", 4) == b""
    assert read_start(tmp_path / "pipe", 4) == b""
    assert read_start(tmp_path, 4) == b""


def test_the_end_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    assert log_end(log) == ""
    for data, last in (
        (b"", ""),
        (b"\n\n", ""),
        (b"one\ntwo\n\n", "two"),
        (b"one\r\ntwo\r\n", "two"),
        (b"epoch 1\n10%\r50%\r90%", "90%"),
        (b"\x1b[31mred\x1b[0m\x1b[2J\n", "red"),
        (b"x" * 100_000 + b"\n\xff\xfe end\n", "\ufffd\ufffd end"),
    ):
        log.write_bytes(data)
        assert log_end(log) == last, data[-20:]


def test_last_lines_are_read_once_a_second_at_most(tmp_path: Path) -> None:
    now = [0.0]
    asked: list[str] = []

    def log_file(run_id: str, n: int, source: str) -> Path:
        asked.append(source)
        return tmp_path / f"{n}-{source}.log"

    lines = LastLines(log_file, lambda: now[0])
    view = live_view()
    assert lines.of(view) == ""
    (tmp_path / "1-setup.log").write_text("installing\n")
    assert lines.of(view) == ""
    now[0] = 1.5
    assert lines.of(view) == "installing"
    (tmp_path / "1-run.log").write_text("step 1\n")
    now[0] = 3.0
    assert lines.of(view) == "step 1"
    assert asked == ["run", "setup"]
    second = RunView(view.run, [attempt(), attempt(n=2)], view.rentals)
    (tmp_path / "2-run.log").write_text("again\n")
    now[0] = 5.0
    assert lines.of(second) == "again"
    lines.forget(set())
    assert lines.of(second) == "again"
    assert lines.of(RunView(run("other"), [], [])) == ""
