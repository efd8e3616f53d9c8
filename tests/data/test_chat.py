"""Prompts in a chat template: what is learned, what is cut, and what is refused."""

from typing import Any

import pytest

from fedsec.data.corpus import Example
from fedsec.data.tokens import NOT_LEARNED, collate, tokenise_causal
from fedsec.errors import FedsecError
from fedsec.models.byte_tokens import own_tokenizer

TEMPLATE = (
    "{% for one in messages %}<{{ one['role'] }}>\n{{ one['content'] }}{{ END }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>\n{% endif %}"
)


def _tokenizer(template: str | None = TEMPLATE) -> Any:
    made = own_tokenizer(2000, 512)
    made.chat_template = None if template is None else template.replace("{{ END }}", made.eos_token)
    return made


def _row(prompt: str = "Any pain?", text: str = "In the chest.") -> Example:
    return Example(text, prompt=prompt)


def test_only_the_answer_and_its_end_are_learned_and_no_token_spans_the_boundary() -> None:
    tokenizer = _tokenizer()
    data = tokenise_causal([_row(text="ent")], tokenizer, 64, chat=True)
    (ids,), learned = data.ids, data.learned_from
    assert learned is not None
    start, end = int(learned[0]), tokenizer.eos_token
    assert tokenizer.decode(ids[:start]) == f"<user>\nAny pain?{end}\n<assistant>\n"
    assert tokenizer.decode(ids[start:-1]) == "ent"
    assert ids[-1] == tokenizer.eos_token_id
    (labels,) = collate(data, [0], tokenizer.pad_token_id).labels.tolist()
    assert labels == [NOT_LEARNED] * start + ids[start:]


@pytest.mark.parametrize("longest", [48, 60])
def test_a_long_prompt_loses_its_own_beginning_and_never_the_template(longest: int) -> None:
    tokenizer = _tokenizer()
    said = " ".join(f"on day {n} it hurts" for n in range(40))
    (ids,) = tokenise_causal([_row(said, "yes " * 80)], tokenizer, longest, chat=True).ids
    words = tokenizer.decode(ids)
    assert len(ids) == longest
    assert words.startswith("<user>\n")
    asked, _, answer = words.removeprefix("<user>\n").partition(f"{tokenizer.eos_token}\n<assistant>\n")
    assert 0 < len(asked) < len(said)
    assert said.endswith(asked)
    assert answer.startswith("yes yes")
    assert ids[-1] != tokenizer.eos_token_id, "the text does not end there"


@pytest.mark.parametrize(
    ("template", "row", "longest", "message"),
    [
        (None, _row(), 64, "no chat template"),
        (TEMPLATE, _row(prompt=" "), 64, "row 1 of the data has no prompt"),
        (TEMPLATE, _row(), 16, r"raise data.max_tokens to \d+"),
        (TEMPLATE.replace("{{ END }}", "<stop>"), _row(), 64, "ends an answer with .<stop>"),
        ("{{ raise_exception('no') }}", _row(), 64, "cannot be used: no"),
        ("{{ messages[", _row(), 64, "cannot be used"),
        ("hello", _row(), 64, "ends an answer with"),
    ],
)
def test_what_cannot_be_is_refused(template: str | None, row: Example, longest: int, message: str) -> None:
    with pytest.raises(FedsecError, match=message):
        tokenise_causal([row], _tokenizer(template), longest, chat=True)
