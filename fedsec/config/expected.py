"""The figures that a shipped scenario reproduces: its own or a paper's, with source and tolerance."""

import json
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from fedsec.config.load import load_single
from fedsec.config.schema import Scenario
from fedsec.config.shipped import shipped_files


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class Figure(_Part):
    """One number with its source."""

    metric: str
    attack: str
    """As the scorecard labels it; `none` for the control."""
    defense: str = "none"
    settings: dict[str, Any] = {}
    """Varied settings of the cell."""
    expected: float
    tolerance: Annotated[float, Field(gt=0)]
    """By how much fedsec's figure may miss it, in the metric's unit."""
    bound: Literal["at-least", "at-most", "about"] = "at-least"
    """On which side a figure misses it."""
    source: Annotated[str, Field(min_length=40)]


class Expected(_Part):
    """The file NAME.expected.json beside NAME.yaml."""

    scenario: str
    verified: bool
    """Whether fedsec has been run on the real thing and the figures were compared; the report says so if not."""
    figures: Annotated[list[Figure], Field(min_length=1)]


def read_expected(text: str) -> Expected:
    """The content of such a file; ValueError with all that is wrong."""
    return Expected.model_validate(json.loads(text))


def expected_of(scenario: Scenario) -> Expected | None:
    """What is expected of a scenario; None unless it is a shipped one, unchanged, that comes with figures."""
    if scenario.name not in shipped_files():
        return None
    file = resources.files("fedsec.scenarios").joinpath(f"{scenario.name}.expected.json")
    if not file.is_file() or load_single(scenario.name) != scenario:
        return None
    return read_expected(file.read_text(encoding="utf-8"))
