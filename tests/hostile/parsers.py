"""Every parser that reads what a remote or the market sent, with inputs for it and what may come of them.

========================  =====================================================  ====================
parser                    reads                                                  may raise
========================  =====================================================  ====================
plain, lines              logs and any foreign text                              nothing
frames                    a job's stream (``kernel/frames``)                     ValueError
manifest                  the list of results (``kernel/manifest``)              ValueError
job status, status,       a supervisor's answers (``kernel/protocol``)           ValueError
lease, job, gpu, kept
masked logs               logs as they come home (``kernel/mask``)               nothing
nvidia-smi                the driver's list of cards                             nothing
marked, df, market, cards the first contact's shell (``provision``)              nothing
answer                    what our program prints, in between other talk         RemoteError and those it tells
error                     an error another process of ours tells                 nothing
listing                   ``find``'s list of files (``ssh/listing``)             ValueError
digests                   hashes of files (``ssh/manifest``)                     TransferFailed
archive                   a tar stream (``ssh/tarstream``)                       TransferFailed
names, links              whether a name, a link stays below its folder          nothing
patterns                  what to leave out, as rsync reads it                   nothing
host key                  a pinned or presented public key line                  RemoteError
address                   host and port from the market                          RemoteError
json                      every answer of the market                             ValueError
offers, page              a search's answer                                      MarketDown
instance, account, key    one row each                                           nothing
refusal                   an error's body and headers                            nothing
listing of contracts      a page of the listing                                  MarketDown
ssh keys, public key      the account's keys                                     MarketDown, BadRequest
unpacker                  packed bodies                                          Lost
cuda, label, duration     names of images, labels, spans of time                 ValueError (duration)
gpu                       names of cards, as people and drivers write them       QueryError
query                     the query language                                     QueryError
config, project           ``config.toml`` and a project's ``choline.toml``       ConfigError, ProjectError
========================  =====================================================  ====================

The property of each: a value within its bounds or one of the errors named, in bounded time; never
another exception.
"""

# one parser a line reads better than one argument a line
# ruff: noqa: E501

import io
import json
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from choline_tui.config.home import load
from choline_tui.config.paths import Paths
from choline_tui.config.project import load_project
from choline_tui.kernel import frames, manifest, nvidia_smi
from choline_tui.kernel.errors import (
    BadRequest,
    ConfigError,
    MarketDown,
    ProjectError,
    QueryError,
    RemoteError,
    TransferFailed,
    error_from_wire,
)
from choline_tui.kernel.handover import Handover, Kept
from choline_tui.kernel.mask import Masker
from choline_tui.kernel.protocol import GpuFact, JobSpec, JobStatus, Lease, RemoteStatus
from choline_tui.kernel.session import Address
from choline_tui.kernel.text import PlainLines, plain
from choline_tui.model.choose import gpu_matches
from choline_tui.model.duration import parse_duration
from choline_tui.model.gpu import gpu_names_for, split_gpu_spec
from choline_tui.model.image import cuda_of
from choline_tui.model.instance import VITAL, Instance
from choline_tui.model.label import read_label
from choline_tui.model.market_types import foreign_json, one_line, salvage
from choline_tui.model.offer import decode_offers, read_page
from choline_tui.model.query import parse_query
from choline_tui.provision import session as provisioned
from choline_tui.provision import snippets
from choline_tui.provision.session import SshSession
from choline_tui.ssh import tarstream
from choline_tui.ssh.confine import Folder, link_stays_inside
from choline_tui.ssh.connect import _algorithms_for, _bare
from choline_tui.ssh.listing import Listing, excluder, safe_name
from choline_tui.ssh.manifest import parse_manifest
from choline_tui.ssh.openssh import check_address
from choline_tui.ssh.progress import Meter
from choline_tui.vast.answers import contract_in, parse, refusal
from choline_tui.vast.listing import _page
from choline_tui.vast.ssh_keys import parse_keys, public_key
from choline_tui.vast.types import Account, SshKey
from choline_tui.vast.wire import Lost, Reply, _Unpacker

__all__ = ["PARSERS", "Parser"]

