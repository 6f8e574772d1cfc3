"""A text that must not be seen: keys and tokens, from the place they are found to the place they are sent."""

import hmac
from typing import Any

__all__ = ["Secret"]


class Secret:
    """Shows itself as stars everywhere but through ``reveal()``.

    Refuses (ValueError, without the text) what could not be a key: empty, or with spaces or control
    characters, which would end a header early.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if not text or not all("\x21" <= char <= "\x7e" for char in text):
            raise ValueError("a key is printable ASCII without spaces, and not empty")
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(****)"

    def __str__(self) -> str:
        return "****"

    def __format__(self, spec: str) -> str:
        return format("****", spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._text, other._text)

    def __hash__(self) -> int:
        return hash(("Secret", self._text))

    def __reduce__(self) -> Any:
        raise TypeError("a Secret is not written anywhere: store what reveal() gives, on purpose")
