"""What a container image's name says of what it needs."""

import re

__all__ = ["IMAGES", "cuda_of", "image_for"]

_CUDA = re.compile(r"(?:^|/)nvidia/cuda:(\d{1,2}\.\d{1,2})|cuda[-_]?(\d{1,2}\.\d{1,2})(?!\d)", re.IGNORECASE)


def cuda_of(image: str) -> str | None:
    """The CUDA version in an image's name (``12.6`` of ``pytorch/pytorch:2.7.1-cuda12.6-cudnn9-runtime``).

    A host whose driver supports less refuses to start such a container (NVIDIA's images carry
    ``NVIDIA_REQUIRE_CUDA``). None: the name does not say.
    """
    found = _CUDA.search(image)
    return None if found is None else found[1] or found[2]


IMAGES = (
    ("11.8", "pytorch/pytorch:2.7.1-cuda11.8-cudnn9-runtime"),
    ("12.4", "pytorch/pytorch:2.5.1-cuda12.4-cudnn9-runtime"),
    ("12.6", "pytorch/pytorch:2.7.1-cuda12.6-cudnn9-runtime"),
    ("12.8", "pytorch/pytorch:2.7.1-cuda12.8-cudnn9-runtime"),
    ("13.0", "pytorch/pytorch:2.9.1-cuda13.0-cudnn9-runtime"),
)
"""CUDA and an image with it, cuDNN 9 and Python: tags of pytorch/pytorch on Docker Hub, read on 2026-11-22"""


def image_for(default: str, *, wanted: str = "", at_most: str = "99.0") -> str:
    """An image for a run that names none: ``default``, unless its CUDA is not ``wanted`` (the CUDA that a
    project names) or is more than any driver of the query supports (``at_most``): then the nearest one."""

    def number(text: str) -> tuple[int, ...]:
        return tuple(int(piece) for piece in text.split("."))

    has = cuda_of(default)
    if has is None:
        return default
    if number(has) <= number(at_most) and (not wanted or number(has) >= number(wanted)):
        return default
    fitting = [(number(cuda), image) for cuda, image in IMAGES if number(cuda) <= number(at_most)]
    if not fitting:
        return default
    enough = [each for each in fitting if wanted and each[0] >= number(wanted)]
    return min(enough)[1] if enough else max(fitting)[1]
