"""The scenario: what is trained, by whom, under which threat, against what, and how often.

Every field documents itself; `fedsec validate` prints these texts' constraints when one is broken.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from fedsec.api.threat import Knowledge

SCHEMA_VERSION = 1

Count = Annotated[int, Field(ge=1, le=10_000_000)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*(/[a-z0-9][a-z0-9-]*)*$", max_length=100)]
Summary = Annotated[str, Field(min_length=1, max_length=500)]
Seeds = Annotated[list[Annotated[int, Field(ge=0, le=2**32 - 1)]], Field(min_length=1)]
ColumnName = Annotated[str, Field(min_length=1, max_length=200)]
ColumnNames = Annotated[list[ColumnName], Field(min_length=1, max_length=20)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Component(_Part):
    """A plug-in that the matrix chooses; in YAML its parameters stand beside its name."""

    name: str
    params: dict[str, Any] = {}
    """All of them, defaults included."""


class Tuning(_Part):
    """What is trained of the base model."""

    kind: Literal["full", "head", "lora"] = "full"
    """`full`: everything; `head`: the classification head, or a causal model's output layer; `lora`: adapters through
    peft, and the classification head."""
    rank: Annotated[int, Field(ge=1, le=1024)] = 8
    """LoRA rank; alpha is twice the rank. Used by `lora` only."""
    targets: Literal["query-value", "all-linear"] = "query-value"
    """Which weights get adapters: `query-value`, those of queries and values, or the one matrix that holds them;
    `all-linear`, every linear map of the layers. Used by `lora` only."""
    embeddings: Literal["default", "trainable", "frozen"] = "default"
    """The embedding block: `default` trains it under `full` and freezes it otherwise."""

    @property
    def trains_embeddings(self) -> bool:
        """Whether the embedding block is trained."""
        return self.kind == "full" if self.embeddings == "default" else self.embeddings == "trainable"


class Start(_Part):
    """Training before the federation begins, on public rows that no client holds."""

    rows: Count
    """Training rows of the data set that are public, drawn by the cell's seed from those that nobody else uses."""
    steps: Count
    """Steps on them, with the federation's optimizer."""
    batch_size: Count = 32
    """Rows in a step."""
    learning_rate: Annotated[float, Field(gt=0, le=100)] | None = None
    """Of these steps; federation.learning_rate if absent."""


class Model(_Part):
    """The base model. A registered model's own parameters (tiny-bert's `layers`) stand beside these."""

    name: Annotated[str, Field(min_length=1, max_length=500)]
    """A registered name, a local folder (from the scenario file's folder, as `data.path`) or a hub id."""
    task: Literal["sequence-classification", "causal-lm"] = "sequence-classification"
    """What it learns: a text's class, or to write the text after its prompt."""
    tuning: Tuning = Tuning()
    """What is trained of it."""
    dropout: bool = True
    """Whether the model's own dropout is active in local training."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the forward and backward pass; what is trained and sent is fp32 either way."""
    start: Start | None = None
    """Training on public rows before the first round, the same for all cells of a seed; none if absent."""
    params: dict[str, Any] = {}
    """Resolved parameters of a registered model; written inline in YAML."""


class ColumnChoice(_Part):
    """Which columns of the data are read; a named set knows its own."""

    text: ColumnName | ColumnNames | None = None
    """The text, of several columns joined by a space; `text` if absent."""
    label: ColumnName | None = None
    """The label, a whole number or a name; `label` if absent, and no labels if no row has one."""
    prompt: ColumnName | ColumnNames | None = None
    """What stands before the text in causal language modelling, read and not learnt; nothing if absent."""


class _Public(_Part):
    """Public text, and a language model of it."""

    name: str | None = None
    """A registered data set, or `owner/name` on the Hugging Face hub; give either `name` or `path`."""
    path: str | None = None
    """A local file or folder, as for `data.path`."""
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    """Full commit hash (40 hex digits) of the hub's repository, as for `data.revision`."""
    columns: ColumnChoice = ColumnChoice()
    """Which columns are read."""
    quoting: Literal["auto", "none", "csv"] = "auto"
    """Of csv and tsv files, as for `data.quoting`."""
    rows: Count | None = None
    """Training rows of it to use, the same ones for every seed; all of them if absent. More than there are is an
    error."""
    training_steps: Annotated[int, Field(ge=1, le=1_000_000)] = 800
    """Steps of the language model that is trained on them once and kept, of about 512 tokens."""

    @property
    def given(self) -> bool:
        """Whether the scenario names any."""
        return self.name is not None or self.path is not None


