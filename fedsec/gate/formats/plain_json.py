"""The verdict as JSON, for programs."""

import json

from fedsec.gate.verdict import Verdict


def render(verdict: Verdict) -> str:
    """The whole verdict, keys in their order."""
    return json.dumps(verdict.as_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
