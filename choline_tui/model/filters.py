"""A Filter: a query with what makes it mean the same tomorrow: order, rental type, disk and cap."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from choline_tui.kernel.errors import QueryError
from choline_tui.model.conditions import Query
from choline_tui.model.market_types import RentalType
from choline_tui.model.query import parse_order, parse_query

__all__ = ["Filter", "check_name"]

MAX_NAME = 60


def check_name(name: str) -> str:
    """The name, if a filter may be called so. Raises QueryError."""
    if not name or len(name) > MAX_NAME or not all(c.isalnum() or c in "-_." for c in name):
        raise QueryError(
            f"{name[:MAX_NAME]!r} cannot be a filter's name",
            hint=f"Letters, digits and - _ . only, at most {MAX_NAME}: for example cheap-4090.",
            column=0,
        )
    return name


class Filter(BaseModel):
    """As it is saved, and as it stands in ``[filter]`` of a ``choline.toml``. None: as set elsewhere."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    query: str = Field(
        "", max_length=4000, description="conditions over offers, as in 'choline offers QUERY'"
    )
    order: str = Field("dph_total", max_length=400, description="fields to sort by; default dph_total")
    type: RentalType | None = Field(None, description="on-demand or interruptible")
    disk: Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)] | None = Field(
        None, description="disk in GB that prices are for"
    )
    max_price: Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)] | None = Field(
        None, description="most $/h, disk included, that may be rented"
    )

    @field_validator("query")
    @classmethod
    def _query_reads(cls, value: str) -> str:
        try:
            parse_query(value)
        except QueryError as error:
            raise ValueError(f"{error.message} (column {error.details.get('column', 0) + 1})") from None
        return value

    @field_validator("order")
    @classmethod
    def _order_reads(cls, value: str) -> str:
        try:
            parse_order(value)
        except QueryError as error:
            raise ValueError(error.message) from None
        return value

    @classmethod
    def of(cls, query: Query, max_price: float | None = None) -> "Filter":
        """What is needed to ask ``query`` again."""
        return cls(
            query=query.text(),
            order=query.order_text() or "dph_total",
            type=query.type,
            disk=query.disk_gb,
            max_price=max_price,
        )

    def as_query(self, *, type: str = "on-demand", disk_gb: float = 20.0) -> Query:
        """The query; ``type`` and ``disk_gb`` (GB) hold where the filter does not say."""
        return parse_query(
            self.query,
            order=self.order,
            type=self.type or type,
            disk_gb=self.disk if self.disk is not None else disk_gb,
        )

    def table(self) -> dict[str, Any]:
        """As TOML has it: what is said only."""
        return self.model_dump(exclude_none=True)
