"""The API's answers, one behaviour after another, as ``vast-api`` facts describe them."""

import base64
import json

import pytest

from choline_tui.simulator import Request
from tests.simulator.market_client import KEY_LINE, Caller, on_virtual_time

# ---- who may call


def test_no_key_bad_key_and_public_routes():
    async def story(sim, call, clock):
        nobody, stranger = Caller(sim, None), Caller(sim, "wrong")
        status, answer = await nobody("GET", "/api/v1/instances/")
        assert (status, answer["error"], answer["msg"]) == (403, "auth_error", "This action requires login.")
        for path in ("/api/v1/instances/", "/api/v0/instances/7/", "/api/v0/users/current"):
            status, answer = await stranger("GET", path)
            assert (status, answer["error"], answer["msg"]) == (404, "auth_error", "Invalid user key")
        assert (await stranger("POST", "/api/v0/bundles/", {}))[0] == 404
        assert (await nobody("POST", "/api/v0/bundles/", {}))[0] == 200
        status, answer = await nobody("GET", "/api/v0/gpu_names/unique/")
        assert status == 200 and "RTX 4090" in answer["gpu_names"]
        good = Caller(sim, "right")
        assert (await good("GET", "/api/v0/users/current"))[0] == 200
        assert (await nobody("GET", "/api/v0/users/current/", api_key="right"))[0] == 200

    on_virtual_time(story, key="right")


def test_any_key_will_do_unless_one_is_named_but_not_a_dead_instance_key():
    async def story(sim, call, clock):
        assert (await Caller(sim, "whatever")("GET", "/api/v0/users/current/"))[0] == 200
        offer = (await call.search())[0]
        _, answer = await call.rent(offer["id"])
        own = Caller(sim, answer["instance_api_key"])
        await call("DELETE", f"/api/v0/instances/{answer['new_contract']}/")
        status, answer = await own("GET", "/api/v0/users/current/")
        assert (status, answer["error"]) == (404, "auth_error")

    on_virtual_time(story)


def test_the_instance_key_rules_its_own_instance_and_nothing_else():
    async def story(sim, call, clock):
        offers = await call.search()
        _, mine = await call.rent(offers[0]["id"])
        other = await call.rented()
        own, c = Caller(sim, mine["instance_api_key"]), mine["new_contract"]
        refused = [
            ("PUT", f"/api/v0/instances/{other}/", {"state": "stopped"}),
            ("DELETE", f"/api/v0/instances/{other}/", {}),
            ("DELETE", "/api/v0/instances/", {"instance_ids": [c, other]}),
            ("PUT", "/api/v0/instances/", {"state": "stopped", "ids": [other]}),
            ("GET", "/api/v1/instances/", None),
            ("GET", f"/api/v0/instances/{c}/", None),
            ("GET", "/api/v0/users/current/", None),
            ("POST", "/api/v0/bundles/", {}),
            ("PUT", f"/api/v0/asks/{offers[5]['id']}/", {"image": "a", "disk": 10}),
            ("POST", "/api/v0/auth/apikeys/", {"name": "x", "permissions": {"api": {"misc": {}}}}),
            ("PUT", f"/api/v0/instances/bid_price/{c}/", {"price": 1}),
            ("POST", "/api/v0/ssh/", {"ssh_key": KEY_LINE}),
        ]
        for method, path, body in refused:
            status, answer = await own(method, path, body)
            assert (status, answer["success"]) == (403, False), path
        assert (await own("PUT", f"/api/v0/instances/{c}/", {"label": "x"}))[0] == 200
        assert (await own("PUT", f"/api/v0/instances/{c}/", {"state": "stopped"}))[0] == 200
        assert (await own("PUT", f"/api/v0/instances/{c}/", {"state": "running"}))[0] == 200
        assert (await own("DELETE", f"/api/v0/instances/{c}/", {}))[0] == 200
        assert [x.id for x in sim.contracts.alive()] == [other]

    on_virtual_time(story, key="account")


