"""Decoders trained once: the same weights for everybody, kept under a hash, and never trusted when damaged."""

import json
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save_file

from fedsec.data import clinic_notes
from fedsec.errors import FedsecError
from fedsec.models import pretraining, tiny_gpt2, tiny_llama
from fedsec.models.base import BaseModel
from fedsec.models.inputs import model_hash
from fedsec.models.local import LocalTrainer
from fedsec.seeds import SeedTree

STEPS = 3


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache and a small corpus of the test's own."""
    monkeypatch.setenv("FEDSEC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FEDSEC_DATA", str(tmp_path / "data"))
    (tmp_path / "data" / "sst2").mkdir(parents=True)
    notes = clinic_notes.generate(40, seed=9)
    lines = "".join(json.dumps({"text": note.text, "label": 0}) + "\n" for note in notes)
    for split in ("train", "test"):
        (tmp_path / "data" / "sst2" / f"{split}.jsonl").write_text(lines)
    return tmp_path / "cache" / "models"


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each training that really runs."""
    ran: list[str] = []
    train = pretraining._train

    def noted(module: Any, *rest: Any) -> None:
        ran.append(type(module).__name__)
        train(module, *rest)

    monkeypatch.setattr(pretraining, "_train", noted)
    return ran


def _load(seed: int = 0, task: str = "causal-lm", steps: int = STEPS, labels: int = 3, **params: Any) -> BaseModel:
    small = {"layers": 1, "width": 16, "vocabulary": 300, **params}
    generator = SeedTree(seed).torch("model")
    return tiny_gpt2.load(
        labels=labels, generator=generator, task=task, trained_on="sst2", training_steps=steps, **small
    )


def _weights(model: BaseModel) -> torch.Tensor:
    return torch.cat([parameter.detach().reshape(-1) for parameter in model.module.parameters()])


def test_it_is_trained_once_for_every_seed(cache: Path, trainings: list[str]) -> None:
    first = _load(0)
    assert trainings == ["GPT2LMHeadModel"]
    assert [path.suffix for path in sorted(cache.iterdir())] == [".lock", ".safetensors"]
    again = _load(1)
    assert trainings == ["GPT2LMHeadModel"]
    assert torch.equal(_weights(again), _weights(first))
    assert again.weights_hash == first.weights_hash
    module: Any = again.module
    assert module.lm_head.weight is module.transformer.wte.weight


def test_training_learns() -> None:
    from fedsec.data.corpus import Example
    from fedsec.data.tokens import tokenise_causal
    from fedsec.federation.evaluation import evaluate
    from fedsec.models.flat import FlatModel
    from fedsec.models.tuning import prepare

    losses = []
    for steps in (1, 40):
        base = _load(steps=steps, width=32)
        options = {"rank": 1, "train_embeddings": True, "dropout": False, "task": "causal-lm"}
        model = FlatModel(*prepare(base.module, kind="full", generator=torch.Generator(), **options))
        data = tokenise_causal([Example("The patient has chest pain.")] * 2, base.tokenizer, 32)
        losses.append(evaluate(model, model.snapshot(), data, 0).loss)
    assert losses[1] < losses[0] - 0.5


@pytest.mark.parametrize("changed", [{"steps": 4}, {"layers": 2}, {"width": 32}, {"vocabulary": 310}])
def test_what_else_is_asked_for_is_trained_anew(changed: dict[str, int], trainings: list[str]) -> None:
    first = _load()
    assert _load(**changed).weights_hash != first.weights_hash
    assert len(trainings) == 2


def test_the_engines_sources_and_the_data_are_part_of_the_hash(
    monkeypatch: pytest.MonkeyPatch, trainings: list[str]
) -> None:
    first = _load().weights_hash
    for part in ("data_hash", "sources"):
        with monkeypatch.context() as patch:
            patch.setattr(pretraining, part, lambda *_: "another")
            assert _load().weights_hash != first
    assert len(trainings) == 3


def test_a_classifier_takes_all_but_its_head(trainings: list[str]) -> None:
    written, first, second = _load(), _load(0, "sequence-classification"), _load(1, "sequence-classification")
    assert len(trainings) == 1
    for one in (first, second):
        body: Any = one.module
        whole: Any = written.module
        for name, tensor in whole.transformer.state_dict().items():
            assert torch.equal(body.transformer.state_dict()[name], tensor)
    heads = [one.module.score.weight for one in (first, second)]  # type: ignore[union-attr]
    assert not torch.equal(heads[0], heads[1])  # type: ignore[arg-type]


def test_tiny_llama_is_trained_too(trainings: list[str]) -> None:
    small = {"layers": 1, "width": 16, "vocabulary": 300, "trained_on": "sst2", "training_steps": 2}
    for _ in range(2):
        tiny_llama.load(labels=0, generator=SeedTree(0).torch("m"), task="causal-lm", **small)
    assert trainings == ["LlamaForCausalLM"]


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _of_other_shapes(path: Path) -> None:
    tensors = load(path.read_bytes())
    save_file({name: tensor[:1].clone() for name, tensor in tensors.items()}, path)


def _of_other_names(path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, path)


def _without_its_hash(path: Path) -> None:
    save_file(load(path.read_bytes()), path)


def _of_another_key(path: Path) -> None:
    tensors = load(path.read_bytes())
    save_file(tensors, path, metadata={"key": "0" * 16, "content": pretraining._content_hash(tensors)})


def _foreign(path: Path) -> None:
    path.write_bytes(b"\x80\x04\x95 not safetensors at all" * 50)


DAMAGES = [
    _truncated,
    _flipped,
    _empty,
    _of_other_shapes,
    _of_other_names,
    _without_its_hash,
    _of_another_key,
    _foreign,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda one: one.__name__)
def test_a_damaged_file_is_made_anew(
    damage: Any, cache: Path, trainings: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    expected = _weights(_load())
    (path,) = cache.glob("*.safetensors")
    whole = load(path.read_bytes())
    damage(path)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(_weights(_load()), expected)
    assert len(trainings) == 2
    assert "training anew" in caplog.text
    assert all(torch.equal(tensor, whole[name]) for name, tensor in load(path.read_bytes()).items())
    _load()
    assert len(trainings) == 2


def test_weights_that_cannot_be_kept_are_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trainings: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FEDSEC_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        first = _weights(_load())
    assert "set FEDSEC_CACHE" in caplog.text
    assert torch.equal(_weights(_load()), first)
    assert len(trainings) == 2


def test_without_a_setting_the_cache_is_in_the_users_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEDSEC_CACHE")
    monkeypatch.setenv("HOME", "/somewhere/else")
    assert pretraining.cache_folder() == Path("/somewhere/else/.cache/fedsec")


def test_an_unknown_corpus_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(FedsecError, match="clinic-notes"):
        tiny_gpt2.load(labels=0, generator=torch.Generator(), task="causal-lm", trained_on="clinic-note")


def test_another_process_trains_the_same(cache: Path) -> None:
    code = (
        "import torch; from fedsec.models import tiny_gpt2;"
        "b = tiny_gpt2.load(labels=0, generator=torch.Generator(), task='causal-lm', trained_on='sst2', "
        f"training_steps={STEPS}, layers=1, width=16, vocabulary=300);"
        "print(sum(float(p.detach().double().sum()) for p in b.module.parameters()))"
    )
    elsewhere = {**os.environ, "FEDSEC_CACHE": str(cache / "elsewhere")}
    there = subprocess.run([sys.executable, "-c", code], env=elsewhere, capture_output=True, text=True, check=True)
    here = sum(float(p.detach().double().sum()) for p in _load(labels=0).module.parameters())
    assert there.stdout == f"{here}\n"


def test_training_runs_on_one_thread_whatever_the_process_has(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, before = list[int](), torch.get_num_threads()
    update = LocalTrainer.update

    def noted(*given: Any) -> float:
        seen.append(torch.get_num_threads())
        return update(*given)

    monkeypatch.setattr(LocalTrainer, "update", noted)
    torch.set_num_threads(2)
    try:
        _load()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [1]


def test_who_comes_second_waits_and_takes_what_the_first_trained(cache: Path, trainings: list[str]) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda seed: _weights(_load(seed)), range(2))
    assert torch.equal(first, second)
    assert len(trainings) == 1


def test_a_corpus_of_fewer_rows_than_a_batch_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "sst2"
    (folder / "train.jsonl").write_text((folder / "test.jsonl").read_text().partition("\n")[0] + "\n")
    with pytest.raises(FedsecError, match="sst2 has 1 training rows; training takes 16"):
        _load()


def test_a_cells_key_knows_what_its_model_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def of(**params: str) -> str:
        return model_hash("tiny-gpt2", {"layers": 2, "trained_on": "", "tokenizer": "", **params})

    assert of() == model_hash("tiny-gpt2", {}) != model_hash("tiny-llama", {})
    (tmp_path / "vocab.json").write_text("{}")
    monkeypatch.delenv("FEDSEC_CACHE")
    before = of(tokenizer=str(tmp_path)), of(trained_on="sst2")
    assert len({of(), *before, of(trained_on="clinic-notes")}) == 4
    (tmp_path / "vocab.json").write_text('{"a": 0}')
    (tmp_path / "data" / "sst2" / "train.jsonl").write_text('{"text": "b", "label": 0}\n')
    assert of(tokenizer=str(tmp_path)) != before[0]
    assert of(trained_on="sst2") != before[1]


def test_looking_at_what_a_model_reads_needs_no_torch() -> None:
    code = "import sys, fedsec.models.inputs; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
