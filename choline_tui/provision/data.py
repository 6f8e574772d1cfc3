"""Data on its way to a remote's store: asked for by key first, sent only where it is not there yet."""

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from choline_tui.kernel import layout
from choline_tui.kernel.content import key_of
from choline_tui.kernel.errors import NotFound, RemoteError, TransferFailed, UsageError
from choline_tui.kernel.session import Item, OnProgress, Progress, Transfer
from choline_tui.ssh.connection import SshConnection
from choline_tui.ssh.manifest import Digest, manifest_remote
from choline_tui.ssh.transfer import remove_there, upload

__all__ = ["Ask", "Sender", "in_words"]

Ask = Callable[[dict[str, Any], OnProgress | None], Awaitable[dict[str, Any]]]
"""One request to the remote's ``data`` verb, and its answer."""

_busy: "weakref.WeakValueDictionary[tuple[str, str], asyncio.Lock]" = weakref.WeakValueDictionary()
"""one sender at a time for one key on one machine: the second finds it there"""


def in_words(size: float) -> str:
    """Bytes for a message: 1.2 GB, 34 MB, 5 kB."""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size:.0f} bytes"


class Sender:
    """Sends data of one session. ``list_command``: what prints the hashes of a key's files there."""

    def __init__(self, ask: Ask, list_command: Callable[[str], str]) -> None:
        self._ask = ask
        self._list_command = list_command
        self._keys: dict[str, str] = {}
        """what was sent last from a directory: when something in it changes, most of it is there"""

    async def send(
        self, conn: SshConnection, run: str, item: Item, on_progress: OnProgress | None
    ) -> Transfer:
        """Bring the item into the remote's store, unless it is there, and give it to the run.

        Raises ``TransferFailed``: with ``details["changed"]`` when something changed here meanwhile, with
        ``details["need"]`` and ``["free"]`` (bytes) when there is no room for it.
        """
        assert item.content is not None
        key, size = await asyncio.to_thread(key_of, item.content), sum(e.size for e in item.content)
        lock = _busy.setdefault((conn.host_key, key), asyncio.Lock())
        async with lock:
            request = {"do": "use", "key": key, "run": run, "into": item.into, "size": size}
            before, self._keys[item.base] = self._keys.get(item.base, ""), key
            try:
                answer = await self._ask({**request, "before": before if before != key else ""}, on_progress)
            except RemoteError as error:
                if "invalid choice" not in error.message:
                    raise
                # an older program, kept because of jobs that live: as it was done then
                return await self._upload(conn, item, f"{layout.run_dir(run)}/data/{item.into}", on_progress)
            if answer.get("state") == "whole":
                return Transfer(there=size)
            if answer.get("state") == "full":
                raise no_room(answer)
            if answer.get("state") != "part":
                raise RemoteError("The remote's answer about data makes no sense.")
            target = layout.data_tree(key)
            moved = Transfer()
            for last in (False, True):
                done = await self._upload(conn, item, target, on_progress)
                moved.bytes, moved.files = moved.bytes + done.bytes, moved.files + done.files
                moved.seconds, moved.how, moved.skipped = moved.seconds + done.seconds, done.how, done.skipped
                answer = await self._ask({**request, "arrived": True}, on_progress)
                if answer.get("state") == "whole":
                    return moved
                if not last:
                    await self._clear(conn, item, key, target)
            raise TransferFailed(
                f"{item.base} changed while it was sent.",
                hint="Send it when nobody writes to it, or send a copy.",
                changed=True,
            )

    async def fetch(self, run: str, item: Item, on_progress: OnProgress | None) -> Transfer:
        """Have the remote fetch ``item.url`` into its store, unless it is there, and give it to the run.

        Raises ``NotFound`` and ``UsageError`` (``details["hopeless"]``) for what no machine could mend,
        ``TransferFailed`` as ``send`` when there is no room, ``RemoteError``.
        """
        request = {
            "do": "fetch",
            "url": item.url,
            "run": run,
            "into": item.into,
            "endpoint": item.endpoint,
            "region": item.region,
            "env": dict(item.values.values),
            "bearer": list(item.credentials) if not item.url.startswith("s3:") else [],
        }
        began = asyncio.get_running_loop().time()
        try:
            answer = await self._ask(request, on_progress)
        except (UsageError, NotFound) as error:
            error.details["hopeless"] = True
            raise
        except RemoteError as error:
            if "invalid choice" not in error.message:
                raise
            raise RemoteError(
                "The program on the machine is an older one, kept for jobs that live: it cannot fetch.",
                hint="Run it when they have ended, or on another machine.",
            ) from None
        if answer.get("state") == "full":
            raise no_room(answer)
        if answer.get("state") != "whole":
            raise RemoteError("The remote's answer about data makes no sense.")
        came = answer.get("fetched")
        size, files = came if isinstance(came, int) and came > 0 else 0, answer.get("files")
        took = asyncio.get_running_loop().time() - began
        if not size:
            there = answer.get("bytes")
            return Transfer(there=there if isinstance(there, int) and there > 0 else 0)
        return Transfer(size, files if isinstance(files, int) and files > 0 else 0, took, "its own fetch")

    async def _upload(
        self, conn: SshConnection, item: Item, target: str, on_progress: OnProgress | None
    ) -> Transfer:
        assert item.content is not None
        return await upload(
            conn,
            Path(item.base),
            target,
            files=[e.path for e in item.content],
            mirror=target.startswith(layout.DATA),
            on_progress=on_progress,
            links=item.links,
        )

    async def _clear(self, conn: SshConnection, item: Item, key: str, target: str) -> None:
        """Take away what arrived with other bytes than it had here: size and time may look right."""
        assert item.content is not None
        there = await manifest_remote(conn, target, command=self._list_command(key))
        wanted = {e.path: Digest(e.size, e.digest) for e in item.content if e.kind == "f"}
        wrong = [path for path, digest in there.items() if wanted.get(path, digest) != digest]
        await remove_there(conn, target, wrong)


def no_room(answer: dict[str, Any]) -> TransferFailed:
    need, free = (n if isinstance(n := answer.get(name), int) else 0 for name in ("need", "free"))
    return TransferFailed(
        f"The data needs {in_words(need)} more, and {in_words(free)} are free on the machine's disk.",
        hint="Take a larger one: disk = ... in choline.toml, or --disk.",
        need=need,
        free=free,
    )


def told_progress(data: Any) -> Progress | None:
    """A line of the remote's about its progress; None for what is none."""
    if not isinstance(data, dict):
        return None

    def number(name: str) -> int:
        value = data.get(name)
        sound = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62
        return int(value) if sound and value is not None else 0

    left = data.get("left")
    sound = isinstance(left, (int, float)) and not isinstance(left, bool) and 0 <= left < 1e9
    what = data.get("what")
    return Progress(
        number("done"),
        number("of"),
        number("files_done"),
        number("files"),
        float(left) if sound and left is not None else None,
        what if what in ("checking", "fetching", "waiting") else "",
    )