def test_restricted_keys():
    async def story(sim, call, clock):
        wanted = {"api": {"instance_read": {}, "misc": {}, "user_read": {}}}
        body = {"name": "reader", "permissions": wanted}
        status, made = await call("POST", "/api/v0/auth/apikeys/", body)
        assert status == 200 and made["permissions"] == wanted
        reader = Caller(sim, made["key"])
        assert (await reader("GET", "/api/v1/instances/"))[0] == 200
        assert len(await reader.search()) == 64
        status, answer = await reader.rent((await call.search())[0]["id"])
        assert status == 403 and "instance_write" in answer["msg"]
        _, user = await reader("GET", "/api/v0/users/current/")
        _, keys = await reader("GET", "/api/v0/auth/apikeys/")
        mine = next(k for k in keys["apikeys"] if k["id"] == user["key_id"])
        assert mine["permissions"] == wanted and made["key"] not in json.dumps(keys)
        _, user = await call("GET", "/api/v0/users/current/")
        assert next(k for k in keys["apikeys"] if k["id"] == user["key_id"])["permissions"] is None
        gone = await call("DELETE", f"/api/v0/auth/apikeys/{made['id']}/")
        assert gone == (200, "Successfully Deleted API Key")
        assert (await reader("GET", "/api/v1/instances/"))[0] == 404
        assert (await call("DELETE", f"/api/v0/auth/apikeys/{made['id']}/"))[0] == 404
        bad = {"name": "x", "permissions": {"api": {"everything": {}}}}
        assert (await call("POST", "/api/v0/auth/apikeys/", bad))[0] == 400

    on_virtual_time(story, key="account")


def test_a_key_bound_to_some_instances():
    async def story(sim, call, clock):
        one, two = await call.rented(), await call.rented()
        api = {"instance.request_logs": {"constraints": {"id": {"eq": one}}}}
        body = {"name": "logs", "permissions": {"api": api}}
        _, made = await call("POST", "/api/v0/auth/apikeys/", body)
        reader = Caller(sim, made["key"])
        assert (await reader("PUT", f"/api/v0/instances/request_logs/{one}/", {}))[0] == 200
        assert (await reader("PUT", f"/api/v0/instances/request_logs/{two}/", {}))[0] == 403

    on_virtual_time(story)


# ---- searching


def test_every_form_of_the_search():
    async def story(sim, call, clock):
        query = {"gpu_name": {"eq": "RTX 4090"}, "order": [["dph_total", "asc"]], "limit": 3}
        posted = await call.search(**query)
        assert len(posted) == 3 and {o["gpu_name"] for o in posted} == {"RTX 4090"}
        assert (await call("GET", "/api/v0/bundles/", q=query))[1]["offers"] == posted
        put = {"select_cols": ["*"], "q": query}
        assert (await call("PUT", "/api/v0/search/asks/", put))[1]["offers"] == posted
        some = {"select_cols": ["id", "nonsense"], "q": query}
        _, answer = await call("PUT", "/api/v0/search/asks", some)
        assert answer["offers"] == [{"id": o["id"], "nonsense": None} for o in posted]
        for body in (b"{", b"[]", b'"x"', b'{"num_gpus": {"gt": NaN}}', b"[" * 100_000):
            status, answer = await call("POST", "/api/v0/bundles/", body)
            assert (status, answer["msg"]) == (400, "Invalid json body")
        assert (await call("GET", "/api/v0/bundles/", q="{"))[0] == 400
        assert (await call("PUT", "/api/v0/search/asks/", {"q": 1}))[0] == 400
        assert {"id", "dph_total", "search", "geolocation", "duration"} <= posted[0].keys()
        assert "base_price" not in posted[0]

    on_virtual_time(story)


def test_rented_machines_can_be_searched_for():
    async def story(sim, call, clock):
        offer = (await call.search())[0]
        await call.rent(offer["id"])
        assert offer["id"] not in [o["id"] for o in await call.search()]
        (mine,) = await call.search(rented={"eq": True})
        assert mine["ask_contract_id"] == offer["id"] and mine["rented"]

    on_virtual_time(story)


# ---- renting


