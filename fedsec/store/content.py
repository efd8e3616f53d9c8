"""What a run's files hold: the shapes that reports and resumed runs rely on. More keys than these are allowed."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, ValidationError, model_validator

SCHEMA = 1
LARGEST = 1e100
"""Of a metric or a weight: squares of it, and sums of these, are finite. fedsec itself makes none above 2.7e43."""

Version = Annotated[int, Field(ge=SCHEMA, le=SCHEMA)]
Key = Annotated[str, Field(pattern="^[0-9A-Za-z]{1,64}$")]
Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, lt=2**53)]


def _distinct(keys: list[str]) -> list[str]:
    if len(set(keys)) < len(keys):
        raise ValueError("a key stands twice")
    return keys


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class _Metric(_Part):
    value: Number | None
    unit: str
    better_for: Literal["defender", "attacker", "neither"]
    n: Count
    ci_low: Number | None
    ci_high: Number | None
    method: str
    baseline: Number = 0.0
    random_guess: Number = 0.0
    chance: Number = 0.0
    best: Number = 0.0
    best_low: Number = 0.0
    gain_low: Number = 0.0
    gain_high: Number = 0.0
    detail: dict[str, Number] = {}
    left_out: Count = 0

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.ci_low is None) != (self.ci_high is None):
            raise ValueError("an interval has two ends or none")
        if (self.value is None) != (self.n == 0):
            raise ValueError("a metric has a value if anything counted")
        return self


class _Auxiliary(_Part):
    texts: Count
    dropped: Count


class _Defense(_Part):
    name: str
    params: dict[str, Any]


class _Row(_Part):
    """A scorecard's row, DESIGN section 6."""

    attack: str
    defense: str
    goal: str | None = None
    acts: bool = False
    seed: int
    settings: dict[str, Any]
    attack_params: dict[str, Any]
    defense_stack: list[_Defense]
    position: str | None
    knowledge: list[str]
    adaptive: bool
    status: Literal["ok", "budget", "blocked", "n/a", "error"]
    reason: str | None
    attack_seconds: Finite | None = None
    guarantee: dict[str, Any] | None
    auxiliary: _Auxiliary | None = None
    metrics: dict[str, _Metric]


class _Refused(_Part):
    client: int
    reason: str


class _Round(_Part):
    round: Count
    clients: list[int]
    rejected: list[_Refused]
    weights: list[Number] | None
    norms: list[Number] | None = None
    skipped: str | None
    measurements: dict[str, Number] = {}


class _Text(_Part):
    client: int | None
    original: str | None
    recovered: str | None
    exact: bool
    verified: bool


class _Attacked(_Part):
    tokens: Annotated[list[Count], Field(min_length=1)]
    width: Count | None = None
    rank: Count | None = None


class _Cell(_Part):
    """The file of a cell, cells/KEY.json."""

    version: Version = Field(alias="schema")
    key: Key
    cell: _Row
    curve: list[Annotated[tuple[Count, Share | None, Finite | None], Strict(False)]] = []
    rounds: list[_Round] = []
    answers: dict[str, dict[str, Number]] = {}
    correct: Annotated[str, Field(pattern="^[01]*$")] = ""
    predicted: list[int] = []
    right: list[Share] | None = None
    notes: dict[str, Any] = {}
    malicious: list[int] = []
    attacked: _Attacked | None = None
    texts: list[_Text] | None = None


class _Git(_Part):
    commit: str
    dirty: bool


class _Figure(_Part):
    metric: str
    attack: str
    defense: str
    settings: dict[str, Any]
    expected: Finite
    tolerance: Finite
    bound: Literal["at-least", "at-most", "about"]
    source: str


class _Expected(_Part):
    scenario: str
    verified: bool
    figures: list[_Figure]


class _Member(_Part):
    """A scenario of a suite."""

    scenario: str
    summary: str = ""
    cells: Annotated[list[Key], AfterValidator(_distinct)]


class _Record(_Part):
    """The file record.json."""

    version: Version = Field(alias="schema")
    cells: Annotated[list[Key], AfterValidator(_distinct)]
    scenario: str = ""
    summary: str = ""
    created: str = ""
    resumed: list[str] = []
    python: str = ""
    packages: dict[str, str | None] = {}
    git: _Git | None = None
    machine: str = ""
    cores: int | None = None
    threads: int = 1
    workers: int = 1
    device: str = ""
    randomness: str = ""
    plugins: list[str] = []
    source: str | None = None
    """The scenario's file, seen from the run's folder."""
    expected: _Expected | None = None
    members: Annotated[list[_Member], Field(min_length=1)] | None = None
    """Of a suite; each of its cells is one of `cells`."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        known = set(self.cells)
        if any(not known.issuperset(member.cells) for member in self.members or ()):
            raise ValueError("a scenario of the suite has a cell that the run has not")
        names = [member.scenario for member in self.members or ()]
        if len(set(names)) < len(names):
            raise ValueError("two scenarios of the suite have one name")
        return self


def fault_of_cell(content: Mapping[str, Any]) -> str | None:
    """What is wrong with the content of a cell's file, or None."""
    return _fault(_Cell, content)


def fault_of_record(content: Mapping[str, Any]) -> str | None:
    """What is wrong with the content of record.json, or None."""
    return _fault(_Record, content)


def _fault(shape: type[BaseModel], content: Mapping[str, Any]) -> str | None:
    try:
        shape.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = "/".join(f"{part!s:.40}" for part in first["loc"])
        return f"{place!a:.120}: {first['msg']:.120}"
    return None