class LanguageModel(_Public):
    """Public text that defenses of texts set their thresholds on, and learn a language from; never the clients'.

    Rows that share a run of 8 words with a row that clients, the test set or the server hold are dropped.
    """

    model: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    """A ready causal language model instead, of any vocabulary: a registered name, a local folder or a hub id."""


class Partition(_Part):
    """The partition of training rows among clients."""

    kind: Literal["iid", "dirichlet", "quantity-skew", "by-column"] = "iid"
    """`iid`: shuffled and dealt evenly; `dirichlet`: each label's rows shared out by Dirichlet(alpha); `quantity-skew`:
    shuffled and dealt in parts of sizes from Dirichlet(alpha); `by-column`: rows that agree in `column` stay together,
    each of its values with one client."""
    alpha: Annotated[float, Field(gt=0, le=1e6)] = 0.5
    """Concentration; smaller is more skewed. Used by `dirichlet` and `quantity-skew` only."""
    column: ColumnName | None = None
    """Column of the data, such as a hospital or an author. Used by `by-column` only."""
    minimum: Count = 1
    """Rows that every client has at least."""


class Candidates(_Part):
    """Records about which membership is asked: some are given to clients, the others are withheld."""

    count: Annotated[int, Field(ge=2, le=10_000_000)]
    """Candidates, drawn by the cell's seed from the training rows; near-duplicates are left out, and of other training
    rows those that resemble one."""
    inclusion: Literal["half", "coin"] = "half"
    """`half`: exactly half of them, drawn at random, are members; `coin`: each by a coin of its own, as audits need."""


class Canaries(_Part):
    """Records of an audit. Each has a gradient in a direction of its own, and a coin decides whether it is trained on.

    They come on top of a client's texts: drawn for a step like these, and not counted among them.
    """

    count: Annotated[int, Field(ge=20, le=1_000_000)]
    """Canaries of all clients together, those withheld included; of a client at most one for each trained parameter."""
    of: Literal["records", "clients"] = "records"
    """What a canary is: a record of a client, or a client, which sends that direction in every round, or zeros."""
    norm: Annotated[float, Field(gt=0, le=1e6)] = 10.0
    """Of a canary's gradient, or of its update, before a defense clips it: above the clip, so that clipping is audited
    too."""


class Data(_Part):
    """The text that clients hold and the test set."""

    name: str | None = None
    """A registered data set, or `owner/name` on the Hugging Face hub; give either `name` or `path`."""
    path: str | None = None
    """A local file (jsonl, csv, tsv, parquet, txt), or a folder with a train file and maybe a file to test on: `test`,
    or else `validation`, `val`, `valid`, `dev` or `eval`. A relative path starts at the scenario file's folder;
    one of `--set`, or in Python, at the working directory."""
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    """Full commit hash (40 hex digits) of the hub's repository. Needed for `owner/name`; a registered set that is given
    one is read from the hub at that commit, not from $FEDSEC_DATA."""
    config: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Configuration (subset) of the hub's repository; its default if absent. Used for `owner/name` only."""
    train_split: Annotated[str, Field(min_length=1, max_length=200)] = "train"
    """Split of the hub's repository to train on. Used for `owner/name` only."""
    test_split: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Split to test on; `test`, `validation`, `val`, `valid`, `dev` or `eval`, the first that exists, if absent. Used
    for `owner/name` only."""
    columns: ColumnChoice = ColumnChoice()
    """Which columns are read."""
    quoting: Literal["auto", "none", "csv"] = "auto"
    """Of csv and tsv files: `csv`, texts may stand in double quotes; `none`, a quote is a character like any other;
    `auto`, `none` for tsv and `csv` for csv, and what looks like the other is an error."""
    train: Count | None = None
    """Training rows to use, drawn by the cell's seed; all of them if absent. More than there are is an error."""
    test: Count | None = None
    """Test rows to use, likewise."""
    max_tokens: Annotated[int, Field(ge=8, le=8192)] = 128
    """Longer texts are cut there, special tokens included."""
    chat: bool = False
    """Whether prompts and texts stand in the chat template of the model's tokenizer, as the user's words and the
    assistant's answer. For causal-lm; only the answer and its end token are learned, as without."""
    min_words: Count = 1
    """Training rows of fewer words, split at spaces, are left out before any are drawn; test rows stay as they are."""
    partition: Partition = Partition()
    """How training rows are dealt to clients."""
    candidates: Candidates | None = None
    """Which training rows are candidates for membership; none if absent."""
    canaries: Canaries | None = None
    """Canaries that an audit of a privacy claim plants; none if absent."""
    trusted: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    """Training rows that the server holds instead of a client, drawn by the cell's seed; fltrust, zeno and
    defenses before the release need some."""
    language_model: LanguageModel = LanguageModel()
    """What defenses know of the language, such as onion."""