def test_renting_and_the_offer_is_gone():
    async def story(sim, call, clock):
        offer = (await call.search())[0]
        status, answer = await call.rent(offer["id"], label="job1")
        assert status == 200 and answer["success"] is True and len(answer["instance_api_key"]) == 64
        assert (await call.show(answer["new_contract"]))["label"] == "job1"
        status, answer = await call.rent(offer["id"])
        assert (status, answer["error"], answer["ask_id"]) == (410, "no_such_ask", offer["id"])
        status, answer = await call.rent(5)
        assert (status, answer["error"], answer["ask_id"]) == (404, "invalid_args", 5)
        assert "no_such_ask" in answer["msg"]
        assert len(sim.contracts.history) == 1

    on_virtual_time(story)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"image": None}, "invalid_args"),
        ({"image": 7}, "invalid_args"),
        ({"disk": 1e9}, "invalid_args"),
        ({"disk": 5}, "invalid_args"),
        ({"disk": "much"}, "invalid_args"),
        ({"onstart": "x" * 4097}, "invalid_args"),
        ({"onstart": "x" * 4000, "args": ["y" * 97]}, "invalid_args"),
        ({"onstart": ["x"]}, "invalid_args"),
        ({"label": "x" * 257}, "label_too_long"),
        ({"label": 5}, "invalid_args"),
        ({"price": 0}, "invalid_price"),
        ({"price": -1}, "invalid_price"),
        ({"price": 129}, "invalid_price"),
        ({"price": "cheap"}, "invalid_price"),
        ({"env": ["A=b"]}, "invalid_args"),
        ({"env": {"A=B": "c"}}, "invalid_args"),
        ({"env": {"A": None}}, "invalid_args"),
        ({"env": {"A": "x" * 40_000}}, "invalid_args"),
        ({"env": "-e 'A"}, "invalid_args"),
        ({"env": "--privileged x"}, "invalid_args"),
        ({"target_state": "paused"}, "invalid_args"),
        ({"template_hash_id": "abc"}, "invalid_args"),
        ({"runtype": 3}, "invalid_args"),
    ],
)
def test_bad_orders_are_refused_and_make_nothing(change, error):
    async def story(sim, call, clock):
        status, answer = await call.rent((await call.search())[0]["id"], **change)
        assert (status, answer["success"], answer["error"]) == (400, False, error)
        assert sim.contracts.history == []

    on_virtual_time(story)


def test_orders_in_the_official_clients_full_shape():
    async def story(sim, call, clock):
        body = {
            "env": {"HF_TOKEN": "abc", "-p 70000:70000/udp": "1", "-h": "myhost", "N": 3},
            "price": None,
            "extra": None,
            "onstart": "x" * 4096,
            "image_login": None,
            "python_utf8": False,
            "cancel_unavail": False,
            "template_hash_id": None,
            "user": None,
            "disk": "12.5",
            "vm": None,
        }
        c = await call.rented(**body)
        row = await call.show(c)
        assert row["disk_space"] == 12.5 and not row["is_bid"]
        assert ["HF_TOKEN", "abc"] in row["extra_env"] and ["N", "3"] in row["extra_env"]
        c = await call.rented(env="-e A='b c' -p 80:80 -h host")
        assert (await call.show(c))["extra_env"] == [["A", "b c"], ["-p 80:80", "1"], ["-h", "host"]]

    on_virtual_time(story)


def test_a_bid_too_low_leaves_a_stopped_contract_that_bills():
    async def story(sim, call, clock):
        offer = (await call.search(type="bid"))[0]
        low = offer["min_bid"] * 0.9
        status, answer = await call.rent(offer["id"], price=low)
        assert (status, answer["success"]) == (400, False)
        await clock.sleep(30)
        row = await call.show(answer["new_contract"])
        assert row["cur_state"] == row["intended_status"] == "stopped" and row["actual_status"] == "created"
        assert sim.contracts.billing_now() > 0
        made = len(sim.contracts.history)
        status, answer = await call.rent(offer["id"], price=low, cancel_unavail=True)
        assert status == 410 and "no_such_ask" in answer["msg"] and "new_contract" not in answer
        assert len(sim.contracts.history) == made

    on_virtual_time(story)


def test_spend_limit_and_target_state():
    async def story(sim, call, clock):
        offers = await call.search(order=[["dph_total", "desc"]])
        status, answer = await call.rent(offers[0]["id"])
        assert (status, answer["error"]) == (400, "spend_rate_limit")
        c = await call.rented(target_state="stopped")
        await clock.sleep(20)
        row = await call.show(c)
        assert (row["intended_status"], row["actual_status"]) == ("stopped", "created")

    on_virtual_time(story, spend_limit=2.0)


