"""GPU names as people say them: ``2x4090``, ``a100 sxm``, ``h100``."""

import re
from collections.abc import Sequence
from difflib import get_close_matches

from choline_tui.kernel.errors import QueryError
from choline_tui.model.market_types import GPU_NAMES

__all__ = ["MAX_GPUS", "gpu_names_for", "split_gpu_spec"]

MAX_GPUS = 64

_SPEC = re.compile(r"\s*(?:(\d{1,4})\s*[xX×]\s*)?(\S.*?)\s*", re.ASCII | re.DOTALL)
_BRANDS = ("geforce", "radeon", "rtx", "gtx", "rx", "tesla", "quadro", "instinct")
_SAME = (("A100 SXM", "A100 SXM4"),)
"""One card under two names on the market."""


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _bare(key: str) -> str:
    """Without the maker's words in front, unless nothing but them is there."""
    while True:
        for brand in _BRANDS:
            if key.startswith(brand) and len(key) > len(brand):
                key = key[len(brand) :]
                break
        else:
            return key


def gpu_names_for(short: str, names: Sequence[str] = GPU_NAMES) -> tuple[str, ...]:
    """The market's names that ``short`` may mean: an exact one alone, else all variants of it.

    Raises QueryError with suggestions when there is none.
    """
    key = re.sub(r"^(nvidia|amd)?(geforce|radeon)?(?=.)", "", _key(short))
    bare = _bare(key)
    found = [name for name in names if _key(name) == key] if key else []
    if not found and bare:
        # what was said with a brand must have it: "gtx4090" is not a card
        able = [name for name in names if _same_brand(key, name)]
        found = [name for name in able if _bare(_key(name)) == bare]
        if not found:
            found = [name for name in able if _is_variant(bare, _bare(_key(name)))]
    if not found:
        # bare keys of two cards may be the same: the suggestions name each once
        by_key = {k: name for name in names for k in (_key(name), _bare(_key(name)))}
        near = list(
            dict.fromkeys(by_key[k] for k in get_close_matches(bare or key, by_key, n=5, cutoff=0.55))
        )
        raise QueryError(
            f"no GPU is called {short.strip()[:60]!r}",
            hint=f"Did you mean {', '.join(near[:3])}?" if near else "Try for example 4090, a100 or h100.",
            column=0,
        )
    for same in _SAME:
        if any(name in found for name in same):
            found += [name for name in same if name in names and name not in found]
    return tuple(found)


def _same_brand(key: str, name: str) -> bool:
    return _key(name).startswith(key[: len(key) - len(_bare(key))])


def _is_variant(short: str, full: str) -> bool:
    """``h100`` of ``h100pcie``, but not ``309`` of ``3090``: a number is said whole."""
    rest = full[len(short) :]
    return full.startswith(short) and not (short[-1].isdigit() and rest[:1].isdigit())


def split_gpu_spec(spec: str) -> tuple[int, str]:
    """``2x4090`` as (2, "4090"); without a number, 1. Raises QueryError."""
    found = _SPEC.fullmatch(spec)
    if found is None:
        raise QueryError("no GPU named", hint="Say for example 2x4090.", column=0)
    count = int(found[1]) if found[1] else 1
    if not 1 <= count <= MAX_GPUS:
        raise QueryError(f"{count} GPUs cannot be rented at once", hint=f"1 to {MAX_GPUS}.", column=0)
    return count, found[2]
