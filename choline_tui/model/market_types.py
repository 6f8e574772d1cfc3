"""What the market's models share: rental types, GPU names, and how foreign JSON becomes a model.

Foreign JSON is decoded in two gears. A whole answer is validated at once, in Rust. Only when that fails
is it taken apart: a field of a wrong type or size becomes None (unknown), a row that lacks what it is
known by is left out and counted. Nothing the market sends can raise anything but our own errors.
"""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import from_json

from choline_tui.kernel.text import plain

__all__ = [
    "GPU_NAMES",
    "MAX_ID",
    "Count",
    "Foreign",
    "Id",
    "Num",
    "RentalType",
    "Text",
    "foreign_json",
    "one_line",
    "salvage",
]

RentalType = Literal["on-demand", "interruptible"]

MAX_ID = 2**63 - 1
"""Ids are kept in SQLite, whose integers have 64 bits."""

Id = Annotated[int, Field(ge=1, le=MAX_ID)]
Count = Annotated[int, Field(ge=-MAX_ID, le=MAX_ID)] | None
Num = float | None
Text = Annotated[str, StringConstraints(max_length=4096)] | None


class Foreign(BaseModel):
    """Base of models of what the market sends: frozen, extra fields ignored, NaN and infinity refused."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", coerce_numbers_to_str=True, allow_inf_nan=False, protected_namespaces=()
    )


T = TypeVar("T", bound=Foreign)


def salvage(model: type[T], row: object, *, vital: frozenset[str] = frozenset({"id"})) -> T | None:
    """``row`` as ``model``, its unusable fields made unknown; None if a ``vital`` one is unusable."""
    if not isinstance(row, Mapping):
        return None
    data: dict[str, Any] = dict(row)
    for _ in range(2):
        try:
            return model.model_validate(data)
        except ValidationError as error:
            for problem in error.errors(include_url=False, include_context=False, include_input=False):
                name = str(problem["loc"][0]) if problem["loc"] else ""
                if name in vital or not name:
                    return None
                data.pop(name, None)
    return None


_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) < 100 else float("inf")


def foreign_json(raw: bytes) -> Any:
    """What ``raw`` says. Raises ValueError when it is no JSON.

    Texts of other people travel in the market's answers: a stray byte, half a surrogate pair, a control
    character or a number without end in one of them spoils that text, not the whole answer.
    """
    try:
        return from_json(raw)
    except ValueError:
        text = raw.decode("utf-8", "replace")
    text = _ESCAPE.sub(lambda found: "\\ufffd" if found[1] else found[0], text)
    try:
        return json.loads(text, strict=False, parse_int=_whole)
    except RecursionError:
        raise ValueError("too deep") from None


def one_line(text: object, limit: int = 300) -> str:
    """Foreign text as one bounded line of printable characters."""
    raw = text if isinstance(text, str) else "" if text is None else str(text)[: 4 * limit]
    line = " ".join(plain(raw[: 4 * limit]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


GPU_NAMES: tuple[str, ...] = (
    *("A10", "A10g", "A16", "A30", "A40", "A100 PCIE", "A100 SXM4", "A100 SXM", "A100X", "A800 PCIE"),
    *("B200", "GH200 SXM", "H100 PCIE", "H100 SXM", "H100 NVL", "H200", "H200 NVL", "L4", "L40", "L40S"),
    *("Tesla K80", "Tesla M40", "Tesla P4", "Tesla P40", "Tesla P100", "Tesla T4", "Tesla V100"),
    *("GTX 1050", "GTX 1050 Ti", "GTX 1060", "GTX 1070", "GTX 1070 Ti", "GTX 1080", "GTX 1080 Ti"),
    *("GTX 1650", "GTX 1650 S", "GTX 1660", "GTX 1660 S", "GTX 1660 Ti", "GTX TITAN X"),
    *("RTX 2060", "RTX 2060S", "RTX 2070", "RTX 2070S", "RTX 2080", "RTX 2080S", "RTX 2080 Ti"),
    *("RTX 3050", "RTX 3060", "RTX 3060 laptop", "RTX 3060 Ti", "RTX 3070", "RTX 3070 laptop"),
    *("RTX 3070 Ti", "RTX 3080", "RTX 3080 Ti", "RTX 3090", "RTX 3090 Ti"),
    *("RTX 4060", "RTX 4060 laptop", "RTX 4060 Ti", "RTX 4070", "RTX 4070 laptop", "RTX 4070S"),
    *("RTX 4070S Ti", "RTX 4070 Ti", "RTX 4080", "RTX 4080S", "RTX 4090", "RTX 4090D"),
    *("RTX 5060", "RTX 5060 Ti", "RTX 5070", "RTX 5070 Ti", "RTX 5080", "RTX 5090"),
    *("Titan RTX", "Titan V", "Titan X", "Titan Xp", "Quadro P4000", "Quadro P5000", "Quadro P6000"),
    *("Quadro GV100", "Q RTX 4000", "Q RTX 5000", "Q RTX 6000", "Q RTX 8000"),
    *("RTX A2000", "RTX A4000", "RTX A4500", "RTX A5000", "RTX A6000"),
    *("RTX 2000Ada", "RTX 4000Ada", "RTX 4500Ada", "RTX 5000Ada", "RTX 5880Ada", "RTX 6000Ada"),
    *("RTX PRO 4000", "RTX PRO 4500", "RTX PRO 5000", "RTX PRO 6000", "RTX PRO 6000 S"),
    *("RTX PRO 6000 WS", "RTX PRO 6000 Max-Q", "CMP 50HX", "CMP 170HX"),
    *("InstinctMI50", "InstinctMI100", "InstinctMI210", "InstinctMI250X", "PRO W6800", "PRO W7800"),
    *("PRO W7900", "Radeon VII", "RX 6800 XT", "RX 6900 XT", "RX 7900 GRE", "RX 7900 XT", "RX 7900 XTX"),
)
"""Names as Vast writes them; the server's own list (``VastClient.gpu_names``) may know newer ones."""
