"""CUDA versions as image names carry them."""

import pytest

from choline_tui.model.image import cuda_of


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("pytorch/pytorch:2.7.1-cuda12.6-cudnn9-runtime", "12.6"),
        ("vastai/base-image:cuda-12.8.1-cudnn-devel-ubuntu22.04-py310", "12.8"),
        ("nvidia/cuda:12.4.1-devel-ubuntu22.04", "12.4"),
        ("docker.io/nvidia/cuda:11.8.0-base", "11.8"),
        ("vastai/base-image:@vastai-automatic-tag", None),
        ("ubuntu:22.04", None),
        ("tensorflow/tensorflow:2.17.0-gpu", None),
    ],
)
def test_the_version_in_the_name(image: str, version: str | None) -> None:
    assert cuda_of(image) == version
