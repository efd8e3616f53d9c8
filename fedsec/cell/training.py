"""One federation of one cell, trained; passive attacks on it share it."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from fedsec.api import Asset, Candidate, ModelSetup, Staged, TrainingSettings, Unit
from fedsec.cell.auxiliary import PublicText
from fedsec.cell.evidence import CellWatcher, Surroundings
from fedsec.cell.hostile import adversary_of, server_of
from fedsec.cell.language import PublicLanguage
from fedsec.cell.pool import Pool, pool_of
from fedsec.cell.resources import (
    Resources,
    deal,
    defense_plugin,
    load_model,
    malicious_clients,
    split,
    tokeniser,
    training_settings,
    truncation,
)
from fedsec.cell.shadows import Shadows, peers
from fedsec.cell.staging import Materials, as_candidates, examples_of, staged
from fedsec.cell.start import PublicStart, Shelf, public_rows, public_samples, public_start
from fedsec.cell.supply import supplied
from fedsec.config.schema import Scenario
from fedsec.data.corpus import Corpus, Example
from fedsec.data.tokens import Tokenised, chosen, content_ids, joined
from fedsec.federation.availability import AvailabilitySettings
from fedsec.federation.checkpoint import Checkpoint
from fedsec.federation.draws import drawn_rows
from fedsec.federation.loop import run
from fedsec.federation.outcome import Outcome
from fedsec.federation.parties import Federation, FederationSettings
from fedsec.federation.plugins import Plugin, Stack, checked, load_state_of
from fedsec.federation.prefix import Prefix
from fedsec.federation.progress import Progress
from fedsec.federation.releases import Released
from fedsec.federation.rounds import RoundStore
from fedsec.federation.transcript import Vault
from fedsec.federation.writing import Asked
from fedsec.models.fingerprint import fingerprint
from fedsec.models.flat import FlatModel
from fedsec.models.frozen_encoder import FrozenEncoder, is_frozen
from fedsec.models.tuning import prepare
from fedsec.plan.cells import Cell, in_round
from fedsec.plan.keys import prefix_key
from fedsec.plan.tasks import rounds_path
from fedsec.plan.visibility import visible
from fedsec.seeds import SeedTree
from fedsec.store.keys import digest


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained federation with what attacks and metrics need of it."""

    outcome: Outcome
    around: Surroundings
    undefended: ModelSetup
    """The setup without the defense stack."""
    stack: Stack
    """The defenses; `defended` returns a copy with their state."""
    materials: Materials
    staged: Staged
    """What the goal of the trained cell staged; empty for attacks that only read."""
    held: tuple[tuple[int, ...], ...]
    """Content tokens of every training text that a client holds: ground truth, for metrics only."""
    test: Tokenised
    malicious: frozenset[int]
    frozen: tuple[float, ...]
    """Fingerprint of the tensors that are not trained."""
    watchers: Mapping[str, CellWatcher]
    """Attacks that observe rounds as they happen, by cell key."""
    start: PublicStart | None = None
    """The start in place of the base model."""
    peers: Callable[[], tuple[Candidate, ...]] = tuple
    """Gives records of the clients' kind that nobody holds and that resemble no candidate."""
    shadows: Shadows | None = None
    """Trains shadows of the released model; None without candidates."""
    released: dict[str, tuple[Stack, Released]] = field(default_factory=dict)
    """What came of it under stacks with defenses that act on the trained model."""

    @property
    def model(self) -> FlatModel:
        """The resident model."""
        return self.around.model

    @property
    def tokenizer(self) -> Any:
        """The model's."""
        return self.around.tokenizer

    def defended(self) -> Stack:
        """Return the defenses as they were after the last round, a new copy for every attack."""
        stack = self.stack.fresh()
        stack.load_state(deepcopy(self.outcome.stack))
        return stack

    def under(self, cell: Cell) -> "Trained":
        """Return the same training with what a cell's defenses make of the trained model.

        Args:
            cell: of the same training; cells with the same stack share the result, which is not to be asked for
                another stack's.
        """
        places = cell.in_training
        if len(places) == len(cell.defense):
            return self
        key = digest(list(cell.told))
        if key not in self.released:
            stack = Stack(tuple(map(defense_plugin, cell.defense)))
            stack.set_up(self.undefended)
            stack.go_on_from(deepcopy(self.outcome.stack), places)
            self.released[key] = (stack, self.outcome.releases.under(stack))
        stack, released = self.released[key]
        return replace(self, stack=stack, outcome=replace(self.outcome, **released.parts()))

    def attacker(self, plugin: Plugin) -> Any:
        """Return a new instance of the attack for every cell, with the state of what acted in the training."""
        made = checked(plugin)
        memory = self.outcome.server or self.outcome.hostile
        if memory:
            load_state_of([made], deepcopy(memory))
        return made


