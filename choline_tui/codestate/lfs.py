"""Git LFS pointers: the small text that stands for content kept elsewhere, in git and in a working tree that
was not filled. The format is that of the git-lfs project (docs/spec.md): lines ``key value``, first
``version``, the others sorted, ``oid sha256:`` and ``size`` among them.
"""

import os
import re
from dataclasses import dataclass

__all__ = ["MOST", "Pointer", "content_file", "read_pointer"]

MOST = 1024
"""bytes; a pointer is shorter, says the specification"""
_BEGIN = b"version https://git-lfs.github.com/spec/v1\n"
_REST = re.compile(
    rb"(?:ext-[^\n]*\n)*oid sha256:([0-9a-f]{64})\n(?:[a-z0-9.-]+ [^\n]*\n)*?size ([0-9]{1,18})\n?"
)


@dataclass(frozen=True)
class Pointer:
    oid: str
    """SHA-256 of the content, hexadecimal"""
    size: int
    """bytes of the content"""


def read_pointer(data: bytes) -> Pointer | None:
    """What ``data`` points to; None when it is no pointer."""
    if len(data) >= MOST or not data.startswith(_BEGIN):
        return None
    found = _REST.fullmatch(data, len(_BEGIN))
    return Pointer(found[1].decode(), int(found[2])) if found else None


def content_file(git_dir: str, pointer: Pointer) -> str:
    """Where git-lfs keeps that content in a repository, if it has it."""
    oid = pointer.oid
    return os.path.join(git_dir, "lfs", "objects", oid[:2], oid[2:4], oid)
