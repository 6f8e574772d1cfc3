"""Every version of the protocol left samples here; this version must read all of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from choline_tui.kernel import frames, manifest
from choline_tui.kernel.handover import Handover, Kept
from choline_tui.kernel.protocol import PROTOCOL, JobSpec, JobStatus, Lease, RemoteStatus

SAMPLES = Path(__file__).parent.parent / "samples" / "protocol"
READERS: dict[str, Any] = {
    "handover": Handover.from_wire,
    "job_spec": JobSpec.from_wire,
    "job_status": JobStatus.from_wire,
    "kept": Kept.from_wire,
    "lease": Lease.from_wire,
    "remote_status": RemoteStatus.from_wire,
}
FILES = sorted(SAMPLES.glob("v*/*"))


def _holds(again: Any, content: Any) -> bool:
    """Whether ``again`` has all of ``content``; what is newer may be there besides."""
    if isinstance(content, dict):
        return all(key in again and _holds(again[key], value) for key, value in content.items())
    return bool(again == content)


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_a_sample_is_read(path: Path) -> None:
    data = path.read_bytes()
    if path.stem == "stream":
        read = [frames.decode(line) for line in data.splitlines(keepends=True)]
        assert read[-1].status is not None and read[-1].status.state == "ended"
        assert b"".join(f.data for f in read) == b"hello\nw\xff"
    elif path.stem == "manifest":
        entries, cut = manifest.read(data.splitlines())
        assert entries[b"results/na\xffme \n.pt"].size == 3
        assert not cut
    else:
        content = json.loads(data)
        value = READERS[path.stem](content)
        # nothing of an old sample may be lost on the way through this version
        assert _holds(value.to_wire(), content)


def test_this_version_has_left_its_samples() -> None:
    # what was added without a new number lies in v1.1, v1.2, ...
    here = {p.stem for p in FILES if p.parent.name.partition(".")[0] == f"v{PROTOCOL}"}
    assert here == {*READERS, "stream", "manifest"}