_WORDS = [
    "s",
    "o",
    "d",
    "status",
    "beat",
    "p",
    "n",
    "m",
    "h",
    "end",
    "cut",
    "unread",
    "first",
    "id",
    "jobs",
    "run",
    "state",
    "reason",
    "exit_code",
    "setup_exit",
    "queued",
    "started",
    "ended",
    "log_bytes",
    "log_dropped",
    "results_bytes",
    "message",
    "protocol",
    "version",
    "pid",
    "disk_free_bytes",
    "seconds",
    "grace_s",
    "safe",
    "hold",
    "name",
    "memory_mib",
    "driver",
    "env",
    "command",
    "error",
    "code",
    "hint",
    "details",
    "offers",
    "instances",
    "success",
    "msg",
    "new_contract",
    "total_instances",
    "instances_found",
    "next_token",
    "label",
    "status_msg",
    "actual_status",
    "gpu_name",
    "num_gpus",
    "dph_total",
    "search",
    "instance",
    "totalHour",
    "ports",
    "22/tcp",
    "HostPort",
    "ssh_host",
    "ssh_port",
    "public_ipaddr",
    "retry_after",
    "ssh_keys",
    "key",
    "email",
]
_SPECIAL = "\x1b[]PX^_;?0m\x07\x9b\x9d\x9c\x90\r\n\t\b\x00\x7f\u202e\u200b\u2066\u0301\u0e47\u1161\ud800\ufffe/\\.~'\"{}=,#\u00b2\u0663"
TEXT = st.text(st.one_of(st.characters(), st.sampled_from(_SPECIAL)), max_size=60)
NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from(
        [0, 1, -1, 2**31, 2**53, 2**63 - 1, 2**63, 10**30, -(10**400), 1e308, float("nan"), float("inf")]
    ),
)
LEAF = st.one_of(
    st.none(), st.booleans(), NUMBERS, TEXT, st.sampled_from(["ended", "running", "results/a", "eA==", "run"])
)
JSON = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(_WORDS), TEXT), inner, max_size=8),
    ),
    max_leaves=20,
)
OBJECT = st.dictionaries(st.sampled_from(_WORDS), JSON, max_size=12)
BYTES = st.one_of(
    st.binary(max_size=300),
    TEXT.map(lambda text: text.encode("utf-8", "surrogatepass")),
)


def _dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


@st.composite
def _spoiled(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """A sound text with some bytes changed, taken out, doubled or cut."""
    data = bytearray(draw(whole))
    for _ in range(draw(st.integers(0, 3))):
        if not data:
            break
        at = draw(st.integers(0, len(data) - 1))
        kind = draw(st.integers(0, 3))
        if kind == 0:
            data[at] = draw(st.integers(0, 255))
        elif kind == 1:
            del data[at : at + draw(st.integers(1, 20))]
        elif kind == 2:
            data[at:at] = data[at : at + draw(st.integers(1, 40))]
        else:
            del data[at:]
    return bytes(data)


ANSWERS = st.one_of(OBJECT.map(_dumped), _spoiled(OBJECT.map(_dumped)), BYTES)
_STATUS = {"id": "r-1", "state": "running", "reason": "", "log_bytes": {"run": 5}, "results_bytes": 7}
STATUS = st.builds(lambda more: {**_STATUS, **more}, OBJECT)
_ENTRY = {"p": "results/a", "n": 5, "m": 7, "h": "a" * 64}
LINES = st.lists(
    st.one_of(
        st.sampled_from([_dumped(_ENTRY), b'{"end":0}', b'{"end":1}']),
        st.builds(lambda more: _dumped({**_ENTRY, **more}), OBJECT),
        TEXT.map(lambda text: _dumped({**_ENTRY, "p": "results/" + text})),
        ANSWERS,
    ),
    max_size=6,
)
_RECORD = st.builds(
    lambda kind, mode, size, time, name: b"%s %s %s %s %s\0" % (kind, mode, size, time, name),
    st.sampled_from([b"f", b"d", b"l", b"p", b"?", b""]),
    st.sampled_from([b"644", b"4755", b"9", b"77777777"]),
    st.sampled_from([b"0", b"5", b"-1", b"9" * 30]),
    st.sampled_from([b"1", b"-5.5", b"nan", b"1." + b"9" * 40]),
    BYTES,
)


@st.composite
def _archives(draw: st.DrawFn) -> bytes:
    out = io.BytesIO()
    form = draw(st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT]))
    with tarfile.open(fileobj=out, mode="w", format=form, encoding="utf-8", errors="surrogateescape") as tar:
        for _ in range(draw(st.integers(0, 4))):
            info = tarfile.TarInfo(draw(st.sampled_from(["a", "b/c", "../x", "/x", "b", "a/", "l" * 200])))
            info.type = draw(st.sampled_from([bytes([c]) for c in b"0123457SKLgx"]))
            info.linkname = draw(st.sampled_from(["", "a", "../..", "/etc", "k" * 200]))
            info.mode, info.mtime = draw(st.integers(0, 0o7777)), draw(st.sampled_from([0, 5, 2**33 - 1]))
            if form == tarfile.PAX_FORMAT:
                keys = st.sampled_from(
                    ["size", "mtime", "path", "linkpath", "GNU.sparse.major", "GNU.sparse.map", "x"]
                )
                info.pax_headers = draw(
                    st.dictionaries(
                        keys,
                        st.sampled_from(["1", "-1", "nan", "inf", "1e999", "x", "../y", "9" * 30]),
                        max_size=3,
                    )
                )
            content = draw(st.binary(max_size=700))
            info.size = len(content)
            try:
                tar.addfile(info, io.BytesIO(content))
            except (ValueError, UnicodeError):
                continue
    return out.getvalue()


