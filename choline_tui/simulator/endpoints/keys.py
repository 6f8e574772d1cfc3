"""SSH keys of the account and of instances, and API keys."""

import json
import re
from typing import Any

from choline_tui.simulator.access import Key
from choline_tui.simulator.contract import SshKey
from choline_tui.simulator.endpoints.base import USER_ID, Desk, Endpoints, Route, route
from choline_tui.simulator.orders import invalid
from choline_tui.simulator.wire import Request, refuse

__all__ = ["Keys"]

MAX_SSH_KEYS = 200
_SSH_KEY = re.compile(r"(ssh-|ecdsa-|sk-)[a-z0-9@.-]{3,60} [A-Za-z0-9+/]{16,}={0,3}( [^\r\n]*)?")


class Keys(Endpoints):
    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._next_ssh = 1

    def routes(self) -> list[Route]:
        read, write = "instance_read", "instance_write"
        ssh = "v0/instances/#/ssh"
        return [
            route("GET", ssh, "instance.ssh", read, self.instance_ssh),
            route("POST", ssh, "instance.ssh", write, self.attach),
            route("DELETE", f"{ssh}/[0-9]{{1,15}}", "instance.ssh_detach", write, self.detach),
            route("GET", "v0/ssh", "ssh.list", "user_read", self.ssh_list),
            route("POST", "v0/ssh", "ssh.write", "user_write", self.ssh_create),
            route("PUT", "v0/ssh/#", "ssh.write", "user_write", self.ssh_update),
            route("DELETE", "v0/ssh/#", "ssh.write", "user_write", self.ssh_delete),
            route("GET", "v0/auth/apikeys", "apikey.list", "user_read", self.keys_list),
            route("POST", "v0/auth/apikeys", "apikey.write", "user_write", self.keys_create),
            route("DELETE", "v0/auth/apikeys/#", "apikey.write", "user_write", self.keys_delete),
        ]

    # ---- SSH

    async def ssh_list(self, request: Request, key: Key | None, _: int) -> Any:
        return [_ssh_row(k, "key") for k in self.desk.ssh_keys]

    async def ssh_create(self, request: Request, key: Key | None, _: int) -> Any:
        made = self._ssh_key(request.json())
        if len(self.desk.ssh_keys) >= MAX_SSH_KEYS:
            raise invalid("too many ssh keys")
        self.desk.ssh_keys.append(made)
        return {"success": True, "key": _ssh_row(made, "public_key")}

    async def ssh_update(self, request: Request, key: Key | None, target: int) -> Any:
        known = next((k for k in self.desk.ssh_keys if k.id == target), None)
        if known is None:
            raise refuse(404, "no_such_key", f"SSH key {target} not found.")
        known.key = _ssh_text(request.json())
        return {"success": True, "key": _ssh_row(known, "public_key")}

    async def ssh_delete(self, request: Request, key: Key | None, target: int) -> Any:
        known = next((k for k in self.desk.ssh_keys if k.id == target), None)
        if known is None:
            raise refuse(404, "no_such_key", f"SSH key {target} not found.")
        self.desk.ssh_keys.remove(known)
        return {"success": True}

    async def instance_ssh(self, request: Request, key: Key | None, target: int) -> Any:
        keys = [_ssh_row(k, "key") for k in self.desk.contract(target).ssh_keys]
        # JSON within JSON, as on Vast
        return {"success": True, "ssh_keys": json.dumps(keys)}

    async def attach(self, request: Request, key: Key | None, target: int) -> Any:
        made = self._ssh_key(request.json())
        await self.desk.contracts.attach(self.desk.contract(target), made)
        return {"success": True, "key": _ssh_row(made, "public_key")}

    async def detach(self, request: Request, key: Key | None, target: int) -> Any:
        contract = self.desk.contract(target)
        key_id = int(request.path.strip("/").rsplit("/", 1)[1])
        if not any(k.id == key_id for k in contract.ssh_keys):
            raise refuse(404, "no_such_key", f"SSH key {key_id} not found.")
        await self.desk.contracts.detach(contract, key_id)
        return {"success": True}

    def _ssh_key(self, body: dict[str, Any]) -> SshKey:
        made = SshKey(self._next_ssh, USER_ID, _ssh_text(body), self.desk.clock.time())
        self._next_ssh += 1
        return made

    # ---- API keys

    async def keys_list(self, request: Request, key: Key | None, _: int) -> Any:
        keys = self.desk.access.listing()
        if key is not None and key not in keys:
            keys.append(key)
        return {"apikeys": [_key_row(k) for k in keys]}

    async def keys_create(self, request: Request, key: Key | None, _: int) -> Any:
        body = request.json()
        name = body.get("name")
        if not isinstance(name, str) or not 0 < len(name) <= 256:
            raise invalid("name")
        made = self.desk.access.create(name, body.get("permissions"), self.desk.clock.time())
        return {"success": True, **_key_row(made), "key": made.secret}

    async def keys_delete(self, request: Request, key: Key | None, target: int) -> Any:
        if not self.desk.access.delete(target):
            raise refuse(404, "not_found", f"API key {target} not found.")
        return "Successfully Deleted API Key"


def _ssh_text(body: dict[str, Any]) -> str:
    text = body.get("ssh_key")
    if not isinstance(text, str) or not text.strip():
        raise refuse(400, "no_ssh_key", "No ssh key given.")
    text = text.strip()
    if not _SSH_KEY.fullmatch(text):
        raise invalid("ssh_key is not an OpenSSH public key")
    return text


def _ssh_row(key: SshKey, name: str) -> dict[str, Any]:
    return {
        "id": key.id,
        "user_id": key.user_id,
        name: key.key,
        "created_at": key.created_at,
        "deleted_at": None,
    }


def _key_row(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "user_id": USER_ID,
        "name": key.name,
        "rights": key.permissions,
        "permissions": key.permissions,
        "key_params": None,
        "team_id": None,
        "team_name": None,
        "created_at": key.created_at,
    }
