"""Cards of the goals."""

from fedsec.api import Asks, Form, GoalCard, Shown

CARDS = (
    GoalCard(
        name="untargeted",
        summary="Ruin the model for everybody.",
        target="fedsec.goals.untargeted:Untargeted",
        wants="to ruin the model for everybody",
        headline=(
            Shown(
                metric="robustness/utility-drop",
                sentence="loses {value} points",
                square="points lost",
                axis="accuracy lost",
                form=Form.POINTS,
            ),
        ),
        compare="fedsec.goals.untargeted:compare",
        whoever_acts=True,
        unit="test rows, paired with the same defense's control",
        limits=(
            "Where the undefended control is no better than a constant answer, there is nothing to ruin, and no harm.",
        ),
    ),
    GoalCard(
        name="free-ride",
        summary="Get the model without having trained for it.",
        target="fedsec.goals.free_ride:FreeRide",
        wants="to get the model without having trained for it",
        headline=(
            Shown(
                metric="robustness/free-ride-weight",
                sentence="gets {value} of the aggregation's weight without training",
                square="of the weight, n = {n} rounds",
                axis="weight of free-riders",
            ),
        ),
        unit="rounds",
        limits=("A coordinate-wise rule gives no client a weight, so there is no figure then.",),
    ),
    GoalCard(
        name="reconstruction",
        summary="Read clients' texts out of what they send.",
        target="fedsec.goals.reconstruction:ReadTexts",
        wants="to read clients' texts",
        asks=Asks.AFTER,
        method="reconstruct",
        by_round=True,
        headline=(
            Shown(
                metric="leakage/exact-match",
                sentence="recovers {value} of {n} texts exactly",
                square="of {n} texts read exactly",
                axis="texts read exactly",
            ),
            Shown(
                metric="leakage/rouge-l",
                sentence="with a word overlap of {value}",
                square="word overlap {value}",
                axis="words read (ROUGE-L)",
            ),
        ),
        beside=(
            Shown(
                metric="leakage/token-recall",
                sentence="reads {value} of the tokens",
                square="of the tokens read",
                axis="tokens of the texts read",
                column=False,
            ),
        ),
        texts=True,
        unit="texts of the attacked updates",
    ),
    GoalCard(
        name="extraction",
        summary="Read training texts out of the released model.",
        target="fedsec.goals.extraction:Extract",
        wants="to read training texts out of the released model",
        asks=Asks.AFTER,
        method="extract",
        headline=(
            Shown(
                metric="extraction/recall",
                sentence="reads {value} of {n} training texts out of the released model",
                square="of {n} training texts extracted",
                axis="texts extracted",
                guess="texts that no client trained on",
            ),
        ),
        unit="training texts",
    ),
    GoalCard(
        name="membership",
        summary="Tell records that a client holds from records of the same kind that nobody holds.",
        target="fedsec.goals.membership:TellMembers",
        wants="to tell whose records were trained on",
        asks=Asks.AFTER,
        method="score",
        headline=(
            Shown(
                metric="membership/auc",
                sentence="tells members of {n} candidates apart with an AUC of {value}",
                square="AUC, n = {n} candidates",
                axis="AUC of membership",
                guess="the blind attack",
                form=Form.NUMBER,
            ),
        ),
        beside=(
            Shown(
                metric="membership/tpr@fpr=0.01",
                sentence="finds {value} of the members at 1 % false alarms",
                square="of members at 1 % false alarms",
                axis="members found at 1 % false alarms",
                guess="the blind attack",
            ),
            Shown(
                metric="membership/blind-auc",
                sentence="the blind attack has an AUC of {value}",
                square="AUC of the blind attack",
                axis="AUC of the blind attack",
                form=Form.NUMBER,
                column=False,
            ),
        ),
        requires=("data.candidates",),
        unit="candidates, against those that nobody holds: held by any client (federation) or, for an attack on single "
        "updates or their sum, trained on by that client in a round that was seen (batch)",
        limits=(
            "Attacks on the released model ask whether any client holds a record, not which client.",
            "Attacks on updates see what was drawn: a record that is held and was not drawn is left out of the "
            "headline; membership/holdings-auc counts it.",
        ),
    ),
    GoalCard(
        name="backdoor",
        summary="Have the model answer what the adversary wants where its trigger stands, and right elsewhere.",
        target="fedsec.goals.backdoor:Backdoor",
        wants="to plant a backdoor",
        asks=Asks.BEFORE,
        method="triggered",
        headline=(
            Shown(
                metric="robustness/asr-lift",
                sentence="sends {value} points more of {n} texts to its target than go there without the trigger",
                square="points of lift, n = {n}",
                axis="lift of the trigger",
                form=Form.POINTS,
            ),
        ),
        beside=(
            Shown(
                metric="robustness/attack-success-rate",
                sentence="brings out its target in {value} of them",
                square="with the trigger",
                axis="success with the trigger",
                guess="without the trigger",
            ),
            Shown(
                metric="robustness/untriggered-rate",
                sentence="{value} of them go there without it",
                square="without it",
                axis="the same without it",
            ),
            Shown(
                metric="robustness/lifespan-rounds",
                sentence="its lift stays above half for {value} rounds after the last hostile one",
                square="rounds of life",
                axis="rounds of life",
                form=Form.NUMBER,
                column=False,
            ),
        ),
        compare="fedsec.goals.backdoor:compare",
        tasks=("sequence-classification", "causal-lm"),
        unit="test rows of other classes than the target; of a causal language model, all test rows",
    ),
)
