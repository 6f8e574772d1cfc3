"""Copies: between instances where their disks are folders; with the caller's own computer where the official
client can do its half, which is rsync to the host's copier (``remotes.copier``), whether the instance runs or
stands; with clouds by shape only.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from choline_tui.kernel.errors import CholineError
from choline_tui.simulator.access import Key
from choline_tui.simulator.backend import Endpoint
from choline_tui.simulator.contract import Contract
from choline_tui.simulator.endpoints.base import Endpoints, Route, route
from choline_tui.simulator.files import FileCommandError, copy_between
from choline_tui.simulator.orders import invalid
from choline_tui.simulator.wire import Request, refuse

__all__ = ["Copying"]

RISKY = ("/", "/root", "/root/", "")
"""copying there breaks an instance's SSH"""


class Copying(Endpoints):
    def routes(self) -> list[Route]:
        write = "instance_write"
        return [
            route("PUT", "v0/commands/copy_direct", "copy.direct", write, self.copy),
            route("DELETE", "v0/commands/copy_direct", "copy.direct", write, self.cancel),
            route("PUT", "v0/commands/rsync", "copy.direct", write, self.copy),
            route("POST", "v0/commands/rclone", "cloud.copy", write, self.cloud),
            route("DELETE", "v0/commands/rclone", "cloud.copy", write, self.cancel),
            route("GET", "v0/users/cloud_integrations", "cloud", "user_read", self.connections),
        ]

    async def copy(self, request: Request, key: Key | None, _: int) -> Any:
        body = request.json()
        source, target = self._side(body.get("src_id")), self._side(body.get("dst_id"))
        paths = [body.get("src_path"), body.get("dst_path")]
        if not all(isinstance(path, str) for path in paths):
            raise invalid("src_path and dst_path")
        came, into = str(paths[0]), str(paths[1])
        if source is None and target is None:
            raise invalid("one side must be an instance")
        if target is not None and into in RISKY:
            raise invalid("dst_path: copying there would break the instance's SSH")
        answer: dict[str, Any] = {"success": True, "msg": "Remote to Remote copy initiated."}
        if source is not None and target is not None:
            self.desk.contracts.spawn(self._between(source, came, target, into))
            return answer
        one = source or target
        assert one is not None
        at = await self._copier(one)
        side = "src" if source is not None else "dst"
        return answer | {"msg": "Local copy initiated.", f"{side}_addr": at.host, f"{side}_port": at.port}

    async def _copier(self, contract: Contract) -> Endpoint:
        """Where the host's copier answers for a contract's disk. Raises ``Refusal``."""
        backend = self.desk.contracts.backend
        if not getattr(backend, "copies", True):
            raise refuse(400, "copy_unavailable", "This rehearsal has no rsync; scp works over its SSH.")
        copier: Callable[[int], Awaitable[Endpoint]] | None = getattr(backend, "copier", None)
        async with contract.lock:
            if contract.made and contract.alive and not contract.offline:
                try:
                    if copier is not None:
                        return await copier(contract.id)
                except (CholineError, OSError) as error:
                    raise refuse(500, "server_error", f"the host's copier does not start: {error}") from error
                if contract.endpoint is not None:
                    return contract.endpoint
        raise refuse(400, "instance_unavailable", f"The host of instance {contract.id} does not answer.")

    async def _between(self, source: Contract, came: str, target: Contract, into: str) -> None:
        home = getattr(self.desk.contracts.backend, "home", None)
        if home is None:
            return
        try:
            await asyncio.to_thread(copy_between, home(source.id), came, home(target.id), into)
        except (FileCommandError, OSError, LookupError) as error:
            # as on Vast, it shows in nothing but the instance's last words
            with contextlib.suppress(AttributeError):
                target.status_msg = f"copy failed: {error}"

    def _side(self, value: Any) -> Contract | None:
        """The instance that an end of a copy names; None for a local end. Raises ``Refusal``."""
        if value is None or value == "local":
            return None
        kind, _, number = str(value).rpartition(".")
        if kind not in ("", "C") or not number.isdigit():
            raise refuse(400, "invalid_args", f"error 400/3467: Invalid args: {str(value)[:60]}")
        return self.desk.contract(int(number))

    async def cancel(self, request: Request, key: Key | None, _: int) -> Any:
        self._side(request.json().get("dst_id"))
        return {"success": True, "msg": "Copy canceled."}

    async def cloud(self, request: Request, key: Key | None, _: int) -> Any:
        """There is no cloud connection in a rehearsal: whichever is named, it is not there."""
        body = request.json()
        self._side(body.get("instance_id"))
        raise refuse(404, "not_found", f"There is no cloud connection {str(body.get('selected'))[:60]}.")

    async def connections(self, request: Request, key: Key | None, _: int) -> Any:
        return []