class Evaluation(_Part):
    """What is measured of the global model beside its loss on the test set. For causal-lm only."""

    generate: Count | None = None
    """Test rows whose texts the model writes greedily after their prompts, before training and after it; ROUGE-L then
    compares them with the rows' own. None if absent."""
    max_new_tokens: Annotated[int, Field(ge=1, le=4096)] = 64
    """Tokens after which such a text is cut."""


class Availability(_Part):
    """Clients that fail without malice."""

    drop_out: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability that a sampled client does not report in a round."""
    deadline: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Simulated time that the server waits, in units of the median client's; it waits for everybody if absent."""
    spread: Annotated[float, Field(ge=0, le=10)] = 0.5
    """Sigma of the clients' log-normal speeds. Used with `deadline` only."""
    max_staleness: Annotated[int, Field(ge=0, le=1000)] = 0
    """Rounds by which an update may be late and still count, by 1 / sqrt(1 + rounds). Used with `deadline` only."""
    protocol_drop_out: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability that a client leaves before it answers in a stage of secure aggregation. Used there only."""


class Federation(_Part):
    """The training protocol."""

    clients: Count
    """Clients that exist."""
    clients_per_round: Count | None = None
    """Clients sampled each round; all of them if absent."""
    rounds: Count
    """Rounds of training."""
    local_steps: Count = 1
    """Optimizer steps of a client in a round; 1 under `update: gradient`."""
    batch_size: Count = 8
    """Rows in a local step."""
    sampling: Literal["fixed", "poisson"] = "fixed"
    """`fixed`: shuffled batches of `batch_size` rows and cohorts of `clients_per_round`; `poisson`: so many on average,
    each row and each client by a coin of its own, as guarantees of differential privacy need it."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """Local optimizer; its state starts anew each round. `sgd` under `update: gradient`."""
    learning_rate: Annotated[float, Field(gt=0, le=100)]
    """Of the local steps; under `update: gradient`, of the server's step."""
    server_learning_rate: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Factor of the server's step along the aggregate."""
    server_optimizer: Literal["average", "momentum", "adagrad", "adam", "yogi"] = "average"
    """The server's step: `average` (FedAvg, FedSGD), FedAvgM, FedAdagrad, FedAdam or FedYogi."""
    update: Literal["gradient", "delta"] = "delta"
    """`gradient`: FedSGD, the gradient itself; `delta`: FedAvg, weights after minus before."""
    weighting: Literal["uniform", "examples"] = "uniform"
    """Rows count equally, or by claimed examples, clamped to what was enrolled."""
    evaluate_every: Count = 1
    """Rounds between evaluations; the last round is always evaluated."""
    availability: Availability = Availability()
    """How reliable clients are."""
    tls: bool = True
    """Whether the wire is encrypted; an eavesdropper then sees the cohort and sizes only."""

    @property
    def cohort(self) -> int:
        """Clients in a round."""
        return self.clients if self.clients_per_round is None else self.clients_per_round


class Participation(_Part):
    """The rounds in which malicious clients take part."""

    kind: Literal["sampled", "fixed"] = "sampled"
    """`sampled`: they are drawn for a round like everybody else; `fixed`: they are in every round's cohort."""
    first: Count = 1
    """First round in which they attack; before it they are honest."""
    last: Count | None = None
    """Last round in which they attack; to the end if absent."""


class Auxiliary(_Public):
    """Public text that attacks learn a language from where `knowledge` grants `auxiliary-text`; never the clients'.

    Rows that share a run of 8 words with a row that clients, the test set or the server hold are dropped and counted.
    """

    model: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    """A ready causal language model instead, with the victim's vocabulary: a local folder or a hub id."""


