"""What a machine fetches itself: from a real server on loopback, and from a real S3."""

import hashlib
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.server import ThreadedMotoServer

from choline_tui.kernel.errors import NotFound, RemoteError, UsageError
from choline_tui.kernel.look import Wanted, look
from choline_tui.kernel.s3 import Bucket, read_page
from choline_tui.kernel.source import is_source, parse, shown
from choline_tui.kernel.web import Web, WebTrouble
from choline_tui.remote.datastore import DataStore
from choline_tui.remote.fetch import fetch
from choline_tui.remote.jobstore import JobStore
from choline_tui.remote.paths import Paths
from tests.support.files_http import Files

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "very/secret+key"}


class Box:
    """A machine's store, and what is told while it fetches."""

    def __init__(self, home: Path) -> None:
        self.paths = Paths(str(home))
        self.paths.make_system()
        self.free: int | None = None
        self.store = DataStore(self.paths, JobStore(self.paths), free=self._free)
        self.told: list[dict[str, Any]] = []
        self.slept: list[float] = []

    def _free(self) -> int:
        return 1 << 40 if self.free is None else self.free

    def fetch(self, url: str, run: str = "r", into: str = "", **more: Any) -> dict[str, Any]:
        request = {"url": url, **more}
        return fetch(self.store, run, into, request, lambda **p: self.told.append(p), sleep=self.slept.append)

    def data(self, run: str = "r") -> dict[str, bytes]:
        top = Path(self.paths.run(run, "data"))
        return {str(p.relative_to(top)): p.read_bytes() for p in top.rglob("*") if p.is_file()}


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path / "home")


@pytest.fixture
def files() -> Iterator[Files]:
    server = Files()
    yield server
    server.close()


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


# --------------------------------------------------------------------------------------------- https


def test_once_for_all_runs_of_a_machine(box: Box, files: Files) -> None:
    files.content["/set/a b.bin"] = noise(3_000_000)
    url = f"{files.url}/set/a%20b.bin"
    first = box.fetch(url, into="in/side")
    assert (first["state"], first["fetched"], first["files"]) == ("whole", 3_000_000, 1)
    assert box.data() == {"in/side/a b.bin": files.content["/set/a b.bin"]}
    assert box.told[-1]["done"] == box.told[-1]["of"] == 3_000_000
    again = box.fetch(url, run="other")
    assert (again["state"], again["fetched"]) == ("whole", 0)
    assert box.data("other") == {"a b.bin": files.content["/set/a b.bin"]}
    assert len(files.gets("/set/a b.bin")) == 1
    files.content["/set/a b.bin"] = b"new"
    box.fetch(url, run="third")
    assert box.data("third") == {"a b.bin": b"new"}
    assert box.data("other")["a b.bin"] == noise(3_000_000)


def test_it_goes_on_where_it_broke_off(box: Box, files: Files) -> None:
    files.content["/big"] = noise(2_500_000)
    files.cut["/big"] = [1_000_000, 500_000]
    assert box.fetch(f"{files.url}/big")["fetched"] == 2_500_000
    assert files.gets("/big") == ["", "bytes=1000000-", "bytes=1500000-"]
    assert box.data() == {"big": files.content["/big"]}


