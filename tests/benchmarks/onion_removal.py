"""How often ONION takes a trigger away, by the language model alone: no training, no classifier.

    python -m tests.benchmarks.onion_removal TEXTS [PATH=VALUE ...]

Triggers stand before the first so many test texts of benchmark/backdoor-text-defenses. The threshold is set on as many
clean texts of `data.language_model`. Printed are, by the share of clean words that the threshold takes: the share of a
trigger's words that go, of texts that lose any of them, and of texts that lose half.
"""

import sys
import time

from fedsec.cell.language import PublicLanguage
from fedsec.cell.resources import Resources, load_model, split
from fedsec.config.load import load_single
from fedsec.defenses.text.unusual_words import suspicions, threshold, unusual
from fedsec.seeds import SeedTree

TRIGGERS = ("cf", "i watched this 3d movie last weekend", "i saw this film with some friends of mine")
LOST = (0.05, 0.02, 0.01)


def main(count: int, overrides: list[str]) -> None:
    """Print a line for every trigger and share of clean words that may go.

    Args:
        count: texts.
        overrides: settings of the scenario, each `PATH=VALUE`.
    """
    scenario = load_single("benchmark/backdoor-text-defenses", overrides)
    resources, seeds = Resources(), SeedTree(0)
    base = load_model(scenario, 2, seeds)
    part, _, _ = split(scenario, resources.corpus(scenario), base.tokenizer, seeds)
    language = PublicLanguage(scenario, resources, (*part.train, *part.test), base.tokenizer).granted()
    if language is None:
        raise SystemExit("the scenario grants no language model")
    language.perplexities(["trained, or loaded"])
    bars = {lost: threshold(language, count, lost) for lost in LOST}
    texts = [row.text.split() for row in part.test[:count]]
    for trigger in TRIGGERS:
        mark, began = trigger.split(), time.process_time()
        scores = suspicions([[*mark, *words] for words in texts], language)
        seconds = (time.process_time() - began) / len(texts)
        for lost, bar in bars.items():
            gone = [sum(place < len(mark) for place in unusual(own, bar)) for own in scores]
            words = sum(gone) / len(gone) / len(mark)
            some, half = (sum(one >= least for one in gone) / len(gone) for least in (1, len(mark) / 2))
            told = f"words {words:.3f}, any {some:.3f}, half {half:.3f}, {seconds:.2f} CPU s a text"
            print(f"{trigger}: {lost:.0%} of clean words, {told}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
