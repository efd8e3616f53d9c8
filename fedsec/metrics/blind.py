"""The blind attack on membership: what a record's words alone tell.

It sees no model. Where it does better than chance, members and others are not of one kind, and no figure of an attack
that does see one means anything.
"""

import zlib
from collections.abc import Sequence
from math import sqrt

import numpy as np

from fedsec.metrics.words import pieces_of

FOLDS = 5
SPREAD = sqrt(1 + FOLDS / (FOLDS - 1))
"""By what the standard error of a figure is larger since scores are learnt from the truth of other candidates.

Source: Nadeau and Bengio, "Inference for the Generalization Error", Machine Learning 2003, section 5 (the corrected
variance 1/k + n2/n1, over 1/k). Deviations: they correct the mean over random splits, here it is that over folds.
"""


def blind_scores(texts: Sequence[str], members: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """How much each text looks like a member's, by a classifier that learnt from the other folds fp64 [texts].

    A logistic regression over the words that a text has, its length, and how far zlib shrinks it.

    Args:
        texts: candidates.
        members: the truth, bool [texts]; a text's own is never used for its score.
        generator: deals texts to folds.

    Source: Das et al., "Blind Baselines Beat Membership Inference Attacks for Foundation Models", 2024, section 3 (bag
    of words). Deviations: length and zlib's ratio stand beside the words, in one classifier.
    """
    scores = np.zeros(len(texts))
    fewest = int(min(members.sum(), (~members).sum())) if len(texts) else 0
    if fewest < 2:
        return scores  # one of the two kinds is missing: there is nothing to learn
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    words = CountVectorizer(binary=True, analyzer=pieces_of).fit_transform(texts)
    raw = [text.encode("utf-8", "replace") for text in texts]
    sizes = np.array([[np.log1p(len(one)), len(zlib.compress(one)) / max(1, len(one))] for one in raw])
    spread = sizes.std(axis=0)
    scaled = (sizes - sizes.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    features = csr_matrix(hstack([words.astype(float), scaled]))
    folds = StratifiedKFold(min(FOLDS, fewest), shuffle=True, random_state=int(generator.integers(2**31)))
    for rest, own in folds.split(features, members):
        learner = LogisticRegression(C=0.1, max_iter=500).fit(features[rest], members[rest])
        scores[own] = learner.decision_function(features[own])
    return scores
