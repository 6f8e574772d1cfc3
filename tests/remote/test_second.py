"""Results in a bucket beside home: written by the machine itself, in parts where large, and compared."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from choline_tui.kernel.errors import UsageError
from choline_tui.kernel.protocol import Also
from choline_tui.kernel.web import Web, WebTrouble
from choline_tui.provision.bucket import end_of
from choline_tui.remote.second import GivenUp, SecondHome
from tests.remote.box import Remote
from tests.support import wait_until

KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
}


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


def there(s3: Any, prefix: str) -> dict[str, bytes]:
    found = s3.list_objects_v2(Bucket="bucket", Prefix=prefix).get("Contents", [])
    bodies = {each["Key"]: s3.get_object(Bucket="bucket", Key=each["Key"])["Body"] for each in found}
    return {key[len(prefix) :]: body.read() for key, body in bodies.items()}


def put(path: Path, content: bytes, age: float = 600) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (time.time() - age, time.time() - age))


def home(s3: Any, root: Path, prefix: str, bucket: str = "bucket", **more: Any) -> SecondHome:
    also = Also(f"s3://{bucket}/{prefix}", endpoint=s3.meta.endpoint_url)
    return SecondHome(also, "r", "r-1", str(root), KEYS, **{"sleep": lambda s: None, **more})


def test_what_has_come_to_rest_and_at_the_end_everything(s3: Any, tmp_path: Path) -> None:
    put(tmp_path / "results/a b+ü&$.pt", b"one")
    put(tmp_path / "results/half.tmp", b"ha")
    put(tmp_path / "results/young", b"y", 0)
    put(tmp_path / "results/wandb/x", b"x")
    put(tmp_path / "keep/none", b"")
    (tmp_path / "results/link").symlink_to("young")
    second = home(s3, tmp_path, "all/", exclude=["wandb/"])
    second.bring(10.0, time.time())
    assert there(s3, "all/r/") == {"results/a b+ü&$.pt": b"one", "keep/none": b""}
    assert second.differing() == [b"results/half.tmp", b"results/young"]
    put(tmp_path / "results/a b+ü&$.pt", b"two!", 500)
    second.bring(0.0, time.time())
    assert there(s3, "all/r/") == {
        "results/a b+ü&$.pt": b"two!", "keep/none": b"", "results/half.tmp": b"ha", "results/young": b"y",
    }  # fmt: skip
    assert second.differing() == [] and (second.sent, second.size) == (4, 7)
    s3.put_object(Bucket="bucket", Key="all/r/results/young", Body=b"z")
    assert second.differing() == [b"results/young"]
    second.close()


def test_a_large_file_goes_in_parts_and_one_that_breaks_off_is_begun_anew(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = 5 << 20  # the least that S3 takes
    data = os.urandom(part * 2 + 12_345)
    put(tmp_path / "results/big.pt", data)
    second = home(s3, tmp_path, "big", part=part)
    honest, asked, breaks = Web.ask, [], [3]

    def ask(self: Web, method: str, url: str, headers: Any, body: bytes = b"") -> Any:
        asked.append(method)
        if "partNumber=2" in url and breaks[0]:
            breaks[0] -= 1
            raise WebTrouble("the line broke")
        return honest(self, method, url, headers, body)

    monkeypatch.setattr(Web, "ask", ask)
    second.bring(10.0, time.time())
    assert breaks == [0] and there(s3, "big/r/") == {"results/big.pt": data}
    assert second.differing() == []
    put(tmp_path / "results/big.pt", data[::-1], 300)
    breaks[0] = 100
    with pytest.raises(WebTrouble, match="the line broke"):
        second.bring(10.0, time.time())
    assert "DELETE" in asked and not s3.list_multipart_uploads(Bucket="bucket").get("Uploads")
    assert there(s3, "big/r/") == {"results/big.pt": data}  # the last whole one stays
    second.close()


def test_a_file_that_changes_while_it_is_sent_is_not_taken_for_sent(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from choline_tui.remote import second as module

    put(tmp_path / "results/a", b"before")
    honest = module._read

    def read(fd: int, start: int, size: int) -> bytes:
        data = honest(fd, start, size)
        put(tmp_path / "results/a", b"after!", 300)
        return data

    monkeypatch.setattr(module, "_read", read)
    second = home(s3, tmp_path, "torn")
    second.bring(10.0, time.time())
    assert there(s3, "torn/r/") == {} and second.sent == 0
    second.close()


def test_a_bucket_that_refuses_says_why_and_an_end_that_is_wanted_comes(s3: Any, tmp_path: Path) -> None:
    put(tmp_path / "results/a", b"a")
    with pytest.raises(UsageError, match="HTTP 404 NoSuchBucket"):
        home(s3, tmp_path, "x", bucket="not-there").bring(0.0, time.time())
    with pytest.raises(GivenUp):
        home(s3, tmp_path, "x", wanted=lambda: False).bring(0.0, time.time())


def handed(remote: Remote, job: str, s3: Any, url: str) -> dict[str, Any]:
    """A job's secrets, and what it says of its second home."""
    remote.call("secrets", job, data={"values": KEYS})
    return {"secrets": list(KEYS), "also": {"url": url, "endpoint": s3.meta.endpoint_url, "region": ""}}


