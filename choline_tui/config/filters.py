"""Saved filters: one table each in ``filters.toml``, which a person may edit."""

from pydantic import BaseModel, ConfigDict, Field

from choline_tui.config.paths import Paths
from choline_tui.config.toml import checked, nearest, read_toml, write_toml
from choline_tui.kernel.errors import NotFound
from choline_tui.model.filters import Filter, check_name

__all__ = ["find_filter", "read_filters", "remove_filter", "save_filter"]

MAX_FILTERS = 500


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    filters: dict[str, Filter] = Field(default_factory=dict, max_length=MAX_FILTERS)


def read_filters(paths: Paths) -> dict[str, Filter]:
    """All of them, by name. ConfigError names the file, the key and what is wrong."""
    try:
        data = read_toml(paths.filters_file)
    except FileNotFoundError:
        return {}
    found = checked(_File, {"filters": data}, str(paths.filters_file)).filters
    return dict(sorted(found.items()))


def find_filter(paths: Paths, name: str) -> Filter:
    """Raises NotFound, with the nearest name; ConfigError as ``read_filters``."""
    found = read_filters(paths)
    if name not in found:
        hint = nearest(name, list(found)) if found else "'choline filters save' makes one."
        raise NotFound(f"there is no filter {name[:60]!r}", hint=hint)
    return found[name]


def save_filter(paths: Paths, name: str, filter: Filter) -> None:
    """A filter of the same name is replaced. Raises QueryError for a bad name, ConfigError for the file."""
    check_name(name)
    found = {**read_filters(paths), name: filter}
    write_toml(paths.filters_file, {each: saved.table() for each, saved in sorted(found.items())})


def remove_filter(paths: Paths, name: str) -> None:
    """Raises NotFound; ConfigError for the file."""
    find_filter(paths, name)
    found = read_filters(paths)
    del found[name]
    write_toml(paths.filters_file, {each: saved.table() for each, saved in found.items()})
