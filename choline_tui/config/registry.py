"""``[registry]`` of a project's ``choline.toml``: who fetches the container image, where it is not public.

::

    [registry]
    server = "ghcr.io"                # default docker.io
    user = "me"
    password_secret = "GHCR_TOKEN"    # the name of a secret; its value stands nowhere
"""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = ["RegistryTable", "secret_name"]


def _server(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d{1,5})?(/[\w./-]*)?", value, re.ASCII):
        raise ValueError("needs a registry's address without https://, such as ghcr.io")
    return value


def _user(value: str) -> str:
    # the market takes user, password and server as words of one command line
    if not re.fullmatch(r"[^\s'\"\\$`;|&<>()-][^\s'\"\\$`;|&<>()]*", value):
        raise ValueError("needs a name without spaces and quotes")
    return value


def secret_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value, re.ASCII):
        raise ValueError(
            f"{value[:60]!r} is not a name a secret can have: the password itself stands nowhere"
        )
    return value


class RegistryTable(BaseModel):
    """What ``[registry]`` says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    server: Annotated[str, AfterValidator(_server)] = Field(
        "docker.io", max_length=200, description="registry of the image; default docker.io"
    )
    user: Annotated[str, AfterValidator(_user)] = Field(max_length=200, description="who fetches the image")
    password_secret: Annotated[str, AfterValidator(secret_name)] = Field(
        max_length=100,
        description="name of the secret that is the password or token; given to the market alone",
    )
