"""Chance that is a pure function of its arguments: the same market for the same seed, at any time asked."""

from functools import lru_cache

__all__ = ["mix", "uniform"]

_MASK = (1 << 64) - 1


def mix(*parts: int) -> int:
    """A 64-bit hash of some integers (the finaliser of splitmix64, chained)."""
    x = 0x9E3779B97F4A7C15
    for part in parts:
        x = (x + (part & _MASK) + 0x9E3779B97F4A7C15) & _MASK
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
        x ^= x >> 31
    return x


@lru_cache(maxsize=1 << 16)
def uniform(*parts: int) -> float:
    """In [0, 1)."""
    return (mix(*parts) >> 11) / float(1 << 53)
