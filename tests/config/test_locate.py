import tomllib

import pytest

from choline_tui.config.locate import locate, syntax_error

TEXT = '''\
# command = "no"
command = "a" # x = 1
"odd key" = 'b'
setup = """
disk = 7
\\""" quoted
"""
send = [  # one
  "x",   # ] not the end
  {path = "y", into = "[z"},
]
  disk = 40
run.max_life = '1h'

[ env ]
A.B = 1
[[list]]
image = "i"
'''


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("command", (2, 1, 11)),
        ("odd key", (3, 1, 13)),
        ("setup", (4, 1, 9)),
        ("send", (8, 1, 8)),
        ("send[1].into", (8, 1, 8)),
        ("disk", (12, 3, 10)),
        ("run.max_life", (13, 1, 16)),
        ("env", (15, 1, 0)),
        ("env.A.B", (16, 1, 7)),
        ("env.NOPE", (15, 1, 0)),
        ("list.image", (18, 1, 9)),
    ],
)
def test_a_key_is_found_where_it_stands(key: str, place: tuple[int, int, int]) -> None:
    tomllib.loads(TEXT)
    assert locate(TEXT, key) == place


@pytest.mark.parametrize("text", ["", "=", "a", "[", '"', "a = [", "a = '''", "\x00", "a\n=\n1", "[[[a]]]"])
def test_anything_is_survived(text: str) -> None:
    assert locate(text, "image") is None


def test_what_is_not_toml_has_a_place() -> None:
    assert syntax_error("a = 1\nb = = 2\n") == (2, 5)
    assert syntax_error("a = [1,") == (1, 8)
    assert syntax_error(TEXT) is None
