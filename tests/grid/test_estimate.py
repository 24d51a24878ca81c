import json

import numpy as np
import pytest
import soundfile as sf

from unmute_jax.datasets import load_dataset
from unmute_jax.grid import estimate
from unmute_jax.grid.cells import Grid, default_grid


def cells(**values):
    config = default_grid()
    config.encoders, config.probes = "logmel", "protobin,knn"
    for key, value in values.items():
        config[key] = value
    return Grid.from_dict(config.to_dict()).cells()


def test_a_missing_data_set_is_estimated_from_its_official_numbers():
    # URBAN-SED has 6,000 clips for training, of ten seconds, and ten classes.
    chosen = cells(datasets="urban,folder:/nowhere")
    found = estimate.estimate(chosen, rate=1e9)
    (tokens,) = found.tokens
    assert tokens.clips == tokens.missing == 10_000
    # 62 x 8 tokens of 256 numbers in two bytes, and what is kept beside them.
    assert tokens.size == pytest.approx(10_000 * 62 * 8 * 256 * 2, rel=0.2)
    protobin, knn = found.trainings
    assert protobin.parameters == 200 * 256 + 200 * 10 + 10
    assert protobin.steps == 30 * 47
    assert protobin.trainings == 10 + 4
    # Forward: every token with every prototype; backward: one token for each.
    each = 62 * 8 * 200 * 256
    assert protobin.cost == pytest.approx(14 * 30 * 47 * 128 * each / 1e9, rel=0.25)
    assert (knn.parameters, knn.cost) == (0, 0)

    text = "\n".join(estimate.describe(found, chosen, {chosen[0].folder}))
    assert "4 cells, 1 done" in text
    assert "missing   urban is not in " in text
    assert "missing   /nowhere: there is no such folder" in text
    assert "without 2 cells" in text


def test_what_is_kept_of_other_layers_has_a_line_of_its_own():
    probes = "protobin,linear@layers=0,linear@layers=learned,protobin@layers=-1"
    chosen = cells(datasets="urban", probes=probes)
    found = estimate.estimate(chosen, rate=1e9)
    last, summaries, one = found.tokens
    assert last.layers == ()
    # Four vectors of 256 numbers in four bytes.
    assert summaries.size - last.size == pytest.approx(10_000 * 4096, rel=0.02)
    assert one.size == last.size
    lines = estimate.describe(found, chosen, set())
    assert any("logmel urban: 10,000 clips, " in line for line in lines)
    assert any("logmel urban, summaries of 1 layer: 10,000" in line for line in lines)
    assert any("logmel urban, layer 0: 10,000 clips, " in line for line in lines)


def test_lengths_that_matter_are_told_for_each_encoder(tmp_path, monkeypatch):
    monkeypatch.setenv("UNMUTE_CACHE", str(tmp_path / "cache"))
    for i in range(10):
        path = tmp_path / "own" / "ab"[i % 2] / f"{i}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        x = np.random.default_rng(i).integers(-99, 99, 90_000 if i == 3 else 1000)
        sf.write(path, x.astype(np.int16), 8000)
    chosen = cells(datasets=f"folder:{tmp_path / 'own'}", probes="knn")
    found = estimate.estimate(chosen, rate=1e9)
    lines = estimate.describe(found, chosen, set())
    at = next(i for i, line in enumerate(lines) if ": 10 clips" in line)
    assert lines[at + 1].startswith("    all clips are padded to 11.25 s")


def test_one_probe_is_measured_and_the_others_scaled(monkeypatch):
    measured = []

    def step_seconds(made, probe, mesh, count):
        measured.append(made.settings.probes)
        assert count == 1
        return 2.0, 1

    monkeypatch.setattr(estimate.plan, "step_seconds", step_seconds)
    monkeypatch.setattr(estimate.plan, "encoder_rate", lambda *a: 50.0)
    found = estimate.estimate(cells(datasets="urban,desed,spass", probes="protobin"))
    assert measured == ["protobin"]
    urban, desed, spass = found.trainings
    assert urban.cost == pytest.approx(14 * 30 * 47 * 128 * 2.0 / 16)
    per_step = [t.cost / t.steps for t in (urban, desed, spass)]
    assert per_step[1] == pytest.approx(per_step[0])
    # 28 classes; the last chunk of prototypes is filled up.
    assert per_step[2] == pytest.approx(2.8 * per_step[0], rel=0.25)
    assert found.tokens[0].cost == pytest.approx(10_000 / 50)
    assert "measured on" in found.basis


