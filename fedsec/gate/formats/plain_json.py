"""The verdict as JSON, for programs."""

import json

from fedsec.gate.verdict import Verdict


def render(verdict: Verdict) -> str:
    """The whole verdict, keys in their order; in ASCII, since a name may hold what no file can."""
    return json.dumps(verdict.as_json(), indent=1, allow_nan=False) + "\n"
