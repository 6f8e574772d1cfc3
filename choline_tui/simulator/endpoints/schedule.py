"""Jobs that the market itself does by the hour: reboots, bids, commands, copies."""

import json
import math
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from choline_tui.simulator.access import Key
from choline_tui.simulator.endpoints.base import Desk, Endpoints, Route, route
from choline_tui.simulator.machines import HOUR
from choline_tui.simulator.orders import invalid
from choline_tui.simulator.wire import Request, Response, as_number, refuse

__all__ = ["Schedule"]

ALLOWED = re.compile(
    r"/api/v0/(instances/(reboot|recycle|bid_price|command)/[0-9]{1,15}|commands/(rclone|copy_direct|rsync))/?"
)
FREQUENCIES = ("HOURLY", "DAILY", "WEEKLY")
WEEK_S = 7 * 24 * HOUR
MAX_JOBS = 100


class Schedule(Endpoints):
    """``act`` answers a request as if the job's owner sent it."""

    def __init__(self, desk: Desk, act: Callable[[Request, Key | None], Awaitable[Response]]) -> None:
        super().__init__(desk)
        self._act = act
        self._jobs: dict[int, dict[str, Any]] = {}
        self._next = 1

    def routes(self) -> list[Route]:
        path, read, write = "v0/commands/schedule_job", "instance_read", "instance_write"
        return [
            route("GET", path, "schedule.list", read, self.listing),
            route("POST", path, "schedule.write", write, self.create),
            route("PUT", f"{path}/#", "schedule.write", write, self.change),
            route("DELETE", f"{path}/#", "schedule.write", write, self.delete),
        ]

    async def listing(self, request: Request, key: Key | None, _: int) -> Any:
        return [{k: v for k, v in job.items() if k != "key"} for job in self._jobs.values()]

    async def create(self, request: Request, key: Key | None, _: int) -> Any:
        job = self._job(request.json())
        same = ("api_endpoint", "instance_id")
        for known in self._jobs.values():
            if all(known[name] == job[name] for name in same):
                msg = "There is a scheduled job for this already."
                raise refuse(422, "existing_job", msg, scheduled_job_id=known["id"])
        if len(self._jobs) >= MAX_JOBS:
            raise invalid("too many scheduled jobs")
        job |= {"id": self._next, "key": key}
        self._next += 1
        self._jobs[job["id"]] = job
        self.desk.contracts.spawn(self._run(job))
        return {"success": True, "scheduled_job_id": job["id"], "msg": "Scheduled job created."}

    async def change(self, request: Request, key: Key | None, target: int) -> Any:
        if target not in self._jobs:
            raise refuse(404, "not_found", f"Scheduled job {target} not found.")
        job = self._job(request.json()) | {"id": target, "key": key}
        # whoever waits for the old one finds another in its place, and ends
        self._jobs[target] = job
        self.desk.contracts.spawn(self._run(job))
        return {"success": True, "scheduled_job_id": target, "msg": "Scheduled job updated."}

    async def delete(self, request: Request, key: Key | None, target: int) -> Any:
        if self._jobs.pop(target, None) is None:
            raise refuse(404, "not_found", f"Scheduled job {target} not found.")
        return {"success": True, "msg": f"Scheduled job {target} deleted successfully"}

    def _job(self, body: dict[str, Any]) -> dict[str, Any]:
        endpoint, method = body.get("api_endpoint"), body.get("request_method")
        if not isinstance(endpoint, str) or not ALLOWED.fullmatch(endpoint):
            raise invalid("api_endpoint")
        if method not in ("PUT", "POST") or not isinstance(body.get("request_body"), dict):
            raise invalid("request_method and request_body")
        if body.get("frequency") not in FREQUENCIES:
            raise invalid("frequency")
        now = self.desk.clock.time()
        start = as_number(body.get("start_time")) or now
        end = as_number(body.get("end_time")) or start + WEEK_S
        hour, day = _whole(body.get("hour_of_the_day"), 23), _whole(body.get("day_of_the_week"), 6)
        return {
            "instance_id": _whole(body.get("instance_id"), 10**15),
            "api_endpoint": endpoint,
            "request_method": method,
            "request_body": body["request_body"],
            "start_time": start,
            "end_time": end,
            "day_of_the_week": day,
            "hour_of_the_day": hour,
            "min_of_the_hour": 0,
            "frequency": body["frequency"],
        }

    async def _run(self, job: dict[str, Any]) -> None:
        clock = self.desk.clock
        while True:
            due = next_hour(job, clock.time())
            if due is None:
                break
            await clock.sleep(max(0.0, due - clock.time()))
            if self._jobs.get(job["id"]) is not job:
                return
            body = json.dumps(job["request_body"]).encode()
            await self._act(Request(job["request_method"], job["api_endpoint"], body=body), job["key"])
            # it is not told to anybody, as on Vast; a moment later the next hour is due
            await clock.sleep(1.0)
        if self._jobs.get(job["id"]) is job:
            del self._jobs[job["id"]]


def next_hour(job: dict[str, Any], now: float) -> float | None:
    """The next full hour (epoch s) at which a job is due; None: it has ended. Hours are UTC, Sunday is 0."""
    moment: float = math.ceil(max(now, job["start_time"]) / HOUR) * HOUR
    for _ in range(24 * 8):
        if moment > job["end_time"]:
            return None
        at = datetime.fromtimestamp(moment, UTC)
        hour_fits = job["frequency"] == "HOURLY" or at.hour == (job["hour_of_the_day"] or 0)
        day = job["day_of_the_week"]
        day_fits = job["frequency"] != "WEEKLY" or (at.weekday() + 1) % 7 == (day or 0)
        if hour_fits and day_fits:
            return moment
        moment += HOUR
    return None


def _whole(value: Any, most: int) -> int | None:
    if value is None:
        return None
    number = as_number(value)
    if number is None or not 0 <= number <= most or number != int(number):
        raise invalid("a figure of the schedule")
    return int(number)
