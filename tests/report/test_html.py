"""The report: complete, true to the scorecard, readable, and harmless whatever is in it."""

import base64
import hashlib
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.report import chart, html
from fedsec.report.findings import findings
from fedsec.report.grid import grids
from fedsec.report.html import render
from fedsec.report.numbers import amount, percent, span
from fedsec.report.visible import visible

from .support import (
    HOSTILE,
    RECORD,
    Content,
    Page,
    fraction,
    leakage,
    not_run,
    plausible,
    round_of,
    rows_of,
    scored,
    text,
    trained,
)

STYLE = (Path(html.__file__).parent / "style.css.j2").read_text(encoding="utf-8")


def page_of(*contents: Content, **record: Any) -> Page:
    return Page(render(*scored(contents, **record)))


@pytest.fixture(scope="module")
def full() -> str:
    return render(*scored(plausible()))


# Hostile input


def everywhere(payload: str) -> list[Content]:
    """A run that holds the payload wherever somebody else's text can stand."""
    fields: dict[str, Any] = {
        "attack": f"x{payload}",
        "defense": f"y{payload}",
        "settings": {f"federation.{payload}": payload},
        "attack_params": {payload: payload},
        "defense_stack": [{"name": payload, "params": {payload: payload}}],
        "position": "server",
        "knowledge": [payload],
        "guarantee": {"kind": payload, "assumes": payload},
    }
    rounds = [
        round_of(1, [1.0, 0.0], rejected={1: payload}, measurements={payload: 1.0}),
        round_of(2, None, skipped=payload),
    ]
    texts = [text(payload, payload), text(f"a {payload} b", f"{payload} c"), text(payload, None)]
    odd = {**fraction(0.5, 4), "method": payload, "better_for": payload, "detail": {payload: 1.0}}
    read = {**leakage(0.5, 0.5), f"leakage/{payload}": odd}
    return [
        trained(rounds=rounds, malicious=[0], texts=texts, metrics=read, reason=payload, **fields),
        trained(metrics=leakage(0.0, 0.0), **{**fields, "status": "blocked", "reason": payload, "seed": 1}),
        not_run("error", payload, **{**fields, "attack": f"e{payload}"}),
        not_run("n/a", payload, **{**fields, "attack": f"n{payload}"}),
    ]


@pytest.mark.parametrize("payload", HOSTILE)
def test_hostile_text_is_text(payload: str) -> None:
    record = {
        "summary": payload,
        "scenario": f"s{payload}",
        "machine": payload,
        "packages": {payload: payload},
        "git": {"commit": payload, "dirty": True},
    }
    source = render(*scored(everywhere(payload), **record))
    source.encode("utf-8")
    page, plain = Page(source), page_of(*everywhere("plain"), **{**record, "packages": {}})
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in plain.tags} | {"mark"}
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert not [value for _, name, value in page.attributes if name in ("href", "src", "action")]
    assert (
        re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", source) is None
    )
    if payload and len(payload) < 1000:
        shown = " ".join(visible(payload).split())
        assert page.text.count(shown) > 15


def named(label: str) -> Page:
    """A small report in which everything is called the same."""
    same: dict[str, Any] = {"defense": label, "defense_stack": [{"name": label, "params": {}}], "reason": label}
    ran = trained(attack=f"{label}1", metrics=leakage(0.5, 0.5), texts=[text("a", "b")], **same)
    return page_of(ran, not_run("error", attack=f"{label}2", **same), summary=label)


PLAIN = named("plain").tags


@given(name=st.text(min_size=1, max_size=30))
@settings(max_examples=25, deadline=None)
def test_no_name_changes_the_structure(name: str) -> None:
    assert named(f"x{name}".partition("(")[0]).tags == PLAIN


