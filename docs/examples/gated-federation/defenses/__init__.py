"""The aggregation rule that our federation runs in production."""

from fedsec.api import DefenseCard

CARDS = (
    DefenseCard(
        name="our-rule",
        summary="The server averages what is left of each coordinate without the declared number of extremes.",
        target=".our_rule:OurRule",
        protects="robustness",
        is_rule=True,
        paper="Yin et al., ICML 2018, definition 2",
        limits=("It stands only as many malicious hospitals as are declared.",),
        cost="one sort per coordinate",
    ),
)
