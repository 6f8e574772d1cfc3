"""A job on a terminal of its own, and people who attach to it: real pseudo-terminals, no SSH."""

import json
import time
from pathlib import Path

import pytest

from choline_tui.kernel.protocol import JobSpec
from choline_tui.remote.attach import _until, key_pattern
from choline_tui.remote.terminal import _ASKING, _LINE_END, BACKLOG, Terminal
from tests.remote.box import Remote
from tests.support import wait_until
from tests.support.terminal import Person

TALKS = """
import os, signal, sys
known = None
def size(*_):
    global known
    before, known = known, "%d x %d" % tuple(reversed(os.get_terminal_size()))
    # not print: a signal may come in the middle of another one
    os.write(1, b"%s\\n" % ("size " + known if known != before else "drawn anew").encode())
signal.signal(signal.SIGWINCH, size)
print("on a terminal:", os.isatty(0) and os.isatty(1), os.environ["TERM"], flush=True)
size()
for line in sys.stdin:
    print("heard <%s>" % line.strip(), flush=True)
    if line.strip() == "end":
        sys.exit(5)
"""


@pytest.fixture
def talking(remote: Remote) -> Remote:
    (remote.home / "talks.py").write_text(TALKS)
    remote.submit("r-1", f"{remote.python} {remote.path('talks.py')}", tty=True)
    wait_until(lambda: b"size" in remote.log("r-1"), what="the program talks")
    return remote


def person(remote: Remote, *words: str, rows: int = 24, columns: int = 80) -> Person:
    return Person(
        remote.argv("attach", "r-1", *words), remote.env | {"TERM": "xterm"}, rows=rows, columns=columns
    )


def test_what_is_typed_arrives_and_what_is_shown_is_logged(talking: Remote) -> None:
    with person(talking) as me:
        me.waits("size 24 x 80")  # what was shown before is shown again
        me.waits("drawn anew")
        me.types("hello\r")
        me.waits("heard <hello>")
        me.types("end\r")
        assert me.left() == 0
        assert me.sees("the command has ended (exited 5)")
    status = talking.ended("r-1")
    assert (status.reason, status.exit_code) == ("exited", 5)
    # lines end as in any log, whatever a terminal makes of them
    assert talking.log("r-1") == (
        b"on a terminal: True xterm-256color\nsize 24 x 80\ndrawn anew\n"
        b"hello\nheard <hello>\nend\nheard <end>\n"
    )
    assert not (talking.system / "jobs/r-1/tty").exists()


def test_leaving_leaves_the_program_running_and_the_terminal_as_it_was(talking: Remote) -> None:
    with person(talking) as me:
        me.waits("size 24 x 80")
        me.types(b"never sent\x1c")
        assert me.left() == 0
        assert me.sees("detached; the command goes on") and b"\x1b[?1049l" in me.seen
    assert talking.status("r-1").state == "running"
    with person(talking, "--key", "1") as again:
        again.waits("size 24 x 80")
        again.types("\x15back\r")  # ctrl+u takes back what nobody ended with return
        again.waits("heard <back>")
        again.types(b"\x1b[97;5u")  # ctrl+a, as programs that ask for it are told
        assert again.left() == 0
    assert talking.status("r-1").state == "running"


def test_several_are_attached_and_the_smallest_window_counts(talking: Remote) -> None:
    with person(talking, rows=50, columns=160) as wide, person(talking, rows=30, columns=90) as small:
        wide.waits("size 30 x 90")
        small.waits("size 30 x 90")
        small.types("from small\r")
        wide.waits("heard <from small>")
        small.resizes(28, 200)
        wide.waits("size 28 x 160")
        small.types(b"\x1c")
        assert small.left() == 0
        wide.waits("size 50 x 160")
        wide.types("still here\r")
        wide.waits("heard <still here>")


def test_one_whose_line_breaks_takes_nothing_along(talking: Remote) -> None:
    with person(talking) as me:
        me.waits("size 24 x 80")
    with person(talking) as me:
        me.waits("size 24 x 80")
        me.types("again\r")
        me.waits("heard <again>")


def test_ctrl_c_interrupts_and_a_stop_ends_it(remote: Remote) -> None:
    remote.submit("r-1", "trap 'echo interrupted' INT; echo ready; while :; do sleep 0.1; done", tty=True)
    wait_until(lambda: b"ready" in remote.log("r-1"), what="it is ready")
    with person(remote) as me:
        me.waits("ready")
        me.types(b"\x03")
        me.waits("interrupted")
    assert remote.status("r-1").state == "running"
    remote.call("stop", "r-1", "--grace", "5", "--reason", "stopped")
    assert remote.ended("r-1").reason == "stopped"


def test_all_of_a_fast_program_is_kept_while_nobody_and_somebody_looks(remote: Remote) -> None:
    remote.submit("r-1", "seq 1 50000; read -r _; seq 1 50000; printf 'last\\r\\nline\\r'", tty=True)
    with_newline = "".join(f"{n}\n" for n in range(1, 50001)).encode()
    wait_until(lambda: remote.log("r-1") == with_newline, what="the first half")
    with person(remote) as me:
        me.waits("\n50000\r\n")
        me.types("\r")
        assert me.left() == 0
    assert remote.ended("r-1").exit_code == 0
    assert remote.log("r-1") == with_newline + b"\n" + with_newline + b"last\nline\r"


