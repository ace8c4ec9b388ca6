"""The options of config.yaml for an environment that a person made and that is offered to others. Reads nothing."""

from __future__ import annotations

from pydantic import Field

from hubd.config.names import Account, OwnName
from hubd.config.section import Section


class Publish(Section):
    """Whose environment is offered to others."""

    owner: Account = Field(description="The person who made it.", examples=["bea"])
    environment: OwnName = Field(description="Its name among that person's.", examples=["geo"])
    entry: OwnName | None = Field(
        default=None,
        description="Its name here where that is another one: it then has a lock of its own, which no yes to another changes.",
        examples=["maps"],
    )

    @property
    def place(self) -> str:
        """Where its lock is, from the hub's folder."""
        return f"published/{self.owner}/{self.environment}{f'@{self.entry}' if self.entry else ''}.lock"
