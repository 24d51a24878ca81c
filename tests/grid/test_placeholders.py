"""What an estimate uses where a data set or weights are not downloaded."""

import pytest

from tests.hub import running_hub
from unmute_jax.config import EncoderOptions, Experiment
from unmute_jax.grid import placeholders


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("UNMUTE_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))


def test_a_data_set_that_would_be_downloaded_has_its_official_size():
    part = placeholders.dataset_of(Experiment(dataset="esc50"))
    assert "esc50 is not in" in part.problem
    assert "downloaded when needed" in part.problem
    assert part.value.splits == {f"fold{i}": 400 for i in range(1, 6)}
    assert len(part.value.classes) == 50
    assert len(part.value.protocols(0)) == 5


@pytest.mark.parametrize(
    "place",
    [{"dataset": "hf:owner/name"}, {"dataset": "fsdd", "data_dir": "hf:owner/name"}],
)
def test_a_plan_downloads_no_data_set_of_the_hub(place, monkeypatch, tmp_path):
    with running_hub(monkeypatch, tmp_path / "hub") as hub:
        for split in ("train", "test"):
            name = f"data/{split}-00000-of-00001.parquet"
            hub.files[f"/datasets/owner/name/resolve/main/{name}"] = bytes(1000)
        part = placeholders.dataset_of(Experiment(**place))
        assert part.problem == (
            "hf:owner/name: 2 files (2.0 kB) are downloaded when needed"
        )
        assert (part.value is None) == place["dataset"].startswith("hf:")
        assert not hub.downloads


def test_an_unknown_place_has_no_placeholder():
    part = placeholders.dataset_of(Experiment(dataset="folder:/nowhere"))
    assert part.value is None
    assert "/nowhere" in part.problem


@pytest.mark.parametrize(
    ("options", "count"),
    [({}, 1), ({"folds": "groups"}, None), ({"folds": "5", "test_fold": 2}, 1)],
)
def test_only_the_data_set_tells_how_many_folds_its_groups_make(options, count):
    settings = Experiment.from_dict(
        {"dataset": "folder:/nowhere", "dataset_options": options}
    )
    assert placeholders.protocol_count(settings) == count


@pytest.mark.parametrize("weights", ["", "untrained"])
def test_an_encoder_without_its_weights_has_random_ones(weights):
    tiny = EncoderOptions(width=48, depth=1, num_heads=2)
    part = placeholders.encoder_of(
        Experiment(encoder="eat", encoder_options=tiny, weights=weights)
    )
    assert part.value.network.sizes.width == 48
    missing = "the weights of eat are not here: downloaded when needed"
    assert part.problem == ("" if weights else missing)
