"""Fuzzing of everything that reads what strangers wrote: the YAML loader, the update decoder, the store.

Each property runs for seconds here, and 10,000 examples over all of them in the slow tier.
"""

import json
import math
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedsec.config.dump import dump
from fedsec.config.load import load_scenario
from fedsec.config.shipped import shipped, shipped_text
from fedsec.config.suite import members_of
from fedsec.errors import FedsecError
from fedsec.plan.cells import expand
from fedsec.report.findings import findings
from fedsec.report.frames import as_html, as_text, frame
from fedsec.report.scorecard import build, without_timings
from fedsec.result import rebuild
from fedsec.store import strict_json
from fedsec.store.bundle import DamagedBundleError, read_bundle, write_bundle
from fedsec.store.rundir import RunDirectory
from fedsec.wire.receive import MAX_ABSOLUTE, Message, Received, receive

from .mutations import LENGTH, ODD_SCALARS, broken_bytes, broken_json, broken_texts, claims, made, unusable, usual
from .support import fedsec, run_folder, scenario

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # torch: of nested, sparse and quantised tensors

SHIPPED = tuple(shipped_text(name) for name, _ in shipped())
_PATIENT = settings(
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


Test = Callable[..., None]


def both(check: Test, quick: int, long: int, **examples: Any) -> tuple[Test, Test]:
    """A test of `quick` examples, always the same, and one for the slow tier of `long` random ones."""
    short = settings(_PATIENT, max_examples=quick, derandomize=True)(given(**examples)(check))
    full = settings(_PATIENT, max_examples=long)(given(**examples)(check))
    return short, pytest.mark.slow(pytest.mark.timeout(3600)(full))


# YAML


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a scenario is written; a scenario that runs a command leaves something beside it."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "fuzzed.yaml"
    yield path
    assert {found.name for found in tmp_path.iterdir()} <= {path.name}, "something was executed"


def _loads_or_says_why(content: bytes, overrides: list[str], file: Path) -> None:
    """A checked scenario, which survives writing and reading, or an error that a user can read."""
    file.write_bytes(content)
    try:
        loaded = load_scenario(file, overrides)
    except FedsecError as error:
        lines = str(error).splitlines()
        assert lines
        assert all(line.isprintable() and len(line) < 1500 for line in lines)
        return
    for one in members_of(loaded):
        assert load_scenario(dump(one)) == one
        assert expand(one)


def _any_bytes(content: bytes, file: Path) -> None:
    _loads_or_says_why(content, [], file)


def _any_text(text: str, file: Path) -> None:
    _loads_or_says_why(text.encode("utf-8", "surrogatepass"), [], file)


def _any_override(override: str, file: Path) -> None:
    _loads_or_says_why(SHIPPED[0].encode(), [override], file)


_yamlish = st.text(st.sampled_from("ab1:-,[]{}&*!|>'\"#%@?\n\t \\eU.~<"), max_size=80)
_paths = st.sampled_from(
    ("federation.rounds", "matrix.attack", "matrix.vary.data.train", "model", "data.path", "schema", "matrix", "x", "")
)
_overrides = st.builds(
    "{}={}".format, _paths | st.text(max_size=10), st.sampled_from(ODD_SCALARS) | st.text(max_size=20)
)

test_any_bytes, test_any_bytes_long = both(_any_bytes, 100, 500, content=st.binary(max_size=200))
test_any_text, test_any_text_long = both(_any_text, 150, 1000, text=st.text(max_size=200) | _yamlish)
test_broken_scenarios, test_broken_scenarios_long = both(_any_text, 200, 2000, text=broken_texts(SHIPPED))
test_any_override, test_any_override_long = both(_any_override, 100, 500, override=_overrides)


# Updates


def _received(sent: list[Any]) -> tuple[list[Any], list[Any], Received]:
    """What was sent, copies of those that can be copied, and what the server made of it."""
    payloads = [made(recipe) for recipe, _ in sent]
    copies = [made(recipe).detach().clone() if recipe[0] == "usual" else None for recipe, _ in sent]
    messages = [Message(client, payload, made(sent[client][1])) for client, payload in enumerate(payloads)]
    out = torch.full((len(sent), LENGTH), math.nan)
    try:
        return payloads, copies, receive(messages, LENGTH, [4] * len(sent), out)
    except Exception as error:
        raised = f"{type(error).__name__} in {traceback.extract_tb(error.__traceback__)[-1]}"
    raise AssertionError(raised)  # apart from what was raised: who prints its frames prints what is hostile in them


def _taken_as_they_are_or_not_at_all(sent: list[tuple[Any, Any]]) -> None:
    """What is accepted is finite, bounded, of the right length, plain and unchanged; what is sound is accepted."""
    payloads, before, received = _received(sent)
    assert type(received.rows) is torch.Tensor
    assert received.rows.dtype == torch.float32
    assert received.rows.shape == (len(received.clients), LENGTH)
    assert not received.rows.requires_grad
    assert bool((received.rows.abs() <= MAX_ABSOLUTE).all())  # not so for NaN
    assert sorted([*received.clients, *(r.client for r in received.rejected)]) == list(range(len(sent)))
    assert all(type(count) is int and 1 <= count <= 4 for count in received.examples)
    assert all(r.reason.isprintable() and len(r.reason) < 200 for r in received.rejected)
    for row, client in zip(received.rows, received.clients, strict=True):
        assert before[client] is not None, "what no honest client sends was taken"
        assert torch.equal(row, before[client])
        assert torch.equal(payloads[client].detach(), before[client]), "the client's own tensor was changed"
    for client, values in enumerate(before):
        assert values is None or bool((values.abs() <= MAX_ABSOLUTE).all()) == (client in received.clients)


_sent = st.lists(st.tuples(usual | unusable, claims), max_size=5)
test_updates, test_updates_long = both(_taken_as_they_are_or_not_at_all, 300, 2500, sent=_sent)


# The store


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("bundle") / "b"
    write_bundle(path, TREE)
    return path.read_bytes()


TREE: dict[str, Any] = {
    "vector": torch.arange(12.0),
    "deep": [{"counts": torch.tensor([1, 2]), "none": None}, "words", 7, True],
    "loss": float("inf"),
}


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and bool(one == other)


def _whole_or_refused(data: st.DataObject, bundle: bytes, tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(data.draw(broken_bytes(bundle) | st.binary(max_size=100)))
    try:
        found = read_bundle(tmp_path / "b")
    except DamagedBundleError:
        return
    assert _same(found, TREE), "damage went unnoticed"


test_bundles, test_bundles_long = both(_whole_or_refused, 250, 1500, data=st.data())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small finished run."""
    folder = tmp_path_factory.mktemp("finished")
    done = fedsec("run", str(scenario(folder)), "--out", str(folder / "out"), "--workers", "1", "--display", "none")
    assert done.code == 0, done.err
    return run_folder(folder / "out")


@pytest.fixture(scope="module")
def cells(finished: Path) -> tuple[dict[str, Any], ...]:
    """The contents of its cells' files, and of cells that did not run."""
    found = [json.loads(file.read_text()) for file in sorted((finished / "cells").iterdir())]
    heads = [{**found[0]["cell"], "status": status, "reason": "why", "metrics": {}} for status in ("n/a", "error")]
    return (*found, *({"schema": 1, "key": found[0]["key"], "cell": head} for head in heads))


def _read_or_missing(data: st.DataObject, cells: tuple[dict[str, Any], ...], tmp_path: Path) -> None:
    """A damaged cell is missing, or all that is made of cells can be made of it; then it can be written again."""
    run = RunDirectory(tmp_path / "run")
    key = cells[0]["key"]
    text = data.draw(broken_json(cells))
    content = text.encode() if data.draw(st.integers(0, 3)) else data.draw(broken_bytes(text.encode()))
    (tmp_path / "run" / "cells").mkdir(parents=True, exist_ok=True)
    (tmp_path / "run" / "cells" / f"{key}.json").write_bytes(content)
    found = run.cell(key)
    if found is None:
        return
    scorecard = build("a/b", "key", [found, *cells])
    assert strict_json.parse(json.dumps(scorecard, allow_nan=False)) == scorecard
    assert without_timings(scorecard)
    assert findings(scorecard["summary"])
    assert as_text(scorecard, tmp_path, 0, 0)
    assert "<script" not in as_html(scorecard, tmp_path, 0, 0)
    assert len(frame(scorecard["cells"])) == len(cells) + 1
    run.write_cell(key, {name: part for name, part in found.items() if name not in ("schema", "key")}, private=True)
    assert run.cell(key) == found


test_cells, test_cells_long = both(_read_or_missing, 250, 1500, data=st.data())


def _rebuilt_or_refused(data: st.DataObject, finished: Path, cells: tuple[dict[str, Any], ...], tmp_path: Path) -> None:
    """`fedsec report` on any content of the record and the cells."""
    folder = tmp_path / "run"
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    record = json.loads((finished / "record.json").read_text())
    text = data.draw(st.just(json.dumps(record)) | broken_json((record,)))
    (folder / "record.json").write_text(text)
    for key in record["cells"]:
        whole = json.loads((finished / "cells" / f"{key}.json").read_text())
        text = data.draw(broken_json((whole,)) | st.just(json.dumps(whole)))
        (folder / "cells" / f"{key}.json").write_text(text)
    try:
        result = rebuild(folder)
    except FedsecError as error:
        result, said = None, str(error)
    if result is None:
        assert said.isprintable()
        return
    assert strict_json.read(folder / "scorecard.json") == result.scorecard
    assert (folder / "report.html").read_text().count("<script") <= 1, "the page's own"
    assert 0 <= result.missing <= 3


test_reports, test_reports_long = both(_rebuilt_or_refused, 25, 500, data=st.data())


def _kept_and_appended(before: bytes, reason: str, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir(exist_ok=True)
    (run.path / "events.jsonl").write_bytes(before)
    run.log("one", reason=reason)
    run.log("two")
    after = (run.path / "events.jsonl").read_bytes()
    assert after.startswith(before), "what was there is gone"
    lines = after[len(before) :].lstrip(b"\n").split(b"\n")
    assert [json.loads(line)["event"] for line in lines[:-1]] == ["one", "two"]
    assert json.loads(lines[0])["reason"] == reason
    assert lines[-1] == b""


_reasons = st.text(st.characters(), max_size=30)
test_events, test_events_long = both(_kept_and_appended, 100, 500, before=st.binary(max_size=60), reason=_reasons)
