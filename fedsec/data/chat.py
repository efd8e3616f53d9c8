"""Prompts in the chat template of a tokenizer."""

from collections.abc import Sequence
from typing import Any

from fedsec.data.corpus import Example
from fedsec.errors import FedsecError

_LEAST = 4
"""Tokens of a prompt's own that have to fit beside its template."""


def chat_prompts(rows: Sequence[Example], tokenizer: Any, max_tokens: int) -> tuple[list[str], int]:
    """Every row's prompt in the template, up to where the answer begins, and how many tokens stand before its words.

    Args:
        rows: with prompts.
        tokenizer: whose template it is.
        max_tokens: length of a row at most, of which a prompt that is cut keeps half.

    Raises:
        FedsecError: there is no template or it does not take a user's words, its answers do not end with the end
            token, it leaves no room for a prompt, or a row has none.
    """
    _check_end(tokenizer)
    lacking = next((place for place, row in enumerate(rows, 1) if not row.prompt.strip()), None)
    if lacking is not None:
        raise FedsecError(
            f"row {lacking} of the data has no prompt, which data.chat puts into the template as the user's words; "
            "choose the prompt's column with data.columns.prompt, or leave data.chat out"
        )
    opening, closing = _frame(tokenizer)
    if opening + closing + _LEAST > max_tokens // 2:
        raise FedsecError(
            f"the chat template takes {opening + closing} tokens beside a prompt; raise data.max_tokens to "
            f"{2 * (opening + closing + _LEAST)} or more"
        )
    return [_asked(tokenizer, row.prompt) for row in rows], opening


def _asked(tokenizer: Any, words: str) -> str:
    """What the user says, in the template."""
    return _rendered(tokenizer, [{"role": "user", "content": words}], open_answer=True)


def _rendered(tokenizer: Any, messages: list[dict[str, str]], *, open_answer: bool) -> str:
    if not getattr(tokenizer, "chat_template", None):
        raise FedsecError(
            f"this {type(tokenizer).__name__} has no chat template, which data.chat asks for; choose a model that was "
            "trained on instructions, such as smollm2-135m, or leave data.chat out"
        )
    try:
        return str(tokenizer.apply_chat_template(messages, add_generation_prompt=open_answer, tokenize=False))
    except Exception as error:  # whatever a model's template raises
        raise FedsecError(f"the chat template of this {type(tokenizer).__name__} cannot be used: {error}") from error


def _check_end(tokenizer: Any) -> None:
    """Refuse a template in which something else than the tokenizer's end token ends an answer."""
    answer = "two"
    said = [{"role": "user", "content": "one"}, {"role": "assistant", "content": answer}]
    _, found, end = _rendered(tokenizer, said, open_answer=False).rpartition(answer)
    if not found or not end.lstrip().startswith(tokenizer.eos_token):
        raise FedsecError(
            f"the chat template of this {type(tokenizer).__name__} ends an answer with {end!r:.40}, not with its end "
            f"token {tokenizer.eos_token!r}, so that a model would not learn to stop; mend the tokenizer's eos_token, "
            "or leave data.chat out"
        )


def _frame(tokenizer: Any) -> tuple[int, int]:
    """How many tokens of the template stand before a user's words and behind them."""
    one, other = tokenizer([_asked(tokenizer, words) for words in ("a", "1")], add_special_tokens=False)["input_ids"]
    return _shared(one, other), _shared(one[::-1], other[::-1])


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common beginning."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
