"""Content hashes: whatever a result depends on changes them, and nothing else does."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedsec import registry
from fedsec.store import keys
from fedsec.store.keys import data_hash, digest, file_hashes, plugin_hash, weights_hash

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


def test_the_engine_hash_sees_what_measures_and_not_what_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys.engine_hash()
    read = Path.read_bytes

    def with_edited(name: str) -> str:
        monkeypatch.setattr(Path, "read_bytes", lambda self: read(self) + (b"#" if str(self).endswith(name) else b""))
        keys.engine_hash.cache_clear()
        found = keys.engine_hash()
        monkeypatch.undo()
        keys.engine_hash.cache_clear()
        return found

    for measuring in ("maths/rows.py", "federation/loop.py", "metrics/leakage.py", "wire/receive.py", "seeds.py"):
        assert with_edited(f"fedsec/{measuring}") != before, measuring
    for showing in ("cli/main.py", "report/scorecard.py", "attacks/byzantine/sign_flip.py"):
        assert with_edited(showing) == before, showing


def test_a_digest_is_of_content_and_not_of_order() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    contents = ({"a": 1}, {"a": "1"}, {"a": 1.5}, {"a": [1]}, {"a": None}, {"b": 1}, [1, 2], [2, 1], "ä", "a")
    assert len({digest(content) for content in contents}) == len(contents)
    assert len(digest({})) == 16


def test_a_data_file_is_known_by_its_content(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("one")
    before = data_hash(None, str(file))
    file.touch()
    assert data_hash(None, str(file)) == before
    file.write_text("two")
    assert data_hash(None, str(file)) != before


def test_a_data_folder_is_known_by_all_its_files(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("one")
    hashes = [data_hash(None, str(tmp_path))]
    (tmp_path / "test.jsonl").write_text("two")
    hashes.append(data_hash(None, str(tmp_path)))
    (tmp_path / "test.jsonl").rename(tmp_path / "validation.jsonl")
    hashes.append(data_hash(None, str(tmp_path)))
    assert len(set(hashes)) == 3


def test_a_named_set_is_known_by_its_folders_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDSEC_DATA", str(tmp_path))
    (tmp_path / "sst2").mkdir()
    (tmp_path / "sst2" / "train.jsonl").write_text("one")
    before = data_hash("sst2", None)
    (tmp_path / "sst2" / "train.jsonl").write_text("two")
    assert data_hash("sst2", None) != before
    assert data_hash("sst2", None) != data_hash("cola", None)


def test_a_local_model_is_known_by_its_files_and_another_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"one")
    before = weights_hash(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"two")
    assert weights_hash(str(tmp_path)) != before
    assert weights_hash("tiny-bert") != weights_hash("minilm")


def test_missing_files_have_no_hash(tmp_path: Path) -> None:
    assert file_hashes([tmp_path / "nothing"]) == {}
