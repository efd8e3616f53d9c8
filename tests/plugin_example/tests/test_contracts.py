"""The package's plug-ins keep fedsec's contract."""

from pathlib import Path

from fedsec import registry
from fedsec.testing import contracts


def test_backtrack(tmp_path: Path) -> None:
    contracts.check_attack(registry.attacks().get("example-backtrack"), tmp_path)


def test_likely_texts(tmp_path: Path) -> None:
    contracts.check_attack(registry.attacks().get("example-likely-texts"), tmp_path)


def test_count_words(tmp_path: Path) -> None:
    """Its goal is the package's own."""
    contracts.check_attack(registry.attacks().get("example-count-words"), tmp_path)


def test_norm_bound(tmp_path: Path) -> None:
    contracts.check_defense(registry.defenses().get("example-norm-bound"), tmp_path)


def test_quiet_answers(tmp_path: Path) -> None:
    contracts.check_defense(
        registry.defenses().get("example-quiet-answers"), tmp_path, attack={"name": "example-likely-texts"}
    )


def test_weather() -> None:
    contracts.check_dataset(registry.datasets().get("example-weather"))


def test_narrow_bert() -> None:
    contracts.check_model(registry.models().get("example-narrow-bert"))
