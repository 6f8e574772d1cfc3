"""A remote as the engine sees it: the one protocol behind SSH, own machines and modelled remotes.

``provision/`` implements it over SSH; ``simulator/`` implements it in process, on a virtual clock.
Every method raises ``RemoteError`` (``SshDropped`` when the connection is lost) and may be called
again: all of them are idempotent.
"""

from dataclasses import dataclass, field
from typing import AsyncIterator, Callable, Dict, List, Optional, Protocol, Sequence, Tuple

from choline_tui.kernel.clone import Clone
from choline_tui.kernel.content import Content
from choline_tui.kernel.handover import Handover, Kept
from choline_tui.kernel.protocol import Frame, JobSpec, JobStatus, Lease, Probe, RemoteStatus

__all__ = [
    "RULES",
    "Address",
    "Fetches",
    "HostCopier",
    "Item",
    "Progress",
    "RemoteSession",
    "ResultRules",
    "Transfer",
]


@dataclass(frozen=True)
class Address:
    """Where SSH answers. ``kind``: direct, proxy or own."""

    host: str
    port: int
    user: str = "root"
    kind: str = "direct"

    def __str__(self) -> str:
        return "%s@%s:%d" % (self.user, self.host, self.port)


@dataclass(frozen=True)
class Progress:
    """A transfer on its way. Bytes of file content; ``seconds_left`` is None until it can be told."""

    bytes_done: int
    bytes_total: int
    files_done: int
    files_total: int
    seconds_left: Optional[float] = None
    what: str = ""
    """what is done with the bytes, where it is not what the call says (checking, fetching)"""


@dataclass(frozen=True)
class Item:
    """Something to send: ``files`` (relative to ``base``; None: everything under it) to ``part``
    (src, data or keep) of the run, under ``into`` ('' for the part itself)."""

    base: str
    part: str
    files: Optional[Tuple[bytes, ...]] = None
    into: str = ""
    mirror: bool = False
    """delete what is there and was not sent"""
    content: Optional[Tuple[Content, ...]] = None
    """data by content: sent once to a remote, under its key, and shared by the runs there"""
    links: str = "keep"
    """of ``content``: "out": links that lead out of ``base`` are sent as what they point to; "all": every
    link is"""
    url: str = ""
    """instead of ``base``: the remote fetches this itself (``kernel.source``), into its store"""
    endpoint: str = ""
    region: str = ""
    credentials: Tuple[str, ...] = ()
    """names of the secrets that it needs for it"""
    values: Handover = field(default_factory=Handover, repr=False, compare=False)
    clone: Optional[Clone] = None
    """the remote may get much of it by a clone first; its token is the one value of ``values``"""
    left_out: Tuple[str, ...] = ()
    """what lies there and is not sent, and why; for ``Transfer.skipped``"""


@dataclass
class Transfer:
    """What a transfer did: ``skipped`` names what was refused (devices, links out of the folder, ...)."""

    bytes: int = 0
    files: int = 0
    seconds: float = 0.0
    how: str = ""
    """rsync, tar, its own fetch"""
    there: int = 0
    """bytes that the remote had already"""
    skipped: List[str] = field(default_factory=list)
    cloned: str = ""
    """what became of a clone, in words"""
    unfinished: int = 0
    """files that were still being written, and do not count as brought"""


@dataclass(frozen=True)
class ResultRules:
    """How results come home."""

    exclude: Tuple[str, ...] = ()
    """patterns of names that never come: without ``/`` any name at any depth, with one a path from the top"""
    settle_s: float = 10.0
    """a file that changed less than this long ago may still be written"""
    versions: int = 0
    """how many earlier versions of a file that changed are kept"""


RULES = ResultRules()

OnProgress = Callable[[Progress], None]


class Fetches(Protocol):
    async def fetch(
        self,
        run: str,
        into: str,
        *,
        final: bool,
        max_bytes: int = 0,
        on_progress: Optional[OnProgress] = None,
        rules: ResultRules = RULES,
    ) -> Transfer:
        """Bring ``results/`` and ``keep/`` home into directory ``into`` (as ``into/results`` and
        ``into/keep``). A file that is still being written comes there only with ``final``; until then what
        is at home of it stays, and a small one lies in ``into/unfinished``. With ``final`` every file is
        compared by size and hash with the remote's own manifest, and ``TransferFailed`` is raised when one
        differs. Nothing is written outside ``into``. ``max_bytes`` > 0: refuse more than that."""
        ...


class HostCopier(Fetches, Protocol):
    """The way to a machine's disk that its host gives, whether the machine runs or stands. Nothing can be run
    there, so with ``final`` the host's rsync compares the checksums, and not the machine's own manifest."""

    host_key: str
    """the host's, which is not the machine's, as an OpenSSH public key line"""

    async def job(self, job: str) -> Optional[JobStatus]:
        """What the machine's supervisor last wrote of a job; None when nothing of it is on that disk."""
        ...

    async def close(self) -> None: ...


class RemoteSession(Fetches, Protocol):
    host_key: str
    """the host key seen at this connection, as an OpenSSH public key line (pinned at first contact)"""

    async def probe(self) -> Probe:
        """Look at the machine; changes nothing. One round trip."""
        ...

    async def prepare(self, run: str, lease: Lease) -> RemoteStatus:
        """Make the run's directories, install the supervisor, start it, hand it its first lease."""
        ...

    async def send(
        self, run: str, items: Sequence[Item], on_progress: Optional[OnProgress] = None
    ) -> Transfer:
        """Send files. Resumable; an interrupted call leaves nothing that a later one does not mend."""
        ...

    async def secrets(self, job: str, given: Handover) -> Kept:
        """Hand over the secrets of a job, before it is submitted: its ``secrets`` names them. They are gone
        when the job ends. Values stand in no other call, and in no error."""
        ...

    async def submit(self, spec: JobSpec) -> JobStatus:
        """Give the supervisor a job. A job id it has seen is never started again."""
        ...

    async def status(self) -> RemoteStatus: ...

    def stream(self, job: str, offsets: Dict[str, int]) -> AsyncIterator[Frame]:
        """Log bytes from the given offsets by source, and statuses, as they come; ends after the
        frame with the ended status, when all log bytes were given."""
        ...

    async def stop(self, job: str, grace_s: float, reason: str) -> JobStatus:
        """Ask for the job's end: TERM, ``grace_s``, KILL. Returns at once with the status seen."""
        ...

    async def renew(self, lease: Lease) -> None: ...

    async def evidence(self) -> Dict[str, bytes]:
        """What helps to understand a failure: dmesg, nvidia-smi, disk, supervisor and guard logs."""
        ...

    async def close(self) -> None: ...
