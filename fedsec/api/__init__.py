"""What a plug-in author reads: threat models, cards, hooks, views and values. Imports no torch."""

from fedsec.api.cards import (
    AttackCard,
    Card,
    DatasetCard,
    DefenseCard,
    MetricCard,
    ModelCard,
    Parameter,
    Population,
    Provenance,
)
from fedsec.api.hooks import Filter, ModelHook, Reconstructor, UpdateHook, WeightRule
from fedsec.api.metrics import BetterFor, MetricValue
from fedsec.api.threat import Asset, Behaviour, Goal, Knowledge, Position, ThreatModel
from fedsec.api.views import (
    ClientView,
    Layout,
    ModelSetup,
    ParameterInfo,
    PublicModel,
    Reconstruction,
    Role,
    RoundContext,
    ServerView,
    TrainingSettings,
)

__all__ = [
    "Asset",
    "AttackCard",
    "Behaviour",
    "BetterFor",
    "Card",
    "ClientView",
    "DatasetCard",
    "DefenseCard",
    "Filter",
    "Goal",
    "Knowledge",
    "Layout",
    "MetricCard",
    "MetricValue",
    "ModelCard",
    "ModelHook",
    "ModelSetup",
    "Parameter",
    "ParameterInfo",
    "Population",
    "Position",
    "Provenance",
    "PublicModel",
    "Reconstruction",
    "Reconstructor",
    "Role",
    "RoundContext",
    "ServerView",
    "ThreatModel",
    "TrainingSettings",
    "UpdateHook",
    "WeightRule",
]
