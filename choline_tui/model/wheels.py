"""Which wheels a project needs, from which index they come, and which driver runs them. Pure functions.

Sources, read on 2026-11-22:

- ``TORCH``: the release compatibility matrix of PyTorch's RELEASE.md (releases 2.0 to 2.10, 2.14), its issues
  172663 (2.11), 178665 (2.12) and 190355 (2.14); for 2.13 the variants of its wheel index. The first column,
  what PyPI gives on Linux, is the ``nvidia-cuda-runtime`` that the wheel there depends on.
- ``_MAJOR``: NVIDIA's "Minor Version Compatibility" and the toolkit's release notes: wheels built with any
  CUDA 12.x run where the driver is 525 or later (CUDA 12.0), 13.x from 580 (13.0), 11.x from 450 (11.0).
  Older toolkits need their own version.
"""

import re
from dataclasses import dataclass, field

__all__ = [
    "TORCH",
    "Asks",
    "Wheels",
    "cuda_version",
    "driver_for",
    "torch_indexes",
    "torch_size",
    "wheels_for",
]

TORCH: dict[str, tuple[str, tuple[str, ...]]] = {
    "2.0": ("11.7", ("11.7", "11.8")),
    "2.1": ("12.1", ("11.8", "12.1")),
    "2.2": ("12.1", ("11.8", "12.1")),
    "2.3": ("12.1", ("11.8", "12.1")),
    "2.4": ("12.1", ("11.8", "12.1", "12.4")),
    "2.5": ("12.4", ("11.8", "12.1", "12.4")),
    "2.6": ("12.4", ("11.8", "12.4", "12.6")),
    "2.7": ("12.6", ("11.8", "12.6", "12.8")),
    "2.8": ("12.8", ("12.6", "12.8", "12.9")),
    "2.9": ("12.8", ("12.6", "12.8", "13.0")),
    "2.10": ("12.8", ("12.6", "12.8", "13.0")),
    "2.11": ("13.0", ("12.6", "12.8", "13.0")),
    "2.12": ("13.0", ("12.6", "13.0", "13.2")),
    "2.13": ("13.0", ("12.6", "12.9", "13.0", "13.2")),
    "2.14": ("13.2", ("12.6", "13.0", "13.2")),
}
"""release of torch: (CUDA of its Linux wheel on PyPI, CUDA versions of PyTorch's own wheel indexes)"""

_NEWEST = "2.14"
_SIZES = {"": 3_500_000_000, "cpu": 300_000_000}
"""bytes of torch's wheel and all that it depends on: with CUDA 3.0 GB (2.7.1), 4.1 GB (2.10.0) and 2.7 GB
(2.11.0, 2.13.0), the sums of the sizes that uv locks for Linux on x86-64, made on 2026-11-22"""
_MAJOR = {11: "11.0", 12: "12.0", 13: "13.0"}
_CUDA = re.compile(r"\d{1,2}\.\d{1,2}")


@dataclass(frozen=True)
class Asks:
    """What a project's files ask for. ``torch``, ``jax``: whether they are asked for at all."""

    torch: bool = False
    torch_version: str = ""
    """exact, as ``2.7.1`` or ``2.7.1+cu118``; '' when it is not pinned"""
    cuda: str = ""
    """CUDA that the files pin: an ``nvidia-cuda-runtime``, a +cu118, an index of PyTorch, jax[cuda12]"""
    cuda_where: str = ""
    """what says so, for a person"""
    cpu: bool = False
    """an index, or a +cpu, that gives wheels without CUDA"""
    settled: bool = False
    """where the wheels come from stands in the files (a lock, or an index named there)"""
    jax: str = ""
    """major version of CUDA in jax[cuda12]"""


@dataclass(frozen=True)
class Wheels:
    """``backend``: the index of PyTorch to take torch from (``cu126``, ``cpu``), '' for the project's own.
    ``needs``: the least CUDA that a driver must support, '' for none. ``refusal``: why it cannot be."""

    backend: str = ""
    needs: str = ""
    why: str = ""
    refusal: str = ""
    hint: str = field(default="")


def cuda_version(text: str) -> tuple[int, int]:
    """``12.6`` as numbers. Raises ValueError for what is no version of CUDA."""
    if not _CUDA.fullmatch(text):
        raise ValueError(f"{text[:20]!r} is no version of CUDA, such as 12.6")
    major, minor = text.split(".")
    return int(major), int(minor)


def driver_for(cuda: str) -> str:
    """The least CUDA version that a driver must support for wheels built with ``cuda``."""
    return _MAJOR.get(cuda_version(cuda)[0], cuda)


