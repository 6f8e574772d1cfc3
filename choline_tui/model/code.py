"""The code of a run: where it came from, and the list of what is sent, by content.

``CodeState`` is the summary a run carries; ``CodeManifest`` is the full list of files, kept as a file
beside the frozen copy (a run's row stays small however many files its project has). Names are bytes as
the file system holds them; in JSON they are base64, so a name that is not UTF-8 survives.
"""

import base64
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

__all__ = ["CloneFrom", "CodeFile", "CodeManifest", "CodeState", "RawName"]


def _name_in(value: Any) -> Any:
    return base64.b64decode(value, validate=True) if isinstance(value, str) else value


def _name_out(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


RawName = Annotated[bytes, BeforeValidator(_name_in), PlainSerializer(_name_out, when_used="json")]
"""A file name as bytes; base64 in JSON."""


class CodeFile(BaseModel):
    """One file or symbolic link of the frozen copy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: RawName
    """relative to the project, ``/`` between parts, never absolute and without ``..``"""
    size: int = Field(ge=0)
    """bytes of content"""
    mode: int
    """permission bits, 0o755 or 0o644 as git keeps them; 0o777 for a link"""
    digest: str = ""
    """SHA-256 of the content, hexadecimal; '' for a link"""
    link: RawName | None = None
    """target of a symbolic link, relative and inside the project"""


class CodeManifest(BaseModel):
    """All files of one frozen copy, sorted by path."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = 1
    files: tuple[CodeFile, ...] = ()


class CloneFrom(BaseModel):
    """Where a run's machine may clone the commit from, instead of being sent it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    url: str
    """https://, without credentials"""
    prefix: str = ""
    """the project's directory in the repository, with a ``/`` at its end; '' for its top"""
    token: str = ""
    """name of the secret that the server may want"""


class CodeState(BaseModel):
    """Where a run's code comes from, and where its frozen copy lies."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    commit: str = ""
    """full hash; '' without git or before the first commit"""
    message: str = ""
    """first line of the commit's message (foreign text: draw it as plain text)"""
    branch: str = ""
    """'' when detached or without git"""
    remote: str = ""
    """URL of the branch's remote, or of ``origin``, without credentials"""
    dirty_count: int = 0
    """changed, added and deleted files under the project, against the commit"""
    changed_lines: int = 0
    """lines added and lines removed in those files, of text; 0 also for a run of an older choline"""
    digest: str = ""
    """SHA-256 of the manifest: two runs with the same digest were sent the same files"""
    file_count: int = 0
    total_bytes: int = 0
    """content, before compression"""
    frozen_dir: str = ""
    """absolute directory that holds ``manifest.json`` of the copy"""
    objects_dir: str = ""
    """absolute directory of the contents, named by digest"""
    clone: CloneFrom | None = None
    warnings: tuple[str, ...] = ()
    """what a person should know before it is sent: big files, links left out, submodules not there"""

    @property
    def dirty(self) -> bool:
        return self.dirty_count > 0

    @property
    def title(self) -> str:
        """``1a2b3c4 main +3 message``: what the state is called in a list; one line."""
        if not self.commit:
            return "no commit"
        parts = [self.commit[:7]]
        if self.branch:
            parts.append(self.branch)
        if self.dirty_count:
            parts.append(f"+{self.dirty_count}")
        if self.message:
            parts.append(self.message)
        return " ".join(parts)
