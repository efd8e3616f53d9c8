"""Every registered plug-in keeps the contract."""

from pathlib import Path

import pytest

from fedsec import registry
from fedsec.api import AttackCard, Card, DefenseCard
from fedsec.testing import contracts

ROOT = Path(__file__).parent.parent.parent
# Parameters under which an attack shows its effect on the canned federation.
STRONGEST = {"sign-flip": {"scale": 10}}


@pytest.mark.parametrize("card", list(registry.attacks()), ids=lambda card: card.name)
def test_attack(card: AttackCard, tmp_path: Path) -> None:
    contracts.check_attack(card, tmp_path, STRONGEST.get(card.name))


@pytest.mark.parametrize("card", list(registry.defenses()), ids=lambda card: card.name)
def test_defense(card: DefenseCard, tmp_path: Path) -> None:
    contracts.check_defense(card, tmp_path)


@pytest.mark.parametrize("card", [*registry.attacks(), *registry.defenses()], ids=lambda card: card.name)
def test_the_rooms_readme_names_the_method_its_file_and_its_paper(card: Card) -> None:
    module = card.target.partition(":")[0].removeprefix("fedsec.")
    room = module.split(".")[0]
    file = module.replace(".", "/") + ".py"
    rows = [row for row in (ROOT / room / "README.md").read_text().splitlines() if f"`{card.name}`" in row]
    assert rows, f"{room}/README.md has no row for `{card.name}`"
    assert (ROOT / file).is_file()
    assert file.partition("/")[2] in rows[0]


def test_nothing_registered_is_broken() -> None:
    groups = (
        registry.attacks(),
        registry.defenses(),
        registry.models(),
        registry.datasets(),
        registry.metrics(),
    )
    assert [group.broken for group in groups] == [{}, {}, {}, {}, {}]
