"""The page of a suite: one table over all its scenarios, a part for each, and what has no result."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest

from fedsec.report.html import render
from fedsec.report.members import member_list
from fedsec.report.scorecard import build

from .support import HOSTILE, RECORD, Content, Page, leakage, not_run, plausible, scored, trained

READS: list[Content] = [
    trained(),
    trained(defense="krum"),
    trained(attack="dager", metrics=leakage(0.9, 0.9)),
    trained(attack="dager", defense="krum", metrics=leakage(0.1, 0.1)),
]
RUINS: list[Content] = [
    trained("1" * 80 + "0" * 20),
    trained("1" * 70 + "0" * 30, defense="krum"),
    trained("1" * 20 + "0" * 80, attack="flip", position="client"),
    trained("1" * 65 + "0" * 35, attack="flip", defense="krum", position="client"),
]


def suite(members: Mapping[str, Sequence[Content]], planned: int = 0) -> str:
    """The page of a suite; each scenario has so many cells more than results."""
    listed = [
        {"scenario": name, "summary": f"What of {name}?", "cells": ["f" * 16] * (len(own) + planned)}
        for name, own in members.items()
    ]
    record = {**RECORD, "scenario": "my/suite", "members": listed, "cells": ["f" * 16]}
    contents = [
        {**one, "cell": {"scenario": name, **one["cell"]}} for name, several in members.items() for one in several
    ]
    scorecard = build("my/suite", "0" * 16, contents)
    scorecard["members"] = member_list(record, scorecard["cells"])
    return render(record, scorecard, contents)


@pytest.fixture(scope="module")
def full() -> str:
    return suite({"a/reads": READS, "a/ruins": RUINS, "a/all": plausible()})


def test_it_has_one_table_and_a_part_for_each_scenario(full: str) -> None:
    page = Page(full)
    questions = [f"What of a/{name}?" for name in ("reads", "ruins", "all")]
    titles = ["Defenses side by side", *questions, "How to read the tables"]
    places = [page.text.index(title) for title in titles]
    assert places == sorted(places)
    assert page.text.count("Every attack against every defense") == 3
    assert "scenario-2.resolved.yaml" in page.text
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    levels = [int(tag[1]) for tag, _ in page.tags if tag in ("h1", "h2", "h3", "h4")]
    assert all(after - before <= 1 for before, after in pairwise(levels)), "no level is skipped"


def test_the_first_sentences_and_the_table_say_who_is_worst_at_what_price(full: str) -> None:
    text = Page(suite({"a/reads": READS, "a/ruins": RUINS})).text.replace("\u00a0", " ")
    lead = text[: text.index("Every attack against every defense")]
    assert "krum: flip, which wants to ruin the model for everybody, does" in lead
    assert (
        "krum 10 % 1.8 to 40.4 %, n = 10 dager, reads rank 1 ◇ no attack knew it "
        "21.4 % 11.4 to 31.5 %, n = 100 flip, ruins rank 1 ◇ no attack knew it "
        "rank 1 21.4 %: flip 10 3.8 to 16.5, n = 100 ruins nothing 91 MB sent (x 1.00) 0.25 s (x 1.00)"
    ) in lead


def test_what_failed_stopped_or_does_not_apply_is_said_and_the_rest_reported() -> None:
    lost = [not_run("error", "RuntimeError: the model is not there", attack=name) for name in ("dager", "flip")]
    idle = [not_run("n/a", "needs a label", attack="flip", position="client")]
    text = Page(suite({"a/reads": READS, "a/lost": lost, "a/idle": idle})).text
    assert "a/lost: 2 of 2 cells failed (RuntimeError: the model is not there)" in text
    assert "a/idle: no attack applies (needs a label)" in text
    assert "No cell of this scenario has a result. The first says: error: RuntimeError" in text
    assert "dager" in text
    stopped = Page(suite({"a/reads": READS, "a/later": []}, planned=2)).text
    assert "a/later: 2 of 2 cells have no result: the run was interrupted, and goes on when repeated" in stopped
    assert "No cell of this scenario has a result yet." in stopped


@pytest.mark.parametrize("name", HOSTILE[:5])
def test_names_of_scenarios_are_escaped(name: str) -> None:
    page, plain = Page(suite({f"x{name}": READS, "b": RUINS})), Page(suite({"x": READS, "b": RUINS}))
    assert page.tags == plain.tags


def test_the_matrix_of_a_single_scenario_is_in_no_part() -> None:
    assert "What of" not in Page(render(*scored(READS))).text
