"""What an attack has read of single clients, kept over an interruption of its run."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedsec.api import Reconstruction
from fedsec.store import strict_json
from fedsec.store.atomic import write_text

SCHEMA = 1
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Number = Annotated[int, Field(ge=0, lt=2**31)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Claim(_Part):
    client: _Number | None
    tokens: list[_Number]
    score: _Finite
    verified: bool
    notes: dict[str, _Finite]


class _Read(_Part):
    round: _Number
    client: _Number
    seconds: Annotated[float, Field(ge=0, le=1e9)]
    claims: list[_Claim]


class _File(_Part):
    version: Literal[1] = Field(alias="schema")
    key: str
    read: list[_Read]


@dataclass(frozen=True, slots=True)
class ClientRead:
    """One client of one round that was read to the end."""

    claims: tuple[Reconstruction, ...]
    seconds: float


Read = dict[tuple[int, int], ClientRead]
"""By round and client."""


@dataclass(frozen=True, slots=True)
class ClaimsFile:
    """One cell's file; mode 0600, since claims are as good as clients' texts.

    Args:
        path: the file.
        key: of everything that the cell's result depends on; a file of another key is not read.
    """

    path: Path
    key: str

    def load(self) -> Read:
        """What was kept; nothing where there is no file, or one that is damaged or another cell's."""
        try:
            found = _File.model_validate(strict_json.read(self.path))
        except (OSError, ValueError):
            return {}
        if found.key != self.key:
            return {}
        return {
            (one.round, one.client): ClientRead(tuple(_claim(claim) for claim in one.claims), one.seconds)
            for one in found.read
        }

    def save(self, read: Read) -> None:
        """Keep this in place of what was kept before; OSError if it cannot be written.

        What JSON does not hold (an infinite score) is left out, and read again after an interruption.
        """
        if self.path.parent.is_symlink():
            raise OSError("its folder is a link")  # to somewhere that is not the run's
        listed = [entry for (number, client), one in read.items() if (entry := _entry(number, client, one)) is not None]
        write_text(self.path, json.dumps({"schema": SCHEMA, "key": self.key, "read": listed}), 0o600)


def _entry(number: int, client: int, one: ClientRead) -> dict[str, Any] | None:
    """How one client stands in the file; None if its claims are none that could be read again."""
    claims = [{**asdict(claim), "tokens": list(claim.tokens), "notes": dict(claim.notes)} for claim in one.claims]
    entry = {"round": number, "client": client, "seconds": one.seconds, "claims": claims}
    try:
        return _Read.model_validate(entry).model_dump()
    except ValidationError:
        return None


def _claim(kept: _Claim) -> Reconstruction:
    return Reconstruction(
        client=kept.client, tokens=tuple(kept.tokens), score=kept.score, verified=kept.verified, notes=kept.notes
    )
