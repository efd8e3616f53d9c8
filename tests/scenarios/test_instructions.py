"""What benchmark/smollm2-instructions is held against trains on the same rows and is asked the same."""

from fedsec.config.load import load_scenario

NAME = "benchmark/smollm2-instructions"
ALONE = ["federation.clients=1", "data.trusted=96"]
TOGETHER = ["federation.clients=1", "federation.batch_size=16"]


def test_one_client_alone_and_all_data_in_one_place_differ_in_nothing_else() -> None:
    apart, alone, together = load_scenario(NAME), load_scenario(NAME, ALONE), load_scenario(NAME, TOGETHER)
    rows, each = apart.data.train or 0, apart.federation
    assert rows // each.clients == rows - alone.data.trusted, "alone: as many rows as each of the clients"
    assert alone.federation.batch_size == each.batch_size
    assert together.federation.batch_size == each.clients * each.batch_size, "in one place: as many rows in each step"
    for other in (alone, together):
        assert other.federation.clients == 1
        assert other.data.model_copy(update={"trusted": 0}) == apart.data, "the same rows, the same test set"
        same = {"clients": each.clients, "batch_size": each.batch_size}
        assert other.federation.model_copy(update=same) == each
        assert (other.model, other.evaluation) == (apart.model, apart.evaluation)
