"""The code of runs: rebuilt, compared, pushed. The engine does it; names and texts of files are foreign."""

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from choline_tui.services.connection import Connection

__all__ = ["CodeServices", "Difference"]


@dataclass
class Difference:
    """``old``, ``new``: {run (None: the working tree now), commit, message, branch, remote, dirty_count,
    changed_lines, ...}. ``files``: {path, kind (added, deleted, changed, renamed, type), added and removed
    (lines; None: binary), before (name before, or None)}."""

    old: dict[str, Any]
    new: dict[str, Any]
    files: list[dict[str, Any]]
    text: AsyncIterator[bytes] = field(repr=False)
    """the difference, as ``git apply`` takes it; to be read once"""


class CodeServices:
    """A part of ``Choline``. Methods raise NotFound for a run there is not, UsageError when its code was
    deleted with it, StoreError when the copy of it is damaged."""

    async def _call(self, method: str, **params: Any) -> Any:
        raise NotImplementedError

    async def _engine(self) -> "Connection":
        raise NotImplementedError

    async def checkout(self, run: str, into: Path) -> dict[str, Any]:
        """Make the exact tree of a run in ``into``, which is empty or not there yet: {run, into, files,
        bytes, commit, message, branch, remote, dirty_count, changed_lines, warnings, ...}. Raises UsageError
        for a directory that has something in it."""
        answer: dict[str, Any] = await self._call("checkout", run=run, into=str(Path(into).absolute()))
        return answer

    async def diff(self, run: str, other: str = "", *, text: bool = True, binary: bool = True) -> Difference:
        """From the code of ``run`` to that of ``other``; '': to the working tree of its project now.
        ``text``: the difference itself too; ``binary``: binary files whole, else only named."""
        stream = (await self._engine()).stream("code_diff", run=run, other=other, text=text, binary=binary)
        first = await anext(stream)

        async def pieces() -> AsyncIterator[bytes]:
            async for item in stream:
                yield base64.b64decode(item["text"])

        return Difference(first["old"], first["new"], first["files"], pieces())

    async def push(self, run: str) -> dict[str, Any]:
        """Send what changed in the project since to the machine of a live run, into its src: {run, files
        (names), bytes, deleted (names that are gone here; there they stay), warnings, how, skipped}. Raises
        UsageError for a run that has ended, RemoteError when its machine cannot be reached."""
        answer: dict[str, Any] = await self._call("push", run=run)
        return answer
