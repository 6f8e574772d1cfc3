"""Saved filters and ``[filter]`` of a project."""

from pathlib import Path

import pytest

from choline_tui.config.filters import find_filter, read_filters, remove_filter, save_filter
from choline_tui.config.paths import Paths
from choline_tui.config.project import load_project
from choline_tui.kernel.errors import ConfigError, NotFound, ProjectError, QueryError
from choline_tui.model.export import Likeness, like, toml_table
from choline_tui.model.filters import Filter
from choline_tui.model.query import parse_query


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path, {})


def test_filters_are_saved_found_replaced_and_forgotten(paths: Paths) -> None:
    assert read_filters(paths) == {}
    cheap = Filter(query="gpu_name=RTX_4090 dph_total<0.4", disk=40, type="interruptible", max_price=0.4)
    save_filter(paths, "cheap.4090", cheap)
    save_filter(paths, "all", Filter())
    assert list(read_filters(paths)) == ["all", "cheap.4090"] and find_filter(paths, "cheap.4090") == cheap
    save_filter(paths, "all", Filter(query="num_gpus=8"))
    assert find_filter(paths, "all").query == "num_gpus=8"
    remove_filter(paths, "all")
    with pytest.raises(NotFound) as caught:
        find_filter(paths, "cheap4090")
    assert "cheap.4090" in caught.value.hint
    with pytest.raises(NotFound):
        remove_filter(paths, "all")
    with pytest.raises(QueryError):
        save_filter(paths, "../evil", cheap)


def test_a_file_that_is_wrong_is_named_and_not_overwritten(paths: Paths) -> None:
    paths.filters_file.write_text('[cheap]\nquery = "gpu_rom>=2"\n')
    with pytest.raises(ConfigError, match=r"filters\.toml.*gpu_rom"):
        read_filters(paths)
    with pytest.raises(ConfigError):
        save_filter(paths, "other", Filter())
    assert "gpu_rom" in paths.filters_file.read_text()


def project(tmp_path: Path, text: str) -> Path:
    (tmp_path / "choline.toml").write_text(text)
    return tmp_path


def test_an_exported_filter_in_a_project_is_what_it_rents(tmp_path: Path) -> None:
    offer = {"id": 1, "gpu_name": "RTX 4090", "num_gpus": 2, "dph_total": 0.4}
    query = like([offer], Likeness.SAME_GPU, parse_query("", disk_gb=40, type="bid"), 10)
    found = load_project(project(tmp_path, 'command = "x"\n' + toml_table(query, 0.44)))
    assert found.query == "gpu_name=RTX_4090 num_gpus=2 dph_total<=0.44"
    assert found.overrides() == {"disk": 40.0, "type": "interruptible", "max_price": 0.44}
    assert found.directory == tmp_path


def test_what_stands_at_the_top_says_more_than_the_filter(tmp_path: Path) -> None:
    text = """
        query = "inet_down>100"
        disk = 99
        [run]
        type = "on-demand"
        [filter]
        query = "gpu_ram>=24"
        disk = 10
        type = "interruptible"
    """
    found = load_project(project(tmp_path, text))
    assert found.query == "gpu_ram>=24 inet_down>100"
    assert found.overrides() == {"disk": 99.0, "type": "on-demand"}
    with pytest.raises(ProjectError, match="filter"):
        load_project(project(tmp_path, '[filter]\nquery = "gpu_rom>=2"\n'))
    with pytest.raises(ProjectError, match=r"filter\.limit"):
        load_project(project(tmp_path, "[filter]\nlimit = 3\n"))