class Threat(_Part):
    """The adversary, and what it knows."""

    malicious: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    """Clients that are malicious in cells with an attack from the client position."""
    declared_malicious: Annotated[int, Field(ge=0, le=10_000_000)] | None = None
    """f: how many the defense believes malicious; `malicious` if absent."""
    knowledge: list[Knowledge] = []
    """Side knowledge granted to attacks."""
    auxiliary: Auxiliary = Auxiliary()
    """The text that `auxiliary-text` grants."""
    attack_rounds: Count | Literal["last", "all"] | list[Count | Literal["last"]] = 1
    """The rounds whose updates an attack that reads may see: a round from 1, `last`, `all`, or a list, which is scored
    together."""
    attack_seconds: Annotated[float, Field(gt=0, le=1e9)] | None = None
    """Seconds that an attack which reads may take in a cell; it then ends with what it has read, and the cell is marked
    `budget`. No limit if absent. A cell that is finished stays so under another limit; one marked `budget` runs again
    under a higher one."""
    colluding: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    """Clients that show a curious server what they sent; what it sees of the others under secure aggregation."""
    participation: Participation = Participation()
    """In which rounds malicious clients take part and attack."""
    obeys_client_defenses: bool = False
    """Whether malicious clients apply client-side defenses; a bound that clients enforce binds no liar."""

    @property
    def declared(self) -> int:
        """What the defense believes: f."""
        return self.malicious if self.declared_malicious is None else self.declared_malicious


class Matrix(_Part):
    """The lists that are crossed. Controls without attack and without defense are always among the cells."""

    attack: list[Component]
    """Attacks; `none` is the control."""
    defense: list[list[Component]]
    """Stacks of defenses; the empty stack is the control."""
    seed: Seeds = [0]
    """Seeds."""
    vary: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}
    """Paths of this file, each with the values it takes, crossed with the rest."""


Label = Annotated[str, Field(min_length=1, max_length=500)]


class GateRule(_Part):
    """What is demanded of one metric in the cells of an attack and a defense."""

    metric: Annotated[str, Field(min_length=1, max_length=200)]
    """A metric (`fedsec list metrics`); or `NAME/MEASUREMENT`, what the plug-in NAME measured, its mean over rounds."""
    attack: Label
    """`none` or a name of the matrix; parameters in brackets, `sign-flip(scale=10)`, narrow the match."""
    defense: Label
    """Likewise; a stack is joined by `+`."""
    max: float | None = None
    """The value, the mean over seeds, may not be above it."""
    min: float | None = None
    """The value may not be below it."""
    tolerance: Annotated[float, Field(ge=0)] | None = None
    """By how much the value may be worse than the baseline's; a baseline is not asked for if absent."""
    minimum_effect: Annotated[float, Field(ge=0)] = 0.0
    """A difference from the baseline that is not larger is none, however sure it is."""

    @property
    def label(self) -> str:
        """What names the rule: `metric/attack/defense`."""
        return f"{self.metric}/{self.attack}/{self.defense}"


Rules = Annotated[list[GateRule], Field(max_length=1000)]


class Scenario(_Part):
    """A whole scenario, resolved."""

    schema_version: Literal[1] = Field(alias="schema")
    """Version of this schema."""
    name: Name
    """kebab-case, with folders; names the run's folder."""
    summary: Summary
    """The question that it answers."""
    model: Model
    data: Data
    federation: Federation
    evaluation: Evaluation = Evaluation()
    threat: Threat = Threat()
    matrix: Matrix
    gate: Rules = []
    """What `fedsec gate` demands of a run."""
    randomness: Literal["seeded", "secure"] = "seeded"
    """Where keys and masks of secure aggregation come from: the seed, or the operating system, which keeps nothing of
    them and repeats nothing. Noise and sampling are seeded in both."""
    keep_text: bool = False
    """Store recovered and original texts and show them in the report; private text is never kept unasked."""


class SuiteFile(_Part):
    """A suite as its file says it: scenarios by name, and what they all face."""

    schema_version: Literal[1] = Field(alias="schema")
    """Version of this schema."""
    name: Name
    """kebab-case, with folders; names the run's folder."""
    summary: Summary
    """The question that it answers."""
    scenarios: Annotated[list[Any], Field(min_length=1, max_length=30)]
    """Shipped names, files (from the suite's folder), `{scenario: NAME, set: {PATH: VALUE}}`, or whole scenarios."""
    defense: Annotated[list[Any], Field(min_length=1)] | None = None
    """Stacks that all of them face in place of their own, as in `matrix.defense`; their own if absent."""
    seed: Seeds | None = None
    """Seeds of all of them; their own if absent."""
    gate: Rules = []
    """What `fedsec gate` demands of a run; the scenarios' own rules do not count."""