def train(
    cell: Cell,
    observe: frozenset[int],
    resources: Resources,
    on_round: Callable[[Progress], None],
    checkpoint: Checkpoint | None = None,
    *,
    watching: Mapping[str, Cell] = MappingProxyType({}),
    on_notice: Callable[[str], None] = lambda _: None,
    on_data: Callable[[str], None] = lambda _: None,
    pools: Callable[..., Pool | None] = pool_of,
) -> Trained:
    """Run the federation of a cell.

    Args:
        cell: the cell, or any other with the same training key.
        observe: rounds that are kept for attacks.
        resources: loaded corpora.
        on_round: called after every round.
        checkpoint: where progress is kept, and taken up again; None keeps none.
        watching: cells by key whose attacks look at rounds as they happen.
        on_notice: told, before training, what whoever runs it should know.
        on_data: told, once for each corpus, how many rows of which classes it has, and what looks wrong with them.
        pools: draws the pool of candidates; tests put another coin there.
    """
    scenario, seeds = cell.scenario, SeedTree(cell.seed)
    corpus = resources.corpus(scenario)
    for text in resources.about(scenario):
        on_data(text)
    base = load_model(scenario, len(corpus.labels), seeds)
    materials, trusted, test_split = _materials(cell, corpus, base.tokenizer, pools, seeds)
    shelf = Shelf(resources, None if checkpoint is None else checkpoint.path.parent)
    published = public_samples(cell, corpus, materials)
    if cell.supplies:
        published = supplied(cell, base.module, published, materials, shelf)
    stack = Stack(tuple(defense_plugin(cell.defense[place]) for place in cell.in_training))
    model, undefended = _flat_model(scenario, base.module, stack, resources.device, seeds)
    acts = cell.acts and not lacking(cell, model.setup)
    plants = cell.goal is not None and cell.goal.plants
    plan = staged(cell, materials, model.layout.size) if cell.acts or plants else Staged()
    planted = {client: examples_of(samples) for client, samples in plan.planted.items() if samples}
    examples, tokens, held_rows = _with_planted(materials, planted)
    start = public_start(cell, published, materials, model, shelf)
    settings = _settings(cell, observe)
    pinned = malicious_clients(scenario, cell.seed) if scenario.threat.participation.kind == "fixed" else frozenset()
    if is_frozen(model.setup):
        drawn = drawn_rows(settings.rounds, settings.cohort, materials.rows, trusted, settings.training, seeds, pinned)
        _encode_once(cell, model, resources, materials.train, drawn, test_split, base.tokenizer)
    own = (*materials.part.train, *materials.part.test)
    vault = Vault()
    around = Surroundings(
        model=model,
        tokenizer=base.tokenizer,
        classes=corpus.labels,
        vault=vault,
        public=PublicText(resources, own, base.tokenizer),
        start=model.snapshot() if cell.encrypted < 1.0 else None,
    )
    watchers = {key: CellWatcher(one, around) for key, one in watching.items()}
    federation = Federation(
        model=model,
        train=tokens,
        test=test_split,
        examples=examples,
        tokenise=materials.tokenise,
        tokenizer=base.tokenizer,
        rows=held_rows,
        trusted=trusted,
        pinned=pinned,
        classes=corpus.labels,
        stack=stack,
        adversary=adversary_of(cell, plan.question) if acts and cell.forges else None,
        server=server_of(cell, plan.question) if acts and cell.alters_broadcast else None,
        asked=_asked(scenario, materials.part.test, test_split),
        seen=materials.seen,
        language=PublicLanguage(scenario, resources, own, base.tokenizer).granted(),
        watched={name: materials.tokenise(examples_of(texts)) for name, texts in plan.watched.items()},
        canaries=plan.canaries,
        silent=frozenset(one.client for one in plan.withheld if one.unit == Unit.CLIENT),
        watchers=list(watchers.values()),
        vault=vault,
        store=RoundStore(rounds_path(checkpoint.path) if checkpoint else None),
        processes=resources.processes,
        settings=settings,
        seeds=seeds,
        on_round=on_round,
        on_notice=on_notice,
    )
    seen = observe.union(*(watcher.rounds for watcher in watchers.values()))
    outcome = run(federation, checkpoint, _prefix(cell, seen, checkpoint))
    FrozenEncoder.take_out(model.module)
    if torch.device(resources.device).type != "cpu":  # what attacks draw lies on the CPU; so does the model they see
        around = replace(around, model=FlatModel(model.module, model.setup, precision=scenario.model.precision))
        federation.model = around.model
    return Trained(
        outcome,
        around,
        undefended,
        federation.stack,
        materials,
        plan,
        tuple(content_ids(tokens.ids[row], base.tokenizer) for client in held_rows for row in client),
        test_split,
        federation.adversary.clients if federation.adversary else frozenset(),
        fingerprint(around.model.module),
        watchers,
        start,
        _peers(scenario, corpus, materials, seeds),
        _shadows(materials, outcome, settings.training, around.model, seeds),
    )


