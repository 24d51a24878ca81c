"""Frame-wise probes: trained, chosen and scored on onsets and offsets."""

import copy
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.store.fakes import RATE, D, F, T, fake_encoder
from tests.training.fakes import Tones, settings, tones
from unmute_jax import distributed, metrics, probes, results
from unmute_jax.config import Frames, Optimizer
from unmute_jax.datasets import Clip
from unmute_jax.errors import InputError
from unmute_jax.metrics.events import has_sed_eval
from unmute_jax.report.gather import find_records, make_grid
from unmute_jax.report.resampling import Resampler, basis
from unmute_jax.results.predictions import read_predictions
from unmute_jax.results.trained import load_trained
from unmute_jax.store.embed import embed
from unmute_jax.training import frame_scores, losses, plan
from unmute_jax.training.batches import batches, rows_in_order
from unmute_jax.training.data import ProbeData
from unmute_jax.training.run import loop, run_experiment
from unmute_jax.training.setup import Setup, check_probes, make_probes, prepare
from unmute_jax.training.sharding import Sharding
from unmute_jax.training.step import Trial, init_state, make_train_steps
from unmute_jax.training.workdir import Workdir

CLASSES = 3
# Lengths of the clips: 3, 4 or 5 of the 5 time steps of a fifth of a second are real.
SECONDS = (0.6, 0.8, 1.0)
PLAIN = Frames(median_seconds=0.0)


class Spans(Tones):
    """Clips in which the tone of a class is present in some of the time steps."""

    def fingerprint(self, split):
        return f"spans {split} {self.splits[split]}"

    def _clip(self, salt, i):
        rng = np.random.default_rng([salt, i])
        seconds = SECONDS[i % 3]
        time = np.arange(int(seconds * RATE)) / RATE
        waveform = 0.1 * rng.standard_normal(len(time))
        events = []
        for c in sorted(rng.permutation(CLASSES)[: rng.integers(1, 3)].tolist()):
            first, count = int(rng.integers(0, 3)), int(rng.integers(1, 3))
            onset, offset = first * 0.2, min((first + count) * 0.2, seconds)
            active = (time >= onset) & (time < offset)
            waveform += active * np.sin(2 * np.pi * (20 + 30 * c) * time)
            events.append((c, onset, offset))
        return Clip(
            id=f"{salt}-{i}",
            waveform=waveform.astype(np.float32),
            sample_rate=RATE,
            labels=tuple(c for c, *_ in events),
            events=tuple(events),
        )


def spans(**changes):
    plain = tones(name="fake/spans", **changes)
    fields = [f.name for f in dataclasses.fields(plain)]
    return Spans(**{name: getattr(plain, name) for name in fields})


def chosen(**changes):
    facts = {
        "labels": "frames",
        "probes": "stats,protobin",
        "epochs": 10,
        "eval_every": 5,
        "batch_size": 25,
        "optimizer": Optimizer(learning_rates=(0.03, 0.1)),
    }
    return settings(**{**facts, **changes})


def setup(settings, dataset=None):
    dataset = dataset or spans()
    return Setup(
        settings=settings,
        dataset=dataset,
        encoder=fake_encoder(),
        protocols=dataset.protocols(),
        probes=make_probes(settings, CLASSES),
        loss=losses.make_loss(settings.loss.name),
    )


def run(folder, made):
    return run_experiment(made, Workdir(folder, made.settings), log=lambda _: None)


@pytest.fixture(scope="module")
def stores():
    return {
        split: embed(fake_encoder(), spans(), split, log=lambda _: None)
        for split in ("train", "validation", "test")
    }


@pytest.fixture(scope="module")
def clips(stores):
    return ProbeData([stores["test"]], "tokens", frame_rule="half")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames")
    return run(folder, setup(chosen())), folder


def test_targets_are_the_labels_of_the_real_steps(clips):
    assert clips.is_framewise
    assert clips.targets.shape == (22, T, CLASSES)
    np.testing.assert_array_equal(
        clips.weights.sum(1), [(3, 4, 5)[i % 3] for i in range(22)]
    )
    for i, events in enumerate(clips.events):
        for c, onset, offset in events:
            first, last = round(onset / 0.2), round(offset / 0.2)
            assert clips.targets[i, first:last, c].all()
    # Masked steps have no class, and clips have the classes of their steps.
    assert not clips.targets[clips.weights == 0].any()
    np.testing.assert_array_equal(clips.targets.max(1), clips.labels)


