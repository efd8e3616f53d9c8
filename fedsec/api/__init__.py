"""What a plug-in author reads: threat models, cards, hooks, goals, views and values. Imports no torch.

Names are imported when they are first asked for: cards are read without the views, by every command.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedsec.api.cards import AttackCard as AttackCard
    from fedsec.api.cards import Card as Card
    from fedsec.api.cards import Columns as Columns
    from fedsec.api.cards import DatasetCard as DatasetCard
    from fedsec.api.cards import DefenseCard as DefenseCard
    from fedsec.api.cards import HubSource as HubSource
    from fedsec.api.cards import MetricCard as MetricCard
    from fedsec.api.cards import ModelCard as ModelCard
    from fedsec.api.cards import Parameter as Parameter
    from fedsec.api.cards import Population as Population
    from fedsec.api.cards import Provenance as Provenance
    from fedsec.api.cards import Rounds as Rounds
    from fedsec.api.cards import Tells as Tells
    from fedsec.api.evidence import Canary as Canary
    from fedsec.api.evidence import Candidate as Candidate
    from fedsec.api.evidence import Evidence as Evidence
    from fedsec.api.evidence import TrainShadows as TrainShadows
    from fedsec.api.goal_cards import Asks as Asks
    from fedsec.api.goal_cards import Form as Form
    from fedsec.api.goal_cards import GoalCard as GoalCard
    from fedsec.api.goal_cards import Shown as Shown
    from fedsec.api.goals import Compared as Compared
    from fedsec.api.goals import Goal as Goal
    from fedsec.api.goals import Scored as Scored
    from fedsec.api.goals import Stage as Stage
    from fedsec.api.goals import Staged as Staged
    from fedsec.api.goals import Truth as Truth
    from fedsec.api.goals import Watched as Watched
    from fedsec.api.granted import Auxiliary as Auxiliary
    from fedsec.api.granted import Granted as Granted
    from fedsec.api.granted import Language as Language
    from fedsec.api.hooks import AggregateHook as AggregateHook
    from fedsec.api.hooks import BaseModelHook as BaseModelHook
    from fedsec.api.hooks import BroadcastHook as BroadcastHook
    from fedsec.api.hooks import DataHook as DataHook
    from fedsec.api.hooks import Exchange as Exchange
    from fedsec.api.hooks import Extractor as Extractor
    from fedsec.api.hooks import Filter as Filter
    from fedsec.api.hooks import GlobalModelHook as GlobalModelHook
    from fedsec.api.hooks import MembershipScorer as MembershipScorer
    from fedsec.api.hooks import MessageHook as MessageHook
    from fedsec.api.hooks import ModelHook as ModelHook
    from fedsec.api.hooks import Observer as Observer
    from fedsec.api.hooks import Poisoner as Poisoner
    from fedsec.api.hooks import PrivateHook as PrivateHook
    from fedsec.api.hooks import PublicDataHook as PublicDataHook
    from fedsec.api.hooks import QueryHook as QueryHook
    from fedsec.api.hooks import Reconstructor as Reconstructor
    from fedsec.api.hooks import ReleaseHook as ReleaseHook
    from fedsec.api.hooks import Stateful as Stateful
    from fedsec.api.hooks import StepHook as StepHook
    from fedsec.api.hooks import UpdateHook as UpdateHook
    from fedsec.api.hooks import VectorRule as VectorRule
    from fedsec.api.hooks import WeightRule as WeightRule
    from fedsec.api.hooks import acting as acting
    from fedsec.api.hooks import implements as implements
    from fedsec.api.metrics import BetterFor as BetterFor
    from fedsec.api.metrics import MetricValue as MetricValue
    from fedsec.api.privacy import Calibrated as Calibrated
    from fedsec.api.privacy import GaussianMechanism as GaussianMechanism
    from fedsec.api.privacy import PrivacyTerms as PrivacyTerms
    from fedsec.api.privacy import Unit as Unit
    from fedsec.api.protocols import AUTHORITY as AUTHORITY
    from fedsec.api.protocols import SERVER as SERVER
    from fedsec.api.protocols import Centre as Centre
    from fedsec.api.protocols import Message as Message
    from fedsec.api.protocols import Party as Party
    from fedsec.api.protocols import Played as Played
    from fedsec.api.protocols import Refused as Refused
    from fedsec.api.protocols import Secrets as Secrets
    from fedsec.api.protocols import Wire as Wire
    from fedsec.api.setup import Layout as Layout
    from fedsec.api.setup import ModelSetup as ModelSetup
    from fedsec.api.setup import ParameterInfo as ParameterInfo
    from fedsec.api.setup import Role as Role
    from fedsec.api.setup import TrainingSettings as TrainingSettings
    from fedsec.api.supply import SupplierView as SupplierView
    from fedsec.api.threat import Aggregation as Aggregation
    from fedsec.api.threat import Asset as Asset
    from fedsec.api.threat import Behaviour as Behaviour
    from fedsec.api.threat import Keys as Keys
    from fedsec.api.threat import Knowledge as Knowledge
    from fedsec.api.threat import Position as Position
    from fedsec.api.threat import ThreatModel as ThreatModel
    from fedsec.api.views import BroadcastView as BroadcastView
    from fedsec.api.views import ClientView as ClientView
    from fedsec.api.views import ColluderView as ColluderView
    from fedsec.api.views import Encoding as Encoding
    from fedsec.api.views import ExchangeContext as ExchangeContext
    from fedsec.api.views import Exchanged as Exchanged
    from fedsec.api.views import KeyHolderView as KeyHolderView
    from fedsec.api.views import Measured as Measured
    from fedsec.api.views import Mixed as Mixed
    from fedsec.api.views import ParticipantView as ParticipantView
    from fedsec.api.views import Probe as Probe
    from fedsec.api.views import PublicModel as PublicModel
    from fedsec.api.views import QueryView as QueryView
    from fedsec.api.views import Rehearsal as Rehearsal
    from fedsec.api.views import ReleasedView as ReleasedView
    from fedsec.api.views import ReleaseView as ReleaseView
    from fedsec.api.views import RoundContext as RoundContext
    from fedsec.api.views import RoundView as RoundView
    from fedsec.api.views import Sample as Sample
    from fedsec.api.views import ServerView as ServerView
    from fedsec.api.views import StepView as StepView
    from fedsec.api.views import Tokens as Tokens
    from fedsec.api.views import Train as Train
    from fedsec.api.views import Triggered as Triggered
    from fedsec.api.views import TriggerView as TriggerView
    from fedsec.api.views import Update as Update
    from fedsec.api.views import Weighted as Weighted
    from fedsec.api.views import WireView as WireView
    from fedsec.api.work import Limited as Limited
    from fedsec.api.work import Reconstruction as Reconstruction
    from fedsec.api.work import Work as Work

_HOMES = {
    "AttackCard": "cards",
    "Card": "cards",
    "Columns": "cards",
    "DatasetCard": "cards",
    "DefenseCard": "cards",
    "HubSource": "cards",
    "MetricCard": "cards",
    "ModelCard": "cards",
    "Parameter": "cards",
    "Population": "cards",
    "Provenance": "cards",
    "Rounds": "cards",
    "Tells": "cards",
    "Asks": "goal_cards",
    "Form": "goal_cards",
    "GoalCard": "goal_cards",
    "Shown": "goal_cards",
    "Compared": "goals",
    "Goal": "goals",
    "Scored": "goals",
    "Stage": "goals",
    "Staged": "goals",
    "Truth": "goals",
    "Watched": "goals",
    "AggregateHook": "hooks",
    "BaseModelHook": "hooks",
    "BroadcastHook": "hooks",
    "DataHook": "hooks",
    "Exchange": "hooks",
    "Extractor": "hooks",
    "Filter": "hooks",
    "GlobalModelHook": "hooks",
    "MembershipScorer": "hooks",
    "MessageHook": "hooks",
    "ModelHook": "hooks",
    "Observer": "hooks",
    "Poisoner": "hooks",
    "PublicDataHook": "hooks",
    "QueryHook": "hooks",
    "SupplierView": "supply",
    "Reconstructor": "hooks",
    "ReleaseHook": "hooks",
    "Stateful": "hooks",
    "StepHook": "hooks",
    "UpdateHook": "hooks",
    "VectorRule": "hooks",
    "WeightRule": "hooks",
    "acting": "hooks",
    "implements": "hooks",
    "BetterFor": "metrics",
    "MetricValue": "metrics",
    "Calibrated": "privacy",
    "GaussianMechanism": "privacy",
    "PrivacyTerms": "privacy",
    "Unit": "privacy",
    "PrivateHook": "hooks",
    "AUTHORITY": "protocols",
    "Centre": "protocols",
    "Message": "protocols",
    "Party": "protocols",
    "Played": "protocols",
    "Refused": "protocols",
    "SERVER": "protocols",
    "Secrets": "protocols",
    "Wire": "protocols",
    "Aggregation": "threat",
    "Asset": "threat",
    "Behaviour": "threat",
    "Keys": "threat",
    "Knowledge": "threat",
    "Position": "threat",
    "ThreatModel": "threat",
    "Auxiliary": "granted",
    "BroadcastView": "views",
    "Canary": "evidence",
    "Candidate": "evidence",
    "ClientView": "views",
    "ColluderView": "views",
    "Encoding": "views",
    "Evidence": "evidence",
    "ExchangeContext": "views",
    "Exchanged": "views",
    "Granted": "granted",
    "Language": "granted",
    "KeyHolderView": "views",
    "Layout": "setup",
    "Measured": "views",
    "Mixed": "views",
    "ModelSetup": "setup",
    "ParameterInfo": "setup",
    "ParticipantView": "views",
    "Probe": "views",
    "PublicModel": "views",
    "QueryView": "views",
    "Rehearsal": "views",
    "ReleaseView": "views",
    "ReleasedView": "views",
    "Role": "setup",
    "RoundContext": "views",
    "RoundView": "views",
    "Sample": "views",
    "ServerView": "views",
    "StepView": "views",
    "Tokens": "views",
    "Train": "views",
    "TrainShadows": "evidence",
    "TrainingSettings": "setup",
    "TriggerView": "views",
    "Triggered": "views",
    "Update": "views",
    "Weighted": "views",
    "WireView": "views",
    "Limited": "work",
    "Reconstruction": "work",
    "Work": "work",
}
__all__ = [
    "AUTHORITY",
    "SERVER",
    "AggregateHook",
    "Aggregation",
    "Asks",
    "Asset",
    "AttackCard",
    "Auxiliary",
    "BaseModelHook",
    "Behaviour",
    "BetterFor",
    "BroadcastHook",
    "BroadcastView",
    "Calibrated",
    "Canary",
    "Candidate",
    "Card",
    "Centre",
    "ClientView",
    "ColluderView",
    "Columns",
    "Compared",
    "DataHook",
    "DatasetCard",
    "DefenseCard",
    "Encoding",
    "Evidence",
    "Exchange",
    "ExchangeContext",
    "Exchanged",
    "Extractor",
    "Filter",
    "Form",
    "GaussianMechanism",
    "GlobalModelHook",
    "Goal",
    "GoalCard",
    "Granted",
    "HubSource",
    "KeyHolderView",
    "Keys",
    "Knowledge",
    "Language",
    "Layout",
    "Limited",
    "Measured",
    "MembershipScorer",
    "Message",
    "MessageHook",
    "MetricCard",
    "MetricValue",
    "Mixed",
    "ModelCard",
    "ModelHook",
    "ModelSetup",
    "Observer",
    "Parameter",
    "ParameterInfo",
    "ParticipantView",
    "Party",
    "Played",
    "Poisoner",
    "Population",
    "Position",
    "PrivacyTerms",
    "PrivateHook",
    "Probe",
    "Provenance",
    "PublicDataHook",
    "PublicModel",
    "QueryHook",
    "QueryView",
    "Reconstruction",
    "Reconstructor",
    "Refused",
    "Rehearsal",
    "ReleaseHook",
    "ReleaseView",
    "ReleasedView",
    "Role",
    "RoundContext",
    "RoundView",
    "Rounds",
    "Sample",
    "Scored",
    "Secrets",
    "ServerView",
    "Shown",
    "Stage",
    "Staged",
    "Stateful",
    "StepHook",
    "StepView",
    "SupplierView",
    "Tells",
    "ThreatModel",
    "Tokens",
    "Train",
    "TrainShadows",
    "TrainingSettings",
    "TriggerView",
    "Triggered",
    "Truth",
    "Unit",
    "Update",
    "UpdateHook",
    "VectorRule",
    "Watched",
    "WeightRule",
    "Weighted",
    "Wire",
    "WireView",
    "Work",
    "acting",
    "implements",
]


def __getattr__(name: str) -> Any:
    """The name from the module that defines it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fedsec.api' has no attribute '{name}'")
    from importlib import import_module

    found = getattr(import_module(f"fedsec.api.{_HOMES[name]}"), name)
    globals()[name] = found
    return found
