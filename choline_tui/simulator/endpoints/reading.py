"""Looking into instances from outside: container logs, and the three commands that work without SSH."""

import shlex
from typing import Any

from choline_tui.simulator.access import Key
from choline_tui.simulator.endpoints.base import Endpoints, Route, route
from choline_tui.simulator.files import WRITEABLE, FileCommandError, run_file_command
from choline_tui.simulator.orders import invalid
from choline_tui.simulator.wire import Request, as_number, refuse

__all__ = ["Reading"]

MAX_COMMAND = 512


class Reading(Endpoints):
    def routes(self) -> list[Route]:
        logs, command = "instance.request_logs", "instance.command"
        return [
            route("PUT", "v0/instances/request_logs/#", logs, "instance_read", self.request_logs),
            route("PUT", "v0/instances/command/#", command, "instance_write", self.execute),
            route("POST", "v0/instances/take_snapshot/#", "instance.snapshot", "instance_write", self.snap),
            route("GET", "v0/instance_backups", "instance.backups", "instance_read", self.backups),
        ]

    async def request_logs(self, request: Request, key: Key | None, target: int) -> Any:
        contract, body = self.desk.contract(target), request.json()
        text = f"{contract.status_msg or ''}\n" if body.get("daemon_logs") == "true" else ""
        if not text and contract.made:
            text = self.desk.contracts.backend.log(contract.id)
        lines = text.splitlines(keepends=True)
        if (word := body.get("filter")) and isinstance(word, str):
            lines = [line for line in lines if word in line]
        tail = as_number(body.get("tail"))
        if tail is not None and tail > 0:
            lines = lines[-int(tail) :]
        return {"success": True, "result_url": self.desk.results.keep("".join(lines)), "msg": None}

    async def execute(self, request: Request, key: Key | None, target: int) -> Any:
        """``ls``, ``rm`` and ``du``, on stopped instances as well."""
        contract, command = self.desk.contract(target), request.json().get("command")
        if not isinstance(command, str) or not command.strip() or len(command) > MAX_COMMAND:
            raise invalid("command")
        try:
            words = shlex.split(command)
        except ValueError:
            raise invalid("command") from None
        if words[0] not in ("ls", "rm", "du"):
            raise refuse(400, "invalid_command", "Only ls, rm and du are allowed.")
        if contract.offline or not contract.made:
            raise refuse(400, "instance_unavailable", f"Instance {target} is not reachable.")
        try:
            text = await run_file_command(self.desk.contracts.backend, contract.id, words)
        except FileCommandError as error:
            text = f"{error}\n"
        return {
            "success": True,
            "writeable_path": WRITEABLE,
            "result_url": self.desk.results.keep(text),
            "msg": None,
        }

    async def snap(self, request: Request, key: Key | None, target: int) -> Any:
        contract, body = self.desk.contract(target), request.json()
        if "id" in body:
            raise invalid("id is not a field of a snapshot")
        if not isinstance(body.get("personal_repo"), str) or not body["personal_repo"]:
            raise invalid("personal_repo")
        if contract.running_since is None:
            raise refuse(400, "instance_unavailable", f"Instance {target} does not run.")
        # a rehearsal's disk is no image, and nothing of it leaves this computer
        raise refuse(400, "registry_unavailable", "A rehearsal cannot push snapshots to a registry.")

    async def backups(self, request: Request, key: Key | None, _: int) -> Any:
        return {"success": True, "backups": []}
