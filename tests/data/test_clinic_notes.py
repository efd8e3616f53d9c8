"""Tests of the synthetic clinic notes. Run with ``-s`` to see the measured figures."""

import os
import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fedsec.data import clinic_notes, clinic_vocabulary
from fedsec.data.clinic_notes import LABELS, PLANTED_KINDS, ClinicNote, generate

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "clinic-notes.md"
SAMPLES_ON_PAGE = 50
GRAM = 13

VALUE_FORMS = {
    "name": re.compile(r"[A-Z][a-z]+ [A-Z][a-z]+"),
    "date": re.compile(r"([1-9]|1\d|2[0-8]) [A-Z][a-z]+ 20(3[1-9]|4\d|5\d)"),
    "phone": re.compile(r"[2-9][0-8][2-9]-555-01\d\d"),
    "identifier": re.compile(r"000-\d\d-\d{4}"),
    "email": re.compile(r"[a-z.]+(\d\d)?@example\.org"),
}


@pytest.fixture(scope="module")
def corpus() -> list[ClinicNote]:
    """Twenty thousand notes, enough for the rates below."""
    return generate(20_000, seed=0)


def _show(line: str) -> None:
    sys.stdout.write(f"\n{line}\n")


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _grams(text: str) -> set[tuple[str, ...]]:
    words = _words(text)
    return {tuple(words[start : start + GRAM]) for start in range(len(words) - GRAM + 1)}


def test_same_seed_gives_same_notes_and_longer_corpora_share_the_beginning() -> None:
    """A run may enlarge its corpus without changing the notes it had."""
    assert generate(300, seed=5)[:120] == generate(120, seed=5)


def test_seeds_give_different_notes() -> None:
    """Two seeds make two corpora."""
    shared = {note.text for note in generate(500, seed=0)} & {note.text for note in generate(500, seed=1)}
    assert not shared


def test_global_random_state_is_left_alone() -> None:
    """The notes depend on the seed alone."""
    before = repr(np.random.get_state(legacy=False))
    generate(20)
    assert repr(np.random.get_state(legacy=False)) == before


def test_no_notes() -> None:
    """An empty corpus is allowed."""
    assert generate(0) == []


@pytest.mark.parametrize(("count", "seed"), [(-1, 0), (1, -1)])
def test_negative_arguments_are_refused(count: int, seed: int) -> None:
    """Negative counts and seeds are errors."""
    with pytest.raises(ValueError, match="must not be negative"):
        generate(count, seed)


def test_labels_are_roughly_uniform(corpus: list[ClinicNote]) -> None:
    """Each department has about a sixth of the notes."""
    counts = Counter(note.label for note in corpus)
    assert sorted(counts) == list(range(len(LABELS)))
    expected = len(corpus) / len(LABELS)
    assert all(abs(count - expected) < 0.1 * expected for count in counts.values())


def _bag_of_words_accuracy(notes: list[ClinicNote], train: int) -> float:
    text = pytest.importorskip("sklearn.feature_extraction.text")
    linear = pytest.importorskip("sklearn.linear_model")
    texts, labels = [note.text for note in notes], [note.label for note in notes]
    vectorizer = text.CountVectorizer()
    model = linear.LogisticRegression(max_iter=1000)
    model.fit(vectorizer.fit_transform(texts[:train]), labels[:train])
    return float(model.score(vectorizer.transform(texts[train:]), labels[train:]))


@pytest.mark.parametrize("seed", range(5))
def test_bag_of_words_finds_the_department_often_but_not_always(seed: int) -> None:
    """The task is neither trivial nor hopeless for a linear model on 2,000 notes."""
    accuracy = _bag_of_words_accuracy(generate(3_000, seed), train=2_000)
    _show(f"seed {seed}: bag-of-words accuracy {accuracy:.3f}")
    assert 0.75 < accuracy < 0.92


def test_more_notes_teach_more(corpus: list[ClinicNote]) -> None:
    """What 2,000 notes leave open is partly lack of data, partly ambiguity."""
    accuracy = _bag_of_words_accuracy(corpus, train=17_000)
    _show(f"bag-of-words accuracy with 17,000 notes {accuracy:.3f}")
    assert 0.85 < accuracy < 0.95


def test_most_notes_are_distinct_without_their_personal_data(corpus: list[ClinicNote]) -> None:
    """Few notes differ only in their personal data."""
    distinct = len({note.masked() for note in corpus})
    _show(f"distinct masked notes of {len(corpus)}: {distinct}")
    assert distinct >= 15_000


