"""Byte-level BPE tokenizers for small decoders: one of this project's own, or one that lies in a folder."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from fedsec.data.kept_notes import kept_notes
from fedsec.errors import MissingDataError

BEGIN, END, PADDING = "<s>", "</s>", "<pad>"
LEAST_VOCABULARY = 300
"""256 bytes, the special tokens, and some merges."""
_SEED = 1_000_033
"""Not a seed that any scenario's clients draw from: the merges hold words, never a client's text."""
_NOTES = 4_000


def own_tokenizer(vocabulary: int, positions: int) -> Any:
    """A tokenizer trained on generated notes; it encodes any text, byte by byte where it knows no better.

    It puts the begin token before a text. The end token is not put after it: tokenisation for causal language modelling
    does that.

    Args:
        vocabulary: tokens, special ones included; at least 300. Fewer if the notes have no more pairs to merge.
        positions: longest text that the model takes.

    Source: Sennrich et al., ACL 2016, algorithm 1, over bytes as in Radford et al., "Language Models are Unsupervised
    Multitask Learners", 2019, section 2.2. Deviations: none.
    """
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    tokenizer: Any = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained(vocabulary)),
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PADDING,
        model_max_length=positions,
    )
    return tokenizer


def tokenizer_from(place: str, positions: int) -> Any:
    """A tokenizer from a local folder or a hub id; its padding token is its end token if it has none.

    A folder may hold only GPT-2's `vocab.json` and `merges.txt`.

    Args:
        place: folder or hub id.
        positions: longest text that the model takes.

    Raises:
        MissingDataError: there is none, or it cannot be read.
    """
    from transformers import AutoTokenizer, GPT2Tokenizer

    folder = Path(place)
    bare = (folder / "merges.txt").is_file() and not (folder / "tokenizer_config.json").is_file()
    try:
        tokenizer: Any = (GPT2Tokenizer if bare else AutoTokenizer).from_pretrained(place, trust_remote_code=False)
    except Exception as error:  # damaged files and the hub's client raise many kinds
        raise MissingDataError(
            f"tokenizer '{place}' cannot be loaded: {error}\nGive a folder with tokenizer.json, or with vocab.json and "
            "merges.txt, or a hub id that this machine has cached or can reach. Without `tokenizer` the built-in one "
            "is used."
        ) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.model_max_length = positions
    return tokenizer


def tokenizer_hash(tokenizer: Any) -> str:
    """Of everything that decides how a tokenizer encodes."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    special = json.dumps({k: str(v) for k, v in tokenizer.special_tokens_map.items()}, sort_keys=True)
    return hashlib.sha256(f"{content}\0{special}".encode()).hexdigest()


@cache
def _trained(vocabulary: int) -> str:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PADDING, BEGIN, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((note.text for note in kept_notes(_NOTES, seed=_SEED)), trainer)
    begin = tokenizer.token_to_id(BEGIN)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", pair=f"{BEGIN} $A {BEGIN} $B", special_tokens=[(BEGIN, begin)]
    )
    return str(tokenizer.to_str())
