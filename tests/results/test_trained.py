import dataclasses
import json
import re

import jax
import numpy as np
import pytest
import safetensors

from tests import golden
from tests.damage import LONE, contents, damaged, rewritten
from tests.inference.recordings.fakes import fake_trained
from tests.store.fakes import fake_encoder
from tests.training.fakes import make_setup, settings, tones
from unmute_jax import distributed
from unmute_jax.config import Experiment, Optimizer, ProbeOptions, TokenOptions
from unmute_jax.errors import InputError
from unmute_jax.results import trained
from unmute_jax.tokens import Tokens
from unmute_jax.training import loop, selection
from unmute_jax.training.data import ProbeData
from unmute_jax.training.run import embed_all, run_experiment
from unmute_jax.training.sharding import Sharding
from unmute_jax.training.workdir import Workdir

FORMAT_1 = golden.FORMAT_1
CHANGES = {
    "plain": {},
    "standardised": {"standardise": True},
    "int8": {"tokens": TokenOptions(dtype="int8")},
    **{
        f"layers={layers}": {"probe_options": ProbeOptions(layers=layers, num_heads=2)}
        for layers in ("0", "-1", "learned", "all")
    },
}
# All probes that can read other layers.
LAYERED = ("linear", "mhca", "protobin", "stats")
CASES = [
    (change, name)
    for change in CHANGES
    for name in (LAYERED if "layers" in change else ("linear", "protobin"))
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folder and records of a run with two probes and two seeds, for each change."""
    made = {}

    def run(change):
        if change not in made:
            folder = tmp_path_factory.mktemp(change)
            # One rate, so that the search and its repeats share what is compiled.
            rate = Optimizer(learning_rates=(0.1,))
            probes = LAYERED if "layers" in change else ("linear", "protobin")
            given = {"optimizer": rate, "probes": ",".join(probes), **CHANGES[change]}
            setup = make_setup(settings(epochs=1, **given))
            workdir = Workdir(folder, setup.settings)
            records = run_experiment(setup, workdir, log=lambda line: None)
            made[change] = folder, records
        return made[change]

    return run


@pytest.fixture
def finished(runs):
    return runs("plain")


def waveforms(split="test"):
    clips = tones().source_of(split)
    return np.stack([clip.waveform for clip in clips])


@pytest.mark.parametrize(("change", "name"), CASES)
def test_it_predicts_what_the_run_predicted(runs, change, name):
    folder, records = runs(change)
    probe = trained.load_trained(folder, probe=name, seed=1)
    made = make_setup(Experiment.from_dict(probe.settings))
    kind, layer = probe.reading
    (kept,) = (k for k in made.kept if k.layer == layer)
    stores = embed_all(made, kept, ["test"], distributed.make_mesh())
    held_out = ProbeData([stores["test"]], kind, probe.normaliser)
    sharding = Sharding(distributed.make_mesh())
    params = sharding.place_state(jax.tree.map(lambda x: x[None], probe.params))
    logits = loop.logits(probe.probe, params, held_out, 16, sharding)
    (want,) = np.moveaxis(logits, 1, 0)
    got = probe.logits(fake_encoder()(waveforms(), all_layers=True))
    np.testing.assert_allclose(got, want, atol=2e-5)
    # And those are the ones that were scored.
    (record,) = [r for r in records if (r.probe, r.seed) == (name, 1)]
    ap = selection.score(want[:, None], held_out.labels, "multi-label")
    assert ap[0] == pytest.approx(record.test, abs=1e-9)


@pytest.mark.parametrize("layers", ["0", "learned", "all"])
def test_records_hold_the_weights_of_the_layers(runs, layers):
    _, records = runs(f"layers={layers}")
    for r in records:
        assert r.num_layers == 2
        assert r.probe_options["layers"] == layers
        if layers != "learned":
            assert r.layer_weights == ()
            continue
        assert len(r.layer_weights) == 2
        assert sum(r.layer_weights) == pytest.approx(1, abs=1e-6)
        # Training has moved them away from equal weights.
        assert r.layer_weights[0] != pytest.approx(0.5, abs=1e-4)
    assert {r.num_layers for r in runs("plain")[1]} == {0}


def test_the_best_seed_is_the_default(finished):
    folder, records = finished
    best = max((r for r in records if r.probe == "linear"), key=lambda r: r.validation)
    probe = trained.load_trained(folder, probe="linear")
    assert (probe.seed, probe.validation) == (best.seed, best.validation)
    assert probe.classes == ("ash", "birch", "cedar")
    assert probe.geometry == fake_encoder().geometry
    (file,) = (folder / "probes").glob("linear-*-seed1.*")
    assert trained.load_trained(file).seed == 1


def test_another_encoder_is_refused(finished):
    probe = trained.load_trained(finished[0], probe="linear")
    probe.check_encoder(fake_encoder())
    other = dataclasses.replace(fake_encoder(), weights="other")
    with pytest.raises(InputError, match=r"another encoder: weights was .*'other'"):
        probe.check_encoder(other)


def test_mistakes_are_named(finished, tmp_path):
    folder, _ = finished
    with pytest.raises(InputError, match="name one: linear, protobin"):
        trained.load_trained(folder)
    with pytest.raises(InputError, match="did you mean 'protobin'"):
        trained.load_trained(folder, probe="protobn")
    with pytest.raises(InputError, match=r": unknown seed '7': known: "):
        trained.load_trained(folder, probe="linear", seed=7)
    with pytest.raises(InputError, match="holds no trained probes"):
        trained.load_trained(tmp_path)
    with pytest.raises(InputError, match="nowhere: there is no such folder"):
        trained.load_trained(tmp_path / "nowhere")
    (file,) = (folder / "probes").glob("linear-*-seed0.*")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(
        InputError, match="is not the file of a trained probe, or it is damaged"
    ):
        trained.load_trained(broken)


def test_a_training_that_diverged_is_worse_than_all_others(finished, tmp_path):
    first, second = (
        trained.load_trained(finished[0], probe="linear", seed=seed) for seed in (0, 1)
    )
    lost = dataclasses.replace(first, validation=float("nan"))
    for probe in (lost, second):
        path = trained.write_trained(tmp_path / "probes" / probe.file_name, probe)
        with safetensors.safe_open(path, framework="np") as file:
            assert "NaN" not in file.metadata()["unmute_jax"]
    assert np.isnan(trained.load_trained(tmp_path, seed=0).validation)
    assert trained.load_trained(tmp_path).seed == 1


# Damage


def read_error(path):
    """The message with which a file is refused; None if it is read."""
    try:
        trained.load_trained(path)
    except InputError as error:
        message = str(error)
    else:
        return None
    assert message.isprintable()
    assert len(message) < 500
    assert str(path) in message
    return message


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The file of a probe, never to be changed."""
    probe = fake_trained()
    path = tmp_path_factory.mktemp("saved") / probe.file_name
    return trained.write_trained(path, probe)


def test_damage_anywhere_in_a_file_is_noticed(saved, tmp_path):
    path = tmp_path / "probe.safetensors"
    read = []
    for what, content in damaged(saved.read_bytes(), 0, 500):
        path.write_bytes(content)
        if read_error(path) is None:
            read.append(what)
    assert not read


def test_exchanged_tensors_are_noticed(saved, tmp_path):
    header, body = contents(saved)
    first, second = (f"params/{x}" for x in ("classifier/bias", "prototypes"))
    places = {k: v["data_offsets"] for k, v in header.items() if k != "__metadata__"}
    assert first in places
    assert second in places
    begin, end = places[first]
    changed = bytearray(body)
    changed[begin:end] = changed[begin:end][::-1]
    path = tmp_path / "probe.safetensors"
    path.write_bytes(saved.read_bytes()[: -len(body)] + changed)
    assert "altered or damaged after it was written" in read_error(path)


@pytest.mark.parametrize("name", ["linear", "protobin", "knn"])
def test_files_of_the_first_version_are_read_and_predict_the_same(name):
    with np.load(FORMAT_1 / "expected.npz") as expected:
        tokens = Tokens(
            patches=expected["tokens"], cls=expected["cls"], mask=expected["mask"]
        )
        want = expected[name]
    probe = trained.load_trained(FORMAT_1 / f"{name}.safetensors")
    got = probe.logits(tokens)
    if name == "knn":
        # Its logits are those of probabilities, whose last bit decides near 1.
        got, want = jax.nn.sigmoid(got), jax.nn.sigmoid(want)
    np.testing.assert_allclose(got, want, atol=1e-6)
    assert probe.classes == ("ash", "birch", "cedar")
    probe.check_encoder(fake_encoder())


def test_files_of_a_newer_version_are_refused(saved, tmp_path):
    for digest in (True, False):
        path = rewritten(
            saved,
            tmp_path / "new.safetensors",
            "unmute_jax",
            lambda about: about.update(format=trained.FORMAT + 1, novelty=1),
            digest=digest,
        )
        assert "was written by a newer version: update" in read_error(path)


def nested(depth):
    return lambda about: '{"a":' * depth + "1" + "}" * depth


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda a: a.update(classes=["ash", "birch"]),
            "classifier/bias of shape .*, which must be",
        ),
        (lambda a: a.update(classes=["ash", "ash", "cedar"]), "must be different name"),
        (lambda a: a.update(classes=[1, 2, 3]), r"classes\[0\] is 1, must be a text"),
        (lambda a: a.update(classes="abc"), "classes is .*, must be a list"),
        (lambda a: a.update(classes=["ash", LONE, "oak"]), "surrogates not allowed"),
        (lambda a: a.update(dtype=[1, 2]), "dtype is a list, must be a text"),
        (lambda a: a.update(dtype="bfloat17"), "did you mean 'bfloat16'"),
        (lambda a: a.update(task="multilabel"), "did you mean 'multi-label'"),
        (lambda a: a.update(name="protobim"), "did you mean 'protobin'"),
        (lambda a: a.update(name=None), "name is null, must be a text"),
        (lambda a: a["options"].update(prototypes_per_class=21), "must be"),
        (lambda a: a["options"].update(prototypes_per_class="20"), "cannot be '20'"),
        (lambda a: a["options"].update(novelty=1), "unknown option"),
        (lambda a: a.update(options=[]), "options is a list, must be an object"),
        (lambda a: a["geometry"].update(seconds_per_step=0), "is 0.0, which is imposs"),
        (lambda a: a["geometry"].update(seconds_per_step=10**400), "must be a number"),
        (lambda a: a["geometry"].update(frequency_edges_hz=[[5, 1]]), "lowest first"),
        (lambda a: a["geometry"].update(frequency_edges_hz=[1]), "must be a list"),
        (lambda a: a.update(geometry=3), "geometry is 3, must be an object"),
        (lambda a: a.update(clip_seconds="long"), "must be a number"),
        (lambda a: a.update(clip_seconds=1e300), "which is impossible"),
        (lambda a: a.update(seed=0.5), "seed is 0.5, must be an integer"),
        (lambda a: a.update(validation=7), "must lie between 0 and 1"),
        (lambda a: a.update(settings=None), "settings is null, must be an object"),
        (lambda a: a.update(novelty=1), "unknown field 'novelty'"),
        (lambda a: a.pop("seed"), "has no field seed"),
        (lambda a: a.pop("format"), "format is null, must be an integer"),
        (lambda a: a.update(format="1"), "must be an integer"),
        (lambda a: a.update(format=0), "or it is damaged"),
        (
            lambda a: a["encoder"].update(deep=json.loads("[" * 60 + "]" * 60)),
            "too dee",
        ),
        (nested(10_000), "too deeply"),
        (lambda a: '{"seed": 1, "seed": 2}', "'seed' twice"),
        (lambda a: "[]", "not an object"),
    ],
)
def test_values_that_are_impossible_are_named(saved, tmp_path, change, message):
    """Also where the digest fits: the file may have been written like this."""
    path = tmp_path / "probe.safetensors"

    def version_1(about):
        about["format"] = 1
        return change(about)

    for changed, digest in ((version_1, False), (change, True)):
        rewritten(saved, path, "unmute_jax", changed, digest=digest)
        assert re.search(message, read_error(path) or "it was read")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("params/prototypes"), "lacks its tensor prototypes"),
        (lambda t: t.update(x=np.zeros(3)), "has the unknown tensor 'x'"),
        (lambda t: t.update({"params/x": np.zeros(3)}), "cannot have a tensor 'x'"),
        (
            lambda t: t.update({"standardiser/x": np.zeros(3)}),
            "the normaliser lacks its tensor summary_mean",
        ),
        (
            lambda t: t.update({"params/prototypes": t["params/prototypes"][1:]}),
            "prototypes of shape .59, 6., which must be .60, 6.",
        ),
        (lambda t: t.update({"params/prototypes": np.zeros((1,) * 60)}), "must be"),
        (
            lambda t: t.update({"params/prototypes": t["params/prototypes"] > 0}),
            "of type bool, which must be float32",
        ),
        (
            lambda t: t.clear(),
            "probe 'protobin' with 3 classes cannot have these tensors",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(saved, tmp_path, change, message):
    path = tmp_path / "probe.safetensors"
    rewritten(saved, path, "unmute_jax", tensors=change, digest=True)
    assert re.search(message, read_error(path) or "it was read")


def test_tokens_of_another_width_are_refused(saved, tmp_path):
    tokens = fake_encoder()(waveforms())
    narrow = Tokens(
        patches=tokens.patches[..., 1:], cls=tokens.cls[..., 1:], mask=tokens.mask
    )
    with pytest.raises(
        InputError, match="on other tokens than these, which have 5 features"
    ):
        trained.load_trained(saved).logits(narrow)


def test_a_tensor_with_more_axes_than_numpy_has_is_refused(saved, tmp_path):
    header, body = contents(saved)
    header["params/classifier/bias"]["shape"] = [1] * 64 + [3]
    text = json.dumps(header).encode()
    path = tmp_path / "probe.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    assert "or it is damaged" in read_error(path)


def test_a_normaliser_of_other_tokens_is_refused(finished, runs, tmp_path):
    folder, _ = runs("standardised")
    (file,) = (folder / "probes").glob("linear-*-seed0.*")
    path = tmp_path / "probe.safetensors"

    def change(tensors):
        tensors["standardiser/token_mean"] = tensors["standardiser/token_mean"][1:]

    rewritten(file, path, "unmute_jax", tensors=change, digest=True)
    assert "has the tensor classifier" in read_error(path)