def test_hostile_characters_are_spelled_out() -> None:
    assert visible("a\u202eb\u200bc\x1bd\ud800") == "a[U+202E]b[U+200B]c[U+001B]d[U+D800]"
    assert visible("tab\tand\nline, Zoë, 漢字, emoji 🙂") == "tab\tand\nline, Zoë, 漢字, emoji 🙂"
    assert visible("W" * 25_000).endswith("W … (5000 more characters)")


def test_endless_texts_are_cut_before_they_are_compared() -> None:
    texts = [text("a " * 50_000, "b " * 50_000)]
    page = page_of(trained(attack="dager", position="server", metrics=leakage(0.0, 0.0), texts=texts))
    assert len(page.text) < 20_000
    assert "…" in page.text


def test_long_words_wrap_and_tables_scroll_inside(full: str) -> None:
    assert "overflow-wrap: anywhere" in STYLE
    assert re.search(r"\.scroll \{[^}]*overflow-x: auto", STYLE)
    assert len(re.findall(r'<div class="scroll"[^>]*>\s*<table', full)) == full.count("<table")


# One file, on its own, the same every time


def test_nothing_is_fetched(full: str) -> None:
    page = Page(full)
    assert not {"link", "img", "iframe", "object", "embed", "base", "form", "a"} & {t for t, _ in page.tags}
    addresses = [value for _, name, value in page.attributes if name in ("src", "href", "xlink:href", "data", "action")]
    assert all(address.startswith("#") for address in addresses)
    assert "@import" not in full
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", full))
    assert "default-src 'none'" in full


def test_one_script_runs_and_the_policy_allows_no_other(full: str) -> None:
    (own,) = re.findall(r"<script>(.*?)</script>", full, flags=re.DOTALL)
    assert [(tag, names) for tag, names in Page(full).tags if tag == "script"] == [("script", ())]
    digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in full
    assert "unsafe-inline" not in re.sub(r"style-src '[^']*'", "", full)
    assert own == (Path(html.__file__).parent / "script.js").read_text(encoding="utf-8")
    assert len(own.splitlines()) <= 100
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|fetch|XMLHttp|import", own)


def test_ids_are_unique_and_references_lead_somewhere(full: str) -> None:
    attributes = Page(full).attributes
    ids = [value for _, name, value in attributes if name == "id"]
    assert len(ids) == len(set(ids))
    used = {value for _, name, value in attributes if name == "aria-labelledby"}
    used |= {value.removeprefix("#") for _, name, value in attributes if name == "xlink:href"}
    assert used | set(re.findall(r"url\(#([^)]*)\)", full)) <= set(ids)


def test_the_same_run_makes_the_same_file(full: str) -> None:
    assert render(*scored(plausible())) == full


def test_pyplot_stays_out() -> None:
    code = "import sys, fedsec.report.html; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_it_is_accessible(full: str) -> None:
    page = Page(full)
    assert ("html", "lang", "en") in page.attributes
    assert [tag for tag, _ in page.tags].count("h1") == 1
    assert all("scope" in names for tag, names in page.tags if tag == "th")
    assert "prefers-color-scheme: dark" in STYLE
    assert "@media print" in STYLE