_ROOT = Path(tempfile.mkdtemp(prefix="choline-fuzz-"))


def _unpack(data: bytes) -> None:
    folder = Folder(_ROOT / "archive" / "inner")
    pipe = tarstream._Pipe()
    pipe._blocks.maxsize = 0
    try:
        for start in range(0, len(data), 1000):
            pipe.put(data[start : start + 1000])
        pipe.put(b"")
        names = {b"a", b"b", b"b/c", b"l" * 200, b"../x", b"/x"}
        tarstream._read_archive(pipe, folder, names, Meter(None), 10_000)
    finally:
        folder.close()
    assert [entry.name for entry in (_ROOT / "archive").iterdir()] == ["inner"]


def _lines(pieces: list[bytes]) -> None:
    lines = PlainLines(200)
    out = [line for piece in pieces for line in lines.feed(piece)] + [lines.partial, *lines.finish()]
    assert all(len(line) <= 201 and "\n" not in line and "\x1b" not in line for line in out)


def _listing(pieces: list[bytes]) -> None:
    listing = Listing()
    for piece in pieces:
        listing.feed(piece)
    listing.finish()
    assert all(safe_name(name) and entry.size >= 0 for name, entry in listing.entries.items())


_SESSION = SshSession.__new__(SshSession)


def _answer(data: bytes) -> None:
    told = _SESSION._answer(0, data, b"")
    _SESSION._job_status(told, "r-1")


def _first_contact(data: bytes) -> None:
    told = snippets.marked(data)
    assert 0 <= provisioned._free(provisioned._last(told, "disk")) <= 1 << 60
    assert provisioned._market(provisioned._last(told, "market")) in (None, True, False)
    provisioned._cards(told.get("gpu", []))
    provisioned._words(data)
    assert 0 <= provisioned._whole(provisioned._json(provisioned._last(told, "beat"))) < 1 << 31


def _noise(pieces: list[bytes]) -> None:
    noise = provisioned._Noise()
    for piece in pieces:
        noise.is_noise(piece)


def _manifest(lines: list[bytes]) -> None:
    entries, _ = manifest.read(lines)
    assert all(manifest.safe_path(path) for path in entries)


def _refused(drawn: tuple[int, bytes, str]) -> None:
    status, body, header = drawn
    reply = Reply(status, {"retry-after": header, "x-ratelimit-reset": header}, body)
    answer = parse(reply)
    contract_in(answer)
    error = refusal(reply, answer, now=1e9, wait=5.0, hide=["secret"], keyed=True)
    if error is not None:
        assert (
            plain(error.message) == error.message and "\n" not in error.message and len(error.message) < 500
        )
        json.dumps(error.to_wire(), allow_nan=False)


def _rows(value: Any) -> None:
    instance = salvage(Instance, value, vital=VITAL)
    salvage(Account, value)
    salvage(SshKey, value, vital=frozenset())
    if instance is not None:
        instance.ssh_addresses()
        assert (
            plain(instance.phase) == instance.phase
            and "\n" not in instance.phase
            and len(instance.phase) < 500
        )
        for price in (instance.total_per_hour, instance.now_per_hour, instance.disk_per_hour):
            assert price is None or -1e309 < price < 1e309
        assert instance.fatal_message is None or len(instance.fatal_message) <= 300
        assert [instance.is_stopped, instance.is_outbid, instance.is_queued, instance.is_exited]
    line = one_line(value)
    assert plain(line) == line and "\n" not in line and len(line) <= 300


