"""Damaged and hostile run folders, through the real command line.

Every one ends in a clear message of one line, or the damaged cell counts as not done and runs again. Nothing outside
the folder changes, nothing is left half-written, and the next `fedsec run` puts the folder right where it can.
"""

import json
import os
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from fedsec.errors import ExitCode

from .damage import (
    CELLS,
    ESCAPES,
    FOLDER,
    HARMLESS,
    RECORDS,
    SCRIPT,
    UNWRITABLE,
    Damage,
    at,
    batched,
    cells_of,
    edited,
)
from .support import NAME, Done, fedsec, run_folder, scenario, scorecard, tree


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a scenario, its data, a finished run under `out`, and an innocent file elsewhere."""
    folder = tmp_path_factory.mktemp("finished")
    done = fedsec("run", str(scenario(folder)), "--out", str(folder / "out"), "--workers", "1")
    assert done.code == 0, done.err
    return folder


class Place:
    """A copy of the finished run to damage, and what may be asked of it afterwards."""

    def __init__(self, finished: Path, folder: Path) -> None:
        self.expected = scorecard(run_folder(finished / "out"))
        self.file = finished / "small.yaml"
        self.folder = folder
        self.out = folder / "out"
        shutil.copytree(finished / "out", self.out)
        self.run = run_folder(self.out)
        outside = folder / "outside"
        outside.mkdir()
        (outside / "innocent").write_text('{"schema": 1}\n')
        shutil.copytree(self.run / "cells", outside / "cells")
        shutil.copy(self.run / "record.json", outside / "record.json")

    def damaged(self, damage: Damage) -> None:
        """Damage it, and remember how everything else looks."""
        damage(self.run)
        self.outside = tree(self.folder, without=self.run)

    def does(self, *arguments: str) -> Done:
        """Run a command; whatever is wrong with the folder, these hold."""
        done = fedsec(*arguments)
        assert "Traceback" not in done.err, done.err
        assert done.code in (ExitCode.OK, ExitCode.USAGE, ExitCode.CELLS_MISSING), done
        if done.code == ExitCode.USAGE:
            assert done.out == ""
            *_, message = done.err.strip().splitlines()
            assert len(message) < 700, "the message is endless"
            assert message.replace("\t", "").isprintable()
            assert str(self.run) in message, "the message does not say where"
        assert "\x1b" not in done.out + done.err
        assert tree(self.folder, without=self.run) == self.outside, "something outside the run's folder changed"
        assert not [path for path in self.run.rglob(".*") if path.name != ".lock"], "a half-written file is left"
        return done

    def report(self) -> Done:
        return self.does("report", str(self.run))

    def listed(self) -> dict[str, Any]:
        done = self.does("runs", "--out", str(self.out), "--json")
        assert done.code == 0
        assert self.does("runs", "--out", str(self.out)).code == 0
        (found,) = json.loads(done.out)
        return dict(found)

    def resumed(self) -> Done:
        with mock.patch("fedsec.report.html.render", return_value="<p>"):  # takes half of the time
            return self.does("run", str(self.file), "--out", str(self.out), "--workers", "1", "--display", "none")

    def is_whole(self) -> None:
        """The next `fedsec run` puts everything right."""
        done = self.resumed()
        assert done.code == 0, done
        assert scorecard(self.run) == self.expected
        assert self.listed()["state"] == "complete"


@pytest.fixture
def place(finished: Path, tmp_path: Path) -> Place:
    return Place(finished, tmp_path)


def test_there_are_enough_of_them() -> None:
    assert len(CELLS) + len(RECORDS) + len(HARMLESS) + len(UNWRITABLE) >= 150


@pytest.mark.parametrize("damage", RECORDS.values(), ids=RECORDS.keys())
def test_a_damaged_record_is_one_clear_message_and_the_next_run_writes_it_anew(damage: Damage, place: Place) -> None:
    place.damaged(at("record.json", damage))
    report = place.report()
    assert report.code == ExitCode.USAGE
    assert "record.json" in report.err or "schema" in report.err
    listed = place.listed()
    assert listed["state"] == "damaged"
    assert listed["problem"]
    before = (place.run / "cells").stat().st_mtime_ns
    place.is_whole()
    assert (place.run / "cells").stat().st_mtime_ns == before, "finished cells ran again"


@pytest.mark.parametrize("three", batched(CELLS, 3), ids=" + ".join)
def test_damaged_cells_count_as_missing_and_run_again(three: tuple[str, ...], place: Place) -> None:
    def damage(run: Path) -> None:
        for name, file in zip(three, cells_of(run)[::-1], strict=False):
            CELLS[name](file)

    place.damaged(damage)
    assert place.report().code == ExitCode.CELLS_MISSING
    listed = place.listed()
    found = (listed["state"], listed["missing"], listed["done"])
    assert found == ("incomplete", len(three), 3 - len(three))
    place.is_whole()


def test_a_folder_in_place_of_a_cell_is_left_alone(place: Place) -> None:
    place.damaged(lambda run: FOLDER(cells_of(run)[0]))
    assert place.report().code == ExitCode.CELLS_MISSING
    assert place.resumed().code == ExitCode.USAGE


@pytest.mark.parametrize("damage", HARMLESS.values(), ids=HARMLESS.keys())
def test_what_is_not_needed_does_no_harm(damage: Damage, place: Place) -> None:
    place.damaged(damage)
    assert place.report().code == 0
    place.is_whole()


@pytest.mark.parametrize("damage", UNWRITABLE.values(), ids=UNWRITABLE.keys())
def test_where_nothing_can_be_written_a_message_says_so(damage: Damage, place: Place) -> None:
    place.damaged(damage)
    place.report()
    place.listed()
    place.does("plan", str(place.file), "--out", str(place.out))
    done = place.resumed()
    assert done.code == ExitCode.USAGE
    assert place.resumed()[:2] == done[:2]


class _Page(HTMLParser):
    """Tags and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


