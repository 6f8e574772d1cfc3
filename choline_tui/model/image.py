"""What a container image's name says of what it needs."""

import re

__all__ = ["cuda_of"]

_CUDA = re.compile(r"(?:^|/)nvidia/cuda:(\d{1,2}\.\d{1,2})|cuda[-_]?(\d{1,2}\.\d{1,2})(?!\d)", re.IGNORECASE)


def cuda_of(image: str) -> str | None:
    """The CUDA version in an image's name (``12.6`` of ``pytorch/pytorch:2.7.1-cuda12.6-cudnn9-runtime``).

    A host whose driver supports less refuses to start such a container (NVIDIA's images carry
    ``NVIDIA_REQUIRE_CUDA``). None: the name does not say.
    """
    found = _CUDA.search(image)
    return None if found is None else found[1] or found[2]