def _unpacked(drawn: tuple[str, list[bytes]]) -> None:
    encoding, chunks = drawn
    body = _Unpacker(encoding, 1000)
    for chunk in chunks:
        body.feed(chunk)
    assert len(body.end()) <= 1000


def _config(data: bytes) -> None:
    paths = Paths(_ROOT / "config", {})
    paths.config_file.parent.mkdir(parents=True, exist_ok=True)
    paths.config_file.write_bytes(data)
    load(paths, {})


def _project(data: bytes) -> None:
    (_ROOT / "project").mkdir(exist_ok=True)
    (_ROOT / "project" / "choline.toml").write_bytes(data)
    load_project(_ROOT / "project")


def _gzip(data: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    return packer.compress(data) + packer.flush()


@dataclass(frozen=True)
class Parser:
    name: str
    inputs: st.SearchStrategy[Any]
    read: Callable[[Any], Any]
    may: tuple[type[Exception], ...] = ()


_QUERY = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "gpu_name",
                "num_gpus",
                "gpu_ram",
                "reliability",
                "dph",
                "dph_total",
                "rentable",
                "verified",
                "=",
                "==",
                "!=",
                ">=",
                "<=",
                ">",
                "<",
                "in",
                "notin",
                "nin",
                "[",
                "]",
                "(",
                ")",
                ",",
                "any",
                "true",
                "false",
                "RTX_4090",
                "0.5",
                "1e9",
                "-1",
                "nan",
                "inf",
                "*",
                '"',
                "'",
                "cuda_vers",
                "disk_space",
                "geolocation",
                "external",
            ]
        ),
        TEXT,
    ),
    max_size=10,
).map(" ".join)
_TOML = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "[project]", "[run]", "[results]", "[env]", "[market]", "name = 'x'", "command = 'true'", "gpu = '2x4090'",
                "x = 1", "[[data]]", "path = '../../x'", "time_limit = '1h'", "max_price = nan", "disk = 1e400", "a.b.c = []",
                "premium = -1", "env = {A = 1}", "results = ['/', '..', '~']", "image = '\u202e'",
            ]
        ),
        st.builds(lambda key, value: f"{key} = {value}", st.sampled_from(_WORDS), st.sampled_from(["1", "'a'", "[]", "{}", "1e999", "true"])),
        TEXT,
    ),
    max_size=8,
).map(lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass"))  # fmt: skip

PARSERS: tuple[Parser, ...] = (
    Parser("plain", st.one_of(TEXT, BYTES), plain),
    Parser("lines", st.lists(BYTES, max_size=6), _lines),
    Parser("frames", st.one_of(ANSWERS, STATUS.map(lambda s: _dumped({"status": s}))), frames.decode, (ValueError,)),
    Parser("manifest", LINES, _manifest, (ValueError,)),
    Parser("job status", st.one_of(STATUS, JSON), JobStatus.from_wire, (ValueError,)),
    Parser(
        "status",
        st.builds(lambda jobs, more: {"protocol": 1, "jobs": {"r-1": jobs}, **more}, STATUS, OBJECT),
        RemoteStatus.from_wire,
        (ValueError,),
    ),
    Parser("lease", OBJECT, Lease.from_wire, (ValueError,)),
    Parser("kept", OBJECT, Kept.from_wire, (ValueError,)),
    Parser("handover", st.one_of(OBJECT, OBJECT.map(lambda o: {"values": o})), Handover.from_wire, (ValueError,)),
    Parser("masked logs", BYTES, Masker(["secret", "\0\1\2\3\4", "aaaaaaaa"]).feed),
    Parser("job", st.builds(lambda more: {"id": "r-1", "run": "r", "command": "x", **more}, OBJECT), JobSpec.from_wire, (ValueError,)),
    Parser("gpu fact", OBJECT, GpuFact.from_wire, (ValueError,)),
    Parser("nvidia-smi", TEXT, nvidia_smi.parse),
    Parser(
        "first contact",
        st.builds(
            lambda key, value: b"choline:" + key + b"=" + value,
            st.sampled_from([b"home", b"disk", b"market", b"gpu", b"beat", b"python"]),
            st.one_of(BYTES, st.sampled_from([b"x 1 1 5 9% /", "x 1 \u00b2 9% /".encode(), b"choline-exit \xc2\xb2", b"9" * 5000])),
        ),
        _first_contact,
    ),
    Parser("noise", st.lists(ANSWERS, max_size=5), _noise, (RemoteError,)),
    Parser("answer", st.one_of(ANSWERS, st.lists(ANSWERS, max_size=4).map(b"\n".join)), _answer, provisioned._ERRORS),
    Parser("error", OBJECT, error_from_wire),
    Parser(
        "listing",
        st.one_of(st.lists(_RECORD, max_size=5), st.lists(_RECORD, max_size=5).map(lambda r: [*r, b"choline-end\0"]), st.lists(BYTES)),
        _listing,
        (ValueError,),
    ),
    Parser(
        "digests",
        st.one_of(BYTES, _spoiled(st.just(b"choline-manifest\0" + b"a" * 64 + b" 5 name\0" * 2))),
        parse_manifest,
        (TransferFailed,),
    ),
    Parser("archive", st.one_of(_archives(), _spoiled(_archives())), _unpack, (TransferFailed,)),
    Parser("names", BYTES, safe_name),
    Parser("links", st.tuples(st.integers(0, 5), BYTES), lambda drawn: link_stays_inside(*drawn)),
    Parser("patterns", st.tuples(st.lists(TEXT, max_size=3), BYTES), lambda drawn: excluder(drawn[0])(drawn[1])),
    Parser("host key", TEXT, lambda text: _algorithms_for(_bare(text)), (RemoteError,)),
    Parser(
        "address",
        st.tuples(TEXT, st.integers(), TEXT),
        lambda drawn: check_address(Address(*drawn)),
        (RemoteError,),
    ),
    Parser("json", st.one_of(ANSWERS, JSON.map(_dumped)), foreign_json, (ValueError,)),
    Parser("offers", st.one_of(ANSWERS, st.lists(st.builds(lambda o: {"id": 5, **o}, OBJECT), max_size=3).map(lambda rows: _dumped({"offers": rows}))), decode_offers, (MarketDown,)),
    Parser(
        "page",
        st.lists(st.builds(lambda o: {**o, "id": 5}, OBJECT), max_size=3).map(lambda rows: _dumped({"offers": rows})),
        lambda raw: read_page(raw, parse_query("num_gpus>=1"), 1.0),
        (MarketDown,),
    ),
    Parser("rows", st.one_of(JSON, st.builds(lambda o: {"id": 5, "label": "x", **o}, OBJECT)), _rows),
    Parser("contracts", JSON, _page, (MarketDown,)),
    Parser("refusal", st.tuples(st.sampled_from([200, 302, 400, 401, 403, 404, 429, 500]), ANSWERS, TEXT), _refused),
    Parser("ssh keys", JSON, parse_keys, (MarketDown,)),
    Parser("public key", TEXT, public_key, (BadRequest,)),
    Parser(
        "unpacker",
        st.tuples(st.sampled_from(["", "gzip", "GZIP ", "gzip, gzip", "br"]), st.lists(st.one_of(BYTES, _spoiled(BYTES.map(_gzip))), max_size=3)),
        _unpacked,
        (Lost,),
    ),
    Parser("cuda", TEXT, cuda_of),
    Parser("label", st.one_of(TEXT, st.builds("choline-{}-{}-{}".format, TEXT, TEXT, st.integers())), read_label),
    Parser("duration", st.one_of(TEXT, NUMBERS, st.sampled_from(["1h30m", "9" * 50 + "s", "\u0663s"])), parse_duration, (ValueError,)),
    Parser("gpu names", TEXT, gpu_names_for, (QueryError,)),
    Parser("gpu spec", TEXT, split_gpu_spec, (QueryError,)),
    Parser("gpu match", st.tuples(TEXT, TEXT), lambda drawn: gpu_matches(*drawn)),
    Parser("query", _QUERY, parse_query, (QueryError,)),
    Parser("config", st.one_of(_TOML, BYTES), _config, (ConfigError,)),
    Parser("project", st.one_of(_TOML, BYTES), _project, (ProjectError,)),
)  # fmt: skip