def test_a_job_writes_there_as_it_runs_and_ends_when_all_is_there(s3: Any, remote: Remote) -> None:
    safe = remote.system / "guard/safe"
    safe.parent.mkdir(parents=True)
    remote.call("lease", data={"seconds": 600})
    more = handed(remote, "r-1", s3, "s3://bucket/runs")
    command = (
        'echo weights > "$CHOLINE_KEEP/last.pt"; until [ -e "$CHOLINE_ROOT/go" ]; do sleep 0.05; done; '
        'echo log > "$CHOLINE_RESULTS/train.log"; exit 3'
    )
    remote.submit("r-1", command, settle_s=0.4, **more)
    wait_until(
        lambda: there(s3, "runs/r/") == {"keep/last.pt": b"weights\n"}, within=30, what="the checkpoint"
    )
    (remote.home / "choline/r/go").touch()
    status = remote.ended("r-1", within=30)
    assert (status.reason, status.exit_code, status.also, status.also_files) == ("exited", 3, "whole", 2)
    found = there(s3, "runs/r/")
    record, log = found.pop("choline/r-1.json"), found.pop("choline/r-1.run.log")
    assert found == {"keep/last.pt": b"weights\n", "results/train.log": b"log\n"} and log == b""
    known = end_of("s3://bucket/runs/", s3.meta.endpoint_url, "", "r", "r-1", KEYS)
    assert known is not None and (known.reason, known.exit_code, known.also_files) == ("exited", 3, 2)
    assert end_of("s3://bucket/runs", s3.meta.endpoint_url, "", "r", "r-2", KEYS) is None
    with pytest.raises(UsageError, match="must be an https"):
        end_of("s3://bucket/runs", "http://h", "", "r", "r-1", KEYS)
    # all is in the bucket: the guard may destroy the machine, until it gets something to do again
    assert safe.exists()
    remote.call("lease", data={"seconds": 600})
    assert safe.exists()
    remote.submit("r-2", "true")
    assert not safe.exists()
    text = json.dumps(remote.stream("r-1"), default=repr) + record.decode()
    text += (remote.system / "jobs/r-1/status.json").read_text()
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in text


def test_a_job_whose_bucket_is_not_there_ends_all_the_same(s3: Any, remote: Remote) -> None:
    more = handed(remote, "r-1", s3, "s3://not-there/runs")
    remote.submit("r-1", 'echo x > "$CHOLINE_RESULTS/x"', **more)
    status = remote.ended("r-1", within=30)
    assert (status.reason, status.exit_code, status.also) == ("exited", 0, "failed")
    assert "NoSuchBucket" in status.also_words
