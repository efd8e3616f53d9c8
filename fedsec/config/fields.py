"""The schema's fields by path: whether one exists, what it allows in words, and the nearest name."""

import difflib
import types
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fedsec.config.problems import TreePath, shorten, show
from fedsec.config.schema import Model, Scenario

VARIED_SECTIONS = ("model", "data", "federation", "threat")
"""What `matrix.vary` may reach into."""

_SPECIAL_WORDS: dict[TreePath, str] = {
    ("name",): "kebab-case words with / between folders, at most 100 characters",
    ("matrix", "attack"): "a list of attacks, each a name or a mapping of `name` and its parameters",
    (
        "matrix",
        "defense",
    ): "a list of defenses, each a name, a mapping of `name` and its parameters, or a list of these, which is a stack",
    ("matrix", "vary"): "a mapping of paths to lists of values",
    (
        "scenarios",
    ): "a list of scenarios, each a shipped name, a file, or a mapping of `scenario` and what to `set` in it",
    ("defense",): "a list of defenses as in matrix.defense",
}
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def fields_of(part: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a section by the name that YAML uses."""
    named = {info.alias or name: info for name, info in part.model_fields.items()}
    if part is Model:
        del named["params"]  # YAML has a model's parameters beside its name
    return named


def annotation_at(path: TreePath, top: type[BaseModel] = Scenario) -> tuple[TreePath, Any]:
    """The longest prefix of a path that the schema knows, and the type there.

    Args:
        path: keys from the top.
        top: what the file holds as a whole.
    """
    here: Any = top
    for length, key in enumerate(path):
        inner = _step(here, key)
        if inner is None:
            return path[:length], here
        here = inner
    return path, here


def _step(annotation: Any, key: str | int) -> Any:
    """The type of an entry of something annotated so; None if it has no such entry."""
    annotation = bare(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        info = fields_of(annotation).get(key) if isinstance(key, str) else None
        return None if info is None else Annotated[info.annotation, info]
    arguments = get_args(annotation)
    if get_origin(annotation) is list and isinstance(key, int):
        return arguments[0]
    if get_origin(annotation) is dict and isinstance(key, str):
        return arguments[1]
    return None


def bare(annotation: Any) -> Any:
    """Without metadata and without `| None`."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if _is_union(annotation):
        others = [one for one in get_args(annotation) if one is not types.NoneType]
        if len(others) == 1:
            return bare(others[0])
    return annotation


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def is_number(path: TreePath) -> bool:
    """Whether the schema has a number, not only a whole one, at a path."""
    known, annotation = annotation_at(path)
    return known == path and bare(annotation) is float


def all_paths(part: type[BaseModel] = Scenario, above: TreePath = ()) -> Iterator[str]:
    """Every dotted path of the schema, sections included."""
    for name, info in fields_of(part).items():
        yield ".".join(map(str, (*above, name)))
        inner = bare(info.annotation)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from all_paths(inner, (*above, name))


def allowed(path: TreePath, top: type[BaseModel] = Scenario) -> str:
    """What may stand at a path, in words."""
    return _SPECIAL_WORDS.get(path) or _words(annotation_at(path, top)[1], ())


def choices(path: TreePath, top: type[BaseModel] = Scenario) -> list[str]:
    """The words that may stand at a path; empty if it is no choice."""
    annotation = bare(annotation_at(path, top)[1])
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [member.value for member in annotation]
    parts = get_args(annotation) if _is_union(annotation) else (annotation,)
    literals = [option for part in parts if get_origin(part) is Literal for option in get_args(part)]
    return [option for option in literals if isinstance(option, str)]


def keys_at(path: TreePath, top: type[BaseModel] = Scenario) -> list[str]:
    """The keys of the section at a path."""
    part = bare(annotation_at(path, top)[1])
    return list(fields_of(part)) if isinstance(part, type) and issubclass(part, BaseModel) else []


def nearest(name: object, known: Iterable[str]) -> str:
    """` Did you mean ...?` for a name that is close to a known one, else nothing."""
    near = difflib.get_close_matches(shorten(name), known, n=1) if isinstance(name, str) else []
    return f" Did you mean '{near[0]}'?" if near else ""


def _words(annotation: Any, metadata: tuple[Any, ...]) -> str:
    if get_origin(annotation) is Annotated:
        inner, *extra = get_args(annotation)
        return _words(inner, (*metadata, *_flat(extra)))
    if _is_union(annotation):
        return " or ".join(_words(one, metadata) for one in get_args(annotation))
    if annotation is types.NoneType:
        return "null"
    if get_origin(annotation) is Literal:
        return _one_of([show(option).strip("'") for option in get_args(annotation)])
    if get_origin(annotation) is list:
        return f"a list{_bounds(metadata, 'entries')}, each {_words(get_args(annotation)[0], ())}"
    if get_origin(annotation) is dict:
        return "a mapping"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _one_of([str(member.value) for member in annotation])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"a mapping with {', '.join(fields_of(annotation))}"
    return _KINDS.get(annotation, "any value") + _bounds(metadata, "characters")


def _flat(metadata: Iterable[Any]) -> list[Any]:
    """Constraints, those inside of pydantic's field objects included."""
    return [
        constraint for item in metadata for constraint in (item.metadata if isinstance(item, FieldInfo) else [item])
    ]


def _one_of(options: list[str]) -> str:
    return options[0] if len(options) == 1 else "one of " + ", ".join(options)


def _bounds(metadata: tuple[Any, ...], unit: str) -> str:
    low, high = "", ""
    for constraint in metadata:
        match constraint:
            case Ge(ge=limit):
                low = f"at least {limit:,}"
            case Gt(gt=limit):
                low = f"more than {limit:,}"
            case Le(le=limit):
                high = f"at most {limit:,}"
            case Lt(lt=limit):
                high = f"less than {limit:,}"
            case MinLen(min_length=limit):
                low = f"at least {limit} {unit}"
            case MaxLen(max_length=limit):
                high = f"at most {limit} {unit}"
    words = " and ".join(word for word in (low, high) if word)
    return f" of {words}" if words else ""
