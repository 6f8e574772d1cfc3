"""A text that must not be seen: keys and tokens, from the place they are found to the place they are sent."""

import hmac
from typing import Any, Iterable, Union
from urllib.parse import quote

__all__ = ["STARS", "Secret", "redact"]

STARS = "****"
MIN_HIDDEN = 5
"""Shorter texts are not looked for: hiding every "1" hides nothing and makes a text unreadable."""


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
        return "Secret(%s)" % STARS

    def __str__(self) -> str:
        return STARS

    def __format__(self, spec: str) -> str:
        return format(STARS, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._text, other._text)

    def __hash__(self) -> int:
        return hash(("Secret", self._text))

    def __reduce__(self) -> Any:
        raise TypeError("a Secret is not written anywhere: store what reveal() gives, on purpose")


def redact(text: str, secrets: "Iterable[Union[Secret, str]]") -> str:
    """``text`` with every secret in it replaced by stars, as written and as in a URL."""
    plain = {each.reveal() if isinstance(each, Secret) else each for each in secrets}
    forms = {form for each in plain for form in (each, quote(each, safe="")) if len(each) >= MIN_HIDDEN}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, STARS)
    return text
