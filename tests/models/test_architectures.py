"""Six architectures, both tasks, full tuning and LoRA: what is trained, what it computes, saving and loading."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from fedsec.api import Role, TrainingSettings
from fedsec.data.tokens import NOT_LEARNED, Batch, Tokenised, collate
from fedsec.errors import FedsecError, MissingDataError
from fedsec.models.base import CAUSAL_LM, SEQUENCE_CLASSIFICATION, load_pretrained, positions_of
from fedsec.models.byte_tokens import own_tokenizer
from fedsec.models.flat import FlatModel
from fedsec.models.local import LocalTrainer
from fedsec.models.tuning import prepare

ENCODERS, DECODERS = ("Bert", "Roberta", "DistilBert"), ("GPT2", "Llama", "Qwen2")
CASES = [
    *((architecture, SEQUENCE_CLASSIFICATION) for architecture in (*ENCODERS, *DECODERS)),
    *((architecture, CAUSAL_LM) for architecture in DECODERS),
]
PAD, WORDS = 1, 310

Build = Callable[..., Any]
Made = Callable[..., FlatModel]


@pytest.fixture
def flat(build: Build, build_causal: Build) -> Made:
    """Makes a flattened model."""

    def make(architecture: str, task: str, kind: str, embeddings: bool | None = None, **settings: Any) -> FlatModel:
        module = (build_causal if task == CAUSAL_LM else build)(architecture, **settings)
        options = {"kind": kind, "rank": 2, "dropout": False, "task": task}
        trained = kind == "full" if embeddings is None else embeddings
        return FlatModel(*prepare(module, train_embeddings=trained, generator=torch.Generator(), **options))

    return make


def _batches(task: str, count: int = 2) -> list[Batch]:
    draws = np.random.default_rng(3)
    ids = [[int(i) for i in draws.integers(4, 60, size=int(n))] for n in draws.integers(4, 12, size=4 * count)]
    starts = draws.integers(1, 4, size=len(ids)) if task == CAUSAL_LM else None
    data = Tokenised(ids, draws.integers(0, 3, size=len(ids)), starts)
    return [collate(data, range(4 * i, 4 * i + 4), PAD) for i in range(count)]


def _plain_loss(module: Any, batch: Batch) -> torch.Tensor:
    """By a loop over rows and tokens; each row alone and without padding."""
    losses = []
    for ids, mask, label in zip(*batch[:3], strict=True):
        alone = ids[mask.bool()][None]
        logits = module(input_ids=alone, attention_mask=torch.ones_like(alone)).logits[0]
        if label.dim() == 0:
            losses.append(functional.cross_entropy(logits, label))
            continue
        for place in range(1, alone.shape[1]):
            if label[place] != NOT_LEARNED:
                losses.append(-logits[place - 1].log_softmax(dim=0)[alone[0, place]])
    return torch.stack(losses).mean()


def _settings(update: str) -> TrainingSettings:
    """AdamW moves even what has a gradient at the rounding floor, as a query's adapter has at first."""
    kind = "sgd" if update == "gradient" else "adamw"
    return TrainingSettings(update=update, optimizer=kind, learning_rate=0.01, local_steps=2, batch_size=4)


@pytest.mark.parametrize("kind", ["full", "lora"])
@pytest.mark.parametrize(("architecture", "task"), CASES)
def test_a_vector_round_trips_exactly_and_every_tensor_is_its_slice(
    architecture: str, task: str, kind: str, flat: Made
) -> None:
    model = flat(architecture, task, kind)
    unique = {id(p): p.numel() for n, p in model.module.named_parameters() if n in model.setup.trainable}
    assert model.layout.size == sum(unique.values())
    vector = torch.randn(model.layout.size, generator=torch.Generator().manual_seed(1))
    model.load(vector)
    assert torch.equal(model.snapshot(), vector)
    named = dict(model.module.named_parameters())
    for info in model.layout.parameters:
        assert torch.equal(named[info.name], model.layout.tensor(vector, info.name))
    assert model.attached()


