"""Cards of the named base models; any local path or hub id works as well."""

from fedsec.api import ModelCard, Parameter, Provenance
from fedsec.api.cards import ParameterValue

_BOTH = ("sequence-classification", "causal-lm")


def _guessed(
    name: str, default: ParameterValue, summary: str, minimum: float | None = None, maximum: float | None = None
) -> Parameter:
    return Parameter(
        name=name, default=default, summary=summary, minimum=minimum, maximum=maximum, provenance=Provenance.GUESS
    )


_DECODER = (
    _guessed("layers", 2, "transformer layers", 1, 48),
    _guessed("width", 64, "hidden size, a multiple of heads (tiny-llama: of twice heads)", 8, 4096),
    _guessed("heads", 4, "attention heads", 1, 64),
    _guessed("positions", 512, "tokens of the longest text that it takes", 16, 8192),
    _guessed(
        "vocabulary", 2000, "tokens of the built-in tokenizer at most; unused where `tokenizer` is given", 300, 8000
    ),
    _guessed("tokenizer", "", "a folder or hub id; empty for the built-in byte-level BPE, trained on generated notes"),
    _guessed(
        "trained_on", "", "a registered data set whose training split it is trained on once; empty: random weights"
    ),
    _guessed("training_steps", 300, "steps of that training, of 16 rows of at most 128 tokens", 1, 1_000_000),
)
_DECODER_LIMITS = (
    "Weights are random unless trained_on is given; then it is a small model of one corpus.",
    "Where trained_on is the clients' own data set, membership and extraction figures mean nothing.",
)
_DECODER_COST = "milliseconds per step; training once takes about 0.05 s per step at the defaults, and is kept"

CARDS = (
    ModelCard(
        name="minilm",
        summary="all-MiniLM-L6-v2, a pretrained 6-layer BERT-architecture encoder with 22.7 M parameters.",
        target="fedsec.models.minilm:load",
        paper="Wang et al., MiniLM, NeurIPS 2020; sentence-transformers/all-MiniLM-L6-v2.",
        limits=("English, lower-cased.", "The classification head starts random."),
        cost="about 90 MB of memory per full update",
    ),
    ModelCard(
        name="smollm2-135m",
        summary="SmolLM2-135M-Instruct, a pretrained Llama-architecture language model with 134.5 M parameters.",
        target="fedsec.models.smollm2:load",
        tasks=_BOTH,
        parameters=(_guessed("layers", 30, "how many of its 30 layers are kept, from the first one on", 1, 30),),
        paper="Ben Allal et al., SmolLM2: When Smol Goes Big, 2025; HuggingFaceTB/SmolLM2-135M-Instruct, Apache-2.0.",
        limits=(
            "Its weights were quantized to 4 bits (Q4_1) before they became fp32 here: no published figure is its own.",
            "The output layer is the word embedding: head tuning has nothing of its own to train.",
            "With fewer layers it is no language model any more; only attacks on gradients make sense of it.",
        ),
        cost="540 MB of memory; about 8 s of one core for a step of 8 rows of 64 tokens; converted once in 30 s",
    ),
    ModelCard(
        name="tiny-bert",
        summary="A small BERT-architecture encoder with random weights, built on the spot; needs no download.",
        target="fedsec.models.tiny_bert:load",
        parameters=(
            Parameter(
                name="layers",
                default=2,
                summary="transformer layers",
                minimum=1,
                maximum=12,
                provenance=Provenance.GUESS,
            ),
            Parameter(
                name="width",
                default=64,
                summary="hidden size, a multiple of 16",
                minimum=16,
                maximum=1024,
                provenance=Provenance.GUESS,
            ),
        ),
        limits=("Random weights: it learns word-level tasks and little else.",),
        cost="milliseconds per step",
    ),
    ModelCard(
        name="tiny-gpt2",
        summary="A small GPT-2-architecture decoder built on the spot, random or trained once on a corpus and kept.",
        target="fedsec.models.tiny_gpt2:load",
        tasks=_BOTH,
        parameters=_DECODER,
        paper="Radford et al., Language Models are Unsupervised Multitask Learners, 2019, section 2.3.",
        limits=(
            *_DECODER_LIMITS,
            "The output layer is tied to the word embedding, so head tuning has nothing to train.",
        ),
        cost=_DECODER_COST,
    ),
    ModelCard(
        name="tiny-llama",
        summary="A small Llama-architecture decoder built on the spot, random or trained once on a corpus and kept.",
        target="fedsec.models.tiny_llama:load",
        tasks=_BOTH,
        parameters=(*_DECODER, _guessed("tied", False, "whether the output layer is the word embedding")),
        paper="Touvron et al., LLaMA: Open and Efficient Foundation Language Models, 2023, section 2.2.",
        limits=(
            *_DECODER_LIMITS,
            "The built-in tokenizer suits generated notes; other texts take about twice GPT-2's tokens.",
        ),
        cost=_DECODER_COST,
    ),
)
