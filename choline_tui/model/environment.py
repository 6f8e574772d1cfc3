"""A run's environment as decided before anything is rented: what is built on the machine, from what.

It is frozen with the plan. ``key`` names the environment on the machine: equal contents, equal key.
"""

import hashlib
import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["BUILDER", "Environment"]

BUILDER = 1
"""version of how an environment is built: another one builds all of them anew"""


class Environment(BaseModel):
    """``kind``: ``uv`` (a uv.lock), ``pip`` (requirements, the project's own files or made at home),
    ``image`` (nothing is built)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["uv", "pip", "image"]
    source: str = ""
    """the file it comes from, relative to the project; '' for none"""
    files: list[str] = Field(default_factory=list)
    """files of the project that decide what is installed, relative to it"""
    digest: str = ""
    """SHA-256 of their contents, one after the other"""
    python: str = ""
    """as uv takes it: 3.11, or >=3.10,<3.13; '' for the machine's own"""
    index: str = ""
    extra_index: list[str] = Field(default_factory=list)
    backend: str = ""
    """index of PyTorch that torch comes from: cu126, cpu; '' for the project's own"""
    extras: list[str] = Field(default_factory=list)
    groups: list[str] = Field(default_factory=list)
    apt: list[str] = Field(default_factory=list)
    read: list[str] = Field(default_factory=list)
    """of ``files``, those whose requirements uv installs"""
    requirements: str = ""
    """made at home, as a requirements file"""
    constraints: str = ""
    """versions that a lock gives, as a constraints file"""
    exact: bool = False
    """``requirements`` is all there is to install: nothing is to be resolved"""
    members: dict[str, str] = Field(default_factory=dict)
    """packages that are part of the project, with their directory in it: installed editable for each run"""
    needs_cuda: str = ""
    """least CUDA that the driver must support"""
    why: str = ""
    """where that comes from, for a person"""
    download_bytes: int = 0
    """packages, as far as known; 0: not known"""
    notes: list[str] = Field(default_factory=list)

    @property
    def built(self) -> bool:
        return self.kind != "image"

    @property
    def key(self) -> str:
        """32 hexadecimal digits. apt packages belong to the machine, the project's own code to the run."""
        what = [
            BUILDER, self.kind, self.files, self.digest, self.python, self.index, self.extra_index,
            self.backend, self.extras, self.groups, self.read, self.requirements, self.constraints,
            self.exact,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]

    def in_words(self) -> str:
        """One line for a plan card."""
        if self.kind == "image":
            return "the image has them" + (f"; apt: {', '.join(self.apt)}" if self.apt else "")
        python = f"Python {self.python}" if self.python else "the machine's Python"
        parts = [f"{self.source or 'Python alone'}, built by uv with {python}"]
        if self.backend:
            parts.append(f"torch from PyTorch's index {self.backend}")
        if self.apt:
            parts.append(f"apt: {', '.join(self.apt)}")
        if self.needs_cuda:
            parts.append(f"needs a driver with CUDA {self.needs_cuda} ({self.why})")
        if self.download_bytes:
            parts.append(f"about {self.download_bytes / 1e9:.1f} GB to download")
        return "; ".join(parts)