def _materials(
    cell: Cell, corpus: Corpus, tokenizer: Any, pools: Callable[..., Pool | None], seeds: SeedTree
) -> tuple[Materials, np.ndarray, Tokenised]:
    """Return what clients hold, the server's own rows, and the test rows."""
    scenario = cell.scenario
    part, train_split, test_split = split(scenario, corpus, tokenizer, seeds)
    pool = pools(scenario, part.train, seeds)
    rows, trusted = deal(scenario, part.train, pool, seeds)
    materials = Materials(
        part=part,
        train=train_split,
        rows=rows,
        pool=pool,
        tokenizer=tokenizer,
        tokenise=tokeniser(scenario, tokenizer),
        whole=tokeniser(scenario, tokenizer, whole=True),
        seen=truncation(scenario, tokenizer),
    )
    return materials, trusted, test_split


def _flat_model(
    scenario: Scenario, module: Any, stack: Stack, device: str, seeds: SeedTree
) -> tuple[FlatModel, ModelSetup]:
    """Return the model with the tensors that are trained under the defenses, and its setup without them."""
    tuning = scenario.model.tuning
    tuned, undefended = prepare(
        module,
        kind=tuning.kind,
        rank=tuning.rank,
        train_embeddings=tuning.trains_embeddings,
        dropout=scenario.model.dropout,
        generator=seeds.torch("adapters"),
        task=scenario.model.task,
        targets=tuning.targets,
    )
    setup = stack.set_up(undefended)
    return FlatModel(tuned, setup, device=torch.device(device), precision=scenario.model.precision), undefended


def _peers(
    scenario: Scenario, corpus: Corpus, materials: Materials, seeds: SeedTree
) -> Callable[[], tuple[Candidate, ...]]:
    """Return a function that gives records of the clients' kind that nobody holds, looked for once."""

    @cache
    def found() -> tuple[Candidate, ...]:
        if materials.pool is None:
            return ()
        own = [materials.part.train[row] for row in materials.pool.rows.tolist()]
        public = () if scenario.model.start is None else public_rows(scenario, corpus, materials.part, own, seeds)
        rows = peers(corpus, materials.part, own, public, len(own), seeds)
        return as_candidates(rows, materials.tokenise(rows))

    return found


