"""A job's secrets on their way to its machine, and where they are kept there.

Handed over before the job, by a call of its own, so that no value is ever part of a job's description: that
lies on the machine's disk. ``JobSpec.secrets`` names those that must be there when the job begins.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any, Dict

__all__ = ["MAX_NAMES", "MAX_VALUE", "Handover", "Kept", "memory_name"]

MAX_NAMES = 100
MAX_VALUE = 64 << 10
"""bytes of one value"""
_FIRST = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_")
_LETTERS = _FIRST | frozenset("0123456789")


def memory_name(uid: int, home: str) -> str:
    """The directory of one user's one home below memory-backed storage that others share."""
    return "choline-%d-%s" % (uid, hashlib.sha256(home.encode("utf-8", "surrogateescape")).hexdigest()[:12])


@dataclass
class Handover:
    """Values by name. Shows none of them."""

    values: Dict[str, str] = field(default_factory=dict, repr=False)

    def to_wire(self) -> Dict[str, Any]:
        return {"values": dict(self.values)}

    @classmethod
    def from_wire(cls, data: Any) -> "Handover":
        """Raises ``ValueError``, without any value."""
        values = data.get("values") if isinstance(data, dict) else None
        if not isinstance(values, dict) or len(values) > MAX_NAMES:
            raise ValueError("not a handover")
        for name, value in values.items():
            if name[:1] not in _FIRST or not _LETTERS.issuperset(name) or len(name) > 200:
                raise ValueError("a secret has a name no variable can have")
            if not isinstance(value, str) or "\0" in value or len(value) > MAX_VALUE:
                raise ValueError("the value of %s is no text a variable can hold" % name)
        return cls(dict(values))


@dataclass
class Kept:
    """``memory``: in storage that a power cut empties; else in a file on the machine's disk."""

    memory: bool = True

    def to_wire(self) -> Dict[str, Any]:
        return {"memory": self.memory}

    @classmethod
    def from_wire(cls, data: Any) -> "Kept":
        if not isinstance(data, dict) or not isinstance(data.get("memory"), bool):
            raise ValueError("it does not say where secrets are kept")
        return cls(data["memory"])
