"""A contract as the market lists it: what it is doing, where SSH answers, what it costs.

Every field but ``id`` may be None: unknown. States the market invents later are kept as text.
"""

import re
from collections.abc import Mapping
from typing import Any

from choline_tui.kernel.session import Address
from choline_tui.model.market_types import Count, Foreign, Id, Num, Text, one_line

__all__ = ["VITAL", "Instance"]

VITAL = frozenset({"id", "label"})
"""What an instance is known by: a row in which one of these cannot be read is no row at all."""

_FATAL = re.compile(
    "error response from daemon|failed to pull image|manifest unknown|manifest for .{0,300} not found|"
    "manifest not found|unauthorized|pull access denied|no space left on device|unexpected eof|"
    "oci runtime create failed",
    re.IGNORECASE,
)
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?")
"""A name or an address; never one that a command line would read as an option."""

_WORDS = {
    "created": "creating",
    "loading": "pulling the image",
    "running": "running",
    "stopped": "stopped",
    "exited": "exited",
    "frozen": "frozen (the GPU bills)",
    "rebooting": "rebooting",
    "recycling": "recycling",
    "unknown": "the host's heartbeat is lost",
    "offline": "the host is offline",
}


class Instance(Foreign):
    id: Id
    label: Text = None
    actual_status: Text = None
    """what the host reports; None: nothing yet"""
    intended_status: Text = None
    cur_state: Text = None
    next_state: Text = None
    status_msg: str | None = None
    image_uuid: Text = None
    image_runtype: Text = None
    onstart: str | None = None

    machine_id: Count = None
    host_id: Count = None
    num_gpus: Count = None
    gpu_name: Text = None
    gpu_ram: Num = None
    gpu_frac: Num = None
    cuda_max_good: Num = None
    driver_version: Text = None
    cpu_name: Text = None
    cpu_cores: Num = None
    cpu_cores_effective: Num = None
    cpu_ram: Num = None
    disk_space: Num = None
    geolocation: Text = None
    verification: Text = None
    hosting_type: Count = None
    reliability2: Num = None

    is_bid: bool | None = None
    min_bid: Num = None
    dph_base: Num = None
    dph_total: Num = None
    storage_cost: Num = None
    storage_total_cost: Num = None
    search: dict[str, Any] | None = None
    """$/h when running, by part"""
    instance: dict[str, Any] | None = None
    """$/h at this moment, by part"""
    inet_up_cost: Num = None
    inet_down_cost: Num = None
    inet_up: Num = None
    inet_down: Num = None

    public_ipaddr: Text = None
    ssh_host: Text = None
    ssh_port: Count = None
    ports: dict[str, Any] | None = None
    direct_port_count: Count = None

    start_date: Num = None
    end_date: Num = None
    duration: Num = None
    uptime_mins: Num = None
    gpu_util: Num = None
    gpu_temp: Num = None
    cpu_util: Num = None
    mem_usage: Num = None
    mem_limit: Num = None
    disk_usage: Num = None
    disk_util: Num = None

    @property
    def total_per_hour(self) -> float | None:
        """The contract's price ($/h) when it runs, disk included; None: not said yet."""
        if self.dph_total is not None:
            return self.dph_total
        return _number(self.search, "totalHour")

    @property
    def now_per_hour(self) -> float | None:
        """$/h at this moment: without the GPUs' part while they are not running."""
        return _number(self.instance, "totalHour")

    @property
    def disk_per_hour(self) -> float | None:
        """$/h of the disk alone."""
        if self.storage_total_cost is not None:
            return self.storage_total_cost
        if self.storage_cost is not None and self.disk_space is not None:
            return self.disk_space * self.storage_cost / 720
        return _number(self.search, "diskHour")

    @property
    def is_running(self) -> bool:
        """The container runs; its ports may be published later."""
        return self.actual_status == "running"

    @property
    def is_stopped(self) -> bool:
        """Not running and not meant to run: the disk bills, the GPUs do not."""
        return self.actual_status in ("stopped", "exited") and self.intended_status in ("stopped", None)

    @property
    def is_outbid(self) -> bool:
        """An interruptible contract that was stopped, by whomever: the market gives no reason. It was
        outbid only if nobody of ours asked for the stop."""
        return bool(self.is_bid) and self.cur_state == "stopped" and self.intended_status == "stopped"

    @property
    def is_queued(self) -> bool:
        """Meant to run, but its GPUs are taken ("Scheduling"): the disk bills, and it may start later."""
        return self.intended_status == "running" and self.cur_state == "stopped"

    @property
    def is_exited(self) -> bool:
        """The container ended by itself while it was meant to run."""
        return self.actual_status == "exited" and self.intended_status == "running" and not self.is_queued

    @property
    def is_offline(self) -> bool:
        """The host left the market; nothing bills, it may return."""
        return self.actual_status == "offline"

    @property
    def is_unknown(self) -> bool:
        """The host's heartbeat is lost."""
        return self.actual_status == "unknown"

    @property
    def fatal_message(self) -> str | None:
        """The daemon's words when they name a failure; one may be retried by the daemon, so wait until
        it stands."""
        if self.is_running or self.status_msg is None or not _FATAL.search(self.status_msg[:4096]):
            return None
        return one_line(self.status_msg)

    @property
    def phase(self) -> str:
        """What it is doing, for a person: one line of plain text."""
        if self.is_queued and not self.is_running:
            return "waiting for its GPUs, which are taken"
        status = self.actual_status
        if status is None:
            return "starting: the host has not reported yet"
        words = _WORDS.get(status, one_line(status, 60))
        detail = one_line(self.status_msg, 160)
        return f"{words}: {detail}" if detail and status in ("created", "loading", "exited") else words

    def ssh_addresses(self) -> list[Address]:
        """Where SSH may answer, best first: the direct port, then the market's proxy. Empty: not yet."""
        found = []
        direct = _address(self.public_ipaddr, self._host_port("22/tcp"), "direct")
        proxy = _address(self.ssh_host, self._proxy_port(), "proxy")
        for address in (direct, proxy):
            if address is not None:
                found.append(address)
        return found

    def port(self, inner: str) -> int | None:
        """The public port of ``inner`` ("8080/tcp"), or None."""
        return self._host_port(inner)

    def _proxy_port(self) -> int | None:
        if self.ssh_port is None:
            return None
        return self.ssh_port + (1 if "jupyter" in (self.image_runtype or "") else 0)

    def _host_port(self, inner: str) -> int | None:
        bindings = (self.ports or {}).get(inner)
        if not isinstance(bindings, list):
            return None
        for binding in bindings:
            text = str(binding.get("HostPort", "")) if isinstance(binding, Mapping) else ""
            if text.isascii() and text.isdigit() and 1 <= len(text) <= 5:
                return int(text)
        return None


def _number(parts: Mapping[str, Any] | None, name: str) -> float | None:
    value = (parts or {}).get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e12 < value < 1e12:
        return None
    return float(value)


def _address(host: str | None, port: int | None, kind: str) -> Address | None:
    name = (host or "").strip()
    if port is None or not 1 <= port <= 65535 or not _HOST.fullmatch(name):
        return None
    return Address(name, port, "root", kind)
