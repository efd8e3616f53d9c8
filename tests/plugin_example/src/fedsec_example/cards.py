"""What the package registers. Light: fedsec reads it to list its plug-ins, and imports the methods when they run."""

from fedsec.api import (
    Asks,
    Asset,
    AttackCard,
    Behaviour,
    BetterFor,
    DatasetCard,
    DefenseCard,
    GoalCard,
    MetricCard,
    ModelCard,
    Parameter,
    Position,
    Provenance,
    Shown,
    ThreatModel,
)

ATTACKS = (
    AttackCard(
        name="example-backtrack",
        summary="Malicious clients push the global model back by several times its last step.",
        target=".backtrack:Backtrack",
        parameters=(
            Parameter(
                name="scale",
                default=20.0,
                summary="how many of its last steps the model is pushed back",
                unit="steps",
                provenance=Provenance.GUESS,
                minimum=0.0,
                maximum=1e6,
            ),
        ),
        paper="none: an example",
        limits=("A bound on the norm of updates takes most of its strength.",),
        cost="a copy of the model per malicious client",
        threat=ThreatModel(
            position=Position.CLIENT,
            behaviour=Behaviour.MALICIOUS,
            goal="untargeted",
            budget="threat.malicious clients, every round that they are sampled in",
        ),
    ),
    AttackCard(
        name="example-likely-texts",
        summary="Follows a released language model from its begin token along every token that is likely enough.",
        target=".likely_texts:LikelyTexts",
        parameters=(
            Parameter(
                name="least",
                default=0.05,
                summary="tokens less probable than this are not followed",
                unit="probability",
                provenance=Provenance.GUESS,
                minimum=0.0,
                maximum=1.0,
            ),
            Parameter(
                name="width",
                default=64,
                summary="texts that are followed at a time",
                provenance=Provenance.GUESS,
                minimum=1,
                maximum=100_000,
            ),
            Parameter(
                name="longest",
                default=24,
                summary="tokens of a text at most",
                provenance=Provenance.GUESS,
                minimum=1,
                maximum=10_000,
            ),
        ),
        paper="none: an example; nearest is Carlini et al., USENIX Security 2021, which samples and ranks",
        limits=("Works on causal language models that learned their texts by heart, and on short texts.",),
        cost="one pass of the model per token and text that is followed",
        threat=ThreatModel(
            position=Position.RELEASED_MODEL,
            behaviour=Behaviour.CURIOUS,
            goal="extraction",
            needs=frozenset({Asset.RELEASED_MODEL}),
            budget="some thousand queries",
        ),
    ),
    AttackCard(
        name="example-count-words",
        summary="Counts the words whose embedding an update moves, and takes that for the text's length.",
        target=".count_words:CountWords",
        paper="none: an example",
        deviations="a word that stands twice counts once",
        limits=("Of a batch it counts the words of all texts together.", "Blind where embeddings are not trained."),
        cost="none to speak of",
        threat=ThreatModel(
            position=Position.SERVER,
            behaviour=Behaviour.CURIOUS,
            goal="example-text-lengths",
            needs=frozenset({Asset.ROWS, Asset.WORD_EMBEDDINGS}),
        ),
    ),
)

GOALS = (
    GoalCard(
        name="example-text-lengths",
        summary="Learn how long the texts are that clients train on.",
        target=".text_lengths:TellLengths",
        wants="to learn how long clients' texts are",
        asks=Asks.AFTER,
        method="estimate",
        headline=(
            Shown(
                metric="example/length-match",
                sentence="comes to {value} of the length of the texts of {n} clients",
                square="of the length, n = {n} clients",
                axis="nearness of guessed lengths",
                guess="the usual length",
            ),
        ),
        unit="clients",
        limits=("Lengths in tokens, special ones included.",),
    ),
)

METRICS = (
    MetricCard(
        name="example/length-match",
        summary="How near the guessed lengths of clients' texts are: 1 less the relative error, at least 0.",
        unit="fraction",
        better_for=BetterFor.ATTACKER,
    ),
)

DEFENSES = (
    DefenseCard(
        name="example-norm-bound",
        summary="Scales every update down to the median of their norms.",
        target=".norm_bound:NormBound",
        protects="robustness",
        needs_rows=True,
        parameters=(
            Parameter(
                name="factor",
                default=1.0,
                summary="bound, in medians of the rows' norms",
                unit="median norms",
                provenance=Provenance.GUESS,
                minimum=0.0,
                maximum=1e6,
            ),
        ),
        paper="none: an example; nearest is Sun et al., 2019, section 4.2, whose bound is fixed",
        limits=(
            "A malicious update within it passes.",
            "With half of the clients malicious they set the bound.",
        ),
        cost="one Gram product of the rows",
    ),
    DefenseCard(
        name="example-quiet-answers",
        summary="Answers queries with the highest values only; all others are given one low value.",
        target=".quiet_answers:QuietAnswers",
        protects="privacy",
        parameters=(
            Parameter(
                name="kept",
                default=1,
                summary="values of an answer that are told",
                provenance=Provenance.GUESS,
                minimum=1,
                maximum=1_000_000,
            ),
        ),
        paper="none: an example",
        limits=("Whoever has the weights does not ask.", "Perplexity by way of the answers means little."),
        cost="none",
    ),
)

DATASETS = (
    DatasetCard(
        name="example-weather",
        summary="Generated weather reports; the label is whether to take an umbrella.",
        target=".weather:load",
        labels=("no", "yes"),
        licence="generated",
        limits=("Two words give the label away.",),
    ),
)

MODELS = (
    ModelCard(
        name="example-narrow-bert",
        summary="A BERT-architecture encoder with random weights, narrower than tiny-bert.",
        target=".narrow_bert:load",
        parameters=(
            Parameter(
                name="layers",
                default=1,
                summary="transformer layers",
                provenance=Provenance.GUESS,
                minimum=1,
                maximum=4,
            ),
        ),
        limits=("Random weights: it learns word-level tasks and little else.",),
        cost="milliseconds per step",
    ),
)
