"""uv for tests: the program of the PyPI package, which the test extra brings."""

import os
from pathlib import Path

import pytest

__all__ = ["uv_program", "with_uv"]


def uv_program() -> str:
    """Skips, by name, where the package uv is not installed; in CI that is a failure."""
    try:
        from uv import find_uv_bin
    except ImportError:
        if os.environ.get("CI"):
            pytest.fail("uv is not installed here")
        pytest.skip("uv is not installed here")
    return str(find_uv_bin())


def with_uv(directory: Path) -> str:
    """``directory`` made a place on a PATH where uv is, and nothing else is."""
    directory.mkdir(parents=True, exist_ok=True)
    link = directory / "uv"
    if not link.exists():
        link.symlink_to(uv_program())
    return str(directory)