@pytest.mark.parametrize("kind", ["full", "lora"])
@pytest.mark.parametrize(("architecture", "task"), CASES)
def test_the_gradient_is_autograds_on_an_untouched_copy_and_the_loss_a_slow_loops(
    architecture: str, task: str, kind: str, flat: Made
) -> None:
    model, (batch, _) = flat(architecture, task, kind), _batches(task)
    out = torch.empty(model.layout.size)
    start = model.snapshot()
    loss = LocalTrainer(model, _settings("gradient"), dropout=False).update(start, [batch], out, torch.Generator())
    copy: Any = flat(architecture, task, kind)  # its own flat vector is left alone: autograd returns, and adds nothing
    parameters = [p for p in copy.module.parameters() if p.requires_grad]
    expected = _plain_loss(copy.module.eval(), batch)
    found = torch.autograd.grad(expected, parameters, allow_unused=True)
    joined = torch.cat([
        (torch.zeros_like(p) if g is None else g).reshape(-1) for g, p in zip(found, parameters, strict=True)
    ])  # fmt: skip
    assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
    assert float((out - joined).norm() / joined.norm()) < 1e-5
    assert torch.equal(model.snapshot(), start)


@pytest.mark.parametrize("kind", ["full", "lora"])
@pytest.mark.parametrize(("architecture", "task"), CASES)
def test_local_training_changes_what_it_should_and_nothing_else(
    architecture: str, task: str, kind: str, flat: Made
) -> None:
    model = flat(architecture, task, kind)
    frozen = {n: p.clone() for n, p in model.module.named_parameters() if not p.requires_grad}
    out, start = torch.empty(model.layout.size), model.snapshot()
    LocalTrainer(model, _settings("delta"), dropout=False).update(start, _batches(task), out, torch.Generator())
    still = {info.name for info in model.layout.parameters if not model.layout.tensor(out, info.name).any()}
    never_read = {n for n in still if "pooler" in n}  # a pooler that this head does not use
    assert still == never_read
    assert torch.equal(model.snapshot() - start, out)
    now = dict(model.module.named_parameters())
    assert all(torch.equal(now[name], before) for name, before in frozen.items())
    assert bool(frozen) == (kind == "lora")


def test_gpt2s_tied_output_layer_is_counted_once_and_stays_tied(flat: Made) -> None:
    model = flat("GPT2", CAUSAL_LM, "full")
    module: Any = model.module
    assert model.layout.size == sum(p.numel() for p in module.parameters())
    LocalTrainer(model, _settings("delta"), dropout=False).update(
        model.snapshot(), _batches(CAUSAL_LM), torch.empty(model.layout.size), torch.Generator()
    )
    assert module.lm_head.weight is module.transformer.wte.weight
    (words,) = model.layout.find(Role.WORD_EMBEDDING)
    assert torch.equal(module.lm_head.weight, model.layout.tensor(model.values, words.name))


@pytest.mark.parametrize("architecture", DECODERS)
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("embeddings", [False, True])
def test_lora_of_a_causal_model_leaves_its_output_layer_alone_unless_it_is_a_trained_embedding(
    architecture: str, tied: bool, embeddings: bool, flat: Made
) -> None:
    model = flat(architecture, CAUSAL_LM, "lora", embeddings, tie_word_embeddings=tied)
    roles = {info.role for info in model.layout.parameters}
    trained = {Role.WORD_EMBEDDING, *({Role.POSITION_EMBEDDING} if architecture == "GPT2" else ())}
    assert roles == {Role.ADAPTER, *(trained if embeddings else ())}
    module: Any = model.module
    assert module.get_output_embeddings().weight.requires_grad == (tied and embeddings)
    assert (module.get_output_embeddings().weight is module.get_input_embeddings().weight) == tied


def test_head_tuning_of_a_causal_model_needs_an_output_layer_of_its_own(flat: Made) -> None:
    (head,) = flat("Llama", CAUSAL_LM, "head", tie_word_embeddings=False).layout.parameters
    assert (head.role, head.name) == (Role.HEAD, "lm_head.weight")
    with pytest.raises(FedsecError, match=r"tied.*kind: lora or full"):
        flat("GPT2", CAUSAL_LM, "head")
    assert flat("GPT2", CAUSAL_LM, "head", True).layout.find(Role.WORD_EMBEDDING)


def _saved(module: Any, folder: Path, tokenizer: Any = None) -> Path:
    module.save_pretrained(folder, safe_serialization=True)
    (tokenizer or own_tokenizer(300, 40)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("architecture", "task"), CASES)
