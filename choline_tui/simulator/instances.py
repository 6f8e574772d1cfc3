"""Contracts as the instance listing shows them, and the listing's pages."""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from choline_tui.simulator.contract import Contract
from choline_tui.simulator.search import time_text
from choline_tui.simulator.wire import Refusal, as_number, refuse

__all__ = ["holds", "instance_row", "page"]

PAGE = 25
CLOSED_PORT = 9
STORED = frozenset(
    """id actual_status intended_status cur_state next_state label gpu_name verification machine_id host_id
    image_uuid image_runtype start_date end_date is_bid geolocation status_msg template_id template_hash_id
    disk_space public_ipaddr gpu_arch""".split()  # noqa: SIM905
)
"""columns that may be filtered and ordered by; the others are computed"""

_FROM_OFFER = tuple(
    """machine_id host_id hostname num_gpus gpu_name gpu_arch gpu_ram gpu_frac gpu_lanes gpu_mem_bw
    gpu_max_power gpu_max_temp bw_nvlink cuda_max_good driver_version compute_cap cpu_arch cpu_name cpu_cores
    cpu_cores_effective cpu_ram disk_name disk_bw inet_up inet_down inet_up_cost inet_down_cost
    internet_up_cost_per_tb internet_down_cost_per_tb reliability2 verification hosting_type static_ip
    geolocation country_code rentable external os_version mobo_name pci_gen pcie_bw total_flops dlperf
    storage_cost direct_port_count logo webpage""".split()  # noqa: SIM905
)


def instance_row(c: Contract, now: float, min_bid: float) -> dict[str, Any]:
    """One instance as the API answers it; ``min_bid`` is what wins its slice now, $/h."""
    row = c.slice.row
    up = c.up
    base, disk = c.gpu_price, c.disk_price
    total = base + disk
    left = max(0.0, c.end_date - now)
    lost = c.is_bid and c.current == "stopped" and not c.held
    offer = {name: row.get(name) for name in _FROM_OFFER}
    memory_gb = round(row["cpu_ram"] * row["gpu_frac"] / 1024, 1)
    return offer | {
        "id": c.id,
        "actual_status": c.status,
        # somebody who was outbid looks like somebody who stopped
        "intended_status": "stopped" if lost else c.intended,
        "cur_state": c.current,
        "next_state": "stopped" if lost else c.next,
        "status_msg": c.status_msg or _progress(c, now),
        "label": c.label,
        "template_id": None,
        "template_hash_id": c.template,
        "template_name": None,
        "image_uuid": c.order.image,
        "image_args": c.order.args,
        "image_runtype": c.order.runtype,
        "extra_env": [[name, value] for name, value in c.order.env.items()],
        "onstart": c.order.onstart or None,
        "jupyter_token": hashlib.sha256(c.key.encode()).hexdigest(),
        "public_ipaddr": "127.0.0.1" if c.published else None,
        "local_ipaddrs": "127.0.0.1 \n" if c.published else None,
        "ssh_host": c.endpoint.host if c.endpoint else "127.0.0.1",
        "ssh_idx": "1",
        "ssh_port": _proxy_port(c, now),
        "machine_dir_ssh_port": c.endpoint.port if c.endpoint else None,
        "direct_port_start": -1,
        "direct_port_end": -1,
        "ports": c.ports(),
        "bundle_id": None,
        "start_date": c.created,
        "end_date": c.end_date,
        "duration": left,
        "uptime_mins": (now - c.running_since) / 60 if up and c.running_since is not None else None,
        "time_remaining": time_text(left),
        "time_remaining_isbid": time_text(left) if c.is_bid else "",
        "client_run_time": 1.0,
        "host_run_time": 1.0,
        "gpu_totalram": row["gpu_total_ram"],
        "gpu_util": 0.0 if up else None,
        "gpu_temp": 38.0 if up else None,
        "cpu_util": 0.0 if up else None,
        "mem_limit": memory_gb if up else None,
        "mem_usage": round(memory_gb * 0.03, 2) if up else None,
        "vmem_usage": 0.0 if up else None,
        "disk_space": c.order.disk_gb,
        "disk_usage": round(c.order.disk_gb * 0.02, 2) if up else -1,
        "disk_util": 0.02 if up else -1,
        "is_bid": c.is_bid,
        "min_bid": c.order.bid if c.is_bid else min_bid,
        "dph_base": base,
        "dph_total": total,
        "storage_total_cost": disk,
        "search": _costs(base, disk),
        "instance": _costs(base if up else 0.0, disk),
        "credit_balance": None,
        "credit_discount": None,
        "credit_discount_max": 0.4,
        "vram_costperhour": base / (row["gpu_total_ram"] / 1024),
        "dlperf_per_dphtotal": row["dlperf"] / total,
        "flops_per_dphtotal": row["total_flops"] / total,
        "score": row["dlperf"] / total,
        "volume_info": [c.volume] if c.volume else [],
    }


def _proxy_port(c: Contract, now: float) -> int | None:
    """The proxy is the container's own port here; while it is closed, one at which nothing listens."""
    if c.endpoint is None:
        return None
    closed = c.running_since is None or now < c.running_since + c.fate.proxy_closed_s
    return CLOSED_PORT if c.fate.proxy_closed_s and closed else c.endpoint.port


