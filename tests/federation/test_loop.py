"""The round loop: against slow references, with hostile clients, and with the smallest possible plug-ins."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from fedsec.api import ClientView, ColluderView, Granted, Knowledge, Mixed, RoundContext, TrainingSettings, Update
from fedsec.data.corpus import Corpus, Example
from fedsec.data.tokens import collate, tokenise
from fedsec.errors import FedsecError
from fedsec.federation.clients import Adversary
from fedsec.federation.holdings import Holdings
from fedsec.federation.loop import run
from fedsec.federation.outcome import Outcome
from fedsec.federation.parties import Federation, FederationSettings
from fedsec.federation.plugins import Plugin, Stack
from fedsec.maths.rows import Rows
from fedsec.models import tiny_bert
from fedsec.models.flat import FlatModel
from fedsec.models.tuning import prepare
from fedsec.seeds import SeedTree

CLIENTS = 5
DELTA = TrainingSettings(update="delta", optimizer="sgd", learning_rate=0.1, local_steps=2, batch_size=3)
GRADIENT = TrainingSettings(update="gradient", optimizer="sgd", learning_rate=0.1, local_steps=1, batch_size=3)


def _corpus() -> Corpus:
    words = ("chest", "knee", "lung", "skin", "head", "fever")
    rows = tuple(Example(f"patient with {words[i % 6]} pain since day {i}", i % 6) for i in range(60))
    return Corpus(rows[:50], rows[50:], words)


def _federation(
    *,
    training: TrainingSettings = DELTA,
    rounds: int = 2,
    cohort: int = CLIENTS,
    attack: Plugin | None = None,
    malicious: frozenset[int] = frozenset(),
    stack: tuple[Plugin, ...] = (),
    declared: int = 0,
    observe: frozenset[int] = frozenset(),
    weighting: str = "uniform",
    obeys: bool = False,
    benign: bool = False,
    dropout: bool = False,
) -> Federation:
    seeds, corpus = SeedTree(0), _corpus()
    base = tiny_bert.load(labels=6, generator=seeds.torch("model"), width=32)
    module, setup = prepare(
        base.module,
        kind="full",
        rank=1,
        train_embeddings=True,
        dropout=dropout,
        generator=seeds.torch("adapters"),
    )
    model = FlatModel(module, setup)
    return Federation(
        model=model,
        train=tokenise(corpus.train, base.tokenizer, 32),
        test=tokenise(corpus.test, base.tokenizer, 32),
        examples=corpus.train,
        tokenise=partial(tokenise, tokenizer=base.tokenizer, max_tokens=32),
        tokenizer=base.tokenizer,
        rows=np.split(np.arange(50), [5, 15, 25, 40]),
        stack=Stack(stack),
        adversary=None
        if attack is None
        else Adversary(clients=malicious, attack=attack, obeys_client_defenses=obeys, grants_benign_updates=benign),
        settings=FederationSettings(
            training=training,
            rounds=rounds,
            cohort=cohort,
            server_learning_rate=1.0,
            weighting=weighting,
            evaluate_every=1,
            declared_malicious=declared,
            observe=observe,
        ),
        seeds=seeds,
    )


def _chosen(federation: Federation, client: int, number: int = 1) -> list[np.ndarray]:
    f, training = federation, federation.settings.training
    holdings = Holdings(f.train, f.examples, f.rows, f.tokenise, f.tokenizer, f.seeds)
    return holdings.choose(number, client, f.rows[client], training)


def _final(federation: Federation) -> tuple[Outcome, torch.Tensor]:
    outcome = run(federation)
    return outcome, federation.model.values.clone()


@dataclass(frozen=True)
class Sends:
    """A malicious client that sends whatever it is told to."""

    payload: Any

    def on_update(self, update: Update, view: ClientView) -> Any:
        return replace(update, vector=self.payload(update.vector) if callable(self.payload) else self.payload)


@dataclass(frozen=True)
class Halves:
    """An honest client-side defense."""

    def on_update(self, update: Update, view: ClientView) -> Update:
        return replace(update, vector=update.vector / 2)


@dataclass(frozen=True)
class DropsTheLast:
    """A filter."""

    def mix(self, rows: Rows, context: RoundContext) -> Mixed:
        return Mixed(torch.eye(len(rows), dtype=torch.float64)[:-1], context.declared_malicious)


@dataclass(frozen=True)
class TakesTheFirst:
    """A rule."""

    def weights(self, rows: Rows, context: RoundContext) -> torch.Tensor:
        chosen = torch.zeros(len(rows), dtype=torch.float64)
        chosen[0] = 1.0
        return chosen


HOSTILE = {
    "too short": lambda u: u[:-1],
    "too long": lambda u: torch.cat([u, u[:1]]),
    "empty": torch.empty(0),
    "matrix": lambda u: u[None, :],
    "double": lambda u: u.double(),
    "half": lambda u: u.half(),
    "integers": lambda u: u.long(),
    "nan": lambda u: torch.where(torch.arange(len(u)) == 3, torch.nan, u),
    "inf": lambda u: torch.where(torch.arange(len(u)) == 3, torch.inf, u),
    "minus inf": lambda u: torch.where(torch.arange(len(u)) == 3, -torch.inf, u),
    "1e30": lambda u: torch.where(torch.arange(len(u)) == 3, 1e30, u),
    "none": None,
    "text": "update",
    "list": [1.0, 2.0],
}


@pytest.mark.parametrize("payload", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("stack", [(), (Plugin("rule", TakesTheFirst),)], ids=["mean", "rule"])
def test_a_hostile_update_is_dropped_counted_and_never_reaches_the_model(payload: Any, stack: Any) -> None:
    outcome, values = _final(
        _federation(attack=Plugin("sends", partial(Sends, payload)), malicious=frozenset({0}), stack=stack)
    )
    assert values.isfinite().all()
    assert values.abs().max() < 10
    for summary in outcome.rounds:
        assert [rejection.client for rejection in summary.rejected] == [0]
        assert summary.weights is not None
        assert len(summary.weights) == CLIENTS - 1


def test_dropping_a_client_equals_the_mean_of_the_others() -> None:
    federation = _federation(
        attack=Plugin("sends", partial(Sends, None)),
        malicious=frozenset({2}),
        rounds=1,
        observe=frozenset({1}),
    )
    start = federation.model.values.clone()
    outcome, values = _final(federation)
    observed = outcome.observed[1]
    assert observed.clients == (0, 1, 3, 4)
    torch.testing.assert_close(values, start + observed.rows.double().mean(dim=0).float(), rtol=0, atol=1e-7)


def test_a_dropped_update_is_one_of_those_that_were_declared_malicious() -> None:
    told: list[tuple[int, int]] = []

    class Notes(TakesTheFirst):
        def weights(self, rows: Rows, context: RoundContext) -> torch.Tensor:
            told.append((len(rows), context.declared_malicious))
            return TakesTheFirst.weights(self, rows, context)

    hostile = Plugin("sends", partial(Sends, None))
    run(_federation(attack=hostile, malicious=frozenset({2}), stack=(Plugin("rule", Notes),), declared=2, rounds=1))
    assert told == [(CLIENTS - 1, 1)]


def test_a_round_without_a_usable_update_keeps_the_model() -> None:
    federation = _federation(attack=Plugin("sends", partial(Sends, None)), malicious=frozenset(range(CLIENTS)))
    start = federation.model.values.clone()
    outcome, values = _final(federation)
    assert torch.equal(values, start)
    assert all(summary.skipped == "no client sent a usable update" for summary in outcome.rounds)


def test_a_rule_whose_precondition_fails_through_drop_outs_keeps_the_model() -> None:
    needs = Plugin("rule", TakesTheFirst, lambda population: None if population.clients >= 5 else "needs n >= 5")
    federation = _federation(
        attack=Plugin("sends", partial(Sends, None)), malicious=frozenset({1}), stack=(needs,), declared=1
    )
    start = federation.model.values.clone()
    outcome, values = _final(federation)
    assert torch.equal(values, start)
    assert outcome.rounds[0].skipped == "needs n >= 5"


def test_an_attack_without_a_malicious_client_changes_nothing_bit_for_bit() -> None:
    plain, plain_values = _final(_federation(dropout=True))
    armed, armed_values = _final(_federation(dropout=True, attack=Plugin("sends", partial(Sends, None))))
    assert torch.equal(plain_values, armed_values)
    assert plain.curve == armed.curve


def test_honest_rows_do_not_depend_on_an_attack_beside_them() -> None:
    plain = run(_federation(rounds=1, observe=frozenset({1}), dropout=True))
    attacked = run(
        _federation(
            rounds=1,
            observe=frozenset({1}),
            dropout=True,
            attack=Plugin("sends", partial(Sends, lambda u: -u)),
            malicious=frozenset({4}),
        )
    )
    assert torch.equal(plain.observed[1].rows[:4], attacked.observed[1].rows[:4])
    assert torch.equal(plain.observed[1].rows[4], -attacked.observed[1].rows[4])


def test_fedsgd_is_one_step_along_the_mean_gradient() -> None:
    federation = _federation(training=GRADIENT, rounds=1, observe=frozenset({1}))
    start = federation.model.values.clone()
    outcome, values = _final(federation)
    gradients = []
    for client in range(CLIENTS):  # an independent loop with torch's own autograd
        chosen = _chosen(federation, client)[0]
        batch = collate(federation.train, chosen, 0)
        federation.model.load(start)
        names = [p.name for p in federation.model.layout.parameters]
        parameters = dict(federation.model.module.named_parameters())
        logits = federation.model.module(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        loss = torch.nn.functional.cross_entropy(logits, batch.labels)
        found = torch.autograd.grad(loss, [parameters[name] for name in names])
        gradients.append(torch.cat([g.to_dense().reshape(-1) for g in found]))
    torch.testing.assert_close(outcome.observed[1].rows, torch.stack(gradients), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(values, start - 0.1 * torch.stack(gradients).mean(dim=0), rtol=1e-4, atol=1e-6)


def test_weighting_by_examples_is_the_weighted_mean() -> None:
    outcome = run(_federation(weighting="examples", rounds=1))
    np.testing.assert_allclose(outcome.rounds[0].weights, np.array([5, 10, 10, 15, 10]) / 50)


def test_filters_and_rules_decide_the_weights() -> None:
    outcome = run(_federation(stack=(Plugin("filter", DropsTheLast),), rounds=1))
    assert outcome.rounds[0].weights == (0.25, 0.25, 0.25, 0.25, 0.0)
    both = run(_federation(stack=(Plugin("filter", DropsTheLast), Plugin("rule", TakesTheFirst)), rounds=1))
    assert both.rounds[0].weights == (1.0, 0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("obeys", [False, True])
def test_malicious_clients_skip_client_side_defenses_unless_they_obey(obeys: bool) -> None:
    plain = run(_federation(rounds=1, observe=frozenset({1}))).observed[1].rows
    defended = run(
        _federation(
            rounds=1,
            observe=frozenset({1}),
            stack=(Plugin("halves", Halves),),
            attack=Plugin("sends", partial(Sends, lambda u: -u)),
            malicious=frozenset({0}),
            obeys=obeys,
        )
    )
    rows = defended.observed[1].rows
    assert torch.equal(rows[1:], plain[1:] / 2)
    assert torch.equal(rows[0], -plain[0] / 2 if obeys else -plain[0])


def test_benign_updates_reach_colluders_only_when_granted() -> None:
    seen: list[ColluderView] = []

    @dataclass(frozen=True)
    class Looks:
        def on_update(self, update: Update, view: ColluderView) -> Update:
            seen.append(view)
            return update

    for benign in (False, True):
        run(
            _federation(
                rounds=1,
                attack=Plugin("looks", Looks),
                malicious=frozenset({1, 3}),
                benign=benign,
                stack=(Plugin("halves", Halves),),
            )
        )
    plain = run(_federation(rounds=1, observe=frozenset({1}))).observed[1].rows
    hidden, shown = seen[0], seen[2]
    assert Knowledge.BENIGN_UPDATES not in hidden.granted
    assert torch.equal(shown.granted[Knowledge.BENIGN_UPDATES], plain[[0, 2, 4]] / 2), "what they really send"
    assert torch.equal(shown.own_rows, plain[[1, 3]])
    assert shown.colluders == (1, 3)
    assert seen[2].blackboard is seen[3].blackboard


def test_what_a_plugin_does_to_its_view_changes_nothing_else() -> None:
    @dataclass(frozen=True)
    class Vandal:
        def on_update(self, update: Update, view: ColluderView) -> Update:
            honest = replace(update, vector=update.vector.clone())
            for tensor in (view.global_parameters, view.own_rows, view.granted[Knowledge.BENIGN_UPDATES]):
                tensor.zero_()
            update.vector.zero_()
            return honest

    attack = Plugin("vandal", Vandal)
    _, plain = _final(_federation())
    _, visited = _final(_federation(attack=attack, malicious=frozenset({1, 3}), benign=True))
    assert torch.equal(plain, visited)


def test_obeying_means_that_what_is_forged_is_still_bounded() -> None:
    @dataclass(frozen=True)
    class Clips:
        def on_update(self, update: Update, view: ClientView) -> Update:
            return replace(update, vector=update.vector * min(1.0, 0.01 / float(update.vector.norm())))

    outcome = run(
        _federation(
            rounds=1,
            observe=frozenset({1}),
            stack=(Plugin("clips", Clips),),
            attack=Plugin("sends", partial(Sends, lambda u: 1000 * u)),
            malicious=frozenset({0}),
            obeys=True,
        )
    )
    assert float(outcome.observed[1].rows[0].norm()) == pytest.approx(0.01, rel=1e-3)


def test_a_coordinate_wise_rule_returns_the_update_itself() -> None:
    @dataclass(frozen=True)
    class Median:
        def vector(self, rows: Rows, context: RoundContext) -> torch.Tensor:
            return torch.cat([chunk.median(dim=0).values for chunk in rows.chunks()]).float()

    federation = _federation(stack=(Plugin("median", Median),), rounds=1, observe=frozenset({1}))
    start = federation.model.values.clone()
    outcome, values = _final(federation)
    torch.testing.assert_close(values, start + outcome.observed[1].rows.median(dim=0).values)
    assert outcome.rounds[0].weights is None
    assert outcome.rounds[0].skipped is None


@pytest.mark.parametrize("bad", [torch.tensor([float("nan")] * 5, dtype=torch.float64), torch.ones(3), None])
def test_a_rule_that_returns_nonsense_is_named(bad: Any) -> None:
    @dataclass(frozen=True)
    class Nonsense:
        def weights(self, rows: Rows, context: RoundContext) -> Any:
            return bad

    with pytest.raises(ValueError, match="my-rule returned"):
        run(_federation(stack=(Plugin("my-rule", Nonsense),)))


def test_a_plugin_without_a_hook_is_refused() -> None:
    @dataclass(frozen=True)
    class Misspelt:
        weights: str = "a field is no hook"

        def on_updates(self) -> None: ...

    with pytest.raises(FedsecError, match="misspelt has none of the hooks"):
        Stack((Plugin("misspelt", Misspelt),))


def test_two_noises_of_one_name_in_a_stack_draw_apart() -> None:
    @dataclass(frozen=True)
    class Noise:
        def on_update(self, update: Update, view: ClientView) -> Update:
            return replace(update, vector=torch.randn(len(update.vector), generator=view.generator))

    @dataclass(frozen=True)
    class AddsNoise:
        def on_update(self, update: Update, view: ClientView) -> Update:
            noise = torch.randn(len(update.vector), generator=view.generator)
            return replace(update, vector=update.vector - noise)

    stack = (Plugin("noise", Noise), Plugin("noise", AddsNoise))
    rows = run(_federation(stack=stack, rounds=1, observe=frozenset({1}))).observed[1].rows
    assert float(rows.abs().max()) > 1, "equal streams would cancel"


def test_a_claim_beyond_enrolment_is_clamped() -> None:
    @dataclass(frozen=True)
    class Boasts:
        def on_update(self, update: Update, view: ClientView) -> Update:
            return replace(update, examples=10**9)

    attack = Plugin("boasts", Boasts)
    plain = run(_federation(weighting="examples", rounds=1))
    boasted = run(_federation(weighting="examples", rounds=1, attack=attack, malicious=frozenset({0})))
    assert boasted.rounds[0].weights == plain.rounds[0].weights


def test_a_batch_holds_no_row_twice() -> None:
    federation = _federation(training=replace(DELTA, local_steps=7))
    for client in range(CLIENTS):
        for rows in _chosen(federation, client):
            assert len(set(rows.tolist())) == len(rows) == 3


def test_asking_whether_knowledge_is_there_does_not_count_as_using_it() -> None:
    granted = Granted({Knowledge.LABELS: (1,)})
    assert Knowledge.LABELS in granted
    assert not granted.used
    assert granted[Knowledge.LABELS] == (1,)
    assert granted.used == {Knowledge.LABELS}


def test_the_vault_holds_what_the_client_trained_on() -> None:
    federation = _federation(rounds=1, observe=frozenset({1}))
    outcome = run(federation)
    secret = outcome.vault.secrets[1, 0]
    rows = np.concatenate(_chosen(federation, 0))
    assert secret.labels == tuple(int(federation.train.labels[i]) for i in rows)
    decoded = federation.tokenizer.decode(secret.tokens[0])
    assert decoded == federation.examples[rows[0]].text


def test_a_sampled_cohort_is_sorted_distinct_and_repeatable() -> None:
    first, second = run(_federation(cohort=3, rounds=4)), run(_federation(cohort=3, rounds=4))
    cohorts = [summary.clients for summary in first.rounds]
    assert cohorts == [summary.clients for summary in second.rounds]
    assert all(list(c) == sorted(set(c)) and len(c) == 3 for c in cohorts)
    assert len(set(cohorts)) > 1


def test_two_rules_in_a_stack_are_refused() -> None:
    rule = Plugin("rule", TakesTheFirst)
    with pytest.raises(FedsecError, match="one rule"):
        Stack((rule, rule))
