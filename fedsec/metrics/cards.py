"""Cards of the metrics."""

from fedsec.api import BetterFor, MetricCard, Tells


def _leakage(name: str, summary: str, *limits: str) -> MetricCard:
    return MetricCard(
        name=f"leakage/{name}", summary=summary, unit="fraction", better_for=BetterFor.ATTACKER, limits=limits
    )


_WORDS = (
    "Words of every script; in scripts without spaces each letter counts as one. English values are rouge-score's own."
)


_FLAGGED = (
    "A sender is flagged if its update is refused, or its weight, and its weight times its norm, is below a tenth of "
    "an equal share."
)
_ROUNDS = "It needs filters or a rule with weights; the interval treats the rounds of a training as independent."

_ONE_SIDED = "One-sided at 95 %: an epsilon below it is refuted, an epsilon above it is not shown."

CARDS = (
    MetricCard(
        name="utility/accuracy",
        tells=Tells.CORRECT,
        words="accuracy",
        guess="always the largest class",
        summary="Test rows that the global model classifies right after the last round.",
        unit="fraction",
        better_for=BetterFor.DEFENDER,
    ),
    MetricCard(
        name="utility/perplexity",
        tells=Tells.QUALITY,
        words="perplexity",
        summary="exp of the mean negative log likelihood per learned test token after the last round.",
        unit="perplexity",
        better_for=BetterFor.ATTACKER,
        limits=(
            "It is per token, so models with different tokenizers do not compare.",
            "It is at most e^100 per text, since infinity cannot be written.",
        ),
    ),
    MetricCard(
        name="utility/next-token-accuracy",
        tells=Tells.CORRECT,
        words="next-token accuracy",
        guess="always the commonest token",
        summary="Learned test tokens that a causal language model gives the highest probability after the last round.",
        unit="fraction",
        better_for=BetterFor.DEFENDER,
    ),
    MetricCard(
        name="utility/perplexity-before",
        tells=Tells.BEFORE,
        words="perplexity before training",
        summary="The same of the model before training; only where the scenario asks for texts (evaluation.generate).",
        unit="perplexity",
        better_for=BetterFor.ATTACKER,
    ),
    MetricCard(
        name="utility/rouge-l",
        tells=Tells.WRITTEN,
        words="ROUGE-L of what it writes",
        guess="before training",
        summary="ROUGE-L F of what the released model writes greedily after test prompts, against the rows' own texts.",
        unit="fraction",
        better_for=BetterFor.DEFENDER,
        limits=(
            "One text is one of many right answers: it measures likeness of words, not whether an answer is right.",
            "Texts are cut at evaluation.max_new_tokens, their references are not.",
            _WORDS,
        ),
    ),
    MetricCard(
        name="utility/rouge-l-before",
        summary="The same of the model before training, which is also the baseline of utility/rouge-l.",
        unit="fraction",
        better_for=BetterFor.DEFENDER,
    ),
    MetricCard(
        name="utility/tail-accuracy",
        tells=Tells.TAIL,
        words="accuracy over the last rounds",
        guess="always the same answer",
        summary="Mean of the accuracies (next-token accuracies) evaluated in the last fifth of the rounds.",
        unit="fraction",
        better_for=BetterFor.DEFENDER,
        limits=(
            "It is measured on the global model, before any defense of the released model.",
            "It has as many evaluations as federation.evaluate_every puts into the last fifth, at least one.",
            "Evaluations share their test rows, so the interval is that of one evaluation with the mean rate.",
        ),
    ),
    MetricCard(
        name="utility/dropped-updates",
        summary="Updates of honest clients that the server refused: with values that are no numbers, or far too large.",
        unit="fraction",
        better_for=BetterFor.ATTACKER,
        limits=("Counted, not sampled: no interval. Above 0 without an attack, the training itself is at fault.",),
    ),
    MetricCard(
        name="utility/skipped-rounds",
        summary="Rounds that left the global model as it was, no usable update having arrived.",
        unit="fraction",
        better_for=BetterFor.ATTACKER,
        limits=("Counted, not sampled: no interval. At 1 the model never moved.",),
    ),
    _leakage("exact-match", "Texts recovered token by token, in order, special tokens aside."),
    _leakage("rouge-1", "Word overlap (ROUGE-1 F) of each text with the reconstruction matched to it.", _WORDS),
    _leakage("rouge-2", "Word pair overlap (ROUGE-2 F), over texts of at least two words.", _WORDS),
    _leakage("rouge-l", "Longest common word sequence (ROUGE-L F).", _WORDS),
    _leakage("best-rouge-l", "ROUGE-L F of each client's best recovered text; interval over clients."),
    *(
        _leakage(f"{name}-lamp", f"{name.upper()} F as in LAMP's and DAGER's tables: special tokens count as words.")
        for name in ("rouge-1", "rouge-2", "rouge-l")
    ),
    _leakage("token-f1", "Overlap of the token multisets (F1), order aside."),
    _leakage("token-recall", "Tokens of a text that its reconstruction holds, order aside."),
    _leakage("pii-recall", "Planted personal data that a reconstruction spells out."),
    _leakage("verified-exact", "Texts recovered exactly that the attack could also prove without the truth."),
    MetricCard(
        name="leakage/false-claim",
        summary="Among the reconstructions that the attack calls verified, those that are not exact.",
        unit="fraction",
        better_for=BetterFor.DEFENDER,
    ),
    MetricCard(
        name="extraction/recall",
        summary="Different training texts that an adversary with the released model spells out exactly.",
        unit="fraction",
        better_for=BetterFor.ATTACKER,
    ),
    MetricCard(
        name="robustness/utility-drop",
        summary="Accuracy lost to the attack, paired with the same defense and seed without it.",
        unit="fraction",
        better_for=BetterFor.ATTACKER,
    ),
    MetricCard(
        name="robustness/detection-precision",
        tells=Tells.FLAGS_RIGHT,
        words="flags right",
        summary="Among the senders that the rule's weights flag, those that are malicious.",
        unit="fraction",
        better_for=BetterFor.DEFENDER,
        limits=(
            _FLAGGED,
            "Krum keeps one of n updates and flags n - 1 by design: compare with the baseline, which flags at random.",
            _ROUNDS,
        ),
    ),
    MetricCard(
        name="robustness/detection-recall",
        tells=Tells.CAUGHT,
        words="malicious flagged",
        summary="Among the messages of malicious clients, those that the rule's weights flag.",
        unit="fraction",
        better_for=BetterFor.DEFENDER,
        limits=(
            _FLAGGED,
            "A rule that flags almost everybody has a high recall, and one that clips flags nobody: compare "
            "with the baseline.",
            _ROUNDS,
        ),
    ),
    *(
        MetricCard(name=f"membership/{name}", summary=summary, unit="fraction", better_for=BetterFor.ATTACKER)
        for name, summary in (
            ("auc", "Pairs of a member and another candidate in which the attack scores the member higher."),
            ("blind-auc", "The same of an attack that saw the candidates' words and no model: 0.5 where all is well."),
            ("tpr@fpr=0.01", "Members above the threshold that at most 1 % of the other candidates reach."),
            ("tpr@fpr=0.05", "Members above the threshold that at most 5 % of the other candidates reach."),
            ("holdings-auc", "The AUC of an attack on updates for all that clients hold, whether it was drawn or not."),
            ("holdings-tpr@fpr=0.01", "Members found at 1 % false positives, for all that clients hold."),
        )
    ),
    MetricCard(
        name="membership/epsilon-lower-bound",
        summary="The epsilon that the attack's scores show at least, as an audit (data.candidates.inclusion: coin).",
        unit="epsilon",
        better_for=BetterFor.ATTACKER,
        limits=("Texts are weak canaries: it is reported, and decides nothing.", _ONE_SIDED),
    ),
    MetricCard(
        name="membership/ceiling",
        summary="The largest such bound that so many candidates allow.",
        unit="epsilon",
        better_for=BetterFor.NEITHER,
    ),
    MetricCard(
        name="audit/refuted",
        summary="Audits whose bound on epsilon is above what the ledger promises.",
        unit="fraction",
        better_for=BetterFor.ATTACKER,
        limits=(
            "A promise of up to 4 is held against the one-run bound, a larger one against that for Gaussian noise too.",
            "In at most 5 % of rows any seed refutes what keeps its promise; the pooled bound does not decide.",
        ),
    ),
    *(
        MetricCard(name=f"audit/{name}", summary=summary, unit="epsilon", better_for=better, limits=limits)
        for name, summary, better, limits in (
            (
                "epsilon-lower-bound",
                "The epsilon that one run's canaries show at least, whatever the mechanism is.",
                BetterFor.ATTACKER,
                (_ONE_SIDED,),
            ),
            ("ceiling", "The largest such bound: every guess is right.", BetterFor.NEITHER, ()),
            (
                "epsilon-lower-bound-gdp",
                "The epsilon that one run's canaries show at least of a mechanism that adds Gaussian noise.",
                BetterFor.ATTACKER,
                (_ONE_SIDED, "Canaries of one run count as independent: they must not touch each other."),
            ),
            ("ceiling-gdp", "The largest such bound: a threshold makes no mistake.", BetterFor.NEITHER, ()),
            (
                "epsilon-lower-bound-pooled",
                "The epsilon that the canaries of all seeds show at least at a threshold that others of them chose.",
                BetterFor.ATTACKER,
                (_ONE_SIDED, "Canaries of one run count as independent: they must not touch each other."),
            ),
            ("ceiling-pooled", "The largest such bound: no mistake at all.", BetterFor.NEITHER, ()),
        )
    ),
    MetricCard(
        name="robustness/attack-success-rate",
        summary="Triggered test rows of other classes that the released model sends to the trigger's target.",
        unit="fraction",
        better_for=BetterFor.ATTACKER,
        limits=("Without the untriggered rate beside it, it counts label bias as a backdoor.",),
    ),
    MetricCard(
        name="robustness/untriggered-rate",
        summary="The same rows without the trigger that the same model sends to the target.",
        unit="fraction",
        better_for=BetterFor.NEITHER,
    ),
    MetricCard(
        name="robustness/asr-lift",
        summary="Success with the trigger less the rate without it, paired by row, on the same model.",
        unit="fraction",
        better_for=BetterFor.ATTACKER,
    ),
    MetricCard(
        name="robustness/lifespan-rounds",
        summary="Rounds after the last hostile one until the lift is below half and stays there.",
        unit="rounds",
        better_for=BetterFor.ATTACKER,
        limits=(
            "It is as coarse as federation.evaluate_every.",
            "Where the lift ends above half, it is the rounds that were left, and detail says `outlives: 1`.",
            "It is there only if evaluations follow the last hostile round, and this or a living backdoor was seen.",
        ),
    ),
    MetricCard(
        name="robustness/r-accuracy",
        summary="Triggered test rows that the released model still classifies right.",
        unit="fraction",
        better_for=BetterFor.DEFENDER,
    ),
    MetricCard(
        name="robustness/free-ride-weight",
        summary="Share of the aggregation's weight that free-riders got, over the rounds in which they did not train.",
        unit="fraction",
        better_for=BetterFor.ATTACKER,
    ),
    MetricCard(
        name="defense/refusal-rate",
        summary="Triggered queries that a defense before the released model refused: 1 less false acceptances (FAR).",
        unit="fraction",
        better_for=BetterFor.DEFENDER,
    ),
    MetricCard(
        name="defense/false-refusal-rate",
        summary="Clean test rows that a defense before the released model refused to answer (FRR).",
        unit="fraction",
        better_for=BetterFor.ATTACKER,
    ),
    MetricCard(
        name="cost/upload-bytes",
        tells=Tells.SENT,
        words="sent per client and round",
        summary="Bytes that a client sends in a round.",
        unit="bytes",
        better_for=BetterFor.NEITHER,
    ),
    MetricCard(
        name="cost/download-bytes",
        tells=Tells.RECEIVED,
        words="received per client and round",
        summary="Bytes that a client receives in a round.",
        unit="bytes",
        better_for=BetterFor.NEITHER,
    ),
    MetricCard(
        name="cost/seconds-per-round",
        tells=Tells.DURATION,
        words="time of a round",
        summary="Wall time of a round, evaluation aside.",
        unit="seconds",
        better_for=BetterFor.NEITHER,
    ),
    MetricCard(
        name="cost/attack-seconds",
        summary="Wall time of the attack on all observed updates.",
        unit="seconds",
        better_for=BetterFor.NEITHER,
    ),
)
