"""From what a project asks and what drivers support to the index torch comes from, as a table."""

from dataclasses import replace

import pytest

from choline_tui.model.image import image_for
from choline_tui.model.wheels import TORCH, Asks, Wheels, cuda_version, driver_for, torch_indexes, wheels_for

FREE = Asks(torch=True)
LOCKED = Asks(torch=True, torch_version="2.10.0", cuda="12.8", cuda_where="uv.lock", settled=True)


def pinned(version: str) -> Asks:
    return Asks(torch=True, torch_version=version)


@pytest.mark.parametrize(
    ("asks", "wish", "least", "most", "backend", "needs"),
    [
        # nothing of CUDA
        (Asks(), "auto", "0.0", "99.0", "", ""),
        (Asks(), "cpu", "12.6", "99.0", "", ""),
        # a lock says it all; its driver becomes the condition
        (LOCKED, "auto", "0.0", "99.0", "", "12.0"),
        (LOCKED, "12.8", "0.0", "99.0", "", "12.0"),
        (replace(LOCKED, cuda="13.0"), "auto", "12.6", "99.0", "", "13.0"),
        (replace(LOCKED, cuda="11.8"), "auto", "0.0", "99.0", "", "11.0"),
        (replace(LOCKED, cuda="10.2"), "auto", "0.0", "99.0", "", "10.2"),
        (replace(LOCKED, cuda="", cpu=True), "auto", "0.0", "99.0", "", ""),
        (replace(LOCKED, cuda="", cpu=True), "cpu", "0.0", "99.0", "", ""),
        # PyPI's own wheel where every machine runs it
        (pinned("2.7.1"), "auto", "12.6", "99.0", "", "12.0"),
        (pinned("2.1.2"), "auto", "12.6", "99.0", "", "12.0"),
        (pinned("2.13.0"), "auto", "13.0", "99.0", "", "13.0"),
        (pinned("1.13.1"), "auto", "12.6", "99.0", "", ""),
        # else an index that all of them run, rather than fewer machines
        (pinned("2.13.0"), "auto", "12.6", "99.0", "cu129", "12.0"),
        (FREE, "auto", "12.6", "99.0", "cu126", "12.0"),
        (pinned("2.4.0"), "auto", "11.8", "99.0", "cu118", "11.0"),
        # nothing is known of the drivers: PyPI's, and its condition
        (pinned("2.7.1"), "auto", "0.0", "99.0", "", "12.0"),
        (FREE, "auto", "0.0", "99.0", "", "13.0"),
        # only old drivers
        (FREE, "auto", "0.0", "12.4", "cu126", "12.0"),
        (pinned("2.6"), "auto", "0.0", "11.8", "cu118", "11.0"),
        # a release that the table does not know is as the newest
        (pinned("2.99.0"), "auto", "13.2", "99.0", "", "13.0"),
        # said by the person
        (pinned("2.13.0"), "12.6", "0.0", "99.0", "cu126", "12.0"),
        (FREE, "13.2", "0.0", "99.0", "cu132", "13.0"),
        (FREE, "cpu", "12.6", "99.0", "cpu", ""),
        (Asks(), "12.6", "0.0", "99.0", "", "12.0"),
        # an index that the files name is the project's own
        (Asks(torch=True, settled=True), "auto", "12.6", "99.0", "", "13.0"),
        (Asks(torch=True, settled=True), "12.6", "0.0", "99.0", "", "12.0"),
        (Asks(torch=True, settled=True), "cpu", "0.0", "99.0", "", ""),
        # jax names its CUDA itself
        (Asks(jax="12"), "auto", "0.0", "99.0", "", "12.0"),
        (Asks(jax="13"), "auto", "12.6", "99.0", "", "13.0"),
    ],
)  # fmt: skip
def test_the_index_and_the_driver(
    asks: Asks, wish: str, least: str, most: str, backend: str, needs: str
) -> None:
    found = wheels_for(asks, wish, at_least=least, at_most=most)
    assert (found.backend, found.needs, found.refusal) == (backend, needs, "")
    assert bool(found.why) == bool(needs)


@pytest.mark.parametrize(
    ("asks", "wish", "most", "says"),
    [
        (replace(LOCKED, cuda="13.0"), "auto", "12.8", "uv.lock: CUDA 13.0, which needs a driver with"),
        (LOCKED, "cpu", "99.0", 'pins CUDA 12.8, and cuda = "cpu" says none'),
        (LOCKED, "12.6", "99.0", "pins CUDA 12.8, and cuda says 12.6"),
        (pinned("2.12.0"), "12.8", "99.0", "no wheels of torch 2.12.0 for CUDA 12.8"),
        (FREE, "13.0", "12.9", "which needs a driver with CUDA 13.0, and the query takes machines with 12.9"),
        (pinned("2.8.0"), "auto", "11.8", "needs a driver with CUDA 12.0"),
        (Asks(jax="13"), "auto", "12.9", "jax for CUDA 13"),
    ],
)  # fmt: skip
def test_refusals_in_words(asks: Asks, wish: str, most: str, says: str) -> None:
    found = wheels_for(asks, wish, at_most=most)
    assert says in found.refusal and found.hint and not found.backend


def test_the_table_is_sound() -> None:
    for default, there in TORCH.values():
        assert there == tuple(sorted(there, key=cuda_version))
        assert cuda_version(driver_for(default)) <= cuda_version(default)
        assert all(driver_for(cuda) in ("11.0", "12.0", "13.0") for cuda in there)
    assert torch_indexes("") == TORCH["2.14"] and torch_indexes("1.12") == ("", ())
    with pytest.raises(ValueError, match="no version of CUDA"):
        cuda_version("12")
    assert wheels_for(Asks()) == Wheels()


@pytest.mark.parametrize(
    ("wanted", "most", "cuda"),
    [
        ("", "99.0", "cuda12.6"),
        ("12.4", "99.0", "cuda12.6"),
        ("12.8", "99.0", "cuda12.8"),
        ("13.0", "99.0", "cuda13.0"),
        ("", "12.4", "cuda12.4"),
        ("", "12.2", "cuda11.8"),
        ("", "10.0", "cuda12.6"),
        ("13.2", "13.0", "cuda13.0"),
    ],
)
def test_an_image_for_a_run_that_names_none(wanted: str, most: str, cuda: str) -> None:
    default = "pytorch/pytorch:2.7.1-cuda12.6-cudnn9-runtime"
    assert cuda in image_for(default, wanted=wanted, at_most=most)
    assert image_for("me/mine:1", wanted=wanted, at_most=most) == "me/mine:1"