# ---- reading


def test_the_retired_listing_and_unknown_instances():
    async def story(sim, call, clock):
        status, answer = await call("GET", "/api/v0/instances/", owner="me")
        assert (status, answer["error"]) == (410, "deprecated_endpoint")
        assert (await call("GET", "/api/v0/instances/12345/")) == (200, {"instances": None})
        for method, path, body in [
            ("PUT", "/api/v0/instances/12345/", {"state": "stopped"}),
            ("DELETE", "/api/v0/instances/12345/", {}),
            ("PUT", "/api/v0/instances/reboot/12345/", {}),
            ("PUT", "/api/v0/instances/request_logs/12345/", {}),
            ("DELETE", "/api/v0/instances/", {"instance_ids": [12345]}),
        ]:
            status, answer = await call(method, path, body)
            assert (status, answer["error"]) == (404, "no_such_instance"), path
        assert (await call("GET", "/api/v0/nowhere/"))[0] == 404
        assert (await call("PATCH", "/api/v0/bundles/"))[0] == 405

    on_virtual_time(story)


def test_pages_of_the_listing():
    async def story(sim, call, clock):
        made = [await call.rented(label=f"l{n % 3}" if n % 4 else None) for n in range(60)]
        seen, token, pages = [], "", 0
        while token is not None:
            _, answer = await call(
                "GET", "/api/v1/instances/", order_by=[{"col": "id", "dir": "asc"}], after_token=token
            )
            assert answer["success"] and answer["total_instances"] == 60
            assert answer["instances_found"] == len(answer["instances"]) <= 25
            assert sum(answer["label_counts"].values()) == 60 and answer["label_counts"][""] == 15
            seen += [row["id"] for row in answer["instances"]]
            token, pages = answer["next_token"], pages + 1
            if token:
                assert json.loads(base64.b64decode(token)) == {"values": {"id": seen[-1]}}
        assert seen == made and pages == 3
        _, answer = await call("GET", "/api/v1/instances/", limit="-3")
        assert len(answer["instances"]) == 5
        _, answer = await call("GET", "/api/v1/instances/", limit="1000")
        assert len(answer["instances"]) == 25

    on_virtual_time(story, offers=600, credit=1e6)


def test_pages_in_another_order_lose_and_double_nothing():
    async def story(sim, call, clock):
        made = {await call.rented(label=f"l{n % 3}" if n % 4 else None) for n in range(30)}
        for direction in ("asc", "desc"):
            seen, token = [], ""
            order = [{"col": "label", "dir": direction}]
            while token is not None:
                _, answer = await call(
                    "GET", "/api/v1/instances/", order_by=order, after_token=token, limit="7"
                )
                seen += answer["instances"]
                token = answer["next_token"]
            assert {row["id"] for row in seen} == made and len(seen) == 30
            labels = [row["label"] or "" for row in seen]
            assert labels == sorted(labels, reverse=direction == "desc")

    on_virtual_time(story, credit=1e6)


def test_filters_and_columns_of_the_listing():
    async def story(sim, call, clock):
        one, two = await call.rented(label="job1"), await call.rented()
        await clock.sleep(10)
        await call("PUT", f"/api/v0/instances/{two}/", {"state": "stopped"})
        await clock.sleep(5)

        async def found(filters, **more):
            _, answer = await call("GET", "/api/v1/instances/", select_filters=filters, **more)
            return [row["id"] for row in answer["instances"]]

        assert await found({}) == [one, two]
        assert await found({"label": {"eq": "job1"}}) == [one]
        assert await found({"label": {"in": [None, "job1"]}}) == [one, two]
        assert await found({"label": {"in": [None]}}) == [two]
        assert await found({"actual_status": {"in": ["running", "loading"]}}) == [one]
        assert await found({"id": {"gt": str(one)}}) == [two]
        assert await found({"id": {"neq": one}}) == [two]
        assert await found({"machine_id": {"eq": str((await call.show(one))["machine_id"])}}) == [one]
        columns = ["id", "label", "nonsense"]
        _, answer = await call("GET", "/api/v1/instances/", select_cols=columns)
        assert answer["instances"][0] == {"id": one, "label": "job1", "nonsense": None}
        for filters in ({"dph_total": {"gt": 1}}, {"num_gpus": {"eq": 1}}):
            status, answer = await call("GET", "/api/v1/instances/", select_filters=filters)
            assert (status, answer["error"]) == (400, "invalid_request")
            assert answer["msg"].endswith("is not a valid search key")
        for bad in ({"label": {"in": "x"}}, {"label": {"like": 1}}, {"label": 1}, [1]):
            assert (await call("GET", "/api/v1/instances/", select_filters=bad))[0] == 400
        assert (await call("GET", "/api/v1/instances/", order_by=["id"]))[0] == 400
        assert (await call("GET", "/api/v1/instances/", order_by=[{"col": "dph_total"}]))[0] == 400
        for token in ("x", "e30=", base64.b64encode(b'{"values": 3}').decode()):
            status, answer = await call("GET", "/api/v1/instances/", after_token=token)
            assert (status, answer["error"]) == (400, "invalid_token")
        _, answer = await call("GET", "/api/v0/instances/filters/")
        assert {f["actual_status"] for f in answer["filters"]} == {"running", "exited"}

    on_virtual_time(story)


