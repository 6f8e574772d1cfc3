"""What can be wrong with one answer of the market: every spoiled answer by its name.

A *refusing* fault answers instead of the market, or after it acted when the rule says so. A *spoiling*
fault takes the true answer and damages it. Bodies are those the real service was seen to give.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from choline_tui.simulator.wire import Lost, Response, json_response

__all__ = ["REFUSING", "SPOILING", "Figures", "quota_response"]

DAY_S = 86_400.0


@dataclass(frozen=True)
class Figures:
    """What a rule says about how bad it is. ``rows``: how many; ``now``: epoch s."""

    rows: int = 1
    now: float = 0.0


def _page(status: int, title: str) -> Response:
    text = f"<html>\r\n<head><title>{status} {title}</title></head>\r\n<body>\r\n<center><h1>{status} {title}"
    text += "</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    return Response(status, {"content-type": "text/html"}, text.encode())


def _plain(status: int, text: str) -> Response:
    return Response(status, {"content-type": "text/plain; charset=utf-8"}, text.encode())


def _error(status: int, error: str, msg: str, **more: Any) -> Response:
    return json_response({"success": False, "error": error, "msg": msg, **more}, status)


def quota_response(now: float) -> Response:
    """The daily search quota is spent; it comes back at UTC midnight. ``now``: epoch s."""
    reset = (now // DAY_S + 1) * DAY_S
    body = {"success": False, "error": "search_quota_exceeded", "msg": "Daily search quota exceeded."}
    return json_response(body, 429, {"x-ratelimit-reset": str(int(reset))})


_OFTEN = "API requests too frequent"
REFUSING: dict[str, Callable[[Figures], Response]] = {
    "429-plain": lambda f: _plain(429, _OFTEN),
    "429-threshold": lambda f: _plain(429, f"{_OFTEN}: endpoint threshold=2.0"),
    "429-detail": lambda f: json_response({"detail": f"{_OFTEN} endpoint threshold=2.0"}, 429),
    "429-json": lambda f: _error(429, "rate_limit_exceeded", _OFTEN),
    "quota": lambda f: quota_response(f.now),
    "500": lambda f: _page(500, "Internal Server Error"),
    "502": lambda f: _page(502, "Bad Gateway"),
    "503": lambda f: _page(503, "Service Temporarily Unavailable"),
    "504": lambda f: _page(504, "Gateway Time-out"),
    "500-json": lambda f: _error(500, "server_error", "Something went wrong"),
    "401-key": lambda f: _error(401, "auth_error", "Invalid user key"),
    "401-volume": lambda f: json_response({"detail": "Authentication credentials were not provided."}, 401),
    "401-2fa": lambda f: _error(401, "auth_error", "Two Factor Authentication is required for this action."),
    "403-login": lambda f: _error(403, "auth_error", "This action requires login."),
    "403-scope": lambda f: _error(403, "not_authorized", "This API key lacks the permission."),
    "404-key": lambda f: _error(404, "auth_error", "Invalid user key"),
    "404-session": lambda f: _error(404, "auth_error", "Session expired. Please log in again."),
    "404": lambda f: _error(404, "not_found", "There is no such endpoint."),
    "410": lambda f: _error(410, "deprecated_endpoint", "This endpoint is deprecated."),
    "no-credit": lambda f: _error(
        400, "insufficient_credit", "Your account lacks credit; see the billing page."
    ),
    "spend-limit": lambda f: _error(
        400, "spend_rate_limit", "Your account's spend rate limit would be exceeded."
    ),
    "no-such-ask": lambda f: _error(
        410, "no_such_ask", "error 410/3907: no_such_ask Instance type is no longer available."
    ),
    "no-such-ask-200": lambda f: _error(
        200, "no_such_ask", "error 404/3603: no_such_ask Instance type is not available."
    ),
    "forbidden-host": lambda f: _error(403, "invalid_args", "error 403/3586: not this host."),
}


def _lost(answer: Response, f: Figures) -> Response:
    raise Lost


def _reset(answer: Response, f: Figures) -> Response:
    raise Lost(answer, len(answer.body) // 2)


def _whole(answer: Response, body: bytes, kind: str = "") -> Response:
    headers = {**answer.headers, "content-type": kind} if kind else answer.headers
    return Response(answer.status, headers, body)


def _html(answer: Response, f: Figures) -> Response:
    return _whole(answer, _page(200, "Maintenance").body, "text/html")


def _rows(body: Any) -> tuple[str, list[Any]] | None:
    for name in ("instances", "offers", "results"):
        if isinstance(body, dict) and isinstance(body.get(name), list):
            return name, body[name]
    return None


def _listing(change: Callable[[dict[str, Any], str, list[Any], Figures], Any]) -> "Spoil":
    """A change to answers that hold rows; all others pass unharmed."""

    def spoil(answer: Response, f: Figures) -> Response:
        try:
            body = answer.json()
        except ValueError:
            return answer
        found = _rows(body)
        if found is None:
            return answer
        return json_response(change(body, *found, f), answer.status, answer.headers)

    return spoil


def _short(body: dict[str, Any], name: str, rows: list[Any], f: Figures) -> Any:
    """Rows are missing; the counts still tell the truth."""
    return body | {name: rows[: max(0, len(rows) - f.rows)]}


def _shortest(body: dict[str, Any], name: str, rows: list[Any], f: Figures) -> Any:
    """Rows are missing, and all counts agree with the lie."""
    kept = rows[: max(0, len(rows) - f.rows)]
    return _counted(body, name, kept, len(rows) - len(kept))


def _none(body: dict[str, Any], name: str, rows: list[Any], f: Figures) -> Any:
    """An empty account, in every count."""
    return _counted(body, name, [], int(body.get("total_instances") or len(rows))) | {"next_token": None}


def _counted(body: dict[str, Any], name: str, kept: list[Any], missing: int) -> dict[str, Any]:
    changed = body | {name: kept}
    if "total_instances" in body:
        total = max(0, int(body["total_instances"]) - missing)
        labels: dict[str, int] = {}
        for row in kept:
            label = str(row.get("label") or "")
            labels[label] = labels.get(label, 0) + 1
        changed |= {"instances_found": len(kept), "total_instances": total, "label_counts": labels}
    for count in ("count", "total"):
        if count in body:
            changed[count] = len(kept)
    return changed


def _shape(body: dict[str, Any], name: str, rows: list[Any], f: Figures) -> Any:
    return {name: {str(n): row for n, row in enumerate(rows)}}


def _nulls(body: dict[str, Any], name: str, rows: list[Any], f: Figures) -> Any:
    return body | {name: [None if n < f.rows else row for n, row in enumerate(rows)]}


def _missing(body: dict[str, Any], name: str, rows: list[Any], f: Figures) -> Any:
    """The rows' own names are gone: no ids."""
    return body | {name: [{k: v for k, v in row.items() if k != "id"} for row in rows]}