def test_sections_come_in_order(full: str) -> None:
    titles = [
        "The result in words",
        "Defenses side by side",
        "Every attack against every defense",
        "What a defense costs and what it stops",
        "Accuracy while training",
        "Whom the rule trusted",
        "How to read the tables",
        "The attacks",
        "The defenses: what is proven",
        "Every cell in full",
        "What was read",
        "What this does not show",
    ]
    places = [Page(full).text.index(title) for title in titles]
    assert places == sorted(places)


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_can_be_read_on_every_ground(mode: str) -> None:
    light, dark = STYLE.split("@media screen and (prefers-color-scheme: dark)")[:2]
    tokens = dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", light if mode == "light" else dark.split("* {")[0]))
    pairs = [(f"t{i}", f"g{i}") for i in range(5)] + [(f"c{i}", f"b{i}") for i in range(1, 5)]
    pairs += [("ink", ground) for ground in ("page", "field", "mark", "hatch", "plain")]
    pairs += [("soft", "page"), ("soft", "field"), ("alarm-ink", "alarm"), ("alarm-text", "page")]
    pairs += [(f"s{i}", "page") for i in range(chart.COLOURS)]
    assert {pair: ratio for pair in pairs if (ratio := _contrast(tokens[pair[0]], tokens[pair[1]])) < 4.5} == {}
    shades = [_luminance(tokens[f"g{i}"]) for i in range(5)]
    assert shades == sorted(shades, reverse=mode == "light")  # the order survives without colour


# What it says


def test_an_empty_and_an_unfinished_run_have_a_report() -> None:
    assert "No cell of this run has a result yet" in page_of().text
    page = page_of(trained(), cells=["a" * 16] * 3)
    assert "Planned cells without a result: 2" in page.text


def test_findings_of_an_attack_that_reads() -> None:
    blocked = {"status": "blocked", "reason": "frozen removes the embeddings"}
    rows = rows_of(
        trained("1110"),
        trained(attack="dager", metrics=leakage(1.0, 1.0)),
        trained(attack="dager", defense="frozen", metrics=leakage(0.0, 0.05), **blocked),
        trained(attack="dager", defense="krum", metrics=leakage(0.0, 0.6)),
        not_run("n/a", "needs n >= 11.", attack="dager", defense="bulyan"),
        not_run("error", "OSError: full", attack="dager", defense="dp"),
    )
    assert [paragraph.replace("\u00a0", " ") for paragraph in findings(rows)] == [
        "Without an attack, the undefended model reaches 75 % accuracy (95 % interval 30.1 to 95.4 %; "
        "always the largest class: 10 %).",
        "Undefended, dager recovers 100 % of 10 texts exactly (95 % interval 72.2 to 100 %; a blind guess: 0 %). "
        "Against frozen, it is blocked: frozen removes the embeddings. "
        "Against krum, it recovers none of 10 texts exactly (95 % interval 0 to 27.8 %; a blind guess: 0 %), "
        "with a word overlap of 60 % (31.3 to 83.2 %; a blind guess: 5 %). "
        "Against bulyan, it does not apply: needs n >= 11. "
        "Against dp, it has no result, an error stopped it: OSError: full.",
    ]


def test_findings_of_an_attack_that_ruins() -> None:
    strong = trained("0" * 60 + "1" * 40, attack="flip", position="client")
    weak = trained("0" + "1" * 99, attack="flip", defense="krum", position="client")
    rows = rows_of(trained("1" * 100), trained("1" * 100, defense="krum"), strong, weak)
    said = findings(rows)[-1].replace("\u00a0", " ")
    assert (
        "flip leaves 40 % accuracy (always the largest class: 10 %), 60 points below the same training without it"
        in said
    )
    assert "Against krum, it leaves 99 % accuracy (always the largest class: 10 %), 1 points below" in said
    assert said.count("it may be chance") == 1
    assert said.index("it may be chance") > said.index("Against krum")


def test_an_error_in_some_seeds_says_in_how_many() -> None:
    some = [
        trained(attack="dager", metrics=leakage(0.5, 0.5)),
        *(not_run("error", "OSError: full", attack="dager", seed=seed) for seed in (1, 2)),
    ]
    rows = rows_of(*some)
    assert findings(rows) == ["Undefended, dager has no result, an error stopped it in 2 of 3 seeds: OSError: full."]
    assert grids(rows)[0]["lines"][0]["squares"][0]["lines"] == ["in 2 of 3 seeds", "OSError: full"]
    assert "in 2 of 3 seeds" in page_of(*some).text
    assert findings(rows_of(*some[1:])) == ["Undefended, dager has no result, an error stopped it: OSError: full."]
    assert grids(rows_of(*some[1:]))[0]["lines"][0]["squares"][0]["lines"] == ["OSError: full"]


def test_samples_that_were_left_out_stand_beside_n() -> None:
    cut = {"leakage/pii-recall": {**fraction(0.5, 10), "left_out": 3}}
    assert "n 10; 3 left out" in page_of(trained(attack="dager", metrics={**leakage(0.5, 0.5), **cut})).text
    assert "left out" not in page_of(trained(attack="dager", metrics=leakage(0.5, 0.5))).text


def test_a_long_reason_pushes_nothing_out_and_stands_whole_in_its_cell() -> None:
    reason = "RuntimeError: " + "x" * 3000 + " end"
    failed = [not_run("error", reason, attack="dager", defense=f"d{i}") for i in range(40)]
    said = findings(rows_of(*failed, trained(attack="dager", defense="last", metrics=leakage(1.0, 1.0))))[0]
    assert "Against last, it recovers" in said
    assert "end" not in said
    assert page_of(*failed).text.count("x end") == 40
    assert "more characters" not in page_of(*failed).text


def test_findings_name_the_worst_setting() -> None:
    contents = [
        trained(attack="dager", metrics=leakage(value, value), settings={"federation.batch_size": size})
        for size, value in ((1, 0.9), (8, 0.1))
    ]
    assert findings(rows_of(*contents))[0].endswith("that is the highest of 2 settings, batch_size=1.")
    blocked = not_run("n/a", "no", attack="dager", settings={"federation.batch_size": 16})
    assert "Undefended, dager does not apply in 1 of 3 settings: no." in findings(rows_of(*contents, blocked))[0]


def test_grid_has_a_table_per_setting_with_the_controls_first() -> None:
    tables = grids(scored(plausible())[1]["summary"])
    assert [table["label"] for table in tables] == ["attack_rounds=1", "attack_rounds=24"]
    for table in tables:
        attacks = ["none", "embedding-algebra", "sign-flip(scale=10)", "dager"]
        assert [head["attack"] for head in table["attacks"]] == attacks
    looks = {
        line["defense"]: [square["look"] for square in (*line["squares"], line["worst"])] for line in tables[0]["lines"]
    }
    assert looks == {
        "none": ["control", "harm4", "harm3", "harm3", "harm4"],
        "frozen-embeddings": ["control", "blocked", "error", "harm2", "harm2"],
        "krum": ["control", "harm3", "harm1", "na", "harm3"],  # Krum loses no point to sign-flip, and 8 by itself
    }


def test_a_square_shows_number_interval_n_and_guess() -> None:
    rows = rows_of(trained(), trained(attack="dager", metrics=leakage(0.4, 0.7, n=50, guess=0.02)))
    square = grids(rows)[0]["lines"][0]["squares"][1]
    assert square["main"] == percent(0.4)
    shown = " ".join(square["lines"]).replace("\u00a0", " ")
    assert "of 50 texts read exactly interval 27.6 to 53.8 %; guess 2 % word overlap 70 %" in shown


def test_a_cell_that_is_not_there_says_so() -> None:
    rows = rows_of(trained(), trained(defense="krum"), trained(attack="flip", position="client"))
    assert grids(rows)[0]["lines"][1]["squares"][1]["main"] == "no result"


@pytest.mark.parametrize(("fields", "marked"), [({}, True), ({"adaptive": True}, False), ({"status": "n/a"}, False)])
def test_a_square_without_an_adaptive_attack_is_marked(fields: Mapping[str, Any], marked: bool) -> None:
    rows = rows_of(trained(attack="dager", defense="krum", metrics=leakage(0.0, 0.0), **fields))
    assert grids(rows)[0]["lines"][0]["squares"][0]["unadapted"] is marked


def test_cards_keep_what_is_proven_apart_from_what_was_measured(full: str) -> None:
    said = Page(full).text
    proven = said.index("Byzantine resilience for n >= 2f+3")
    assert said.index("Measured here", proven) > proven
    assert "Nothing: what it stops is known only by measuring." in said
    assert "Karimireddy et al." in said
    assert "A check of norms detects large scales." in said
    assert "threat.malicious clients, every round" in said
    assert "Wants reconstruction: to read clients' texts" in said
    assert "Wants untargeted: to ruin the model for everybody" in said


def test_a_plug_in_that_is_gone_does_not_break_the_report() -> None:
    said = page_of(trained(attack="gone(x=1)", defense="lost", metrics=leakage(0.0, 0.0))).text
    assert said.count("no plug-in of this name is installed") == 2


def test_rejected_updates_skipped_rounds_and_every_metric_are_listed(full: str) -> None:
    said = Page(full).text
    assert "round 1, client 1 dropped: not finite" in said
    assert "round 2 left the model as it was: Krum needs n >= 5, has 3" in said
    assert "leakage/rouge-l 71 % 40.6 to 89.8 %; n 10 guess 5 %, chance 5 %, best 100 %" in said.replace("\u00a0", " ")
    assert "cost/upload-bytes 91 MB n 3" in said


def test_texts_stand_beside_each_other_with_the_differences_marked() -> None:
    texts = [text("chest pain since Monday", "chest pain since Friday"), text("lost", None), text("same", "same", 7)]
    source = render(*scored([trained(attack="dager", texts=texts, metrics=leakage(0.5, 0.5))]))
    assert "<bdi>chest pain since <mark>Monday</mark></bdi>" in source
    assert "<bdi>chest pain since <mark>Friday</mark></bdi>" in source
    said = Page(source).text
    assert "client 7: exact, verified" in said
    assert "client 0: nothing recovered" in said


def test_texts_end_at_forty_with_a_note(full: str) -> None:
    said = Page(full).text
    assert "2 more texts are in the cell's file." in said
    assert "call 555-0139." in said
    assert "call 555-0140." not in said


def test_without_kept_texts_it_says_how_to_keep_them() -> None:
    said = page_of(trained(attack="dager", metrics=leakage(0.5, 0.5))).text
    assert said.count("keep_text: true") == 1
    assert "keep_text" not in page_of(trained(attack="flip", position="client")).text


def test_caveats_follow_the_run(full: str) -> None:
    said = Page(full).text
    assert "no client colludes with the server" in said
    assert "Guarantees that rest on secret noise, masks or keys are simulated" in said
    assert "as few as 20 texts" in said
    assert "torch 2.13.0, rouge-score absent" in said
    calm = page_of(trained(), randomness="secure").text
    assert "colludes" not in calm
    assert "simulated" not in calm
    assert "One seed per cell" in calm
    assert "Over 2 seeds, an interval is Student's t over the seeds" in said
    assert "Two seeds say little" in said
    assert "widest" not in said
    many = page_of(*(trained(seed=seed) for seed in range(3))).text
    assert "Over 3 seeds, an interval is Student's t" in many
    assert "Two seeds" not in many


def test_a_record_of_another_version_still_has_a_report() -> None:
    bare = {"scenario": RECORD["scenario"]}
    _, scorecard, contents = scored([trained()])
    assert "no git checkout" in Page(render(bare, scorecard, contents)).text


# Numbers for reading


@pytest.mark.parametrize(
    ("fraction_", "shown"),
    [(0, "0"), (1, "100"), (0.5, "50"), (0.7731, "77.3"), (-0.25, "−25"), (0.0004, "0.04"), (0.9997, "over 99.9")],  # noqa: RUF001
)
def test_percent_never_rounds_to_nothing_or_everything(fraction_: float, shown: str) -> None:
    assert percent(fraction_) == f"{shown}\u00a0%"


def test_amounts_carry_their_unit() -> None:
    metric = {**fraction(0.5, 4), "ci_low": None}
    assert span(metric) == "none"
    assert amount(91_234_567.0, "bytes") == "91.23 MB"
    assert amount(0.0, "bytes") == "0 bytes"
    assert amount(1.234, "seconds") == "1.23 seconds"