def test_what_came_before_a_machine_was_cut_off_counts(box: Box, files: Files) -> None:
    files.content["/big"] = noise(2_000_000)
    files.cut["/big"] = [1_200_000]

    def dies(seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(box.store, "r", "", {"url": f"{files.url}/big"}, lambda **_: None, sleep=dies)
    assert box.data() == {}
    assert box.fetch(f"{files.url}/big")["fetched"] == 800_000
    assert box.data() == {"big": files.content["/big"]}


def test_a_part_of_something_else_is_not_gone_on_with(box: Box, files: Files) -> None:
    files.content["/big"] = noise(2_000_000)
    files.cut["/big"] = [1_200_000]

    def changes(seconds: float) -> None:
        files.content["/big"] = noise(1_900_000)

    done = fetch(box.store, "r", "", {"url": f"{files.url}/big"}, lambda **_: None, sleep=changes)
    assert done["state"] == "whole" and box.data() == {"big": noise(1_900_000)}


def test_a_sha256_is_believed_and_nothing_else(box: Box, files: Files) -> None:
    files.content["/m.bin"] = noise(100_000)
    right = hashlib.sha256(files.content["/m.bin"]).hexdigest()
    with pytest.raises(UsageError, match="came twice with bytes") as caught:
        box.fetch(f"{files.url}/m.bin#sha256={'0' * 64}")
    assert "sha256" in caught.value.hint and box.data() == {}
    assert box.fetch(f"{files.url}/m.bin#sha256={right}")["state"] == "whole"
    files.content["/mirror/m.bin"] = files.content.pop("/m.bin")
    assert box.fetch(f"{files.url}/mirror/m.bin#sha256={right}", run="o")["fetched"] == 0, "same bytes"


def test_tags_that_never_stay_the_same(box: Box, files: Files) -> None:
    files.fickle, files.content["/x"] = True, noise(90_000)
    with pytest.raises(RemoteError, match="keeps changing"):
        box.fetch(f"{files.url}/x")
    digest = hashlib.sha256(noise(90_000)).hexdigest()
    assert box.fetch(f"{files.url}/x#sha256={digest}")["state"] == "whole"
    assert box.data() == {"x": noise(90_000)}


@pytest.mark.parametrize("lack", ["tags", "head", "length"])
def test_servers_that_lack_something(box: Box, files: Files, lack: str) -> None:
    setattr(files, lack, False)
    files.content["/x"] = noise(70_000)
    assert box.fetch(f"{files.url}/x")["state"] == "whole"
    assert box.data() == {"x": noise(70_000)}
    if lack == "tags":
        files.content["/x"] = noise(70_001)
        box.fetch(f"{files.url}/x", run="next")
        assert box.data("next") == {"x": noise(70_001)}, "nothing tells states apart: each run has its own"


def test_trouble_is_waited_out_and_a_clear_no_is_not(box: Box, files: Files) -> None:
    files.content["/x"] = b"x"
    files.status["/x"] = [503, 429]
    assert box.fetch(f"{files.url}/x")["state"] == "whole"
    assert len(box.slept) == 2
    with pytest.raises(NotFound, match="there is no http"):
        box.fetch(f"{files.url}/missing?token=abc")
    files.status["/y"] = [500] * 9
    with pytest.raises(WebTrouble, match="answers 500"):
        box.fetch(f"{files.url}/y")
    files.token = "hf_secret"
    with pytest.raises(UsageError, match="refuses") as caught:
        box.fetch(f"{files.url}/x", run="o")
    assert "credentials" in caught.value.hint and "hf_secret" not in str(caught.value)
    given = {"env": {"HF_TOKEN": "hf_secret"}, "bearer": ["HF_TOKEN"]}
    assert box.fetch(f"{files.url}/x", run="o", **given)["state"] == "whole"


def test_a_token_is_not_carried_to_where_it_is_sent_on(box: Box, files: Files) -> None:
    other = Files()
    try:
        other.content["/blob"] = b"blob"
        files.redirect["/x"] = f"{other.url}/blob"
        box.fetch(f"{files.url}/x", env={"T": "tok"}, bearer=["T"])
        assert box.data() == {"x": b"blob"}
        assert all("authorization" in h for _, _, h in files.asked)
        assert not any("authorization" in h for _, _, h in other.asked)
        files.redirect["/x"] = f"{files.url}/x"
        with pytest.raises(UsageError, match="without end"):
            box.fetch(f"{files.url}/x")
        files.redirect["/x"] = "http://example.com/x"
        with pytest.raises(UsageError, match="not https"):
            box.fetch(f"{files.url}/x")
    finally:
        other.close()


def test_no_room_is_said_before_it_begins_and_old_data_goes_first(box: Box, files: Files) -> None:
    files.content["/old"], files.content["/new"] = noise(400_000), noise(500_000)
    box.fetch(f"{files.url}/old", run="past")
    job = Path(box.paths.job("past-1"))
    job.mkdir()
    (job / "status.json").write_text('{"id": "past-1", "state": "ended", "reason": "stopped"}')
    free = [600_000]
    box.store._free = lambda: free[0]  # type: ignore[method-assign]
    assert box.fetch(f"{files.url}/new")["state"] == "whole"
    assert box.data("past") == {"old": noise(400_000)}, "there was room for both"
    files.content["/huge"] = noise(700_000)
    answer = box.fetch(f"{files.url}/huge")
    assert (answer["state"], answer["need"], answer["free"]) == ("full", 700_000, 600_000)
    assert box.data("past") == {}, "an ended run's shared data made room"
    assert box.data() == {"new": noise(500_000)}, "that of a run on its way did not"


def test_two_fetch_the_same_thing_once(box: Box, files: Files) -> None:
    files.content["/x"] = noise(900_000)
    runs = [threading.Thread(target=box.fetch, args=(f"{files.url}/x", f"r{n}")) for n in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert len(files.gets("/x")) == 1
    assert all(box.data(f"r{n}") == {"x": noise(900_000)} for n in range(3))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("ftp://host/x", "https:// and s3://"),
        ("http://example.com/x", "use https"),
        ("https://user:pass@host/x", "credentials"),
        ("https://host/x#sha256=12", "64 digits"),
        ("s3://Bad_Bucket/x", "s3://bucket/prefix"),
        ("https:///x", "no host"),
        ("https://host/a b", "spaces"),
    ],
)
def test_addresses_that_are_refused(text: str, wrong: str) -> None:
    assert is_source(text)
    with pytest.raises(ValueError, match=wrong):
        parse(text)