def _strange(body: Any) -> Any:
    """A next version of the API: unknown fields and states, numbers as text, known fields gone or null."""
    if isinstance(body, list):
        return [_strange(row) for row in body]
    if not isinstance(body, Mapping):
        return body
    changed: dict[str, Any] = {}
    for name, value in body.items():
        if name in ("cuda_max_good", "reliability2", "num_gpus", "duration", "ssh_port"):
            changed[name] = None if value is None else str(value)
        elif name == "actual_status" and value == "loading":
            changed[name] = "preparing"
        elif name in ("instances", "offers", "search", "instance"):
            changed[name] = _strange(value)
        elif name in ("cpu_name", "mobo_name", "webpage", "time_remaining", "host_run_time"):
            continue
        elif name in ("disk_bw", "pcie_bw", "gpu_lanes", "gpu_temp"):
            changed[name] = None
        else:
            changed[name] = value
    if changed:
        changed["schema_revision"] = {"major": 2, "notes": ["fields may be added"]}
    return changed


def _api_v2(answer: Response, f: Figures) -> Response:
    try:
        return json_response(_strange(answer.json()), answer.status, answer.headers)
    except ValueError:
        return answer


Spoil = Callable[[Response, Figures], Response]
SPOILING: dict[str, Spoil] = {
    "lost": _lost,
    "reset": _reset,
    # the wait is the plan's
    "slow": lambda answer, f: answer,
    "empty": lambda answer, f: _whole(answer, b""),
    "cut": lambda answer, f: _whole(answer, answer.body[: len(answer.body) // 2]),
    "malformed": lambda answer, f: _whole(answer, b'{"success": tru' + answer.body[:40]),
    "html": _html,
    "text": lambda answer, f: _whole(answer, answer.body, "text/plain"),
    "null": lambda answer, f: _whole(answer, b"null"),
    "number": lambda answer, f: _whole(answer, json.dumps(42).encode()),
    "huge": lambda answer, f: _whole(answer, answer.body + b" " * (32 << 20)),
    "rows-short": _listing(_short),
    "rows-short-consistent": _listing(_shortest),
    "rows-none": _listing(_none),
    "rows-wrong-shape": _listing(_shape),
    "rows-null": _listing(_nulls),
    "rows-without-id": _listing(_missing),
    "api-v2": _api_v2,
}
