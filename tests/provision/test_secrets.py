"""Secrets over a real SSH connection: on stdin alone; and remotes that cannot take them, or lie about it."""

import os
import shutil
from pathlib import Path

import pytest

from choline_tui.kernel.errors import ProtocolMismatch, RemoteError
from choline_tui.kernel.handover import Handover, Kept, memory_name
from tests.provision.test_session import LEASE, Place

GIVEN = Handover({"HF_TOKEN": "a value; nobody sees"})


async def test_they_go_by_stdin_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path, monkeypatch)
    try:
        await place.session.prepare("r", LEASE)
        place.commands.clear()
        assert isinstance(await place.session.secrets("r-1", GIVEN), Kept)
        assert len(place.commands) == 1 and "value" not in place.commands[0] and place.sent > 20
        place.lie("echo 'run: error: argument verb: invalid choice: '\\''secrets'\\' >&2; exit 2")
        with pytest.raises(ProtocolMismatch, match="older choline"):
            await place.session.secrets("r-1", GIVEN)
        for answer in ('{"memory": 1}', "[]", '{"error": {"code": "RemoteError", "message": "no"}}', ""):
            place.lie(f"printf '%s\\n' '{answer}'")
            with pytest.raises(RemoteError) as caught:
                await place.session.secrets("r-1", GIVEN)
            assert "nobody sees" not in f"{caught.value}{caught.value.hint}"
    finally:
        await place.close()
        shutil.rmtree(Path("/dev/shm", memory_name(os.getuid(), str(place.home))), ignore_errors=True)
