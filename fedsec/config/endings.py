"""Which files hold data, by how their names end."""

ENDINGS = (".jsonl", ".jsonl.gz", ".csv", ".tsv", ".parquet", ".txt", ".txt.gz")
TEXT_ENDINGS = (".txt", ".txt.gz")
"""Files of bare texts, which have no columns and no labels."""
UNQUOTED = tuple(ending for ending in ENDINGS if ending not in (".csv", ".tsv"))
"""Files that are no tables with quotes."""
