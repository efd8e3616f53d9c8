"""Cards of the defenses of texts: what stands before the released model, and what a client does to its rows."""

from fedsec.api import DefenseCard, Parameter, Provenance

from .conditions import language_known, server_holds_texts, tells_classes


def _share(name: str, default: float, summary: str, provenance: Provenance = Provenance.CODE) -> Parameter:
    return Parameter(name=name, default=default, summary=summary, provenance=provenance, minimum=0.0, maximum=1.0)


def _count(
    name: str, default: int, summary: str, unit: str, provenance: Provenance = Provenance.CODE, least: int = 1
) -> Parameter:
    return Parameter(
        name=name,
        default=default,
        summary=summary,
        unit=unit,
        provenance=provenance,
        minimum=least,
        maximum=1_000_000,
    )


_UNUSUAL = (
    _share("lost", 0.05, "share of the words of clean texts that may be taken away", Provenance.MEASURED),
    _count("texts", 100, "clean texts that the threshold is set on", "texts", Provenance.GUESS),
)
_SENTENCE = "A trigger that is a whole sentence stays: no word of it is unusual beside the others (docs/poisoning.md)."
_REFUSED = _share("refused", 0.01, "share of clean texts below the threshold (false refusals)")

QUERIES = (
    DefenseCard(
        name="onion",
        summary="Leaves out of queries the words without which a language model finds them far more usual.",
        target="fedsec.defenses.text.onion:Onion",
        parameters=_UNUSUAL,
        protects="robustness",
        precondition=language_known("onion", classes=True),
        paper="Qi et al., ONION, EMNLP 2021, section 3.",
        deviations="the threshold is set by the words that clean texts lose; the language model is the scenario's",
        limits=(
            _SENTENCE,
            "It takes rare words of clean texts as well, names among them, by which some are answered otherwise.",
        ),
        cost="one pass of the language model for every word of a query, once for each text",
    ),
    DefenseCard(
        name="strip",
        summary="Refuses queries whose answer stays sure where half of their words are exchanged.",
        target="fedsec.defenses.text.strip:Strip",
        parameters=(
            _count("copies", 5, "mixed copies of a query", "copies"),
            _share("swap", 0.5, "share of a query's words that are replaced"),
            _REFUSED,
        ),
        protects="robustness",
        precondition=server_holds_texts("strip"),
        paper="Gao et al., STRIP, ACSAC 2019, section 4; Gao et al., STRIP-ViTA, IEEE TDSC 2021 (texts).",
        deviations="words and places are drawn evenly; 5 copies and half of the words, as in OpenBackdoor",
        limits=(
            "Of a short text half of the words leave a clean answer as sure, or the trigger goes (docs/poisoning.md).",
            "A trigger of several words is broken up, and does not show.",
        ),
        cost="`copies` more passes for every query",
    ),
    DefenseCard(
        name="rap",
        summary="Refuses queries that stay sure beside a word that makes clean texts of their class less sure.",
        target="fedsec.defenses.text.rap:Rap",
        parameters=(
            Parameter(name="word", default="mb", summary="the rare word", provenance=Provenance.GUESS),
            _share("low", 0.1, "least fall of the probability on clean texts", Provenance.PAPER),
            _share("high", 0.3, "largest fall that is wanted", Provenance.PAPER),
            _count("steps", 30, "of the learning of the word's embedding", "steps", Provenance.GUESS),
            Parameter(
                name="learning_rate",
                default=0.05,
                summary="of these steps",
                provenance=Provenance.GUESS,
                minimum=0.0,
                maximum=100.0,
            ),
            _REFUSED,
        ),
        protects="robustness",
        precondition=server_holds_texts("rap"),
        paper="Yang et al., RAP, EMNLP 2021, section 3.3.",
        deviations="a word for each class, where the paper's defender knows which one is the target",
        limits=(
            "A clean text of which the model is very sure is as hard to move as one with a trigger.",
            "It needs the released model's embeddings, and gradients.",
        ),
        cost="`steps` passes over 32 clean texts for each class, with gradients; two more passes for every query",
    ),
)
ROWS = (
    DefenseCard(
        name="onion-sanitiser",
        summary="Clients leave out of the rows that they train on the words that do not fit the rest.",
        target="fedsec.defenses.text.onion_sanitiser:OnionSanitiser",
        parameters=_UNUSUAL,
        protects="robustness",
        precondition=language_known("onion-sanitiser", classes=False),
        paper="Qi et al., ONION, EMNLP 2021, section 3, on training rows.",
        deviations="it cleans training rows, not queries",
        limits=(
            _SENTENCE,
            "Malicious clients skip it unless threat.obeys_client_defenses is set; an attack's training of its own "
            "always does.",
        ),
        cost="one pass of the language model for every word of the clients' rows, once for each text",
    ),
    DefenseCard(
        name="cube",
        summary="Clients train on the largest cluster of each class's rows, as a model that learnt from all sees them.",
        target="fedsec.defenses.text.cube:Cube",
        parameters=(
            _count("components", 10, "principal components that are clustered", "components"),
            _count("min_samples", 100, "rows around one that make it part of a dense region", "rows"),
            _share("share", 0.1, "share of a class's rows that this number is at most", Provenance.GUESS),
            _count("steps", 0, "local steps on all rows before; 0: one pass", "steps", Provenance.GUESS, 0),
        ),
        protects="robustness",
        precondition=tells_classes("cube"),
        paper="Cui et al., OpenBackdoor, NeurIPS 2022, section 5.",
        deviations="principal components for UMAP; one class after the other; small clients have smaller clusters",
        limits=(
            "Where most rows of a class are poisoned, they are the largest cluster, and the clean ones go.",
            "What a class has of rare kinds is a small cluster as well, and goes.",
            "Malicious clients skip it unless threat.obeys_client_defenses is set; an attack's training of its own "
            "always does.",
        ),
        cost="one more training on each client's rows, and HDBSCAN over them, once",
    ),
)
CARDS = (*QUERIES, *ROWS)
