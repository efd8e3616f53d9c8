"""Step 8 of a round: evaluates the global model on the test set, and on the texts that a goal watches."""

from collections.abc import Mapping
from typing import Any

import torch

from fedsec.api import Watched
from fedsec.federation.evaluation import REFUSED, Evaluation, answered, evaluate, evaluate_answers, predict
from fedsec.federation.measurements import Measurements
from fedsec.federation.parties import Federation
from fedsec.federation.plugins import Stack
from fedsec.federation.release import released
from fedsec.federation.writing import Written, write, write_through

TEST = "test"
"""What the test set is called beside a goal's texts."""
Predicted = list[tuple[int, tuple[int, ...]]]
"""(round, predicted class of each text)."""


class Monitor:
    """Evaluates the global model, and the released one at the end.

    Args:
        federation: what is watched.
    """

    def __init__(self, federation: Federation) -> None:
        self._f = federation
        self._first: Evaluation | None = None
        self._last: Evaluation | None = None
        self.curve: list[tuple[int, float | None, float]] = []
        """(round, accuracy, loss); round 0 is the untrained model."""
        self.predicted: Predicted = []
        """Predicted class of each test row, where a goal watches texts."""
        self._watched: dict[str, Predicted] = {name: [] for name in federation.watched}

    def evaluate(self, number: int, vector: torch.Tensor) -> None:
        """Evaluate the parameters `vector` [parameters] after a round."""
        f, pad_id = self._f, self._f.tokenizer.pad_token_id
        self._last = evaluate(f.model, vector, f.test, pad_id, f.processes)
        if number == 0:
            self._first = self._last
        self.curve.append((number, self._last.accuracy, self._last.loss))
        if f.watched:
            self.predicted.append((number, tuple(self._last.predicted.tolist())))
        for name, texts in f.watched.items():
            classes = predict(f.model, vector, texts, pad_id, f.processes)
            self._watched[name].append((number, tuple(classes.tolist())))

    def final(
        self, vector: torch.Tensor, stack: Stack, *, changed: bool
    ) -> tuple[Evaluation, dict[str, Watched], dict[str, Mapping[str, float]]]:
        """Return how the released model does on the test set and a goal's texts, behind its inference-time defenses.

        What these measured on either is returned as well, by the name of the texts.

        Args:
            vector: the released trainables [parameters].
            stack: has these defenses.
            changed: whether they are others than those that were evaluated last.
        """
        f, measured, measurements = self._f, dict[str, Mapping[str, float]](), Measurements()
        if changed or stack.query_hooks:
            answer = released(f.model, vector, f.known, stack.query_hooks, f.seeds, measurements)
            found, measured[TEST] = evaluate_answers(answer, f.test), measurements.means()
            last = {}
            for name, texts in f.watched.items():
                last[name] = answered(evaluate_answers(answer, texts)).tolist()
                measured[name] = measurements.means()
        else:
            found = self._last or evaluate(f.model, vector, f.test, f.tokenizer.pad_token_id, f.processes)
            last = {name: list(curve[-1][1]) for name, curve in self._watched.items()}
        answers = {
            name: Watched(tuple(self._watched[name]), tuple(None if one == REFUSED else one for one in classes))
            for name, classes in last.items()
        }
        return found, answers, {name: own for name, own in measured.items() if own}

    def written(self, start: torch.Tensor, end: torch.Tensor, stack: Stack) -> tuple[Evaluation | None, Written | None]:
        """Return how the model did before training, and what it wrote then and writes now; None if it is not asked to.

        Args:
            start: the trainables before training [parameters].
            end: the released ones [parameters]; they answer behind the inference-time defenses.
            stack: has these.
        """
        f = self._f
        if f.asked is None:
            return None, None
        first = write(f.model, start, f.asked, f.tokenizer, f.processes)
        if stack.query_hooks:
            answer = released(f.model, end, f.known, stack.query_hooks, f.seeds)
            last = write_through(answer, f.asked, f.tokenizer.eos_token_id)
        else:
            last = write(f.model, end, f.asked, f.tokenizer, f.processes)
        # A training that was interrupted has forgotten it.
        before = self._first or evaluate(f.model, start, f.test, f.tokenizer.pad_token_id, f.processes)
        return before, Written(f.asked.rows, first, last)

    def begin(self, number: int, vector: torch.Tensor) -> None:
        """Watch a goal's texts from this round on, and forget earlier results.

        The rounds before may have been trained for a cell that watches no texts, or others; results must not depend on
        that.
        """
        f, pad_id = self._f, self._f.tokenizer.pad_token_id
        if f.watched:
            found = evaluate(f.model, vector, f.test, pad_id, f.processes)
            self.predicted = [(number, tuple(found.predicted.tolist()))]
        for name, texts in f.watched.items():
            self._watched[name] = [(number, tuple(predict(f.model, vector, texts, pad_id, f.processes).tolist()))]

    def state(self) -> dict[str, Any]:
        """Return the results so far."""
        return {"curve": self.curve, "predicted": self.predicted, "watched": self._watched}

    def load_state(self, state: Mapping[str, Any], *, curve_only: bool = False) -> None:
        """Continue from earlier results; ValueError if there are none.

        Args:
            state: from `state`.
            curve_only: it is of a training that watched no texts, or others.
        """
        self.curve = [(number, accuracy, loss) for number, accuracy, loss in state["curve"]]
        if not self.curve:
            raise ValueError("the untrained model is missing")
        if not curve_only:
            self.predicted = [(number, tuple(found)) for number, found in state["predicted"]]
            for name in self._f.watched:
                self._watched[name] = [(number, tuple(found)) for number, found in state["watched"][name]]