def test_every_promised_field_is_there():
    async def story(sim, call, clock):
        c = await call.rented()
        await clock.sleep(7)
        row = await call.show(c)
        promised = """id actual_status intended_status cur_state next_state status_msg label image_uuid
            extra_env public_ipaddr ssh_host ssh_port ports machine_id start_date end_date duration num_gpus
            gpu_name
            gpu_util disk_space dph_base dph_total storage_cost is_bid min_bid search instance inet_up_cost
            reliability2 verification geolocation cuda_max_good driver_version"""
        for name in promised.split():
            assert row[name] is not None or name == "label", name
        assert row["dph_total"] == pytest.approx(row["dph_base"] + row["storage_total_cost"])

    on_virtual_time(story)


# ---- changing


def test_labels_bulk_and_bids():
    async def story(sim, call, clock):
        one, two = await call.rented(), await call.rented()
        path = f"/api/v0/instances/{one}/"
        assert (await call("PUT", path, {"label": "new"}))[0] == 200
        assert (await call.show(one))["label"] == "new"
        assert (await call("PUT", path, {"label": "x" * 1024}))[0] == 200
        status, answer = await call("PUT", path, {"label": "x" * 1025})
        assert (status, answer["error"]) == (400, "label_too_long")
        for body in ({}, {"state": "frozen"}, {"state": 1}):
            assert (await call("PUT", path, body))[0] == 400
        await clock.sleep(10)
        assert (await call("PUT", "/api/v0/instances/", {"state": "stopped", "ids": [one, two]}))[0] == 200
        await clock.sleep(5)
        assert (await call.show(two))["actual_status"] == "exited"
        assert (await call("PUT", "/api/v0/instances/", {"state": "stopped", "ids": "all"}))[0] == 400
        status, answer = await call("PUT", f"/api/v0/instances/bid_price/{one}/", {"price": 0.5})
        assert (status, answer["error"]) == (400, "invalid_args")
        assert (await call("DELETE", "/api/v0/instances/", {"instance_ids": [one, two]}))[0] == 200
        assert sim.contracts.alive() == []
        offer = (await call.search(type="bid"))[0]
        _, answer = await call.rent(offer["id"], price=offer["min_bid"])
        bid = answer["new_contract"]
        path = f"/api/v0/instances/bid_price/{bid}/"
        assert (await call("PUT", path, {"client_id": "me", "price": "1.5"}))[0] == 200
        row = await call.show(bid)
        assert row["dph_base"] == row["min_bid"] == 1.5
        assert (await call("PUT", path, {"client_id": "me", "price": None}))[0] == 200
        assert (await call.show(bid))["dph_base"] == pytest.approx(offer["min_bid"])
        assert (await call("PUT", path, {"price": 33.0 * offer["num_gpus"]}))[0] == 400

    on_virtual_time(story)


