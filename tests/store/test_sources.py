"""Hashes of code: whatever a result depends on changes them, and nothing else does."""

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fedsec import registry
from fedsec.api import Asset, AttackCard, DatasetCard, DefenseCard, Parameter, Provenance
from fedsec.store import sources
from fedsec.store.sources import card_hash, plugin_hash, stands_outside

PACKAGE = "fedsec_key_test_package"
FILES = {
    "__init__.py": "NAME = 1\n",
    "method.py": "from .prior import Prior\nfrom . import shared, NAME\nfrom .deep import kernel\nimport json\n",
    "prior.py": "from .words import COMMON\nclass Prior: pass\n",
    "words.py": "from .prior import Prior\nCOMMON = ()\n",  # imports in a circle
    "shared.py": "from .deep.base import BASE\n",
    "unrelated.py": "VALUE = 1\n",
    "other.py": "from . import unrelated\n",
    "deep/__init__.py": "",
    "deep/kernel.py": "from ..far import FAR\nVALUE = 1\n",
    "deep/base.py": "BASE = 1\n",
    "far.py": "FAR = 1\n",
    "absolute.py": f"import {PACKAGE}.named\nfrom {PACKAGE}.deep import kernel\nfrom {PACKAGE}.taken import NAME\n",
    "named.py": "NAME = 1\n",
    "taken.py": "NAME = 1\n",
    "lazy.py": "LAZY = 1\n",
    "delayed.py": "def run():\n    from .lazy import LAZY\n    return LAZY\n",
}
REACHED = {
    "method.py",
    "prior.py",
    "words.py",
    "shared.py",
    "deep/__init__.py",
    "deep/kernel.py",
    "deep/base.py",
    "far.py",
    "__init__.py",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A third-party package on the path."""
    folder = tmp_path / PACKAGE
    for name, source in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    plugin_hash.cache_clear()
    yield folder
    plugin_hash.cache_clear()
    for name in [name for name in sys.modules if name.startswith(PACKAGE)]:
        del sys.modules[name]


def _hash(module: str = "method") -> str:
    plugin_hash.cache_clear()
    return plugin_hash(f"{PACKAGE}.{module}:Method")


@pytest.mark.parametrize("name", FILES)
def test_editing_a_module_changes_the_hash_exactly_if_the_plug_in_imports_it(name: str, package: Path) -> None:
    before = _hash()
    assert _hash() == before
    with (package / name).open("a") as stream:
        stream.write("# edited\n")
    assert (_hash() != before) == (name in REACHED)


def test_an_import_within_a_function_counts(package: Path) -> None:
    before = _hash("delayed")
    (package / "lazy.py").write_text("LAZY = 2\n")
    assert _hash("delayed") != before


@pytest.mark.parametrize("name", FILES)
def test_absolute_imports_within_the_package_are_followed(name: str, package: Path) -> None:
    before = _hash("absolute")
    with (package / name).open("a") as stream:
        stream.write("# edited\n")
    reached = {"absolute.py", "named.py", "taken.py", "deep/__init__.py", "deep/kernel.py", "far.py"}
    assert (_hash("absolute") != before) == (name in reached)


def test_a_built_in_plug_in_that_a_third_party_extends_counts(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (package / "other.py").write_text("from fedsec.attacks.byzantine.sign_flip import SignFlip\n")
    before = _hash("other")
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: read(self) + (b"#" if self.name == "sign_flip.py" else b""))
    assert _hash("other") != before


@pytest.mark.parametrize(
    "source", ["def", "\0", "from . import (", "import no_such_module_at_all", "from ..... import x"]
)
def test_a_plug_in_that_python_cannot_read_still_has_a_hash(source: str, package: Path) -> None:
    before = _hash("other")
    (package / "other.py").write_text(source)
    assert _hash("other") != before


@pytest.mark.parametrize(
    "target", ["no_such_package.module:X", f"{PACKAGE}.missing:X", f"{PACKAGE}.method.deeper:X", "sys:X"]
)
def test_a_plug_in_that_cannot_be_found_counts_as_absent(target: str, package: Path) -> None:
    plugin_hash.cache_clear()
    assert plugin_hash(target) == plugin_hash("no_such_package_either:X")


def test_a_package_that_raises_when_imported_counts_as_absent(package: Path) -> None:
    (package / "deep" / "__init__.py").write_text("raise RuntimeError('no')")
    plugin_hash.cache_clear()
    assert plugin_hash(f"{PACKAGE}.deep.kernel:X") == plugin_hash("no_such_package_either:X")


def test_swapping_two_modules_contents_changes_the_hash(package: Path) -> None:
    (package / "deep" / "base.py").write_text("A = 1\n")
    (package / "far.py").write_text("B = 1\n")
    before = _hash()
    (package / "deep" / "base.py").write_text("B = 1\n")
    (package / "far.py").write_text("A = 1\n")
    assert _hash() != before


def test_a_plug_in_is_hashed_without_being_run(package: Path) -> None:
    for name in FILES:
        if not name.endswith("__init__.py"):
            (package / name).write_text(FILES[name] + "raise SystemExit('imported')\n")
    assert _hash()
    loaded = {name for name in sys.modules if name.startswith(PACKAGE)}
    assert loaded <= {PACKAGE, f"{PACKAGE}.deep"}


@pytest.mark.parametrize("card", [*registry.attacks(), *registry.defenses()], ids=lambda card: card.name)
def test_every_built_in_plug_in_has_a_hash_of_its_own_module(card: object, monkeypatch: pytest.MonkeyPatch) -> None:
    target: str = card.target  # type: ignore[attr-defined]
    plugin_hash.cache_clear()
    before = plugin_hash(target)
    read = Path.read_bytes
    file = target.partition(":")[0].rpartition(".")[2] + ".py"
    monkeypatch.setattr(Path, "read_bytes", lambda self: read(self) + (b"\n#" if self.name == file else b""))
    plugin_hash.cache_clear()
    assert plugin_hash(target) != before
    plugin_hash.cache_clear()


def test_the_training_hash_sees_what_trains_and_not_what_scores_or_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sources.training_hash()
    read = Path.read_bytes

    def with_edited(name: str) -> str:
        monkeypatch.setattr(Path, "read_bytes", lambda self: read(self) + (b"#" if str(self).endswith(name) else b""))
        sources.training_hash.cache_clear()
        found = sources.training_hash()
        monkeypatch.undo()
        sources.training_hash.cache_clear()
        return found

    for training in ("maths/rows.py", "federation/loop.py", "cell/training.py", "wire/receive.py", "seeds.py"):
        assert with_edited(f"fedsec/{training}") != before, training
    for other in (
        "cli/main.py", "report/scorecard.py", "metrics/leakage.py", "goals/membership.py", "cell/score.py",
        "federation/progress.py", "runner/workers.py", "attacks/byzantine/sign_flip.py",
    ):  # fmt: skip
        assert with_edited(other) == before, other


def test_the_rooms_are_no_part_of_the_engine_in_a_wheel_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(sources.__file__).parent.parent
    installed = tmp_path / "fedsec"
    shutil.copytree(root, installed, ignore=shutil.ignore_patterns("__pycache__"))
    for room in ("attacks", "defenses", "scenarios"):
        (installed / room / "family").mkdir(parents=True)
        (installed / room / "family" / "method.py").write_text("VALUE = 1\n")
    editable = sources.training_hash()
    monkeypatch.setattr(sources, "__file__", str(installed / "store" / "sources.py"))
    sources.training_hash.cache_clear()
    try:
        assert sources.training_hash() == editable
    finally:
        sources.training_hash.cache_clear()


CARDS = '''
import math
from fedsec.api import DefenseCard, Population
from .limits import FACTOR
from . import shared

LEAST = 3
TABLE = {"a": [1]}

def helper(n):
    return math.sqrt(n) + LEAST

def first(population, parameters):
    """Docstring."""
    bounds = [helper(n) for n in range(population.clients)]
    return None if sum(bounds) > FACTOR * TABLE["a"][0] else shared.NAME

def second(population, parameters):
    return None

CARDS = tuple(
    DefenseCard(name=f.__name__, summary="", target="fedsec.defenses.none:No", protects="x", precondition=f)
    for f in (first, second)
)
'''


def _cards(package: Path, source: str = CARDS, limits: str = "FACTOR = 2\n") -> dict[str, str]:
    """Hashes of the two cards of a family as a new process sees them."""
    (package / "cards.py").write_text(source)
    (package / "limits.py").write_text(limits)
    (package / "shared.py").write_text("NAME = 'no'\n")
    for name in [name for name in sys.modules if name.startswith(PACKAGE)]:
        del sys.modules[name]
    shutil.rmtree(package / "__pycache__", ignore_errors=True)
    importlib.invalidate_caches()
    plugin_hash.cache_clear()
    cards = importlib.import_module(f"{PACKAGE}.cards").CARDS
    return {card.name: card_hash(card) for card in cards}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("> FACTOR", ">= FACTOR"),  # the precondition itself
        ("math.sqrt(n)", "math.cbrt(n)"),  # what it calls, within a comprehension
        ("LEAST = 3", "LEAST = 4"),
        ('{"a": [1]}', '{"a": [2]}'),
    ],
)
def test_editing_a_precondition_changes_its_card_and_no_other(old: str, new: str, package: Path) -> None:
    before = _cards(package)
    assert _cards(package) == before
    assert old in CARDS
    after = _cards(package, CARDS.replace(old, new))
    assert after["first"] != before["first"]
    assert after["second"] == before["second"]
    assert len(set(before.values())) == 2


def test_what_a_precondition_imports_from_its_package_counts(package: Path) -> None:
    before = _cards(package)
    (package / "shared.py").write_text("NAME = 'never'\n")
    plugin_hash.cache_clear()
    sources._function.cache_clear()
    first, second = importlib.import_module(f"{PACKAGE}.cards").CARDS
    assert card_hash(first) != before["first"]
    assert card_hash(second) == before["second"]


def test_moving_a_card_within_its_file_changes_nothing(package: Path) -> None:
    assert _cards(package) == _cards(package, CARDS.replace("def second", "\n\nOTHER = 1\n\ndef second"))


KRUM = registry.defenses().get("krum")
CHANGES: dict[str, dict[str, Any]] = {
    "target": {"target": "fedsec.defenses.model.frozen_embeddings:FrozenEmbeddings"},
    "removes": {"removes": frozenset({Asset.ROWS})},
    "rule": {"is_rule": False},
    "guarantee": {"guarantee": "none"},
    "precondition": {"precondition": None},
    "default": {"parameters": (replace(KRUM.parameters[0], default="allouah"), *KRUM.parameters[1:])},
    "partial": {"precondition": partial(KRUM.precondition, parameters={"neighbours": "allouah"})},  # type: ignore[arg-type]
}
WORDS: dict[str, dict[str, Any]] = {
    "summary": {"summary": "Other words."},
    "paper": {"paper": "Another paper."},
    "limits": {"limits": ("Another limit.",)},
    "parameter": {
        "parameters": (replace(KRUM.parameters[0], summary="other", provenance=Provenance.GUESS), *KRUM.parameters[1:])
    },
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_a_card_states_counts(change: dict[str, Any]) -> None:
    assert card_hash(replace(KRUM, **change)) != card_hash(KRUM)


@pytest.mark.parametrize("change", WORDS.values(), ids=WORDS)
def test_words_for_people_do_not_count(change: dict[str, Any]) -> None:
    assert card_hash(replace(KRUM, **change)) == card_hash(KRUM)


def test_two_partials_of_one_function_differ() -> None:
    def made(most: int) -> DefenseCard:
        return replace(KRUM, precondition=partial(KRUM.precondition, parameters={"most": most}))  # type: ignore[arg-type]

    assert card_hash(made(1)) == card_hash(made(1))
    assert card_hash(made(1)) != card_hash(made(2))


def test_a_closure_counts_by_what_it_holds() -> None:
    def made(most: int) -> DefenseCard:
        return replace(KRUM, precondition=lambda population, parameters: None if population.clients < most else "no")

    assert card_hash(made(1)) == card_hash(made(1))
    assert card_hash(made(1)) != card_hash(made(2))


def test_an_attacks_threat_and_what_it_adapts_to_count() -> None:
    card: AttackCard = registry.attacks().get("embedding-algebra")
    hashes = {
        card_hash(card),
        card_hash(replace(card, adaptive_to=("krum",))),
        card_hash(replace(card, threat=replace(card.threat, needs=frozenset()))),
        card_hash(replace(card, parameters=(Parameter(name="a", default=1, summary=""),))),
    }
    assert len(hashes) == 4


def test_a_card_is_hashed_alike_in_every_process() -> None:
    code = (
        "from fedsec import registry; from fedsec.store.sources import card_hash, stands_outside\n"
        "cards = [card for kind in (registry.attacks(), registry.defenses()) for card in kind]\n"
        "print([card_hash(card) for card in cards if not stands_outside(card)])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    cards = [card for kind in (registry.attacks(), registry.defenses()) for card in kind]
    assert outputs == {f"{[card_hash(card) for card in cards if not stands_outside(card)]}\n"}


def test_only_a_third_partys_loader_stands_outside_the_engine() -> None:
    outside = {card.name for card in (*registry.models(), *registry.datasets()) if stands_outside(card)}
    assert outside <= {"example-narrow-bert", "example-weather"}, "those of tests/plugin_example"
    assert stands_outside(DatasetCard(name="own", summary="", target="mine.data:load"))
