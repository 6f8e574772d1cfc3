"""Names that say that their file is not finished: home and remote must agree on them."""

from fnmatch import fnmatchcase

__all__ = ["TEMPORARY", "is_temporary"]

TEMPORARY = ("*.tmp", "*.tmp.*", "*.part", "*.partial", "*.incomplete", ".*.swp")
"""as programs name what they will rename when it is whole"""


def is_temporary(path: bytes) -> bool:
    """Whether the last part of a path is such a name."""
    last = path.rpartition(b"/")[2].decode("utf-8", "backslashreplace")
    return any(fnmatchcase(last, pattern) for pattern in TEMPORARY)