def test_addresses(tmp_path: Path) -> None:
    assert not is_source("data/set") and not is_source("C:/data")
    assert parse("https://h/a/b%20c.tar?sig=x").name == "b c.tar"
    assert (parse("s3://bucket/a/b").bucket, parse("s3://bucket/a/b").prefix) == ("bucket", "a/b")
    assert parse("s3://bucket").prefix == "" and parse("https://h/").name == "data"
    assert shown("https://h/x?X-Amz-Signature=abc") == "https://h/x?..."


# ------------------------------------------------------------------------------------------------ S3


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name="us-east-1",
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket="bucket")
    try:
        yield client
    finally:
        client.close()
        server.stop()


def put(s3: Any, **objects: bytes) -> dict[str, Any]:
    """What a request needs to reach them."""
    for key, body in objects.items():
        s3.put_object(Bucket="bucket", Key=key, Body=body)
    return {"endpoint": s3.meta.endpoint_url, "env": KEYS}


def test_all_below_a_prefix_and_nothing_beside_it(box: Box, s3: Any) -> None:
    names = {"set/a.txt": b"a", "set/deep/ü ñ+&=.bin": noise(200_000), "set/$(x) 'q'": b"n", "set/none": b""}
    reach = put(s3, **names, **{"set/empty/": b"", "settings/x": b"not this"})
    done = box.fetch("s3://bucket/set", into="s", **reach)
    assert (done["state"], done["files"], done["fetched"]) == ("whole", 4, 200_002)
    assert box.data() == {"s/" + key[4:]: body for key, body in names.items()}
    assert Path(box.paths.run("r", "data/s/empty")).is_dir()
    assert box.fetch("s3://bucket/set/", run="o", **reach)["files"] == 4
    assert box.fetch("s3://bucket/set", run="p", **reach)["fetched"] == 0
    put(s3, **{"set/a.txt": b"changed"})
    box.fetch("s3://bucket/set", run="q", **reach)
    assert box.data("q")["a.txt"] == b"changed" and box.data("p")["a.txt"] == b"a"
    one = box.fetch("s3://bucket/set/a.txt", run="one", **reach)
    assert box.data("one") == {"a.txt": b"changed"} and one["files"] == 1


