"""The wire form of ``protocol.Frame``: one JSON object a line.

A line is ``{"s": "run", "o": offset, "d": base64}``, ``{"status": {...}}`` or ``{"beat": 1}``, and at
most ``Frame.MAX_LINE`` bytes with its newline. Reading is strict: whatever else a remote sends raises
``ValueError``.
"""

import base64
import binascii
import json

from choline_tui.kernel.protocol import SOURCES, Frame, JobStatus

__all__ = ["BEAT", "BEAT_SECONDS", "decode", "encode", "is_beat"]

BEAT = b'{"beat":1}\n'
BEAT_SECONDS = 15.0
"""A stream with nothing to say says so this often; silence for three of these is a lost connection."""


def encode(frame: Frame) -> bytes:
    """One line, newline included. Raises ``ValueError`` for a frame that does not fit into one."""
    if frame.status is not None:
        body = {"status": frame.status.to_wire()}
    elif frame.source:
        if len(frame.data) > Frame.MAX_DATA:
            raise ValueError("a frame holds at most %d bytes" % Frame.MAX_DATA)
        text = base64.b64encode(frame.data).decode("ascii")
        body = {"s": frame.source, "o": frame.offset, "d": text}  # type: ignore[dict-item]
    else:
        return BEAT
    line = json.dumps(body, separators=(",", ":")).encode("ascii") + b"\n"
    if len(line) > Frame.MAX_LINE:
        raise ValueError("a frame's line is at most %d bytes" % Frame.MAX_LINE)
    return line


def decode(line: bytes) -> Frame:
    """The frame in a line; a heartbeat is an empty ``Frame`` (see ``is_beat``)."""
    if len(line) > Frame.MAX_LINE:
        raise ValueError("line too long")
    try:
        data = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as e:
        raise ValueError("a stream line is not JSON") from e
    if not isinstance(data, dict):
        raise ValueError("a stream line is not an object")
    if "status" in data:
        return Frame(status=JobStatus.from_wire(data["status"]))
    if "s" in data:
        source, offset, text = data["s"], data.get("o"), data.get("d")
        if source not in SOURCES:
            raise ValueError("unknown log source")
        if isinstance(offset, bool) or not isinstance(offset, int) or not 0 <= offset < 1 << 62:
            raise ValueError("bad log offset")
        if not isinstance(text, str):
            raise ValueError("bad log data")
        try:
            payload = base64.b64decode(text.encode("ascii"), validate=True)
        except (binascii.Error, UnicodeEncodeError) as e:
            raise ValueError("bad log data") from e
        if not payload or len(payload) > Frame.MAX_DATA:
            raise ValueError("bad log data length")
        return Frame(source=source, offset=offset, data=payload)
    if data.get("beat") == 1:
        return Frame()
    raise ValueError("unknown stream line")


def is_beat(frame: Frame) -> bool:
    return frame.status is None and not frame.source
