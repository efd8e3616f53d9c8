"""A scenario's model: which tasks a registered one learns, how long its texts are, and what a cell's key knows."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from fedsec.api import Role
from fedsec.cell import resources
from fedsec.cell.training import train
from fedsec.config.load import load_scenario
from fedsec.config.problems import ConfigError
from fedsec.data.corpus import Example
from fedsec.errors import FedsecError
from fedsec.models.base import load_pretrained
from fedsec.models.byte_tokens import own_tokenizer
from fedsec.plan.cells import expand
from fedsec.plan.keys import cell_key
from fedsec.seeds import SeedTree


def _scenario(model: dict[str, Any], **data: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "name": "test/models",
        "summary": "A test.",
        "model": model,
        "data": {"name": "clinic-notes", "train": 8, "test": 4, "max_tokens": 16, **data},
        "federation": {"clients": 2, "rounds": 1, "batch_size": 2, "learning_rate": 0.01},
        "matrix": {"attack": ["none"], "defense": ["none"]},
    }


WRITER = {"name": "tiny-gpt2", "task": "causal-lm", "layers": 1, "width": 16, "vocabulary": 300}


@pytest.mark.parametrize("name", ["tiny-bert", "minilm"])
def test_an_encoder_that_shall_write_is_refused_before_anything_is_loaded(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"'causal-lm' is nothing that '{name}' learns; allowed: sequence-class"):
        load_scenario(_scenario({"name": name, "task": "causal-lm"}))


@pytest.mark.parametrize("wrong", [{"task": "translation"}, {"precision": "fp16"}, {"precision": True}])
def test_unknown_tasks_and_precisions_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="allowed: one of"):
        load_scenario(_scenario({**WRITER, **wrong}))


def test_rows_longer_than_the_models_positions_are_refused_in_words() -> None:
    scenario = load_scenario(_scenario({**WRITER, "positions": 32}, max_tokens=33))
    with pytest.raises(FedsecError, match=r"data\.max_tokens 33 is more than the 32 positions of model 'tiny-gpt2'"):
        resources.load_model(scenario, 0, SeedTree(0))


@pytest.mark.parametrize(("padding", "longest"), [(None, 32), (1, 30)])
def test_a_classifiers_texts_may_not_be_longer_than_its_folders_positions_either(
    padding: int | None, longest: int, tmp_path: Path
) -> None:
    import transformers

    kind = "Bert" if padding is None else "Roberta"  # whose first two positions are never used
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=310,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=16,
        max_position_embeddings=32,
        **({} if padding is None else {"pad_token_id": padding}),
    )
    getattr(transformers, f"{kind}Model")(config).save_pretrained(tmp_path)
    own_tokenizer(300, 32).save_pretrained(tmp_path)
    model = {"name": str(tmp_path)}
    at_most = load_scenario(_scenario(model, max_tokens=longest))
    assert resources.load_model(at_most, 2, SeedTree(0)).module
    if padding is not None:
        with pytest.raises(FedsecError, match=rf"max_tokens {longest + 1} is more than the {longest} positions"):
            resources.load_model(load_scenario(_scenario(model, max_tokens=longest + 1)), 2, SeedTree(0))
    with pytest.raises(ConfigError, match="33 is more than the 32 positions of model"):  # before anything is loaded
        load_scenario(_scenario(model, max_tokens=33))


@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"max_position_embeddings": null}', '{"n_positions": -1}'])
def test_a_folder_that_says_nothing_of_its_positions_is_left_to_its_loading(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    assert load_scenario(_scenario({"name": str(tmp_path)}, max_tokens=128)).data.max_tokens == 128


def test_each_task_has_its_own_tokens() -> None:
    rows, tokenizer = [Example("pain", 1, prompt="Where? ")], own_tokenizer(300, 64)
    found = [
        resources.tokeniser(load_scenario(_scenario({**WRITER, "task": task})), tokenizer)(rows)
        for task in ("sequence-classification", "causal-lm")
    ]
    assert found[0].learned_from is None
    assert found[1].learned_from is not None
    assert found[1].ids[0][-1] == tokenizer.eos_token_id


@pytest.mark.parametrize("name", ["tiny-gpt2", "tiny-llama"])
def test_decoders_classify_as_well(name: str) -> None:
    scenario = load_scenario(_scenario({**WRITER, "name": name, "task": "sequence-classification"}))
    base = resources.load_model(scenario, 6, SeedTree(0))
    module: Any = base.module
    short, long = (base.tokenizer(text)["input_ids"] for text in ("pain", "pain in the chest"))
    ids = torch.full((2, len(long)), base.tokenizer.pad_token_id)
    ids[0, : len(short)], ids[1] = torch.tensor(short), torch.tensor(long)
    module.eval()
    logits = module(input_ids=ids, attention_mask=(ids != base.tokenizer.pad_token_id).long()).logits
    assert logits.shape == (2, 6)
    torch.testing.assert_close(logits[0], module(input_ids=torch.tensor([short])).logits[0])


def test_a_federation_of_writers_trains_what_causal_tuning_says_in_the_precision_asked_for() -> None:
    losses = {}
    for precision in ("fp32", "bf16"):
        model = {**WRITER, "name": "tiny-llama", "precision": precision, "tuning": {"kind": "lora", "rank": 2}}
        (cell,) = expand(load_scenario(_scenario(model)))
        trained = train(cell, frozenset(), resources.Resources(), lambda _: None)
        assert {p.role for p in trained.model.layout.parameters} == {Role.ADAPTER}
        assert trained.model.setup.task == "causal-lm"
        losses[precision] = trained.outcome.final.loss
    assert losses["fp32"] != losses["bf16"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.01)


def test_a_tokenizers_files_are_part_of_a_cells_key(tmp_path: Path) -> None:
    own_tokenizer(300, 64).save_pretrained(tmp_path)
    (cell,) = expand(load_scenario(_scenario({**WRITER, "tokenizer": str(tmp_path)})))
    before = cell_key(cell)
    own_tokenizer(310, 64).save_pretrained(tmp_path)
    assert cell_key(cell) != before


def test_a_missing_folder_says_what_may_stand_there() -> None:
    with pytest.raises(FedsecError, match="Give a registered name"):
        load_pretrained("no/such-model", labels=2, generator=torch.Generator(), task="causal-lm")


def test_the_pages_example_is_valid() -> None:
    page = Path(__file__).parent.parent.parent / "docs" / "models.md"
    example = page.read_text().partition("```yaml\n")[2].partition("```")[0]
    model = load_scenario(_scenario(yaml.safe_load(example)["model"])).model
    assert (model.task, model.precision, model.params["trained_on"]) == ("causal-lm", "bf16", "clinic-notes")
