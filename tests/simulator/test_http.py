"""The HTTP server with real sockets: keep-alive, limits, nonsense, a clean end; the program around it."""

import asyncio
import contextlib
import json
import re

import httpx
import pytest

from choline_tui.kernel.errors import UsageError
from choline_tui.simulator import Simulator
from choline_tui.simulator.http import MAX_BODY
from choline_tui.simulator.serve import serve
from tests.support import eventually, free_port

QUIET = {"offers": 60, "boot": 0.2}


async def raw(sim, data, *, half_close=False):
    """Send bytes, read until the server closes."""
    port = int(sim.url.rsplit(":", 1)[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        await writer.drain()
        if half_close:
            writer.write_eof()
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_exact_content_type_keep_alive_and_both_slashes():
    async with Simulator(**QUIET) as sim, httpx.AsyncClient(base_url=sim.url) as client:
        for path in ("/api/v0/gpu_names/unique/", "/api/v0/gpu_names/unique"):
            answer = await client.get(path)
            assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
        answers = [await client.get(path) for _ in range(3)]
        addresses = {a.extensions["network_stream"].get_extra_info("client_addr") for a in answers}
        assert len(addresses) == 1, "one connection carries many requests"


async def test_many_at_once():
    async with Simulator(**QUIET) as sim, httpx.AsyncClient(base_url=sim.url) as client:
        calls = [client.post("/api/v0/bundles/", json={"limit": 3}) for _ in range(50)]
        answers = await asyncio.gather(*calls)
        assert {len(a.json()["offers"]) for a in answers} == {3}


async def test_chunked_bodies_and_pipelined_requests():
    async with Simulator(**QUIET) as sim:
        chunked = b"POST /api/v0/bundles/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunked += b'6\r\n{"limi\r\n6\r\nt": 2}\r\n0\r\n\r\n'
        last = b"GET /api/v0/gpu_names/unique/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        answer = await raw(sim, chunked + last)
        assert answer.count(b"HTTP/1.1 200") == 2
        assert len(json.loads(answer.split(b"\r\n\r\n")[1].split(b"HTTP/1.1")[0])["offers"]) == 2


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET /x HTTP/1.1\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: x\r\nContent-Length: minus\r\n\r\n",
        b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_answered_with_a_failure(data):
    async with Simulator(**QUIET) as sim:
        answer = await raw(sim, data)
        assert answer.startswith(b"HTTP/1.1 4")
        async with httpx.AsyncClient(base_url=sim.url) as client:
            assert (await client.get("/api/v0/gpu_names/unique/")).status_code == 200


async def test_a_body_too_large_is_refused():
    async with Simulator(**QUIET) as sim:
        head = b"POST /api/v0/bundles/ HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY * 2)
        answer = await raw(sim, head + b" " * (MAX_BODY + 1))
        assert answer.startswith(b"HTTP/1.1 413")


async def test_a_caller_that_goes_away_in_the_middle_leaves_nothing():
    async with Simulator(**QUIET) as sim:
        answer = await raw(sim, b"POST /api/v0/bundles/ HTTP/1.1\r\nHost: x\r\nContent-", half_close=True)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400")
        await eventually(lambda: not sim._http._connections, what="connection gone")


async def test_continue_is_answered():
    async with Simulator(**QUIET) as sim:
        head = b"POST /api/v0/bundles/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
        port = int(sim.url.rsplit(":", 1)[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head + b"Connection: close\r\nContent-Length: 2\r\n\r\n")
        async with asyncio.timeout(10):
            assert b"100" in await reader.readline()
            writer.write(b"{}")
            assert b"HTTP/1.1 200" in await reader.read()
        writer.close()
        await writer.wait_closed()


async def test_closing_ends_idle_connections_and_frees_the_port():
    sim = Simulator(**QUIET)
    await sim.start()
    port = int(sim.url.rsplit(":", 1)[1])
    async with httpx.AsyncClient(base_url=sim.url) as client:
        await client.get("/api/v0/gpu_names/unique/")
        async with asyncio.timeout(5):
            await sim.close()
        with pytest.raises(httpx.TransportError):
            await client.get("/api/v0/gpu_names/unique/")
    again = Simulator(**QUIET, port=port)
    await again.start()
    await again.close()


async def test_the_program_says_where_it_is_and_ends_cleanly(tmp_path):
    said, ready, until, port = [], asyncio.Event(), asyncio.Event(), free_port()
    program = asyncio.create_task(
        serve(port=port, offers=50, root=tmp_path / "market", say=said.append, ready=ready, until=until)
    )
    async with asyncio.timeout(20):
        await ready.wait()
    assert f"VAST_URL=http://127.0.0.1:{port}" in said[0] and "seed 7" in said[0]
    assert "remotes are" in said[0]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        assert (await client.get("/api/v0/gpu_names/unique/")).status_code == 200
    with pytest.raises(UsageError, match="cannot listen"):
        await serve(port=port, offers=10, root=tmp_path / "other", say=said.append)
    until.set()
    async with asyncio.timeout(20):
        await program


async def test_the_program_can_have_a_bad_day(tmp_path):
    said, ready, until, reports = [], asyncio.Event(), asyncio.Event(), []
    options = {"port": 0, "offers": 50, "root": tmp_path / "market", "faults": "api-v2", "people": 10.0}
    program = asyncio.create_task(
        serve(**options, say=said.append, ready=ready, until=until, at_end=reports.append)
    )
    async with asyncio.timeout(20):
        await ready.wait()
    assert "on purpose (api-v2)" in said[0]
    url = re.search(r"http://\S+", said[0])[0]
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": "Bearer x"}) as client:
        assert "schema_revision" in (await client.get("/api/v0/users/current")).json()
    until.set()
    async with asyncio.timeout(20):
        await program
    assert reports[0]["faults"] == 1
    with pytest.raises(UsageError, match="did you mean api-v2"):
        await serve(port=0, faults="api-v3", root=tmp_path / "other", say=said.append)


@pytest.mark.parametrize(
    "bad", [{"port": 70_000}, {"offers": -1}, {"boot": -1.0}, {"key": " "}, {"people": -1.0}]
)
async def test_figures_that_make_no_sense(bad, tmp_path):
    with pytest.raises(UsageError) as caught:
        await serve(**{"port": 0, "root": tmp_path, **bad})
    assert caught.value.hint