def test_pairs_of_notes_rarely_share_long_runs_of_words(corpus: list[ClinicNote]) -> None:
    """A copied run of words points to one note."""
    rng = np.random.default_rng(0)
    pairs = rng.integers(len(corpus), size=(100_000, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    grams = [_grams(note.masked()) for note in corpus]
    sharing = sum(not grams[left].isdisjoint(grams[right]) for left, right in pairs.tolist())
    share = sharing / len(pairs)
    with_grams = np.mean([bool(note_grams) for note_grams in grams])
    _show(f"pairs sharing a word {GRAM}-gram: {sharing} of {len(pairs)}, {share:.5%}")
    _show(f"notes with {GRAM} or more words: {with_grams:.1%}")
    assert len(pairs) >= 20_000
    assert with_grams > 0.8
    assert share <= 0.05


def test_notes_have_10_to_60_words(corpus: list[ClinicNote]) -> None:
    """However words are counted, notes are short."""
    by_space = [len(note.text.split()) for note in corpus]
    words = [len(_words(note.text)) for note in corpus]
    with_marks = [len(re.findall(r"\w+|[^\w\s]", note.text)) for note in corpus]
    for name, counts in (("split at spaces", by_space), ("words", words), ("words and marks", with_marks)):
        _show(f"{name}: {min(counts)} to {max(counts)}, median {np.median(counts):.0f}")
        assert min(counts) >= 10
        assert max(counts) <= 60


def _vocabulary_file() -> Path:
    folder = os.environ.get("FEDSEC_MODELS")
    models = Path(folder) if folder else ROOT.parent / "shared" / "models"
    return models / "tokenizer_bert_uncased" / "vocab.txt"


def test_notes_have_10_to_60_word_pieces(corpus: list[ClinicNote]) -> None:
    """Notes are short for a BERT model too, which the attacks rely on."""
    tokenizers = pytest.importorskip("tokenizers")
    path = _vocabulary_file()
    if not path.exists():
        pytest.skip(f"no WordPiece vocabulary at {path}; set FEDSEC_MODELS")
    tokenizer = tokenizers.BertWordPieceTokenizer(str(path), lowercase=True)
    texts = [note.text for note in corpus + generate(20_000, seed=1)]
    counts = [len(encoded.ids) for encoded in tokenizer.encode_batch(texts, add_special_tokens=False)]
    median = np.median(counts)
    _show(f"word pieces: {min(counts)} to {max(counts)}, median {median:.0f}")
    assert min(counts) >= 10
    assert max(counts) <= 60
    assert 22 <= median <= 30


def test_planted_items_stand_once_in_the_text_and_in_its_order(corpus: list[ClinicNote]) -> None:
    """Each item can be found and counted without doubt."""
    for note in corpus:
        assert 1 <= len(note.planted) <= 4
        assert all(note.text.count(item.value) == 1 for item in note.planted), note
        places = [note.text.index(item.value) for item in note.planted]
        assert places == sorted(places)


def test_planted_values_cannot_belong_to_anyone(corpus: list[ClinicNote]) -> None:
    """Every value has the reserved form of its kind."""
    items = [item for note in corpus for item in note.planted]
    assert {item.kind for item in items} == set(PLANTED_KINDS)
    assert all(VALUE_FORMS[item.kind].fullmatch(item.value) for item in items)
    for kind in PLANTED_KINDS:
        values = [item.value for item in items if item.kind == kind]
        _show(f"{kind}: {len(values)} planted, {len(set(values))} different")


def test_masking_leaves_no_personal_data(corpus: list[ClinicNote]) -> None:
    """What is masked is all there is."""
    rest = [form for kind, form in VALUE_FORMS.items() if kind not in ("name", "email")]
    for note in corpus:
        masked = note.masked()
        assert "@" not in masked
        assert not any(form.search(masked) for form in rest)
        assert not re.search(r"\b(Dr|nurse|contact is) [A-Z]", masked)


def test_no_last_name_begins_another() -> None:
    """Otherwise one planted name could be a part of another."""
    names = clinic_vocabulary.LAST_NAMES
    assert len(set(names)) == len(names)
    assert not [(one, two) for one in names for two in names if one != two and two.startswith(one)]


def test_openings_vary_and_every_slot_is_filled(corpus: list[ClinicNote]) -> None:
    """Notes open in many ways and no slot stays open."""
    first_words = Counter(note.text.split()[0] for note in corpus)
    assert len(first_words) > 100
    assert "{" not in "".join(note.text for note in corpus)


def test_every_department_has_its_own_and_shared_phrases() -> None:
    """Phrases are listed once, and overlap exists for each department."""
    for kind, table in clinic_notes._PHRASES.items():
        phrases = [phrase for group in (*table.own, table.common) for phrase in group]
        assert len(set(phrases)) == len(phrases), kind
        assert all(table.own)
        assert kind == "history" or all(table.shared)


def sample_lines() -> list[str]:
    """Returns the samples as the page shows them."""
    return [f"{LABELS[note.label]} | {note.text}" for note in generate(SAMPLES_ON_PAGE, seed=0)]


def test_samples_on_the_page_are_the_ones_generated() -> None:
    """The page shows what the code makes."""
    page = PAGE.read_text(encoding="utf-8")
    _, _, after = page.partition("## Samples")
    block = after.split("```")[1].removeprefix("text").strip()
    assert block.splitlines() == sample_lines()
