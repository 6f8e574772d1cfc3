"""The patterns of an ignore file on disk; what they mean is in ``model.patterns``."""

from choline_tui.model.patterns import Patterns

__all__ = ["Patterns", "read_patterns"]


def read_patterns(file: str | bytes) -> list[bytes]:
    """The lines of an ignore file; none when there is no such file."""
    try:
        with open(file, "rb") as stream:
            return stream.read(1 << 20).splitlines()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return []
