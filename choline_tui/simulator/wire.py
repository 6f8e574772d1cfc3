"""Requests and answers of the rehearsal market, free of any transport."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

__all__ = ["Lost", "Refusal", "Request", "Response", "as_number", "json_response", "refuse"]


@dataclass
class Request:
    """One HTTP request. ``query`` is the raw query string or a mapping; header names in any case."""

    method: str
    path: str
    query: str | Mapping[str, str] = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    client: str = "127.0.0.1"
    """the caller's address, part of its identity for the rate limits"""

    def header(self, name: str) -> str:
        name = name.lower()
        return next((value for key, value in self.headers.items() if key.lower() == name), "")

    def params(self) -> dict[str, str]:
        if isinstance(self.query, Mapping):
            return dict(self.query)
        return dict(_pairs(self.query.lstrip("?")))

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; an empty body is an empty one. Raises ``Refusal`` (400)."""
        return _object(self.body or b"{}")

    def json_param(self, name: str, default: Any) -> Any:
        """A query value that is JSON text. Raises ``Refusal`` (400)."""
        text = self.params().get(name, "")
        if not text:
            return default
        try:
            return json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise refuse(400, "invalid_request", f"Error in query parameters: {name} is not json") from None


@dataclass
class Response:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Lost(ConnectionError):
    """No whole answer: the connection ends after ``sent`` bytes of the answer's body, or before any of it
    (``answer`` None). A transport without sockets raises its own error for a lost connection instead."""

    def __init__(self, answer: Response | None = None, sent: int = 0) -> None:
        super().__init__("the connection to the market was lost")
        self.answer = answer
        self.sent = sent


class Refusal(Exception):
    """An answer that is a failure, raised from wherever it is found out."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


def json_response(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    # exactly this content type: the official client compares the whole value
    merged = {"content-type": "application/json", **(headers or {})}
    return Response(status, merged, json.dumps(data).encode())


def refuse(status: int, error: str, msg: str, **more: Any) -> Refusal:
    """The market's usual error body."""
    return Refusal(json_response({"success": False, "error": error, "msg": msg, **more}, status))


def as_number(value: Any) -> float | None:
    """A number or the text of one (the official client sends numbers as strings); None for all else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, int | float):
        try:
            number = float(value)
        except OverflowError:
            return None
        return number if abs(number) < 1e300 else None
    return None


@lru_cache(maxsize=64)
def _pairs(query: str) -> tuple[tuple[str, str], ...]:
    """The same few queries are asked again and again, and each looked into several times."""
    return tuple(parse_qsl(query, keep_blank_values=True, max_num_fields=200))


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _object(text: bytes) -> dict[str, Any]:
    try:
        data = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise refuse(400, "invalid_request", "Invalid json body") from None
    if not isinstance(data, dict):
        raise refuse(400, "invalid_request", "Invalid json body")
    return data
