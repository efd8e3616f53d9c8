"""Plug-ins from a local file or folder, run only where the user allows it by name; a scenario cannot ask for one.

The file is loaded under a private module name that depends on its own name alone, so that the cells of a moved file
stay valid; its source enters the keys of the cells that use it, like that of any other plug-in.
"""

import sys
import traceback
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from fedsec import registry
from fedsec.api import AttackCard, Card, DatasetCard, DefenseCard, GoalCard, MetricCard, ModelCard
from fedsec.errors import DuplicateNameError, FedsecError
from fedsec.registry import Registry, located, sound

PREFIX = "fedsec_plugin_"
_EXAMPLE = 'CARDS = (AttackCard(name="my-attack", target=":MyAttack", ...),)'


@dataclass(frozen=True, slots=True)
class _Loaded:
    path: Path
    cards: tuple[Card, ...]


_loaded: dict[str, _Loaded] = {}
"""Files that this process was allowed to load, by private module name; as global as the registry."""


def allow_plugins(path: Path | str) -> tuple[Card, ...]:
    """Run a local plug-in file and register its cards, here and in the workers of later runs.

    Called again for the same file it reads it anew, so that an edit counts; if that fails, its cards are gone.

    Args:
        path: a .py file that defines `CARDS`, or a folder whose __init__.py does. A target there may be `:Class`,
            in the same module, or `.module:Class`, in the folder.

    Returns:
        The cards, with full targets.

    Raises:
        FedsecError: there is no such file, it cannot be run, or its cards cannot be used; says where and why.
        DuplicateNameError: a name is taken.
    """
    file = _source(Path(path))
    name = PREFIX + "".join(letter if letter.isalnum() else "_" for letter in _own_name(file))
    before = _loaded.get(name)
    if before is not None and before.path != file:
        raise FedsecError(f"two plug-in files are called '{_own_name(file)}': {before.path} and {file}. Rename one")
    if before is not None:
        _take_out(name)
    try:
        cards = _cards(_run(name, file), file)
        _put_in(cards)
    except BaseException:
        _drop_modules(name)
        raise
    _loaded[name] = _Loaded(file, cards)
    return cards


def allowed_files() -> tuple[Path, ...]:
    """Return the files that this process was allowed to run, for its workers."""
    return tuple(one.path for one in _loaded.values())


def disallow_plugins(path: Path | str) -> None:
    """Remove a file's cards from the registry; KeyError if it was not allowed."""
    file = _source(Path(path))
    names = [name for name, one in _loaded.items() if one.path == file]
    if not names:
        raise KeyError(str(path))
    _take_out(names[0])


def _source(path: Path) -> Path:
    """Return the file to run: the path itself, or its __init__.py."""
    try:
        file = (path / "__init__.py" if path.is_dir() else path).resolve()
        if not file.exists():
            what = "it holds no __init__.py" if path.is_dir() else "there is no such file"
            raise FedsecError(f"the plug-in file '{path}' cannot be read: {what}")
        if file.suffix != ".py" or not file.is_file():
            raise FedsecError(f"'{path}' is no plug-in file: give a .py file, or a folder with an __init__.py")
    except (OSError, ValueError) as error:
        raise FedsecError(f"the plug-in file '{path}' cannot be read: {error}") from error
    return file


def _own_name(file: Path) -> str:
    return file.parent.name if file.name == "__init__.py" else file.stem


