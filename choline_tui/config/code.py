"""``[code]`` of a project's ``choline.toml``: how the code gets to a machine.

::

    [code]
    clone = true                      # the machine clones the commit, and is sent what differs; default false
    token = "GIT_TOKEN"               # the name of a secret; default: GITHUB_TOKEN, GH_TOKEN or GITLAB_TOKEN
"""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from choline_tui.config.registry import secret_name

__all__ = ["CodeTable"]


class CodeTable(BaseModel):
    """What ``[code]`` says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    clone: bool = Field(
        False,
        description="whether the machine clones the commit from the repository's remote, by https, and is "
        "sent only what differs; where it cannot, all is sent from here; default false",
    )
    token: Annotated[str, AfterValidator(secret_name)] = Field(
        "",
        max_length=200,
        description="name of the secret that the remote's server wants; default: of github.com GITHUB_TOKEN "
        "or GH_TOKEN, of gitlab.com GITLAB_TOKEN, if it is one of the run's secrets",
    )
