"""Where a machine may clone from, and which token it is given for it."""

import pytest

from choline_tui.model.clone_url import clone_url, token_for


@pytest.mark.parametrize(
    ("remote", "url"),
    [
        ("https://github.com/me/x.git", "https://github.com/me/x.git"),
        ("https://git.example.org:8443/a/b?x#y", "https://git.example.org:8443/a/b"),
        ("git@github.com:me/x.git", "https://github.com/me/x.git"),
        ("github.com:me/x", "https://github.com/me/x"),
        ("ssh://git@github.com/me/x.git", "https://github.com/me/x.git"),
        ("ssh://git@ssh.github.com:443/me/x.git", "https://github.com/me/x.git"),
        ("git@gitlab.com:group/sub/x.git", "https://gitlab.com/group/sub/x.git"),
        ("http://127.0.0.1:80/x.git", "http://127.0.0.1:80/x.git"),
    ],
)
def test_what_is_served_by_https(remote: str, url: str) -> None:
    assert clone_url(remote) == (url, "")


@pytest.mark.parametrize(
    ("remote", "why"),
    [
        ("git@git.example.org:me/x.git", "your keys and agent go to no rented machine"),
        ("ssh://git@git.example.org:2222/me/x.git", "git.example.org is reached by ssh"),
        ("git@github.com.example.org:me/x.git", "github.com.example.org is reached by ssh"),
        ("/srv/git/x.git", "a directory of this computer"),
        ("../x.git", "a directory of this computer"),
        ("./odd:name/x.git", "a directory of this computer"),
        ("file:///srv/git/x.git", "a directory of this computer"),
        ("git://example.org/x.git", "reached by git://"),
        ("http://example.org/x.git", "anybody on the way"),
        ("https://me:token@example.org/x.git", "none that can be cloned from"),
        ("https://example.org", "none that can be cloned from"),
        ("https://[::1/x.git", "none that can be cloned from"),
        ("https://example.org/a b", "none that can be cloned from"),
        ("", "a directory of this computer"),
    ],
)
def test_what_is_sent_from_home_instead(remote: str, why: str) -> None:
    url, told = clone_url(remote)
    assert url == "" and why in told and "token" not in told


def test_a_token_goes_to_its_own_server_or_where_the_project_says() -> None:
    secrets = {"GH_TOKEN": "", "GITLAB_TOKEN": "", "OWN": ""}
    assert token_for("https://github.com/me/x", secrets) == "GH_TOKEN"
    assert token_for("https://gitlab.com/me/x", secrets) == "GITLAB_TOKEN"
    for other in (
        "https://example.org/x",
        "https://github.com.example.org/x",
        "https://example.org/github.com",
    ):
        assert token_for(other, secrets) == ""
    assert token_for("https://example.org/x", secrets, "OWN") == "OWN"
    assert (
        token_for("https://github.com/me/x", {}) == token_for("https://github.com/x", secrets, "GONE") == ""
    )
