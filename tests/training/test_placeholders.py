"""What a plan uses where a data set or weights are not here, or not prepared."""

import pytest

from tests.hub import running_hub
from unmute_jax.config import DatasetOptions, EncoderOptions, Experiment
from unmute_jax.errors import InputError
from unmute_jax.training import placeholders


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
    settings = Experiment(dataset="folder:/nowhere")
    part = placeholders.dataset_of(settings)
    assert part.value is None
    assert part.fails
    with pytest.raises(InputError, match="/nowhere: there is no such folder"):
        placeholders.preview(settings)


def test_a_preview_has_what_a_run_would_have(tmp_path):
    options = DatasetOptions(train_clips=100_000, test_clips=7)
    setup, missing = placeholders.preview(Experiment(dataset_options=options))
    assert missing == ()
    assert setup.dataset.splits == {"train": 100_000, "validation": 400, "test": 7}
    assert setup.dataset.clip_seconds == 10
    assert not setup.dataset.is_prepared
    assert list(setup.probes) == ["protobin"]
    assert not any(tmp_path.rglob("*.array_record*"))


def test_a_preview_without_anything_says_what_is_missing():
    setup, missing = placeholders.preview(Experiment(dataset="urban", encoder="sslam"))
    assert setup.dataset.splits == {"train": 6000, "validation": 2000, "test": 2000}
    weights, data = missing
    assert weights == "the weights of sslam are not here: downloaded when needed"
    assert data.startswith("urban is not in ")
    setup, _ = placeholders.preview(Experiment(dataset="urban", labels="frames"))
    assert setup.dataset.has_events
    settings = Experiment(dataset="urban", labels="frames", probes="knn")
    with pytest.raises(InputError, match="knows no time steps"):
        placeholders.preview(settings)


@pytest.mark.parametrize("weights", ["", "untrained"])
def test_an_encoder_without_its_weights_has_random_ones(weights):
    tiny = EncoderOptions(width=48, depth=1, num_heads=2)
    part = placeholders.encoder_of(
        Experiment(encoder="eat", encoder_options=tiny, weights=weights)
    )
    assert part.value.network.sizes.width == 48
    missing = "the weights of eat are not here: downloaded when needed"
    assert part.problem == ("" if weights else missing)
