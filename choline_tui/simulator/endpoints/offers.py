"""Looking at the market: searches, GPU names, what GPUs cost now and cost lately."""

from random import Random
from statistics import median
from typing import Any

from choline_tui.simulator.access import Key
from choline_tui.simulator.endpoints.base import Endpoints, Route, route
from choline_tui.simulator.search import Search
from choline_tui.simulator.wire import Request, as_number, refuse

__all__ = ["Offers"]

DAY_S = 86_400.0
MAX_POINTS = 500


class Offers(Endpoints):
    _searches = 0

    def routes(self) -> list[Route]:
        return [
            route("POST", "v0/bundles", "search", "misc", self.search_post),
            route("GET", "v0/bundles", "search", "misc", self.search_get),
            route("PUT", "v0/search/asks", "search", "misc", self.search_put),
            route("GET", "v0/gpu_names/unique", "gpu_names", "", self.gpu_names),
            route("GET", "v0/metrics/gpu/current", "metrics", "machine_read", self.current),
            route("GET", "v0/metrics/gpu/history", "metrics", "machine_read", self.history),
            route("GET", "v0/metrics/gpu/locations", "metrics", "machine_read", self.locations),
        ]

    async def search_post(self, request: Request, key: Key | None, _: int) -> Any:
        return self.search(request.json())

    async def search_get(self, request: Request, key: Key | None, _: int) -> Any:
        body = request.json_param("q", {})
        if not isinstance(body, dict):
            raise refuse(400, "invalid_request", "Invalid json body")
        return self.search(body)

    async def search_put(self, request: Request, key: Key | None, _: int) -> Any:
        body = request.json()
        query = body.get("q")
        if not isinstance(query, dict):
            raise refuse(400, "invalid_request", "Invalid json body")
        answer = self.search(query)
        columns = body.get("select_cols")
        if isinstance(columns, list) and "*" not in columns:
            answer["offers"] = [{str(c): o.get(str(c)) for c in columns} for o in answer["offers"]]
        return answer

    def search(self, body: dict[str, Any]) -> dict[str, Any]:
        """Raises ``Refusal`` (400)."""
        desk = self.desk
        search = Search(body, desk.clock.time())
        self._searches += 1
        rows = [*desk.market.rows(), *desk.contracts.rented_rows()]
        return {"offers": search.run(rows, Random(f"score/{desk.market.seed}/{self._searches}"))}

    async def gpu_names(self, request: Request, key: Key | None, _: int) -> Any:
        return {"gpu_names": self.desk.market.gpu_names()}

    # ---- metrics

    def _rows(self, request: Request) -> list[dict[str, Any]]:
        params = request.params()
        wanted = {
            "vericode": {"true": 1, "false": 0}.get(params.get("verified", "all")),
            "hosting_type": {"true": 1, "false": 0, "1": 1, "0": 0}.get(params.get("hosting_type", "all")),
        }
        size = params.get("num_gpus", "all")
        rows = [
            row
            for row in self.desk.market.rows()
            if all(value is None or row[name] == value for name, value in wanted.items())
        ]
        if size == "other":
            return [row for row in rows if row["num_gpus"] not in (1, 2, 4, 8)]
        return [row for row in rows if size in ("all", str(row["num_gpus"]))]

    async def current(self, request: Request, key: Key | None, _: int) -> Any:
        """Prices in $/h for one GPU."""
        found: dict[str, list[dict[str, Any]]] = {}
        for row in self._rows(request):
            found.setdefault(row["gpu_name"], []).append(row)
        gpus = []
        for name, rows in sorted(found.items()):
            prices = sorted(row["base_price"] / row["num_gpus"] for row in rows)
            verified = sum(row["vericode"] for row in rows)
            facts = rows[0]
            flops = facts["total_flops"] / facts["num_gpus"]
            gpus.append(
                {
                    "gpu_name": name,
                    "total": len(rows),
                    "available": len(rows),
                    "unavailable": 0,
                    "usage": 0.0,
                    "rented_verified": 0,
                    "avail_verified": verified,
                    "rented_unverified": 0,
                    "avail_unverified": len(rows) - verified,
                    "dlperf": facts["dlperf"] / facts["num_gpus"],
                    "tflops": flops,
                    "tflops_per_dollar": flops / median(prices),
                    "price_p10": prices[len(prices) // 10],
                    "price_median": median(prices),
                    "price_p90": prices[len(prices) * 9 // 10],
                }
            )
        return {"success": True, "gpus": gpus, "needs_machine": False}

    async def history(self, request: Request, key: Key | None, _: int) -> Any:
        """Steps of median prices ($/h for one GPU) and counts; the market knows its own past."""
        params = request.params()
        now = self.desk.clock.time()
        start = as_number(params.get("start")) or now - 7 * DAY_S
        end = min(as_number(params.get("end")) or now, now)
        step = max(as_number(params.get("step")) or 3600.0, 60.0)
        start = max(start, end - step * MAX_POINTS)
        names = set(filter(None, params.get("gpu_name", "").replace("_", " ").split(",")))
        times: list[float] = []
        while start <= end and len(times) < MAX_POINTS:
            times.append(start)
            start += step
        gpus: dict[str, Any] = {}
        models: dict[str, list[Any]] = {}
        for machine in self.desk.market.machines:
            if not names or machine.model.name in names:
                models.setdefault(machine.model.name, []).append(machine)
        for name, machines in sorted(models.items()):
            # a few machines tell the model's price well enough
            sample = machines[:9]
            prices = [sorted(self.desk.market.unit_price_at(m, at) for m in sample) for at in times]
            count = [len(machines)] * len(times)
            gpus[name] = {
                "stats": {
                    "tflops": machines[0].model.tflops,
                    "dlperf": machines[0].model.dlperf,
                    "tflops_per_dollar": machines[0].model.tflops / machines[0].price,
                },
                "supply_demand": {"timestamps": times, "avail_verified": count},
                "pricing": {
                    "timestamps": times,
                    "avail_p10": [p[len(p) // 10] for p in prices],
                    "avail_median": [median(p) for p in prices],
                    "avail_p90": [p[len(p) * 9 // 10] for p in prices],
                },
            }
        return {"success": True, "gpus": gpus, "needs_machine": False}

    async def locations(self, request: Request, key: Key | None, _: int) -> Any:
        names = ("machine_id", "gpu_name", "num_gpus", "geolocation", "country_code", "verification")
        seen = {row["machine_id"]: row for row in self._rows(request)}
        rows = [{name: row[name] for name in names} | {"rented": False} for row in seen.values()]
        return {"success": True, "locations": rows, "needs_machine": False}
