"""Reading what a renter asks for: the body of a rent, checked as the market checks it."""

import shlex
from collections.abc import Mapping
from typing import Any

from choline_tui.simulator.contract import Order
from choline_tui.simulator.wire import Refusal, as_number, refuse

__all__ = [
    "MAX_BID",
    "MAX_LABEL",
    "MIN_BID",
    "docker_flags",
    "invalid",
    "read_changes",
    "read_label",
    "read_order",
    "read_price",
]

MAX_START = 4096
"""characters of onstart and args together"""
MAX_ENV = 32_768
MAX_ENV_KEY = 256
MAX_LABEL = 1024
MAX_LABEL_AT_RENT = 256
MIN_DISK_GB = 8.0
DEFAULT_DISK_GB = 10.0
MIN_BID, MAX_BID = 0.001, 128.0


def invalid(what: str, **more: Any) -> Refusal:
    return refuse(400, "invalid_args", f"error 400/3467: Invalid args: {what}", **more)


def read_order(body: Mapping[str, Any]) -> Order:
    """Raises ``Refusal`` (400)."""
    image = body.get("image")
    if not isinstance(image, str) or not image.strip() or len(image) > 1024:
        raise invalid("image")
    disk = DEFAULT_DISK_GB if body.get("disk") is None else as_number(body["disk"])
    if disk is None or disk < MIN_DISK_GB:
        raise invalid(f"disk must be a number of at least {MIN_DISK_GB:g}")
    onstart, args = body.get("onstart") or "", _args(body)
    if not isinstance(onstart, str):
        raise invalid("onstart")
    if len(onstart) + sum(len(arg) for arg in args) > MAX_START:
        raise invalid(f"onstart and args are longer than {MAX_START} characters")
    target = body.get("target_state") or "running"
    if target not in ("running", "stopped"):
        raise invalid("target_state")
    runtype = body.get("runtype") or "ssh"
    if not isinstance(runtype, str) or len(runtype) > 100:
        raise invalid("runtype")
    return Order(
        image=image.strip(),
        disk_gb=disk,
        env=_env(body.get("env")),
        onstart=onstart,
        args=args,
        runtype=runtype,
        label=read_label(body.get("label"), MAX_LABEL_AT_RENT),
        bid=read_price(body.get("price"), MAX_BID),
        running=target == "running",
        cancel_unavail=body.get("cancel_unavail") is True,
    )


def read_changes(body: Mapping[str, Any], order: Order) -> None:
    """Change an order by what an update of an instance names. Raises ``Refusal`` (400)."""
    wanted = {
        "image": body.get("image") or order.image,
        "onstart": order.onstart if body.get("onstart") is None else body["onstart"],
        "args": order.args if body.get("args") is None else body["args"],
        "env": order.env if body.get("env") is None else body["env"],
        "disk": order.disk_gb,
    }
    fresh = read_order(wanted)
    order.image, order.onstart, order.args, order.env = fresh.image, fresh.onstart, fresh.args, fresh.env


def read_label(value: Any, limit: int = MAX_LABEL) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise invalid("label")
    if len(value) > limit:
        raise refuse(400, "label_too_long", f"Label is longer than {limit} characters.")
    return value or None


def read_price(value: Any, most: float) -> float | None:
    """A bid in $/h; None stays None."""
    if value is None:
        return None
    price = as_number(value)
    if price is None or not MIN_BID <= price <= most:
        raise refuse(400, "invalid_price", f"The bid must be {MIN_BID:g} to {most:g} $/hr.")
    return price


def _args(body: Mapping[str, Any]) -> list[str]:
    args = body.get("args")
    if args is None:
        text = body.get("args_str")
        return [text] if isinstance(text, str) and text else []
    if isinstance(args, str):
        return [args] if args else []
    if not isinstance(args, list) or not all(isinstance(arg, str) for arg in args):
        raise invalid("args")
    return args


def _env(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if isinstance(value, str):
        value = docker_flags(value)
    if not isinstance(value, Mapping):
        raise invalid("env")
    env: dict[str, str] = {}
    for name, content in value.items():
        if len(name) > MAX_ENV_KEY or not name or "\0" in name or ("=" in name and not name.startswith("-")):
            raise invalid("env: bad name")
        if isinstance(content, bool | int | float):
            content = str(content)
        if not isinstance(content, str) or "\0" in content:
            raise invalid(f"env: bad value of {name[:50]}")
        env[name] = content
    if sum(len(name) + len(content) for name, content in env.items()) > MAX_ENV:
        raise invalid(f"env is longer than {MAX_ENV} characters")
    return env


def docker_flags(text: str) -> dict[str, str]:
    """Docker flags as one text, "-e A=b -p 8080:8080", in the shape of the object form."""
    try:
        words = shlex.split(text)
    except ValueError:
        raise invalid("env") from None
    env: dict[str, str] = {}
    for flag, word in zip(words[::2], words[1::2], strict=False):
        if flag == "-e" and "=" in word:
            name, _, content = word.partition("=")
            env[name] = content
        elif flag == "-h":
            env[flag] = word
        elif flag in ("-p", "-v"):
            env[f"{flag} {word}"] = "1"
        else:
            raise invalid("env")
    if len(words) % 2:
        raise invalid("env")
    return env