def test_logs_come_late_and_without_a_key():
    async def story(sim, call, clock):
        c = await call.rented()
        await clock.sleep(7)
        _, answer = await call("PUT", f"/api/v0/instances/request_logs/{c}/", {})
        assert answer["success"] and answer["result_url"].startswith(sim.url + "/")
        path = answer["result_url"].removeprefix(sim.url)
        first = await sim.handle(Request("GET", path))
        second = await sim.handle(Request("GET", path))
        assert first.status == 403 and second.status == 200
        assert second.body == b"image a/b:c\nstarted\n"
        for body, text in (({"tail": "1"}, b"started\n"), ({"filter": "image"}, b"image a/b:c\n")):
            _, answer = await call("PUT", f"/api/v0/instances/request_logs/{c}/", body)
            path = answer["result_url"].removeprefix(sim.url)
            await sim.handle(Request("GET", path))
            assert (await sim.handle(Request("GET", path))).body == text
        assert (await sim.handle(Request("GET", "/results/guess"))).status == 404

    on_virtual_time(story)


# ---- SSH keys


def test_account_and_instance_ssh_keys():
    async def story(sim, call, clock):
        assert await call("GET", "/api/v0/ssh/") == (200, [])
        status, answer = await call("POST", "/api/v0/ssh/", {"ssh_key": KEY_LINE + "\n"})
        assert status == 200 and answer["key"]["public_key"] == KEY_LINE
        for bad in ({}, {"ssh_key": ""}, {"ssh_key": "/home/me/.ssh/id.pub"}, {"ssh_key": "ssh-rsa x\ny"}):
            assert (await call("POST", "/api/v0/ssh/", bad))[0] == 400
        _, listed = await call("GET", "/api/v0/ssh/")
        assert [k["key"] for k in listed] == [KEY_LINE]
        c = await call.rented()
        path = f"/api/v0/instances/{c}/ssh/"
        second = KEY_LINE.replace("me@x", "you@y")
        _, made = await call("POST", path, {"ssh_key": second})
        await clock.sleep(7)
        third = KEY_LINE.replace("me@x", "she@z")
        assert (await call("POST", path, {"ssh_key": third}))[0] == 200
        assert sim.backend.launches[c].authorized_keys == [KEY_LINE, second, third]
        _, answer = await call("GET", path)
        assert isinstance(answer["ssh_keys"], str)
        assert [k["key"] for k in json.loads(answer["ssh_keys"])] == [KEY_LINE, second, third]
        assert (await call("DELETE", f"{path}{made['key']['id']}/"))[0] == 200
        assert len(json.loads((await call("GET", path))[1]["ssh_keys"])) == 2
        assert (await call("DELETE", f"{path}999/"))[0] == 404
        changed = {"id": listed[0]["id"], "ssh_key": third}
        assert (await call("PUT", f"/api/v0/ssh/{listed[0]['id']}/", changed))[0] == 200
        assert (await call("DELETE", f"/api/v0/ssh/{listed[0]['id']}/"))[0] == 200
        assert await call("GET", "/api/v0/ssh/") == (200, [])

    on_virtual_time(story)


# ---- pace


def test_no_limits_unless_asked_for():
    async def story(sim, call, clock):
        assert {(await call("GET", "/api/v1/instances/"))[0] for _ in range(20)} == {200}

    on_virtual_time(story)


def test_documented_intervals_are_kept():
    async def story(sim, call, clock):
        assert (await call("GET", "/api/v1/instances/"))[0] == 200
        status, answer = await call("GET", "/api/v1/instances/")
        assert (status, answer) == (429, {"detail": "API requests too frequent endpoint threshold=1.0"})
        assert (await Caller(sim, "other")("GET", "/api/v1/instances/"))[0] == 200, "per caller"
        await clock.sleep(1.0)
        assert (await call("GET", "/api/v1/instances/"))[0] == 200
        statuses = [(await call("POST", "/api/v0/bundles/", {}))[0] for _ in range(11)]
        assert statuses == [200] * 10 + [429]
        await clock.sleep(60)
        assert (await call("POST", "/api/v0/bundles/", {}))[0] == 200
        offers = await call.search()
        await clock.sleep(5)
        assert (await call.rent(offers[0]["id"]))[0] == 200
        await clock.sleep(4.4)
        assert (await call.rent(offers[1]["id"]))[0] == 429
        await clock.sleep(0.2)
        assert (await call.rent(offers[1]["id"]))[0] == 429, "whoever is too quick waits for 12 s"
        await clock.sleep(7.5)
        assert (await call.rent(offers[1]["id"]))[0] == 200

    on_virtual_time(story, rate_limits=True)
