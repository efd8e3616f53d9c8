"""What training did to the texts that a model writes after prompts, and to its perplexity."""

from collections.abc import Sequence

import numpy as np

from fedsec.api import BetterFor, MetricValue
from fedsec.federation.evaluation import Evaluation
from fedsec.metrics.stats.intervals import of_mean
from fedsec.metrics.utility import perplexity
from fedsec.metrics.words import WordTokenizer, words_of


def written(
    references: Sequence[str],
    before: Sequence[str],
    after: Sequence[str],
    untrained: Evaluation,
    generator: np.random.Generator,
) -> dict[str, MetricValue]:
    """ROUGE-L of what the model wrote before training and after it, and its perplexity before, by name.

    Args:
        references: the texts that stand in the data.
        before: what the model before training wrote in their places.
        after: what the released model wrote there.
        untrained: the model before training on the test set.
        generator: resamples texts.
    """
    first = rouge_l(references, before, generator)
    found = {
        "utility/rouge-l": rouge_l(references, after, generator, baseline=first.value),
        "utility/rouge-l-before": first,
    }
    if untrained.texts is not None:
        found["utility/perplexity-before"] = perplexity(untrained.texts, generator)
    return found


def rouge_l(
    references: Sequence[str], texts: Sequence[str], generator: np.random.Generator, baseline: float | None = None
) -> MetricValue:
    """Mean F-measure of the longest common word sequence of each text and its reference, with an interval over texts.

    Args:
        references: texts; those without a word are left out.
        texts: what was written in their places.
        generator: resamples texts.
        baseline: the same of the model before training.

    Source: Lin, ACL workshop 2004, as rouge-score computes it. Deviations: words of every script count.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], tokenizer=WordTokenizer())
    pairs = [(one, text) for one, text in zip(references, texts, strict=True) if words_of(one)]
    values = [float(scorer.score(one, text)["rougeL"].fmeasure) for one, text in pairs]
    interval = of_mean([[value] for value in values], generator)
    return MetricValue(
        value=float(np.mean(values)) if values else None,
        unit="fraction",
        better_for=BetterFor.DEFENDER,
        n=len(values),
        ci_low=interval.low if values else None,
        ci_high=interval.high if values else None,
        method=interval.method.replace("batches", "texts"),
        baseline=baseline,
        left_out=len(texts) - len(values),
    )