def test_many_pages_and_an_interrupted_fetch(box: Box, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    reach = put(s3, **{f"many/{n:03}": noise(n) for n in range(25)})
    listed: list[str] = []
    list_url = Bucket.list_url

    def small(self: Bucket, prefix: str, more: str) -> str:
        listed.append(more)
        return list_url(self, prefix, more).replace("list-type=2", "list-type=2&max-keys=10")

    monkeypatch.setattr(Bucket, "list_url", small)
    monkeypatch.setattr("choline_tui.remote.fetch._THREADS", 1)
    ask = Web.ask
    gets: list[str] = []

    def dies(self: Web, method: str, url: str, headers: Any) -> Any:
        if "many/" in url and "list-type" not in url:
            gets.append(url)
            if len(gets) == 12:
                raise KeyboardInterrupt
        return ask(self, method, url, headers)

    monkeypatch.setattr(Web, "ask", dies)
    with pytest.raises(KeyboardInterrupt):
        box.fetch("s3://bucket/many", **reach)
    assert box.data() == {}
    box.fetch("s3://bucket/many", **reach)
    assert len(listed) == 6 and len(set(listed)) >= 3
    assert len(gets) <= 24 + 3, "what was whole is not asked for again; what is empty never"
    assert box.data() == {f"{n:03}": noise(n) for n in range(25)}


def test_s3_that_has_nothing_there_or_cannot_be_held(box: Box, s3: Any) -> None:
    reach = put(s3, **{"odd/a": b"", "odd/a/b": b"", "climb/../../etc/passwd": b"x"})
    with pytest.raises(NotFound, match="nothing at s3://bucket/nowhere"):
        box.fetch("s3://bucket/nowhere", **reach)
    with pytest.raises(NotFound, match="there is no s3://gone/x"):
        box.fetch("s3://gone/x", **reach)
    with pytest.raises(UsageError, match="no disk can hold both"):
        box.fetch("s3://bucket/odd", **reach)
    with pytest.raises(UsageError, match="cannot be a file's"):
        box.fetch("s3://bucket/climb", **reach)
    with pytest.raises(UsageError, match="endpoint must be an https"):
        box.fetch("s3://bucket/x", endpoint="http://example.com")


@pytest.mark.parametrize("key", ["plain", "a b/ü+~&=?#%25.bin", "new\nline"])
def test_requests_are_signed_as_amazons_own_library_signs_them(key: str) -> None:
    env = {**KEYS, "AWS_SESSION_TOKEN": "tok/en=="}
    bucket = Bucket("bucket", "https://s3.example.com:9000", "eu-north-1", env)
    for url in (bucket.url(key), bucket.list_url(key, "next/page=")):
        ours = bucket.headers(url)
        request = AWSRequest("GET", url, headers={"X-Amz-Content-SHA256": ours["x-amz-content-sha256"]})
        request.context["timestamp"] = ours["x-amz-date"]
        signer = S3SigV4Auth(Credentials(*KEYS.values(), env["AWS_SESSION_TOKEN"]), "s3", "eu-north-1")
        request.headers["X-Amz-Date"] = ours["x-amz-date"]
        request.headers["X-Amz-Security-Token"] = "tok/en=="
        signature = signer.signature(
            signer.string_to_sign(request, signer.canonical_request(request)), request
        )
        assert ours["Authorization"].endswith(f"Signature={signature}")


def test_lists_that_are_none() -> None:
    for body in (b"", b"<html/>", b"<!DOCTYPE x><ListBucketResult/>", b"<a>", b"\xff"):
        with pytest.raises(ValueError, match=r".+"):
            read_page(body)


def test_home_looks_before_anything_is_rented(files: Files, s3: Any) -> None:
    files.content["/x"] = b"12345"
    web = Web()
    assert look(Wanted(parse(f"{files.url}/x")), web, tries=1).size == 5
    reach = put(s3, **{"seen/a": b"123", "seen/b": b"4"})
    wanted = Wanted(parse("s3://bucket/seen"), endpoint=reach["endpoint"], env=KEYS)
    assert look(wanted, web, tries=1).size == 4
    assert "secret" not in repr(wanted) + repr(wanted.bucket())
    with pytest.raises(RemoteError, match=r"127\.0\.0\.1"):
        look(Wanted(parse("https://127.0.0.1:1/x")), web, tries=1)
    web.close()


def test_what_a_run_wrote_into_fetched_data_is_fetched_again(box: Box, files: Files) -> None:
    files.content["/x"] = noise(50_000)
    box.fetch(f"{files.url}/x")
    path = Path(box.paths.run("r", "data/x"))
    path.chmod(0o644)
    path.write_bytes(b"!" * 50_000)
    os.utime(path, (2**31, 2**31))
    box.fetch(f"{files.url}/x", run="next")
    assert box.data("next") == {"x": noise(50_000)}
