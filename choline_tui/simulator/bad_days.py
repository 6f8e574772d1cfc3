"""Named bad days that a person can rehearse: ``choline simulate --faults flaky-monday``."""

__all__ = ["BAD_DAYS"]

_FLAKY_MONDAY = """
name = "flaky-monday"

# the proxy in front of the API is having a bad morning
[[fault]]
what = "lost"
on = "PUT /api/v0/asks/*"
nth = 1
[[fault]]
what = "504"
on = "ask.create"
acted = true
chance = 0.2
[[fault]]
what = "taken"
on = "ask.create"
chance = 0.2
[[fault]]
what = "rows-none"
on = "instance.list"
chance = 0.02
[[fault]]
what = "rows-short"
on = "instance.list"
chance = 0.02
[[fault]]
what = "502"
chance = 0.04
[[fault]]
what = "429-threshold"
chance = 0.03
[[fault]]
what = "reset"
chance = 0.02
[[fault]]
what = "slow"
seconds = 20
chance = 0.02
[[fault]]
what = "cut"
chance = 0.01

# and some hosts are no better
[[fault]]
what = "ssh-refused"
chance = 0.3
seconds = 45
[[fault]]
what = "ssh-dropped"
chance = 0.3
delay_s = 30
[[fault]]
what = "late-ports"
chance = 0.3
seconds = 30
[[fault]]
what = "host-lost"
chance = 0.1
delay_s = 120
seconds = 120
[[fault]]
what = "bad-image"
chance = 0.1
"""

_PRICE_SPIKE = """
name = "price-spike"

# contracts are dearer than the offers were, bids are outbid, hosts want more
[[fault]]
what = "wrong-price"
nth = 1
factor = 3.0
[[fault]]
what = "wrong-price"
chance = 0.3
factor = 1.5
[[fault]]
what = "taken"
on = "ask.create"
chance = 0.4
[[fault]]
what = "outbid"
chance = 0.7
delay_s = 120
seconds = 300
[[fault]]
what = "price-increase"
chance = 0.5
delay_s = 60
factor = 1.8
"""

_API_V2 = """
name = "api-v2"

# the day on which the API changes: strange fields and states, a retired path, a maintenance page
[[fault]]
what = "html"
nth = 3
[[fault]]
what = "410"
on = "GET /api/v0/instances/*"
chance = 0.5
[[fault]]
what = "rows-null"
on = "search"
chance = 0.2
[[fault]]
what = "text"
on = "instance.list"
chance = 0.1
[[fault]]
what = "api-v2"
"""

BAD_DAYS: dict[str, str] = {
    "flaky-monday": _FLAKY_MONDAY,
    "price-spike": _PRICE_SPIKE,
    "api-v2": _API_V2,
}
"""name -> the plan's TOML"""
