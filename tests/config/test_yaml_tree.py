"""YAML text to plain data: what scalars mean, where values stand, and that any text is read or refused."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fedsec.config import yaml_tree
from fedsec.config.problems import ConfigError
from fedsec.config.tree import MAX_VALUES, Origin, Tree

SCALARS = [
    ("1", 1),
    ("-7", -7),
    ("+7", 7),
    ("0", 0),
    ("1e-3", 0.001),
    ("2E5", 2e5),
    ("1.", 1.0),
    (".5", 0.5),
    ("1.0e+3", 1000.0),
    ("true", True),
    ("TRUE", True),
    ("False", False),
    ("", None),
    ("~", None),
    ("null", None),
    ("yes", "yes"),
    ("no", "no"),
    ("on", "on"),
    ("Off", "Off"),
    ("tRUE", "tRUE"),
    ("010", "010"),
    ("0o10", "0o10"),
    ("0x10", "0x10"),
    ("1_000", "1_000"),
    ("1:30", "1:30"),
    ("2020-01-01", "2020-01-01"),
    ("=", "="),
    ("inf", "inf"),
    ("nan", "nan"),
    ("1e", "1e"),
    ("-", None),  # the start of a list, with an empty entry
    ("'1'", "1"),
    ('"true"', "true"),
    ("'<<'", "<<"),
]
YAMLISH = st.text(st.sampled_from("ab1:-,[]{}&*!|>'\"#%@?\n\t \\eU.~<"), max_size=60)
DEEP = "a: " + "[" * 3000


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_plain_scalars_mean_what_they_look_like(text: str, value: Any) -> None:
    found = yaml_tree.parse(f"key: {text}\n" if text != "-" else "key:\n-\n", "t").data["key"]
    expected = [None] if text == "-" else value
    assert found == expected
    assert type(found) is type(expected)


def test_every_value_knows_its_line() -> None:
    tree = yaml_tree.parse("# a comment\na: 1\nb:\n  c: [x,\n    y]\n  d:\n    - e: 1\n    - f: 2\n", "t")
    lines = {
        ("a",): 2,
        ("b",): 3,
        ("b", "c"): 4,
        ("b", "c", 0): 4,
        ("b", "c", 1): 5,
        ("b", "d", 0, "e"): 7,
        ("b", "d", 1): 8,
        ("b", "d", 1, "f"): 8,
    }
    assert {path: tree.line(path) for path in lines} == lines
    assert tree.line(("b", "d", 1, "nothing", 3)) == 8
    assert tree.line(("nothing",)) == 2


def test_a_replaced_value_comes_from_set_and_leaves_the_tree_as_it_was() -> None:
    tree = yaml_tree.parse("a: {b: 1}\n", "t")
    origin = Origin(Tree({}, "--set"), ("a", "b"))
    changed = tree.replaced(("a", "b"), {"c": 2}, origin)
    assert (tree.data, changed.data) == ({"a": {"b": 1}}, {"a": {"b": {"c": 2}}})
    assert changed.problem(("a", "b", "c"), "x")[:2] == ("--set", None)
    assert changed.problem(("a",), "x")[:2] == ("t", 1)
    with pytest.raises(TypeError):
        changed.replaced(("a", "b", "c", "d"), 1, origin)


def test_a_byte_order_mark_and_windows_line_ends_are_fine() -> None:
    tree = yaml_tree.parse("\ufeffa: 1\r\nb: 2\r\n", "t")
    assert (tree.data, tree.line(("b",))) == ({"a": 1, "b": 2}, 2)


def test_limits_of_size() -> None:
    limit = yaml_tree.MAX_BYTES
    assert yaml_tree.parse("a: 1\n" + "#" * (limit - 5), "t").data == {"a": 1}
    for text in (
        "a: 1\n" + "#" * (limit - 4),
        "a: " + "\u00e9" * (limit // 2),
        f"a: [{'x,' * MAX_VALUES}]",
        DEEP,
    ):
        with pytest.raises(ConfigError, match=r"larger than 256 KiB|more than 10,000|deeper than 20"):
            yaml_tree.parse(text, "t")
    with pytest.raises(ConfigError, match="larger than 256 KiB"):
        yaml_tree.decode(b"#" * (limit + 1), "t")


def test_a_value_on_its_own_follows_the_same_rules() -> None:
    assert yaml_tree.value("[0, 1e-3, no]") == ([0, 0.001, "no"], None)
    assert yaml_tree.value("{kind: lora}") == ({"kind": "lora"}, None)
    for text, fault in (
        ("!x 1", "tag"),
        ("[", "not readable"),
        (".nan", "not finite"),
        ("1\n--- 2", "second"),
    ):
        assert fault in str(yaml_tree.value(text)[1])


def test_head_reads_no_further_than_it_must() -> None:
    text = "name: x\nmodel: {summary: inner}\nlist: [summary, name]\nsummary: the top one\nbroken: [\n"
    assert yaml_tree.head(text, ("name", "summary")) == {"name": "x", "summary": "the top one"}
    assert yaml_tree.head("broken: [\n", ("name",)) == {}


@given(st.one_of(st.text(max_size=80), YAMLISH))
@example('a: "\\U00110000"')
@example("a: \ud800")
@example("%TAG ! x\n---\n!y z")
@example("? - a\n: b")
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert isinstance(yaml_tree.parse(text, "t").data, dict)
    except ConfigError as error:
        assert error.problems  # noqa: PT017  -- both outcomes are right
    yaml_tree.value(text)
    yaml_tree.head(text, ("a",))


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        yaml_tree.parse(yaml_tree.decode(raw, "t"), "t")
    except ConfigError as error:
        assert error.problems  # noqa: PT017  -- both outcomes are right