@functools.partial(jax.jit, static_argnums=0)
def frames_of(probe, params, tokens):
    return probe.apply({"params": params}, tokens, method="frames")


def test_batches_carry_steps_and_weigh_padding_with_zero(clips):
    sharding = Sharding(distributed.make_mesh(2))
    made = list(batches(clips, rows_in_order(22, 9), 9, sharding))
    assert [b.targets.shape for b in made] == [(10, T, CLASSES)] * 3
    assert sum(float(b.weight.sum()) for b in made) == clips.weights.sum()
    assert made[0].packed.patches.shape == (10, T, F, D)


@pytest.mark.parametrize("name", ["linear", "protobin"])
def test_the_loss_is_the_mean_over_real_steps(name, clips):
    options = {"input": "mean"} if name == "linear" else {}
    probe = probes.make_probe(name, num_classes=CLASSES, **options)
    trial = Trial(learning_rate=0.0, weight_decay=0.0, seed=0)
    example = jax.tree.map(jnp.asarray, clips.read(np.arange(1)))
    state = init_state(probe, example, (trial,) * 2, Optimizer())
    params = jax.tree.map(lambda x: np.asarray(x)[0], state.params)
    frames = np.asarray(frames_of(probe, params, clips.read(np.arange(22))))
    real = clips.weights > 0
    wanted = losses.bce(
        jnp.asarray(frames[real]), jnp.asarray(clips.targets[real], jnp.float32)
    )
    sharding = Sharding(distributed.make_mesh(2))
    step = make_train_steps(probe, losses.bce, 10, Optimizer(), sharding)
    after = sharding.place_state(jax.device_get(state))
    for batch in batches(clips, rows_in_order(22, 9), 9, sharding):
        after = jax.block_until_ready(step(after, batch))
    assert after.count.tolist() == [real.sum()] * 2
    mean = after.loss_sum / after.count
    np.testing.assert_allclose(mean, [wanted.mean()] * 2, rtol=1e-4)


def test_probes_learn_from_time_steps_and_are_scored(finished):
    records, _ = finished
    assert {r.metric for r in records} == {"frame mAP"}
    assert len(records) == 4
    for r in records:
        assert set(r.more) >= {"clip mAP"}
        assert ("event F1" in r.more) == has_sed_eval()
        assert set(r.thresholds) == {"ash", "birch", "cedar"}
    chance = np.mean([0.2, 0.25])
    best = {r.probe: r.test for r in records}
    assert best["stats"] > 2 * chance
    rows = results.rows(records, ["stats", "protobin"])
    assert rows[0].more["clip mAP"] == pytest.approx(
        np.mean([r.more["clip mAP"] for r in records if r.probe == "stats"])
    )
    table = results.table(records, ["stats", "protobin"])
    assert "labels of time steps (half)" in table.title
    assert "test clip mAP" in [column.header for column in table.columns]


def test_the_saved_probe_gives_the_scores_of_the_record(finished, stores, clips):
    records, folder = finished
    for name in ("stats", "protobin"):
        trained = load_trained(folder, probe=name, seed=0)
        (record,) = (r for r in records if (r.probe, r.seed) == (name, 0))
        tokens = stores["test"].load()
        frames = frames_of(trained.probe, trained.params, tokens)
        rows, truth = clips.flatten_valid(np.asarray(frames)[:, None])
        score = metrics.mean_average_precision(rows[:, 0], truth).mean
        assert score == pytest.approx(record.test, abs=1e-6)
        # The logits of a clip are the highest of its real steps.
        of_clips = np.asarray(trained.logits(tokens))
        score = metrics.mean_average_precision(of_clips, clips.labels).mean
        assert score == pytest.approx(record.more["clip mAP"], abs=0.02)


def test_a_second_run_trains_nothing_and_the_plan_says_so(finished, monkeypatch):
    records, folder = finished
    monkeypatch.setattr(loop, "train", None)
    assert run(folder, setup(chosen())) == records
    text = plan.describe(setup(chosen(probes="stats")), folder / "other")
    assert "finished" not in text
    assert "finished" in plan.describe(setup(chosen()), folder)


def logits_of(clips):
    """Logits that are right in every time step."""
    return np.where(clips.targets > 0, 1.0, -1.0).astype(np.float32)