def test_each_encoder_is_measured_and_light_steps_with_whole_batches(monkeypatch):
    measured = []

    def encoder_rate(made, encoder, mesh):
        measured.append(made.settings.encoder)
        return {"beats": 50.0, "eat": 2.0}[made.settings.encoder]

    def step_seconds(made, probe, mesh, count):
        measured.append((made.settings.probes, made.settings.batch_size))
        return 2.0, 1

    monkeypatch.setattr(estimate.plan, "step_seconds", step_seconds)
    monkeypatch.setattr(estimate.plan, "encoder_rate", encoder_rate)
    chosen = cells(
        encoders="beats@untrained,eat@untrained",
        encoder_options={"width": 48, "depth": 1, "num_heads": 2},
        datasets="urban",
        probes="linear,protobin@prototypes_per_class=100",
    )
    found = estimate.estimate(chosen)
    assert sorted(map(str, measured)) == sorted(
        ["beats", "eat", "('linear', 128)", f"('protobin', {estimate.FEW})"]
    )
    assert [t.cost for t in found.tokens] == [10_000 / 50, 10_000 / 2]


def test_a_cell_that_would_fail_is_named_and_the_others_counted():
    chosen = cells(datasets="urban", probes="mhca@num_heads=12,linear,knn")
    found = estimate.estimate(chosen, rate=1e9)
    text = "\n".join(estimate.describe(found, chosen, set()))
    assert "without 1 cells that would fail" in text
    name = "logmel-urban-mhca"  # Twelve is the default.
    assert f"fails     {name}: Mhca: num_heads=12 does not divide the 256" in text
    assert "too little is known" not in text
    assert "urban linear: 2,570 parameters, 14.0 trainings of 1,410 steps" in text
    assert "urban knn: nothing to train, 1 x (logmel)" in text
    assert "of one device to go" in text


def test_an_encoder_outside_of_jax_is_measured_even_where_a_rate_is_given(monkeypatch):
    measured = []

    def encoder_rate(made, encoder, mesh):
        measured.append(made.dataset.name)
        return 50.0

    monkeypatch.setattr(estimate.plan, "encoder_rate", encoder_rate)
    encoders = "tests.encoders.custom_encoders:Spectral,logmel"
    chosen = cells(encoders=encoders, datasets="urban,sc2", probes="linear")
    found = estimate.estimate(chosen, rate=1e9)
    assert not found.failures
    # Once, and scaled by the length of the clips: ten seconds, and one.
    assert measured == ["urban"]
    urban, sc2 = found.tokens[:2]
    assert urban.cost == pytest.approx(urban.missing / 50)
    assert sc2.cost == pytest.approx(sc2.missing / 500)
    assert found.basis.endswith("per second; encoders outside of JAX as measured here")
    alone = estimate.estimate(chosen[2:], rate=1e9)
    assert alone.basis.endswith("multiply-adds per second")


def test_the_rate_of_an_encoder_outside_of_jax_can_be_measured():
    encoders = "tests.encoders.custom_encoders:Spectral"
    found = estimate.estimate(cells(encoders=encoders, datasets="sc2", probes="knn"))
    assert not found.failures
    assert 0 < found.tokens[0].cost < 1e6


def test_data_sets_share_the_name_of_exported_tokens(tmp_path, monkeypatch):
    monkeypatch.setenv("UNMUTE_CACHE", str(tmp_path / "cache"))
    names, places = ("ants", "bees", "crows"), []
    for name in names:
        for i in range(6):
            path = tmp_path / "own" / name / "ab"[i % 2] / f"{name} {i}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            sf.write(path, np.random.default_rng(i).uniform(-0.1, 0.1, 800), 8000)
        places.append(f"folder:{tmp_path / 'own' / name}")
        folder = tmp_path / "tokens" / name
        folder.mkdir(parents=True)
        facts = {"name": "x", "seconds_per_step": 1, "frequency_edges_hz": [[0, 400]]}
        (folder / "tokens.json").write_text(json.dumps(facts))
        # Those of the last data set are of others.
        whose = "ants" if name == "crows" else name
        data = load_dataset(f"folder:{tmp_path / 'own' / whose}")
        ids = [i for s in data.splits for i in data.ids(s)]
        patches = np.ones((len(ids), 1, 1, 4), np.float32)
        np.savez(folder / "all.npz", patches=patches, ids=ids)
    chosen = cells(
        encoders=f"tokens:{tmp_path / 'tokens'}/{{dataset}}",
        datasets=",".join(places),
        probes="knn",
    )
    assert {c.encoder for c in chosen} == {f"tokens:{tmp_path}/tokens/{{dataset}}"}
    found = estimate.estimate(chosen)
    assert [t.dataset for t in found.tokens] == places[:2]
    (failure,) = found.failures
    assert "has no tokens of" in failure
    assert "crows" in failure