def _shadows(
    materials: Materials, outcome: Outcome, training: TrainingSettings, model: FlatModel, seeds: SeedTree
) -> Shadows | None:
    """Return what trains shadows of the released model."""
    if materials.pool is None:
        return None
    rows = chosen(materials.train, materials.pool.rows)
    return Shadows(training, outcome.start, rows, materials.tokenizer.pad_token_id, model.setup.dropout, seeds)


def _asked(scenario: Scenario, rows: Sequence[Example], tokens: Tokenised) -> Asked | None:
    """Return the prompts that the model is asked to answer: the first test rows' that have one."""
    wanted = scenario.evaluation
    if wanted.generate is None or tokens.learned_from is None:
        return None
    chosen = tuple(row for row in range(wanted.generate) if rows[row].prompt)
    prompts = tuple(tuple(tokens.ids[row][: tokens.learned_from[row]]) for row in chosen)
    return Asked(chosen, prompts, wanted.max_new_tokens)


def _with_planted(
    materials: Materials, planted: Mapping[int, tuple[Example, ...]]
) -> tuple[tuple[Example, ...], Tokenised, list[np.ndarray]]:
    """Return the training rows followed by what a goal plants, and the rows of each client then."""
    examples, tokens, rows = materials.part.train, materials.train, list(materials.rows)
    for client, own in sorted(planted.items()):
        rows[client] = np.concatenate([rows[client], np.arange(len(examples), len(examples) + len(own))])
        examples, tokens = (*examples, *own), joined(tokens, materials.tokenise(own))
    return examples, tokens, rows


def _prefix(cell: Cell, seen: frozenset[int], checkpoint: Checkpoint | None) -> Prefix | None:
    """Return the honest rounds that the cell shares with others; None if there are none, or an attack observes them."""
    key, first = prefix_key(cell), cell.scenario.threat.participation.first
    late = cell.scenario.federation.availability.max_staleness  # the truth of a late message is noted when it is sent
    if key is None or checkpoint is None or min(seen, default=first + late) < first + late:
        return None
    return Prefix(checkpoint.path.parent / f"honest-{key}.safetensors", key, first - 1)


def _encode_once(
    cell: Cell,
    model: FlatModel,
    resources: Resources,
    train: Tokenised,
    drawn: np.ndarray,
    test: Tokenised,
    tokenizer: Any,
) -> None:
    """Replace a frozen encoder by its outputs for the test rows and the training rows that are drawn."""
    used = Tokenised([train.ids[row] for row in drawn], train.labels[drawn])
    known = resources.encodings(cell, model.module, (used, test), drawn, tokenizer.pad_token_id)
    if known is not None:
        FrozenEncoder.put_into(model.module, known)


def lacking(cell: Cell, setup: ModelSetup) -> frozenset[Asset]:
    """Return what a malicious client needs of its own updates and does not find there."""
    if cell.threat is None or not cell.forges:
        return frozenset()
    return cell.threat.needs - visible(cell.sight(), setup) - {Asset.ROWS}


def _settings(cell: Cell, observe: frozenset[int]) -> FederationSettings:
    scenario = cell.scenario
    federation = scenario.federation
    return FederationSettings(
        training=training_settings(scenario),
        rounds=federation.rounds,
        cohort=federation.cohort,
        server_learning_rate=federation.server_learning_rate,
        server_optimizer=federation.server_optimizer,
        weighting=federation.weighting,
        evaluate_every=federation.evaluate_every,
        declared_malicious=in_round(scenario, scenario.threat.declared),
        observe=observe,
        randomness=scenario.randomness,
        availability=AvailabilitySettings(**federation.availability.model_dump()),
    )