def test_a_saved_folder_loads_as_it_was(
    architecture: str, task: str, build: Build, build_causal: Build, tmp_path: Path
) -> None:
    module = (build_causal if task == CAUSAL_LM else build)(architecture, vocab_size=WORDS)
    folder = _saved(module, tmp_path)
    loaded = load_pretrained(str(folder), labels=3, generator=torch.Generator(), task=task)
    found, expected = dict(loaded.module.named_parameters()), dict(module.named_parameters())
    assert set(found) == set(expected)
    assert all(torch.equal(found[name], parameter) for name, parameter in expected.items())
    ids = loaded.tokenizer("chest pain")["input_ids"]
    assert loaded.tokenizer.decode(ids, skip_special_tokens=True) == "chest pain"
    assert loaded.module.config.pad_token_id == loaded.tokenizer.pad_token_id  # type: ignore[union-attr]
    again = load_pretrained(str(folder), labels=3, generator=torch.Generator(), task=task)
    assert again.weights_hash == loaded.weights_hash


@pytest.mark.parametrize("architecture", ["Bert", "Roberta"])
def test_an_encoder_that_sees_what_comes_after_a_token_is_no_causal_model(
    architecture: str, build_causal_encoder: Build, tmp_path: Path
) -> None:
    folder = str(_saved(build_causal_encoder(architecture, is_decoder=False), tmp_path / "encoder"))
    with pytest.raises(FedsecError, match="sees what comes after a token"):
        load_pretrained(folder, labels=0, generator=torch.Generator(), task=CAUSAL_LM)
    folder = str(_saved(build_causal_encoder(architecture, is_decoder=True), tmp_path / "decoder"))
    load_pretrained(folder, labels=0, generator=torch.Generator(), task=CAUSAL_LM)


@pytest.fixture
def build_causal_encoder() -> Build:
    """An encoder's language model, which is causal only where its configuration says so."""

    def make(architecture: str, *, is_decoder: bool) -> Any:
        import transformers

        config = getattr(transformers, f"{architecture}Config")(
            vocab_size=WORDS,
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=48,
            max_position_embeddings=40,
            is_decoder=is_decoder,
        )
        name = "BertLMHeadModel" if architecture == "Bert" else f"{architecture}ForCausalLM"
        return getattr(transformers, name)(config)

    return make


def test_an_architecture_without_a_language_model_is_refused(build: Build, tmp_path: Path) -> None:
    folder = str(_saved(build("DistilBert", vocab_size=WORDS), tmp_path))
    with pytest.raises(MissingDataError, match="cannot be loaded"):
        load_pretrained(folder, labels=0, generator=torch.Generator(), task=CAUSAL_LM)


def test_a_checkpoint_without_its_output_layer_is_refused(build: Build, tmp_path: Path) -> None:
    folder = _saved(build("Llama", vocab_size=WORDS), tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    with pytest.raises(MissingDataError, match=r"lack lm_head\.weight"):
        load_pretrained(str(folder), labels=0, generator=torch.Generator(), task=CAUSAL_LM)


def test_a_tokenizer_with_more_words_than_the_model_is_refused(build_causal: Build, tmp_path: Path) -> None:
    folder = str(_saved(build_causal("GPT2", vocab_size=WORDS), tmp_path, own_tokenizer(WORDS + 1, 40)))
    with pytest.raises(FedsecError, match="has 311 tokens, the model only 310"):
        load_pretrained(folder, labels=0, generator=torch.Generator(), task=CAUSAL_LM)


def test_weights_that_could_execute_code_are_not_read(build_causal: Build, tmp_path: Path) -> None:
    folder = _saved(build_causal("GPT2", vocab_size=WORDS), tmp_path)
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(MissingDataError, match="cannot be loaded"):
        load_pretrained(str(folder), labels=0, generator=torch.Generator(), task=CAUSAL_LM)


Change = Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]


def _rewrite(folder: Path, change: Change) -> None:
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def _layer_off(part: str) -> Change:
    return lambda held: {name: tensor for name, tensor in held.items() if part not in name}