def test_thresholds_have_the_best_f1_of_the_validation_steps(clips):
    logits = logits_of(clips)
    least = frame_scores.thresholds(logits, clips, PLAIN)
    np.testing.assert_allclose(least, 0.5, atol=1e-6)
    given = frame_scores.thresholds(logits, clips, Frames(threshold=0.3))
    np.testing.assert_allclose(given, 0.3)
    # Logits of masked steps do not count.
    logits[clips.weights == 0] = 9.0
    result = frame_scores.scores(logits, clips, least, ("a", "b", "c"), PLAIN)
    assert result["clip mAP"] == 1
    if has_sed_eval():
        assert result["event F1"] == 1


def test_masked_steps_do_not_reach_the_median(clips):
    low, high = logits_of(clips), logits_of(clips)
    low[clips.weights == 0], high[clips.weights == 0] = -9.0, 9.0
    options = Frames(median_seconds=0.6)
    least = frame_scores.thresholds(low, clips, options)
    np.testing.assert_array_equal(frame_scores.thresholds(high, clips, options), least)
    one, other = (
        frame_scores.scores(x, clips, least, ("a", "b", "c"), options)
        for x in (low, high)
    )
    assert one == other


def test_a_diverged_probe_has_no_score(clips):
    logits = logits_of(clips)
    logits[clips.weights == 0] = np.nan
    least = frame_scores.thresholds(logits, clips, PLAIN)
    masked = frame_scores.scores(logits, clips, least, ("a", "b", "c"), PLAIN)
    assert np.isfinite(list(masked.values())).all()
    logits[3, 0, 1] = np.nan
    assert frame_scores.thresholds(logits, clips, PLAIN)[1] == 0.5
    diverged = frame_scores.scores(logits, clips, least, ("a", "b", "c"), PLAIN)
    assert diverged.keys() == masked.keys()
    assert np.isnan(list(diverged.values())).all()


def test_a_clip_without_real_steps_leaves_the_other_scores_alone(clips):
    few = copy.copy(clips)
    few.weights = clips.weights.copy()
    few.weights[0] = 0
    least = np.full(CLASSES, 0.5, np.float32)
    result = frame_scores.scores(logits_of(clips), few, least, ("a", "b", "c"), PLAIN)
    assert 0.5 < result["clip mAP"] < 1


def test_a_class_without_onset_is_named(stores):
    class Weak(Spans):
        def fingerprint(self, split):
            return "weak"

        def _clip(self, salt, i):
            clip = super()._clip(salt, i)
            return dataclasses.replace(
                clip, events=clip.events[1:] if i == 4 else clip.events
            )

    plain = spans()
    weak = Weak(**{f.name: getattr(plain, f.name) for f in dataclasses.fields(plain)})
    store = embed(fake_encoder(), weak, "test", log=lambda _: None)
    ProbeData([store], "tokens")
    with pytest.raises(InputError, match=r"clip '0-4' .* no onset and offset of it"):
        ProbeData([store], "tokens", frame_rule="any")


def test_probes_without_time_steps_are_refused_before_anything_is_loaded():
    with pytest.raises(InputError, match="'knn' is fitted to the labels of clips"):
        check_probes(chosen(probes="knn"))
    with pytest.raises(InputError, match=r"class token.*probe_options\.input=mean"):
        check_probes(chosen(probes="linear"))
    with pytest.raises(InputError, match="cross_entropy is for clips of one class"):
        chosen(loss=dataclasses.replace(chosen().loss, name="cross_entropy"))


def test_a_data_set_without_onsets_is_refused_before_it_is_embedded():
    with pytest.raises(InputError, match="esc10 has labels of whole clips"):
        prepare(chosen(dataset="esc10", encoder="logmel"))


def test_the_logits_of_time_steps_give_the_score_again(finished, tmp_path):
    _, folder = finished
    grid = make_grid(find_records([folder]))
    for cell in grid.cells:
        for file in cell.files:
            saved = read_predictions(file.predictions)
            score = metrics.mean_average_precision(saved.logits, saved.labels).mean
            assert score == pytest.approx(file.record.test, abs=1e-12)
            assert len(saved.ids) == sum((3, 4, 5)[i % 3] for i in range(22))
    # So reports resample the clips, with all of their steps at once.
    assert basis(grid.cells[0]).units == (22,)
    (_, freedom), *_ = Resampler(tmp_path).score(grid.cells[0]).parts
    assert freedom == 21
