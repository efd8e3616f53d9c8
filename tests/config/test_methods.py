"""The methods of a plug-in's class, read without importing it, are those that it has."""

import sys
from pathlib import Path

import pytest

from fedsec import registry
from fedsec.api import Card
from fedsec.config import methods
from fedsec.config.methods import methods_of

_BUILT_IN = [*registry.attacks(), *registry.defenses()]


@pytest.mark.parametrize("card", _BUILT_IN, ids=lambda card: card.name)
def test_what_is_read_is_what_the_class_has(card: Card) -> None:
    kind = registry.load_target(card)
    found = methods_of(card)
    assert found is not None
    own = {name for name in dir(kind) if callable(getattr(kind, name)) and not name.startswith("_")}
    assert own <= found


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "stranger"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "base.py").write_text(
        "import no_such_module\nfrom typing import Protocol\n"
        "class Root(Protocol):\n    def on_data(self): ...\nclass Base(Root):\n    def on_update(self): ...\n"
    )
    (folder / "own.py").write_text(
        "from .base import Base as Other\nclass Mine(Other):\n    def state(self): ...\n"
        "class Odd(make()):\n    pass\nmade = Other\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    methods.forget()
    for name in [name for name in sys.modules if name.partition(".")[0] == "stranger"]:
        del sys.modules[name]


def _card(target: str) -> Card:
    return Card(name="mine", summary="Mine.", target=target)


def test_inherited_methods_are_found_and_nothing_is_imported(package: Path) -> None:
    assert methods_of(_card("stranger.own:Mine")) == {"state", "on_update", "on_data"}
    assert "stranger.own" not in sys.modules
    assert methods_of(_card("stranger.own:Other")) == {"on_update", "on_data"}


@pytest.mark.parametrize(
    "target", ["stranger.own:Odd", "stranger.own:made", "stranger.own:nothing", "no.such:Thing", ""]
)
def test_what_cannot_be_read_is_unknown(target: str, package: Path) -> None:
    assert methods_of(_card(target)) is None