MISFITS: dict[str, tuple[Change, str]] = {
    "none fits": (
        lambda held: {f"student.{name}": tensor for name, tensor in held.items()},
        r"weights lack bert\.embeddings\.LayerNorm\.bias, .* more\. What they hold as student\.bert.* fits nowhere",
    ),
    "a layer is missing": (_layer_off("layer.1.output"), r"weights lack bert\.encoder\.layer\.1\.output"),
    "one tensor is missing": (_layer_off("key.bias"), r"lack bert\.encoder\.layer\.0\.attention\.self\.key\.bias"),
    "one has another size": (
        lambda held: {**held, "bert.embeddings.position_embeddings.weight": torch.zeros(30, 32)},
        r"other sizes of bert\.embeddings\.position_embeddings\.weight \(30 x 32 instead of 40 x 32\)",
    ),
    "nothing is there": (lambda held: {"step": torch.zeros(1)}, "weights lack bert"),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_weights_that_leave_a_part_below_the_head_random_are_refused_with_its_names(
    misfit: str, build: Build, tmp_path: Path
) -> None:
    change, message = MISFITS[misfit]
    folder = _saved(build("Bert", vocab_size=WORDS), tmp_path)
    _rewrite(folder, change)
    with pytest.raises(MissingDataError, match=message):
        load_pretrained(str(folder), labels=3, generator=torch.Generator())


@pytest.mark.parametrize("architecture", ["GPT2", "Llama"])
def test_a_language_model_needs_all_of_its_weights(architecture: str, build_causal: Build, tmp_path: Path) -> None:
    folder = _saved(build_causal(architecture, vocab_size=WORDS, tie_word_embeddings=False), tmp_path)
    _rewrite(folder, lambda held: {**held, "lm_head.weight": torch.zeros(WORDS, 8)})
    with pytest.raises(MissingDataError, match=r"other sizes of lm_head\.weight \(310 x 8 instead of 310 x 32\)"):
        load_pretrained(str(folder), labels=0, generator=torch.Generator(), task=CAUSAL_LM)


@pytest.mark.parametrize("architecture", [*ENCODERS, *DECODERS])
@pytest.mark.parametrize("labels", [2, 5])
def test_a_head_for_other_classes_gives_way_to_a_new_one_and_all_below_it_is_kept(
    architecture: str, labels: int, build: Build, tmp_path: Path
) -> None:
    module = build(architecture, vocab_size=WORDS)
    folder = str(_saved(module, tmp_path))
    first, again, other = (
        load_pretrained(folder, labels=labels, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    model: Any = first.module
    expected = module.base_model.state_dict()
    found = model.base_model.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert model(input_ids=torch.arange(4, 10)[None]).logits.shape == (1, labels)
    assert model.config.num_labels == labels
    heads = [
        torch.cat([p.flatten() for n, p in sorted(one.module.named_parameters()) if p.shape[:1] == (labels,)])
        for one in (first, again, other)
    ]
    assert heads[0].isfinite().all()
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_a_folder_without_a_head_gets_a_new_one(build: Build, tmp_path: Path) -> None:
    folder = _saved(build("Bert", vocab_size=WORDS).bert, tmp_path)
    loaded: Any = load_pretrained(str(folder), labels=4, generator=torch.Generator()).module
    assert loaded.classifier.weight.shape == (4, 32)


def test_a_classifiers_tokenizer_with_more_words_than_the_model_is_refused(build: Build, tmp_path: Path) -> None:
    folder = str(_saved(build("Bert", vocab_size=WORDS), tmp_path, own_tokenizer(WORDS + 1, 40)))
    with pytest.raises(FedsecError, match="has 311 tokens, the model only 310"):
        load_pretrained(folder, labels=3, generator=torch.Generator())


@pytest.mark.parametrize("architecture", ["Bert", "Roberta", "DistilBert", "GPT2", "Llama"])
def test_the_longest_text_is_what_the_model_still_computes(architecture: str, build: Build) -> None:
    """RoBERTa's positions start behind the padding token's: of 40 it can use 38."""
    module = build(architecture)
    longest = positions_of(module)
    assert longest == (38 if architecture == "Roberta" else 40)
    ids = torch.full((1, longest + 1), 7)
    assert module(input_ids=ids[:, 1:]).logits.isfinite().all()
    if architecture != "Llama":  # its positions are computed
        with pytest.raises((IndexError, RuntimeError)):
            module(input_ids=ids)


def test_a_model_without_positions_has_no_longest_text() -> None:
    from transformers import BloomConfig, BloomForSequenceClassification

    assert (
        positions_of(BloomForSequenceClassification(BloomConfig(vocab_size=60, hidden_size=32, n_layer=1, n_head=2)))
        is None
    )
