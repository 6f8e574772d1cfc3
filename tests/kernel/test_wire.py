"""Frames, manifests and nvidia-smi: what is written is read again, and nonsense raises ValueError only."""

import base64
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from choline_tui.kernel import frames, manifest, nvidia_smi
from choline_tui.kernel.jobs import live, shell_exit, signal_name
from choline_tui.kernel.protocol import Frame, JobSpec, JobStatus, Lease, RemoteStatus

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["s", "o", "d", "status", "beat", "p", "n", "m", "h", "end", "id", "jobs", "run"])
            | st.text(max_size=8),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from(["setup", "run"]), st.integers(0, 1 << 40), st.binary(min_size=1, max_size=2000))
def test_a_frame_comes_through(source: str, offset: int, data: bytes) -> None:
    line = frames.encode(Frame(source, offset, data))
    assert line.endswith(b"\n")
    assert b"\n" not in line[:-1]
    assert frames.decode(line) == Frame(source, offset, data)


def test_the_largest_frame_fits_into_a_line() -> None:
    line = frames.encode(Frame("run", 1 << 61, b"\xff" * Frame.MAX_DATA))
    assert len(line) <= Frame.MAX_LINE
    assert frames.decode(line).data == b"\xff" * Frame.MAX_DATA
    with pytest.raises(ValueError, match="at most"):
        frames.encode(Frame("run", 0, b"x" * (Frame.MAX_DATA + 1)))


def test_statuses_and_beats_come_through() -> None:
    status = JobStatus("r-1", "ended", "exited", 137, log_bytes={"run": 5})
    assert frames.decode(frames.encode(Frame(status=status))).status == status
    assert frames.is_beat(frames.decode(frames.BEAT))
    assert frames.encode(Frame()) == frames.BEAT


@given(st.one_of(JSON.map(lambda v: json.dumps(v).encode()), st.binary(max_size=100)))
def test_nonsense_raises_value_error_only(line: bytes) -> None:
    for read in (frames.decode, lambda text: manifest.read([text])):
        try:
            read(line)
        except ValueError:
            continue
    for cls in (JobSpec, JobStatus, Lease, RemoteStatus):
        try:
            cls.from_wire(json.loads(line))
        except (ValueError, RecursionError):
            continue


@pytest.mark.parametrize(
    "data",
    [
        {"s": "other", "o": 0, "d": "eA=="},
        {"s": "run", "o": -1, "d": "eA=="},
        {"s": "run", "o": True, "d": "eA=="},
        {"s": "run", "o": 0, "d": ""},
        {"s": "run", "o": 0, "d": "&&&&"},
        {"s": "run", "o": 0, "d": base64.b64encode(b"x" * (Frame.MAX_DATA + 1)).decode()},
        {"beat": 2},
        [],
    ],
)
def test_bad_frames(data: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        frames.decode(json.dumps(data).encode())


NAMES = st.binary(min_size=1, max_size=20).filter(
    lambda b: b"/" not in b and b"\0" not in b and b not in (b".", b"..")
)


@given(st.dictionaries(NAMES, st.integers(0, 1 << 60), max_size=5))
def test_a_manifest_carries_any_name(files: dict[bytes, int]) -> None:
    entries = {
        b"results/" + name: manifest.Entry(b"results/" + name, size, -5, "a" * 64)
        for name, size in files.items()
    }
    lines = [manifest.encode(e) for e in entries.values()] + [manifest.encode_end(len(entries))]
    assert manifest.read(lines) == (entries, False)
    if entries:
        with pytest.raises(ValueError, match="no end"):
            manifest.read(lines[:-1])
        with pytest.raises(ValueError, match="not whole"):
            manifest.read(lines[1:])


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "results",
        "results/",
        "results/../x",
        "src/x",
        "keep//x",
        "keep/./x",
        "results/a\0b",
        "../r/x",
    ],
)
def test_a_manifest_cannot_name_what_lies_outside(path: str) -> None:
    line = json.dumps({"p": path, "n": 1, "m": 1, "h": ""}).encode()
    with pytest.raises(ValueError, match="leaves the results"):
        manifest.read([line, manifest.encode_end(1)])


@pytest.mark.parametrize(
    ("text", "cards", "error"),
    [
        (
            "NVIDIA GeForce RTX 4090, 24564, 550.54.15\n" * 2,
            [("NVIDIA GeForce RTX 4090", 24564.0, "550.54.15")] * 2,
            "",
        ),
        ("NVIDIA GB10, [N/A], 580.95\n", [("NVIDIA GB10", 0.0, "580.95")], ""),
        ("Tesla, with comma, 16160 MiB, [N/A]", [("Tesla, with comma", 16160.0, "")], ""),
        ("NVIDIA-SMI has failed because it couldn't communicate with the driver.", [], "NVIDIA-SMI has"),
        ("NVIDIA H100, 81559, 550\nUnable to determine\n", [("NVIDIA H100", 81559.0, "550")], "Unable to"),
        ("[GPU is lost], [GPU is lost], [GPU is lost]", [], "[GPU is lost]"),
        ("sh: nvidia-smi: not found", [], "sh: nvidia-smi"),
        ("\x1b[31mEvil\x1b]0;x\x07, 1e300, 5", [("Evil", 0.0, "5")], ""),
        ("", [], ""),
    ],
)  # fmt: skip
def test_nvidia_smi(text: str, cards: list[tuple[str, float, str]], error: str) -> None:
    got, words = nvidia_smi.parse(text)
    assert [(g.name, g.memory_mib, g.driver) for g in got] == cards
    assert words.startswith(error) and bool(words) == bool(error)


def test_noise_is_no_card() -> None:
    for seed in range(20):
        noise = random.Random(seed).randbytes(65536).decode("utf-8", "replace")
        assert nvidia_smi.parse(noise)[0] == []


@given(st.text(max_size=300))
def test_nvidia_smi_never_breaks(text: str) -> None:
    gpus, _ = nvidia_smi.parse(text)
    assert len(gpus) <= nvidia_smi.MAX_GPUS


def test_exit_codes_are_a_shells() -> None:
    assert [shell_exit(s) for s in (0, 7 << 8, 9, 15, 11 | 0x80)] == [0, 7, 137, 143, 139]
    assert [signal_name(c) for c in (0, 1, 137, 143, 255)] == ["", "", "SIGKILL", "SIGTERM", ""]
    assert live([JobStatus("a"), JobStatus("b", "ended"), JobStatus("c", "running")]) == 2
