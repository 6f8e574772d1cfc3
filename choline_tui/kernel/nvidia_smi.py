"""What ``nvidia-smi`` says about the cards, as facts. Its text is foreign: bounded, never trusted.

Query: ``nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader,nounits``; one
card a line, memory in MiB (NVIDIA's documentation of ``--query-gpu``).
"""

import re
from typing import List, Tuple

from choline_tui.kernel.protocol import GpuFact
from choline_tui.kernel.text import plain

__all__ = ["MAX_GPUS", "QUERY", "parse"]

QUERY = "nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader,nounits"
MAX_GPUS = 64
# "[N/A]", "[Not Supported]" and the like stand for what the driver does not say
_AMOUNT = re.compile(r"([0-9][0-9.eE+]*( MiB)?|\[[ -Z^-~]*\])\Z")
_VERSION = re.compile(r"([0-9][0-9.]*|\[[ -Z^-~]*\])\Z")


def _memory(text: str) -> float:
    """MiB; 0.0 for ``[N/A]``, ``[Not Supported]`` and anything else that is no sensible number."""
    fields = text.split()
    if not fields:
        return 0.0
    try:
        value = float(fields[0])
    except ValueError:
        return 0.0
    return value if 0.0 <= value < 1e9 else 0.0


def parse(text: str) -> Tuple[List[GpuFact], str]:
    """The cards and, when there are lines that are no card, the first of them as the error's text."""
    gpus: List[GpuFact] = []
    error = ""
    for line in plain(text[:65536]).split("\n"):
        line = line.strip()
        if not line:
            continue
        parts = [part.strip() for part in line.rsplit(",", 2)]
        if len(parts) != 3 or not parts[0] or not _AMOUNT.match(parts[1]) or not _VERSION.match(parts[2]):
            error = error or line[:300]
            continue
        if parts[0].startswith("["):  # "[Unknown Error]", "[GPU is lost]": the driver has lost the card
            error = error or line[:300]
            continue
        if len(gpus) < MAX_GPUS:
            driver = "" if parts[2].startswith("[") else parts[2][:50]
            gpus.append(GpuFact(parts[0][:200], _memory(parts[1]), driver))
    return gpus, error