def _run(name: str, file: Path) -> ModuleType:
    """Return the file as a module of that name."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    folder = [str(file.parent)] if file.name == "__init__.py" else None
    loader = _SourceOnly(name, str(file))
    spec = spec_from_file_location(name, file, loader=loader, submodule_search_locations=folder)
    assert spec is not None  # noqa: S101 - there is a loader
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look for it there
    try:
        with redirect_stdout(sys.stderr):  # what a plug-in prints is no data
            loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except SyntaxError as error:
        raise FedsecError(f"{error.filename or file}, line {error.lineno}: {error.msg}") from error
    except BaseException as error:  # it may raise anything, SystemExit too
        raise FedsecError(_told(file, error)) from error
    return module


def _told(file: Path, error: BaseException) -> str:
    """Return what a file raised, and where."""
    inside = [place for place in traceback.extract_tb(error.__traceback__) if Path(place.filename) == file]
    where = f"{file}, line {inside[-1].lineno}" if inside else str(file)
    text = f"{where}: {type(error).__name__}: {error}" if str(error) else f"{where}: {type(error).__name__}"
    if isinstance(error, ModuleNotFoundError):
        text += ". A plug-in file imports what is installed; its own modules need a folder and `from . import ...`"
    return text


def _cards(module: ModuleType, file: Path) -> tuple[Card, ...]:
    """Return the module's cards, checked."""
    given = getattr(module, "CARDS", None)
    if given is None:
        raise FedsecError(f"{file} defines no CARDS. It needs a tuple of cards, such as {_EXAMPLE}")
    if not isinstance(given, (tuple, list)) or not given:
        raise FedsecError(f"{file}: CARDS must be a tuple of at least one card (mind the comma), such as {_EXAMPLE}")
    cards: list[Card] = []
    for place, card in enumerate(given):
        try:
            if not isinstance(card, Card) or not isinstance(card, tuple(_kinds())):
                names = ", ".join(kind.__name__ for kind in _kinds())
                raise TypeError(f"{card!r} is no card; allowed: {names}")
            cards.append(sound(located(card, module.__name__)))
        except (TypeError, ValueError, ImportError) as error:
            raise FedsecError(f"{file}: CARDS[{place}]: {error}") from error
        _check_target(cards[-1], module, file)
    return tuple(cards)


def _check_target(card: Card, module: ModuleType, file: Path) -> None:
    """Check that the object that a card names in the same module exists; others are imported when used."""
    where, _, attribute = card.target.partition(":")
    if isinstance(card, MetricCard) and not card.target:
        return
    if not where or not attribute:
        raise FedsecError(f"{file}: the target of '{card.name}' is '{card.target}'; it must be ':Class' of this file")
    if where == module.__name__ and not hasattr(module, attribute):
        raise FedsecError(f"{file}: the target of '{card.name}' is ':{attribute}', and the file defines no {attribute}")


def _put_in(cards: Sequence[Card]) -> None:
    """Register all of them or none."""
    done: list[Card] = []
    try:
        for card in cards:
            _kind(card).register(card)
            done.append(card)
    except DuplicateNameError:
        for card in done:
            _kind(card).remove(card.name)
        raise


def _take_out(name: str) -> None:
    from fedsec.config import methods
    from fedsec.store.sources import forget

    methods.forget()
    for card in _loaded.pop(name).cards:
        _kind(card).remove(card.name)
    _drop_modules(name)
    forget()


def _drop_modules(name: str) -> None:
    for own in [own for own in sys.modules if own == name or own.startswith(f"{name}.")]:
        del sys.modules[own]


def _kinds() -> dict[type[Card], Registry[Any]]:
    return {
        AttackCard: registry.attacks(),
        DefenseCard: registry.defenses(),
        ModelCard: registry.models(),
        DatasetCard: registry.datasets(),
        MetricCard: registry.metrics(),
        GoalCard: registry.goals(),
    }


def _kind(card: Card) -> Registry[Any]:
    return next(cards for kind, cards in _kinds().items() if isinstance(card, kind))


class _SourceOnly(SourceFileLoader):
    """Compiles the source each time: bytecode on disk is matched by whole seconds, so a quick edit would be missed."""

    executed: bytes | None = None
    """The source that runs, even if the file changes later; the keys of cells are made of it."""

    def path_stats(self, path: Any) -> Any:
        raise OSError("no bytecode is read or written")

    def get_data(self, path: Any) -> bytes:
        self.executed = super().get_data(path)
        return self.executed


class _Finder(MetaPathFinder):
    """Finds the other modules of an allowed folder, with the same loader."""

    def find_spec(
        self, fullname: str, path: Iterable[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is None or not fullname.startswith(PREFIX):
            return None
        for folder in path:
            spec = FileFinder(folder, (_SourceOnly, [".py"])).find_spec(fullname)
            if spec is not None:
                return spec
        return None