def torch_indexes(version: str) -> tuple[str, tuple[str, ...]]:
    """(CUDA of PyPI's wheel, CUDA versions to be had) of a release of torch; one that the table does not
    know yet is taken to be as the newest that it knows; one before 2.0 has no answer: ``("", ())``."""
    found = re.match(r"(\d+)\.(\d+)", version)
    if not version:
        return TORCH[_NEWEST]
    if found is None or int(found[1]) < 2:
        return "", ()
    return TORCH.get(f"{found[1]}.{found[2]}", TORCH[_NEWEST])


def torch_size(asks: Asks, backend: str = "") -> int:
    """Bytes that torch and what it depends on take to download, about; 0 when it is not asked for."""
    if not asks.torch:
        return 0
    return _SIZES["cpu" if backend == "cpu" or asks.cpu else ""]


def _backend(cuda: str) -> str:
    return "cu" + cuda.replace(".", "")


def wheels_for(asks: Asks, cuda: str = "auto", *, at_least: str = "0.0", at_most: str = "99.0") -> Wheels:
    """Where torch comes from and which driver it needs.

    ``cuda``: what the person wants: ``auto``, ``cpu``, or a version. ``at_least``: the CUDA that the driver
    of every machine that may be taken supports (an image or a condition asks for it), ``at_most``: the most
    that any of them does. What the project's files pin wins; a wish that contradicts it is refused.
    """
    if cuda not in ("auto", "cpu"):
        return _fits(_named(asks, cuda), at_most)
    if cuda == "cpu":
        if asks.cuda:
            return Wheels(
                refusal=f'{asks.cuda_where or "the lock"} pins CUDA {asks.cuda}, and cuda = "cpu" says none',
                hint="Leave cuda out, or lock the project for the CPU.",
            )
        return Wheels("" if asks.settled or not asks.torch else "cpu")
    if asks.cuda:
        why = f"{asks.cuda_where or 'the files'}: CUDA {asks.cuda}"
        return _fits(Wheels("", driver_for(asks.cuda), why), at_most)
    if asks.cpu or not (asks.torch or asks.jax):
        return Wheels()
    if asks.jax:
        return _fits(Wheels("", driver_for(f"{asks.jax}.0"), f"jax for CUDA {asks.jax}"), at_most)
    return _torch(asks, at_least, at_most)


def _named(asks: Asks, cuda: str) -> Wheels:
    cuda_version(cuda)
    if asks.cuda and asks.cuda != cuda and not asks.cpu:
        return Wheels(
            refusal=f"{asks.cuda_where or 'the lock'} pins CUDA {asks.cuda}, and cuda says {cuda}",
            hint="What is locked is what is installed: leave cuda out, or lock the project for it.",
        )
    if asks.settled or asks.cuda or not asks.torch:
        return Wheels("", driver_for(cuda), f"cuda = {cuda}")
    _, there = torch_indexes(asks.torch_version)
    if there and cuda not in there:
        named = f"torch {asks.torch_version or _NEWEST}"
        return Wheels(
            refusal=f"there are no wheels of {named} for CUDA {cuda}",
            hint=f"PyTorch has them for {', '.join(there)}.",
        )
    return Wheels(_backend(cuda), driver_for(cuda), f"cuda = {cuda}")


def _torch(asks: Asks, at_least: str, at_most: str) -> Wheels:
    default, there = torch_indexes(asks.torch_version)
    if not default:
        return Wheels()
    named = f"torch {asks.torch_version}".strip()
    usual = Wheels("", driver_for(default), f"{named} is built for CUDA {default}")
    if asks.settled or _runs(usual.needs, at_least):
        return _fits(usual, at_most)
    for cuda in sorted(there, key=cuda_version, reverse=True):
        # a wheel that every machine of the query can run is better than fewer machines
        if _runs(driver_for(cuda), at_least):
            return Wheels(_backend(cuda), driver_for(cuda), f"{named} for CUDA {cuda}, which all of them run")
    fit = _fits(usual, at_most)
    if not fit.refusal:
        return fit
    for cuda in sorted(there, key=cuda_version, reverse=True):
        if _runs(driver_for(cuda), at_most):
            return Wheels(_backend(cuda), driver_for(cuda), f"{named} for CUDA {cuda}")
    return fit


def _runs(needs: str, driver: str) -> bool:
    return cuda_version(needs) <= cuda_version(driver)


def _fits(found: Wheels, at_most: str) -> Wheels:
    if found.refusal or not found.needs or _runs(found.needs, at_most):
        return found
    return Wheels(
        needs=found.needs,
        refusal=f"{found.why}, which needs a driver with CUDA {found.needs}, and the query takes "
        f"machines with {at_most} at most",
        hint="Take that condition out of the query, or pin packages built for an older CUDA.",
    )