def _costs(gpu: float, disk: float) -> dict[str, float]:
    return {
        "gpuCostPerHour": gpu,
        "diskHour": disk,
        "totalHour": gpu + disk,
        "discountTotalHour": 0,
        "discountedTotalPerHour": gpu + disk,
    }


def _progress(c: Contract, now: float) -> str | None:
    """The last line of the image's pull while it lasts."""
    if c.actual != "loading" or c.booted or not c.on:
        return None
    seed = f"{c.id * 2654435761 % (1 << 48):012x}"
    layer = int((now - c.boot_began) * 2)
    words = ("Pulling fs layer", "Downloading", "Verifying Checksum", "Download complete", "Pull complete")
    return f"{seed[layer % 6 :][:6]}{seed[:6]}: {words[layer % len(words)]}"


def page(rows: list[dict[str, Any]], params: Mapping[str, Any]) -> dict[str, Any]:
    """One page of the listing. ``params``: ``limit``, ``after_token`` as text; ``order_by``,
    ``select_cols``, ``select_filters`` decoded. Raises ``Refusal`` (400)."""
    rows = _filtered(rows, params.get("select_filters") or {})
    labels = Counter(str(row["label"] or "") for row in rows)
    order = _order(params.get("order_by"))
    for column, descending in reversed(order):
        rows.sort(key=lambda row, column=column: _key(row[column]), reverse=descending)  # type: ignore[misc]
    total = len(rows)
    first = 0
    if token := params.get("after_token"):
        last = _read_token(token, order)
        first = next((n for n, row in enumerate(rows) if _after(row, last, order)), total)
    number = as_number(params.get("limit") or PAGE)
    limit = PAGE if number is None else int(number)
    limit = 5 if limit <= 0 else min(limit, PAGE)
    shown = rows[first : first + limit]
    next_token = None
    if first + limit < total:
        next_token = _write_token({column: shown[-1][column] for column, _ in order})
    columns = params.get("select_cols")
    if isinstance(columns, list) and "*" not in columns:
        shown = [{str(name): row.get(str(name)) for name in columns} for row in shown]
    return {
        "success": True,
        "instances_found": len(shown),
        "total_instances": total,
        "label_counts": dict(labels),
        "next_token": next_token,
        "instances": shown,
    }


def _filtered(rows: list[dict[str, Any]], filters: Any) -> list[dict[str, Any]]:
    if not isinstance(filters, Mapping):
        raise _bad("select_filters is not an object")
    for column, conditions in filters.items():
        if column not in STORED:
            raise _bad_key(column)
        if not isinstance(conditions, Mapping):
            raise _bad(f"bad condition on {column}")
        for op, value in conditions.items():
            rows = [row for row in rows if holds(row[column], op, value)]
    return list(rows)


def _bad_key(column: Any) -> Refusal:
    return _bad(f"{str(column)[:50]} is not a valid search key")


def _bad(what: str) -> Refusal:
    return refuse(400, "invalid_request", f"Error in query parameters: {what}")


def holds(have: Any, op: str, value: Any) -> bool:
    """Whether a value meets one condition of a filter. Raises ``Refusal`` (400) for no known operator."""
    if op in ("in", "notin"):
        if not isinstance(value, list):
            raise _bad(f"{op} needs a list")
        return any(_same(have, one) for one in value) == (op == "in")
    if op in ("eq", "neq"):
        return _same(have, value) == (op == "eq")
    if op not in ("gt", "gte", "lt", "lte"):
        raise refuse(
            400, "invalid_request", f"Error in query parameters: {str(op)[:50]} is not a valid search op"
        )
    left, right = as_number(have), as_number(value)
    if left is None or right is None:
        return False
    return {"gt": left > right, "gte": left >= right, "lt": left < right, "lte": left <= right}[op]


def _same(have: Any, value: Any) -> bool:
    if isinstance(have, int | float) and not isinstance(have, bool):
        return as_number(value) == have
    return bool(have == value)


def _order(order_by: Any) -> list[tuple[str, bool]]:
    order = []
    for item in order_by if isinstance(order_by, list) else []:
        if not isinstance(item, Mapping):
            raise refuse(
                400, "invalid_request", "Error in query parameters: order_by is not a list of objects"
            )
        column = item.get("col")
        if column not in STORED:
            raise _bad_key(column)
        order.append((str(column), item.get("dir") == "desc"))
    if "id" not in [column for column, _ in order]:
        # ties are broken, so that no row is given twice or missed
        order.append(("id", False))
    return order


def _key(value: Any) -> tuple[int, float, str]:
    if value is None:
        return (0, 0.0, "")
    if isinstance(value, int | float):
        return (1, float(value), "")
    return (2, 0.0, str(value))


def _after(row: Mapping[str, Any], last: Mapping[str, Any], order: list[tuple[str, bool]]) -> bool:
    for column, descending in order:
        have, mark = _key(row[column]), _key(last[column])
        if have != mark:
            return (have < mark) if descending else (have > mark)
    return False


def _write_token(values: Mapping[str, Any]) -> str:
    return base64.b64encode(json.dumps({"values": values}).encode()).decode()


def _read_token(token: Any, order: list[tuple[str, bool]]) -> dict[str, Any]:
    try:
        values = json.loads(base64.b64decode(str(token), validate=True))["values"]
        return {column: values[column] for column, _ in order}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise refuse(400, "invalid_token", "Invalid after_token") from None