def test_what_a_terminal_would_answer_is_not_shown_again(remote: Remote) -> None:
    remote.submit(
        "r-1", r"printf 'a\033[6nb\033[cc\033]11;?\007d\033[1mbold\n'; read -r x; echo \<$x\>", tty=True
    )
    wait_until(lambda: b"bold" in remote.log("r-1"), what="it has asked")
    with person(remote) as me:
        me.waits("abcd\x1b[1mbold")
        me.types("x\r")
        me.waits("<x>")


def test_one_who_comes_late_is_given_the_screen_the_program_asked_for(remote: Remote) -> None:
    draws = r"printf '\033[?1049h\033[?25;1000l\033[?10'; sleep 0.1; printf '06h\033[?2004h\033[?2004l'"
    remote.submit("r-1", f"{draws}; seq 1 20000; read -r _", tty=True)
    wait_until(lambda: remote.log("r-1").endswith(b"\n20000\n"), what="it has written a lot")
    with person(remote) as me:
        me.waits("\n20000\r\n")
        assert me.seen.startswith(b"\x1b[?25l\x1b[?1006h\x1b[?1049h") and b"?2004h" not in me.seen[:200]
        me.types("\r")
        assert me.left() == 0


@pytest.mark.parametrize("spec", [{}, {"tty": False}, {"tty": "yes"}])
def test_without_a_terminal_it_says_how_to_get_one(remote: Remote, spec: dict[str, object]) -> None:
    remote.submit("r-1", "[ -t 0 ] || [ -t 1 ] || echo none; sleep 60", **spec)
    wait_until(lambda: remote.log("r-1") == b"none\n", what="it runs")
    with person(remote) as me:
        assert me.left() == 255
        assert me.sees("does not run on a terminal") and me.sees("tty = true")


def test_attaching_to_what_is_not_there(remote: Remote) -> None:
    with person(remote) as me:
        assert me.left() == 255 and me.sees("no job r-1")
    remote.submit("r-1", "true", tty=True)
    remote.ended("r-1")
    with person(remote) as me:
        assert me.left() == 255 and me.sees("has ended already (exited)")


def test_entering_gives_a_command_what_the_job_has(remote: Remote) -> None:
    remote.submit("r-1", "sleep 60", env={"MINE": "a 'b'"}, gpus=2)
    remote.running("r-1")
    text = 'echo "$MINE|$CHOLINE_RUN|$CHOLINE_NUM_GPUS|$PWD"; exit 9'
    with Person(remote.argv("enter", "r-1", "--", text), remote.env) as me:
        assert me.left() == 9
        assert me.seen.decode() == f"a 'b'|r|2|{remote.home}/choline/r/src\r\n"
    with Person(remote.argv("enter", "r-1"), remote.env | {"SHELL": "/bin/sh", "PS1": "here: "}) as me:
        me.types("echo run is $CHOLINE_RUN; exit 4\r")
        assert me.left() == 4 and me.sees("run is r\r\n")
    with Person(remote.argv("enter", "r-2", "--", "true"), remote.env) as me:
        assert me.left() == 255 and me.sees("no job r-2")


def test_output_that_looks_like_a_question_without_end_takes_no_time() -> None:
    """Whoever attached waited a quarter of a minute for it, and so did the job's log and its stop."""
    strange = b"\x1b]" + b";" * BACKLOG + b"\x1bP$" * 1000 + b"\x1b]1;" + b"a" * BACKLOG
    begun = time.process_time()
    assert _ASKING.sub(b"", strange) == strange
    assert _LINE_END.sub(b"\n", b"a\r\r\nb\r\n" + b"\r" * 65000 + b"c") == b"a\nb\n" + b"\r" * 65000 + b"c"
    assert time.process_time() - begun < 1.0  # of the processor, however busy it is: 4 s before, 0.01 s now
    assert _ASKING.sub(b"", b"a\x1b]11;?\x07b\x1b]4;1;?\x1b\\c\x1b]52;c;?\x07") == b"abc"


def test_a_machine_whose_terminals_have_no_name_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name was asked for where nobody expected an error, and the job was lost with it."""

    def nameless(fd: int) -> str:
        raise OSError(19, "No such device")

    monkeypatch.setattr("choline_tui.remote.terminal.os.ttyname", nameless)
    with pytest.raises(OSError, match="No such device"):
        Terminal(str(tmp_path / "tty"), lambda data: None)


def test_a_spec_of_before_there_were_terminals_has_none() -> None:
    old = json.loads((Path(__file__).parents[1] / "samples/protocol/v1/job_spec.json").read_text())
    assert "tty" not in old and JobSpec.from_wire(old).tty is False


@pytest.mark.parametrize(
    ("data", "kept", "left"),
    [
        (b"abc", b"abc", False),
        (b"", b"", True),
        (b"ab\x1ccd", b"ab", True),
        (b"ab\x1b[92;5ucd", b"ab", True),
        (b"ab\x1b[27;5;92~", b"ab", True),
        (b"ab\x1b[92;6u", b"ab\x1b[92;6u", False),
    ],
)
def test_the_key_to_leave(data: bytes, kept: bytes, left: bool) -> None:
    assert _until(data, key_pattern(28)) == (kept, left)
