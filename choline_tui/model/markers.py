"""PEP 508 markers, as far as they can be told from home: a machine is Linux on x86-64, and CPython."""

import re

__all__ = ["holds"]

_KNOWN = {
    "sys_platform": "linux",
    "platform_system": "Linux",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
}
_TOKEN = re.compile(r"\s*(?:(?P<sign>[()])|(?P<op>===?|!=|<=|>=|~=|<|>)|'(?P<a>[^']*)'|\"(?P<b>[^\"]*)\""
                    r"|(?P<word>[A-Za-z_.]+))")  # fmt: skip
MOST = 4000
"""characters of a marker that are looked at"""


def holds(marker: str, python: str = "") -> bool | None:
    """Whether a marker holds; None when it depends on what is not known here (an extra, a Python that was
    not named). ``python``: as 3.11, '' when it is not known."""
    tokens = []
    place = 0
    text = marker.strip()
    if len(text) > MOST:
        return None
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            return None
        place = found.end()
        kind = found.lastgroup or ""
        tokens.append(("text" if kind in "ab" else kind, found[kind]))
    try:
        answer, rest = _either(tokens, 0, python)
    except (IndexError, ValueError, RecursionError):
        return None
    return answer if rest == len(tokens) else None


_Tokens = list[tuple[str, str]]


def _either(tokens: _Tokens, at: int, python: str) -> tuple[bool | None, int]:
    answer, at = _both(tokens, at, python)
    while at < len(tokens) and tokens[at] == ("word", "or"):
        other, at = _both(tokens, at + 1, python)
        answer = True if answer or other else None if answer is None or other is None else False
    return answer, at


def _both(tokens: _Tokens, at: int, python: str) -> tuple[bool | None, int]:
    answer, at = _one(tokens, at, python)
    while at < len(tokens) and tokens[at] == ("word", "and"):
        other, at = _one(tokens, at + 1, python)
        answer = False if answer is False or other is False else None if None in (answer, other) else True
    return answer, at


def _one(tokens: _Tokens, at: int, python: str) -> tuple[bool | None, int]:
    if tokens[at] == ("sign", "("):
        answer, at = _either(tokens, at + 1, python)
        if tokens[at] != ("sign", ")"):
            raise ValueError("no end of the parenthesis")
        return answer, at + 1
    (left_kind, left), (op_kind, op), (right_kind, right) = tokens[at : at + 3]
    if op_kind != "op" or {left_kind, right_kind} != {"word", "text"}:
        return None, at + 3
    name, value = (left, right) if left_kind == "word" else (right, left)
    if name in _KNOWN and op in ("==", "!="):
        return (_KNOWN[name] == value) == (op == "=="), at + 3
    if name in ("python_version", "python_full_version") and python and left_kind == "word":
        return _compare(python, op, value), at + 3
    return None, at + 3


def _compare(python: str, op: str, value: str) -> bool | None:
    if op in ("==", "!=") and re.fullmatch(r"\d+\.\d+\.\*", value):
        value = value[:-2]
    if not re.fullmatch(r"\d+(\.\d+)*", value):
        return None
    ours = tuple(int(piece) for piece in python.split(".")[:2])
    asked = tuple(int(piece) for piece in value.split("."))
    if len(asked) > 2 and any(asked[2:]) and ours == asked[:2]:
        return None  # a patch release decides, and that is not known
    theirs = (*asked, 0)[:2]
    answers = {
        "==": ours == theirs, "!=": ours != theirs, "<": ours < theirs, "<=": ours <= theirs,
        ">": ours > theirs, ">=": ours >= theirs,
    }  # fmt: skip
    return answers.get(op)
