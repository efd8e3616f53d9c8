"""Shadow classifier: a network that learns from shadows what a model answers about records it was trained on."""

import warnings
from dataclasses import dataclass

import torch

from fedsec.api import Candidate, Evidence

from .losses import filled, measures_under, released_measures
from .shadows import shadowed


@dataclass(frozen=True, slots=True)
class ShadowClassifier:
    """Scores a record by what a classifier says of the released model's answer that learnt from shadows' answers.

    For each class a network with one hidden layer learns from the logarithms of the shadows' probabilities of all
    classes whether that shadow was trained on the record. Where a defense refuses to answer, or shadows include or
    leave out all records of a class, the score is the others' mean.

    Args:
        shadows: models that it trains.
        hidden: units of the network.

    Source: Shokri et al., "Membership Inference Attacks Against Machine Learning Models", S&P 2017, section V.
    Deviations: shadows are trained on halves of the candidates; logarithms of the probabilities are its inputs.
    """

    shadows: int = 8
    hidden: int = 64

    def score(self, candidates: tuple[Candidate, ...], evidence: Evidence) -> torch.Tensor:
        """Return the network's logit of membership [candidates], fp64."""
        found = shadowed(candidates, evidence, self.shadows)
        answers = [measures_under(vector, candidates, evidence, _posterior) for vector in found.vectors]
        victim = released_measures(candidates, evidence, _posterior)  # [candidates, classes]
        labels = torch.tensor([one.label for one in candidates])
        scores = torch.full((len(candidates),), torch.nan, dtype=torch.float64)
        if victim.dim() == 1:
            return filled(scores)  # nothing was answered
        for label in labels.unique().tolist():
            places = (labels == label).nonzero()[:, 0]
            shown = torch.cat([one[places] for one in answers])
            truth = found.included[:, places].flatten()
            asked = places[~victim[places].isnan().any(dim=1)]
            if truth.any() and not truth.all() and len(asked):
                seed = int(torch.randint(2**31 - 1, (), generator=evidence.generator))
                scores[asked] = _learnt(shown, truth, victim[asked], self.hidden, seed)
        return filled(scores)


def _posterior(candidate: Candidate, logits: torch.Tensor) -> torch.Tensor:
    """Logarithms of the probabilities of all classes, fp64 [classes]."""
    huge = torch.finfo(torch.float32).max
    found: torch.Tensor = logits.double().nan_to_num(nan=torch.nan, posinf=huge, neginf=-huge).log_softmax(dim=0)
    return found.clamp_min(-50.0)


def _learnt(shown: torch.Tensor, truth: torch.Tensor, asked: torch.Tensor, hidden: int, seed: int) -> torch.Tensor:
    """What a network that learnt from answers and their truth says of others, as logits fp64 [asked].

    Args:
        shown: [examples, classes].
        truth: bool [examples].
        asked: [asked, classes].
        hidden: units.
        seed: of its start and its batches.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    middle, spread = shown.mean(dim=0), shown.std(dim=0).clamp_min(1e-6)
    network = MLPClassifier((hidden,), max_iter=100, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(((shown - middle) / spread).numpy(), truth.numpy())
    sure = torch.from_numpy(network.predict_proba(((asked - middle) / spread).numpy())[:, 1]).double()
    return torch.logit(sure, eps=1e-12)