HOSTILE = (
    SCRIPT,
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{7*7}}{% include '/etc/passwd' %}",
    "[bold red]markup[/] [link=file:///etc/passwd]x[/link]",
    ESCAPES,
    "../" * 20 + "etc/passwd",
    "long " * 5_000,
    "",
)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: f"{text!a:.20}")
def test_hostile_texts_are_shown_and_do_nothing(text: str, place: Place) -> None:
    def everywhere(run: Path) -> None:
        edited(lambda content: content.update(
            scenario=text, summary=text, created=text, machine=text, python=text, device=text,
            packages={text: text}, git={"commit": text, "dirty": True},
        ))(run / "record.json")  # fmt: skip
        for file in (run / "cells").iterdir():
            content = json.loads(file.read_text())
            row = content["cell"]
            row.update(
                attack=f"{row['attack']}{text}", defense=f"x{text}", settings={f"a.{text}": text}, reason=text,
                attack_params={text: text}, defense_stack=[{"name": text, "params": {text: text}}],
                knowledge=[text], guarantee={"kind": text, text: text}, position=text,
            )  # fmt: skip
            row["metrics"][f"leakage/{text}"] = {**row["metrics"]["utility/accuracy"], "method": text, "unit": text}
            content["rounds"][0].update(skipped=text, rejected=[{"client": 0, "reason": text}])
            content["texts"] = [
                {"client": 0, "original": text, "recovered": f"{text} y", "exact": False, "verified": False}
            ]
            file.write_text(json.dumps(content))

    place.damaged(everywhere)
    done = place.report()
    assert done.code == 0
    assert all(character.isprintable() or character == "\n" for character in done.out), "control characters are printed"
    assert json.loads(place.does("report", str(place.run), "--json").out)["scenario"] == text
    written = (place.run / "report.html").read_text()
    page = _Page(written)
    assert written.lower().count("<script") == 1, "the page's own, which sorts and filters"
    assert not page.tags & {"img", "iframe", "a", "object", "embed", "form"}
    assert not any(name.startswith("on") or name in ("src", "href") for name in page.attributes)
    assert (place.run / "report.html").stat().st_mode & 0o777 == 0o600
    assert place.listed()["scenario"] == text


@pytest.mark.parametrize(
    "name", ["a" * 300, "a/" * 3000, "\udcff\udcfe", "-", "~root", "/proc/self/mem", "/dev/null", "/dev/zero", ""]
)
def test_what_is_no_run_at_all_is_one_message(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in (["report", "--", name], ["runs", "--out", name or "nothing"]):
        done = fedsec(*arguments)
        assert done.code == ExitCode.USAGE, done
        assert "Traceback" not in done.err
        assert len(done.err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_whose_name_is_no_text_is_listed(place: Place) -> None:
    place.damaged(lambda run: None)
    place.run.rename(place.run.parent / os.fsdecode(b"\xff\x1b[31m"))
    for arguments in ([], ["--json"]):
        done = fedsec("runs", "--out", str(place.out), *arguments)
        assert done.code == 0, done
        assert "\x1b" not in done.out


def test_the_resolved_scenario_of_a_hostile_run_is_a_scenario_like_any_other(place: Place) -> None:
    file = place.run / "scenario.resolved.yaml"
    whole = file.read_text()
    for text in (whole[: len(whole) // 2], "!!python/object/apply:os.system ['touch executed']", "\x00", "&a [*a]"):
        file.write_text(text)
        done = fedsec("run", str(file), "--out", str(place.folder / "new"))
        assert done.code == ExitCode.USAGE
        assert "problem" in done.err
        assert not (place.folder / "new").exists()
    assert NAME.partition("/")[0] in whole


@pytest.mark.parametrize("kind", ["file", "folder below a file", "link to nothing", "read-only"])
def test_a_folder_of_runs_that_cannot_be_one_is_one_message(
    kind: str, finished: Path, tmp_path: Path
) -> None:  # fmt: skip
    out = tmp_path / "out"
    if kind == "link to nothing":
        out.symlink_to(tmp_path / "no" / "such" / "folder")
    elif kind == "read-only":
        out = Path("/proc/nothing")
    else:
        out.write_text("")
        out = out / "below" if kind == "folder below a file" else out
    done = fedsec("run", str(finished / "small.yaml"), "--out", str(out), "--workers", "1")
    assert done.code == ExitCode.USAGE, done
    assert "Traceback" not in done.err
    assert len(done.err.strip().splitlines()) == 1
