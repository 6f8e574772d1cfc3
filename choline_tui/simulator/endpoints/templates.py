"""Templates: what a container is made of, under a hash that changes with every edit."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from choline_tui.simulator.access import Key
from choline_tui.simulator.endpoints.base import USER_ID, Desk, Endpoints, Route, route
from choline_tui.simulator.instances import holds
from choline_tui.simulator.orders import docker_flags, invalid
from choline_tui.simulator.wire import Request, as_number, refuse

__all__ = ["Templates"]

MAX_TEMPLATES = 500
TEXTS = ("image", "tag", "href", "repo", "env", "onstart", "runtype", "jupyter_dir", "readme", "desc")
FLAGS = ("jup_direct", "ssh_direct", "use_jupyter_lab", "use_ssh", "readme_visible", "private")

_RECOMMENDED = (
    (
        "PyTorch (Vast)",
        "vastai/pytorch",
        "@vastai-automatic-tag",
        "-p 8080:8080 -e HF_HOME=/workspace/hf",
    ),
    ("NVIDIA CUDA", "vastai/base-image", "@vastai-automatic-tag", ""),
    ("Ubuntu 22.04", "vastai/base-image", "stock-ubuntu22.04-py310", ""),
)


class Templates(Endpoints):
    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._rows: list[dict[str, Any]] = []
        self._next = 5001
        for name, image, tag, env in _RECOMMENDED:
            fields = {"name": name, "image": image, "tag": tag, "env": env, "runtype": "ssh"}
            self._add({**fields, "recommended": True, "private": False}, creator=1)

    def routes(self) -> list[Route]:
        return [
            route("GET", "v0/template", "template.list", "user_read", self.listing),
            route("POST", "v0/template", "template.write", "user_write", self.create),
            route("PUT", "v0/template", "template.write", "user_write", self.edit),
            route("PUT", "v1/template", "template.write", "user_write", self.edit),
            route("DELETE", "v0/template", "template.write", "user_write", self.delete),
        ]

    async def listing(self, request: Request, key: Key | None, _: int) -> Any:
        filters = request.json_param("select_filters", {})
        if not isinstance(filters, Mapping):
            raise refuse(400, "invalid_request", "Error in query parameters: select_filters")
        rows = self._rows
        for column, conditions in filters.items():
            if not isinstance(conditions, Mapping):
                raise refuse(400, "invalid_request", "Error in query parameters: select_filters")
            for op, value in conditions.items():
                rows = [row for row in rows if holds(row.get(str(column)), op, value)]
        return {"success": True, "templates_found": len(rows), "templates": rows}

    async def create(self, request: Request, key: Key | None, _: int) -> Any:
        if len(self._rows) >= MAX_TEMPLATES:
            raise invalid("too many templates")
        return {"success": True, "template": self._add(self._fields(request.json()), creator=USER_ID)}

    async def edit(self, request: Request, key: Key | None, _: int) -> Any:
        body = request.json()
        old = self._find(body)
        if old is None:
            raise refuse(404, "not_found", "There is no such template.")
        # an edit is a new version: whoever rents by the old hash finds nothing
        fresh = {**old, **self._fields({"name": old["name"], "image": old["image"], **body})}
        self._rows[self._rows.index(old)] = fresh
        fresh["hash_id"] = _hash(fresh)
        return {"success": True, "template": fresh}

    async def delete(self, request: Request, key: Key | None, _: int) -> Any:
        body = request.json()
        number = as_number(body.get("template_id"))
        old = self._find({"hash_id": body.get("hash_id"), "id": number})
        if old is None or old["creator_id"] != USER_ID:
            raise refuse(404, "not_found", "There is no such template of yours.")
        self._rows.remove(old)
        return {"success": True, "msg": "Template deleted."}

    def fill(self, body: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
        """A rent's body with its template's values where it gives none itself, and the template's hash.
        Raises ``Refusal`` (400) for a template that is not there."""
        wanted = {"hash_id": body.get("template_hash_id"), "id": as_number(body.get("template_id"))}
        if not wanted["hash_id"] and wanted["id"] is None:
            return body, None
        found = self._find(wanted)
        if found is None:
            raise invalid("template not found")
        filled = dict(body)
        image = f"{found['image']}:{found['tag']}" if found["tag"] else found["image"]
        for name, value in (("image", image), ("onstart", found["onstart"]), ("runtype", found["runtype"])):
            if filled.get(name) is None:
                filled[name] = value
        if filled.get("disk") is None and found["recommended_disk_space"]:
            filled["disk"] = found["recommended_disk_space"]
        own = filled.get("env") or {}
        filled["env"] = docker_flags(found["env"] or "") | (
            docker_flags(own) if isinstance(own, str) else own if isinstance(own, dict) else {}
        )
        return filled, found["hash_id"]

    def _find(self, by: Mapping[str, Any]) -> dict[str, Any] | None:
        for row in self._rows:
            if by.get("hash_id") and row["hash_id"] == by["hash_id"]:
                return row
            if not by.get("hash_id") and by.get("id") is not None and row["id"] == by["id"]:
                return row
        return None

    def _add(self, fields: dict[str, Any], creator: int) -> dict[str, Any]:
        empty: dict[str, Any] = dict.fromkeys(TEXTS)
        row = {**empty, **dict.fromkeys(FLAGS, False), "recommended": False, "extra_filters": {}}
        row |= {"recommended_disk_space": None, "docker_login_repo": None, **fields}
        row |= {"id": self._next, "creator_id": creator, "created_at": self.desk.clock.time()}
        row["hash_id"] = _hash(row)
        self._next += 1
        self._rows.append(row)
        return row

    @staticmethod
    def _fields(body: Mapping[str, Any]) -> dict[str, Any]:
        name, image = body.get("name"), body.get("image")
        if not isinstance(name, str) or not 0 < len(name) <= 256:
            raise invalid("name")
        if not isinstance(image, str) or not 0 < len(image) <= 1024:
            raise invalid("image")
        fields: dict[str, Any] = {"name": name, "image": image}
        for text in TEXTS:
            value = body.get(text, "")
            if value is not None and (not isinstance(value, str) or len(value) > 32_768):
                raise invalid(text)
            if text in body:
                fields[text] = value
        docker_flags(fields.get("env") or "")
        fields |= {flag: body[flag] is True for flag in FLAGS if flag in body}
        if body.get("recommended_disk_space") is not None:
            fields["recommended_disk_space"] = as_number(body["recommended_disk_space"])
        if isinstance(body.get("extra_filters"), dict):
            fields["extra_filters"] = body["extra_filters"]
        return fields


def _hash(row: Mapping[str, Any]) -> str:
    text = json.dumps({k: v for k, v in row.items() if k not in ("hash_id", "created_at")}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
