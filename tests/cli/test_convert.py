"""The converter: one file that says what it is, and gives the same tokens."""

import dataclasses
import hashlib
import json

import jax
import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from tests import golden
from unmute_jax.cli import convert
from unmute_jax.encoders import conversion, load_encoder, with_weights
from unmute_jax.errors import InputError
from unmute_jax.weights import converted
from unmute_jax.weights.files import read_weights
from unmute_jax.weights.loading import from_file
from unmute_jax.weights.torch_file import read_torch

EAT = golden.ENCODERS / "eat_tiny.pt"


def cases():
    """(encoder, file, heads where the file does not say) of every golden encoder."""
    found = json.loads((golden.ENCODERS / "cases.json").read_text("utf-8"))["cases"]
    unique = {case["weights"]: case for case in found}
    if not unique:
        raise FileNotFoundError(f"no case in {golden.ENCODERS}")
    return [pytest.param(case, id=name) for name, case in unique.items()]


def equal(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    jax.tree.map(np.testing.assert_array_equal, got, want)


def run(capsys, *arguments):
    """(exit status, what was printed, what was complained of)."""
    status = convert.main([str(argument) for argument in arguments])
    return status, *capsys.readouterr()


@pytest.fixture(scope="module")
def eat(tmp_path_factory):
    """A converted file, never to be changed."""
    output = tmp_path_factory.mktemp("converted") / "eat.safetensors"
    assert convert.main(["--encoder=eat", f"--input={EAT}", f"--output={output}"]) == 0
    return output


@pytest.fixture
def altered(eat, tmp_path):
    """Writes the converted file with other metadata or tensors, and no true digest."""

    def write(*, tensors=None, digest=None, **metadata):
        with safetensors.safe_open(eat, "numpy") as file:
            said = dict(file.metadata())
        held = {k: v.copy() for k, v in safetensors.numpy.load_file(eat).items()}
        held |= tensors or {}
        said |= {key: value for key, value in metadata.items() if value is not None}
        for key in [key for key, value in metadata.items() if value is None]:
            del said[key]
        if digest:
            shapes = {name: tensor.shape for name, tensor in held.items()}
            hashes = {name: converted._sha256(held[name]) for name in held}
            said["digest"] = converted._digest(said, shapes, hashes)
        file = tmp_path / "altered.safetensors"
        safetensors.numpy.save_file(held, file, said)
        return file

    return write


def test_the_file_says_what_it_is(eat):
    said = read_weights(eat).metadata
    encoder = load_encoder("eat", EAT)
    assert said["encoder"] == "eat"
    assert said["source_file"] == "eat_tiny.pt"
    assert said["source_sha256"] == hashlib.sha256(EAT.read_bytes()).hexdigest()
    assert said["layout"] == "fairseq"
    assert said["training"] == "pre-trained"
    assert (said["licence"], said["format_version"]) == ("MIT", "1")
    assert "2401.03497" in said["citation"]
    details = json.loads(json.dumps(encoder.details()))
    assert json.loads(said["sizes"]) == details.pop("sizes")
    assert int(said["num_heads"]) == details.pop("num_heads")
    assert json.loads(said["front_end"]) == details


def test_tensors_lie_where_jax_can_use_them(eat):
    (*_, last), data = zip(*read_weights(eat).content["model"].items(), strict=True)
    assert last
    assert {array.ctypes.data % 64 for array in data if not array.nbytes % 64} == {0}
    weight = read_weights(eat).content["model"]["blocks_0.mlp.fc1.weight"]
    placed = jax.device_put(weight)
    assert placed.unsafe_buffer_pointer() == weight.ctypes.data


def test_altered_files_are_refused(eat, altered, tmp_path):
    content = bytearray(eat.read_bytes())
    content[-7] ^= 1
    (tmp_path / "flipped.safetensors").write_bytes(content)
    flipped = tmp_path / "flipped.safetensors"
    bias = {"blocks_0.norm1.bias": np.zeros(3, np.float32)}
    half = {"blocks_0.norm1.bias": np.zeros(48, ml_dtypes.bfloat16)}
    for file in (
        flipped,
        altered(num_heads="2"),
        altered(source_sha256="0" * 64),
        altered(licence="none"),
        altered(tensors=bias),
        altered(tensors=half),
        altered(tensors={"more": np.zeros(3, np.float32)}),
    ):
        with pytest.raises(InputError, match="was altered after it was converted"):
            load_encoder("eat", file)


SIZES = {"width": 48, "depth": 3, "hidden": 192, "positions": 512, "classes": None}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"sizes": json.dumps(SIZES | {"depth": 10**9})}, "not those of its tensors"),
        ({"sizes": json.dumps(SIZES | {"width": 10**8})}, "not those of its tensors"),
        ({"sizes": json.dumps(SIZES | {"hidden": 191})}, "damaged in its tensors"),
        ({"sizes": json.dumps(SIZES | {"hidden": -1})}, "sizes are impossible"),
        ({"sizes": json.dumps(SIZES | {"more": 1})}, "metadata lack something"),
        ({"sizes": "[" * 100_000}, "metadata lack something"),
        ({"num_heads": "many"}, "metadata lack something"),
        ({"num_heads": "5"}, "48 cannot be split into 5 heads"),
        ({"source_sha256": "unknown"}, "metadata lack something"),
        ({"licence": None}, "metadata lack something"),
        ({"format_version": "soon"}, "of no version"),
        ({"format_version": "2"}, "version 2 of the format.* update unmute-jax"),
    ],
)
def test_files_that_lie_consistently_are_refused(change, match, altered):
    with pytest.raises(InputError, match=match) as caught:
        load_encoder("eat", altered(digest=True, **change))
    assert str(caught.value).isprintable()


def test_another_encoder_and_other_heads_are_refused(eat):
    with pytest.raises(InputError, match="a converted encoder 'eat', not 'sslam'"):
        load_encoder("sslam", eat)
    with pytest.raises(InputError, match="was converted with 4 heads, not 8"):
        load_encoder("eat", eat, num_heads=8)
    assert load_encoder("eat+", eat, num_heads=4).weights.startswith("sha256:")


def test_half_precision_becomes_what_is_loaded(tmp_path):
    whole = read_torch(golden.ENCODERS / "dasheng_tiny.pt")["model"]
    halves = {k: np.ascontiguousarray(v).astype(np.float16) for k, v in whole.items()}
    source, output = tmp_path / "half.safetensors", tmp_path / "out.safetensors"
    safetensors.numpy.save_file(halves, source)
    conversion.convert(with_weights("dasheng"), source, output, 4)
    want = load_encoder("dasheng", source, num_heads=4).params
    equal(load_encoder("dasheng", output).params, want)


# Every tensor is accounted for -------------------------------------------------------


@pytest.mark.parametrize("case", cases())
def test_unknown_tensors_refuse_the_file_by_name(case):
    origin = with_weights(case["encoder"]).ORIGIN
    file = read_weights(golden.ENCODERS / case["weights"])
    content = file.content
    nested = content.get("teacher", content.get("model"))
    state = content if nested is None else nested
    state["surprise.weight"] = np.zeros(3, np.float32)
    with pytest.raises(InputError, match=r"not expected: surprise\.weight"):
        from_file(origin, file, case["num_heads"])
    del state["surprise.weight"]
    weights = from_file(origin, file, case["num_heads"])
    beside = {**content, "epochs": 3, "other": [{"deep": np.zeros(3)}]}
    other = dataclasses.replace(file, content=beside)
    with pytest.raises(InputError, match=r"not (known|expected): '?other"):
        from_file(origin, other, case["num_heads"])
    assert all(weights.ignored.values())
    paths = [path for path, _ in weights.leaves()]
    assert len(paths) == len(set(paths))


def test_what_is_not_used_is_known_by_its_reason(capsys, tmp_path):
    output = tmp_path / "asit.safetensors"
    file = golden.ENCODERS / "asit_tiny.pt"
    status, out, _ = run(
        capsys, "--encoder=asit", "--input", file, "--output", output, "--num_heads=4"
    )
    assert status == 0
    assert "layout: training script, teacher" in out
    assert "not used, the teacher is the encoder: student" in out
    assert "projection head of the pre-training: head." in out
    assert "licence of the weights: none stated" in out
    assert "state of the training: epoch, CLS_PATCH_loss" in out


# The command line --------------------------------------------------------------------


def test_verify_compares_and_tells_numbers(capsys, tmp_path):
    output = tmp_path / "eat.safetensors"
    base = ["--encoder=eat", "--verify"]
    status, out, _ = run(capsys, *base, "--input", EAT, "--output", output)
    assert status == 0
    assert "equal to the input bit by bit" in out
    numbers = out[out.index("tokens of the built-in signal") :]
    for what in ("mean", "std", "min", "max", "[0, 0, 0]", "cls begins"):
        assert what in numbers
    # The same, whichever file they come from.
    assert run(capsys, *base, "--input", output)[1] == numbers
    assert numbers in run(capsys, *base, "--input", EAT)[1]


def test_a_bad_disk_is_noticed(capsys, tmp_path, monkeypatch):
    other = golden.ENCODERS / "eat_tiny_hf.safetensors"
    write = converted.write

    def spoilt(path, weights, metadata):
        def leaves():
            for path, array in weights.leaves():
                yield path, array + np.float32(1) if path == ("cls",) else array

        write(path, dataclasses.replace(weights, leaves=leaves), metadata)

    monkeypatch.setattr(converted, "write", spoilt)
    output = tmp_path / "eat.safetensors"
    arguments = ["--encoder=eat", "--input", other, "--output", output, "--verify"]
    status, _, complaint = run(capsys, *arguments)
    assert status == 2
    assert "cls is not what was written" in complaint


def test_nothing_is_overwritten_unasked(capsys, tmp_path):
    output = tmp_path / "eat.safetensors"
    output.write_text("precious")
    base = ["--encoder", "eat", "--input", EAT, "--output", output]
    status, _, complaint = run(capsys, *base)
    assert (status, output.read_text()) == (2, "precious")
    assert "--overwrite replaces it" in complaint
    assert run(capsys, *base, "--overwrite")[0] == 0
    assert load_encoder("eat", output)
    copy = tmp_path / "model.safetensors"
    copy.write_bytes((golden.ENCODERS / "eat_tiny_hf.safetensors").read_bytes())
    base = ["--encoder=eat", "--input", copy, "--output", copy, "--overwrite"]
    status, _, complaint = run(capsys, *base)
    assert status == 2
    assert "the input itself" in complaint


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "--encoder is missing"),
        (["--encoder=eat"], "--output is missing"),
        (["--encoder=eatt", "--output=x.safetensors"], "did you mean 'eat"),
        (["--encoder=logmel", "--output=x.safetensors"], "has no weights"),
        (
            ["--encoder=eat", "--input=no.pt", "--output=x.safetensors"],
            "no weights file",
        ),
        (["--encoder=eat", f"--input={EAT}", "--output=x.pt"], "must end in .safetens"),
        (["--encoder=beats", f"--input={EAT}", "--output=x.safetensors"], "_ema"),
        (["--info"], "--input is missing"),
        (
            ["--encoder=eat", f"--input={EAT}", "--output=/proc/x.safetensors"],
            "/proc",
        ),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    arguments, complaint, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    status, out, said = run(capsys, *arguments)
    assert (status, out, said.count("\n")) == (2, "", 1)
    assert said.startswith("error: ")
    assert complaint in said
    assert not list(tmp_path.iterdir())


def test_unknown_options_are_one_line(capsys):
    with pytest.raises(SystemExit) as caught:
        convert.main(["--encodr=eat"])
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_stops_leaves_nothing_behind(capsys, tmp_path, monkeypatch):
    def stop(array):
        raise KeyboardInterrupt

    monkeypatch.setattr(converted, "_sha256", stop)
    output = tmp_path / "eat.safetensors"
    base = ["--encoder=eat", "--input", EAT, "--output", output]
    assert run(capsys, *base)[0] == 130
    assert not list(tmp_path.iterdir())

    def full(array):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(converted, "_sha256", full)
    status, _, complaint = run(capsys, *base)
    assert (status, complaint) == (2, "error: No space left on device\n")
    assert not list(tmp_path.iterdir())


def test_a_converted_file_is_not_converted_again(eat, capsys, tmp_path):
    output = tmp_path / "again.safetensors"
    base = ["--encoder=eat", "--input", eat, "--output", output]
    status, _, complaint = run(capsys, *base)
    assert status == 2
    assert "is converted already" in complaint


def test_info_says_what_is_inside(eat, capsys):
    status, out, _ = run(capsys, "--info", "--input", EAT)
    assert status == 0
    assert "a file of torch.save" in out
    assert "model.blocks.#.attn.qkv.weight: [144, 48] float32, 3 times" in out
    assert "fits EAT-48x3" in out
    assert "fits SSLAM-48x3" in out
    assert "does not fit BEATs" in out
    _, out, _ = run(capsys, "--info", "--input", eat, "--encoder=eat")
    assert "a converted encoder" in out
    assert "source_file: eat_tiny.pt" in out
    assert "ASiT" not in out


def test_the_list_names_what_is_published(capsys):
    status, out, _ = run(capsys, "--list")
    assert status == 0
    for what in (
        "EAT-large_epoch20_pretrain: 1235 MB, MIT",
        "https://huggingface.co/worstchan/EAT-base_epoch30_pretrain",
        "(default of audiomae+): CC BY-NC 4.0",
        "dasheng_audioset_mAP497 (default of dasheng+)",
        "arXiv 2212.09058",
    ):
        assert what in out


def test_the_built_in_signal_is_the_same_everywhere():
    signal = convert.built_in_signal(16000)
    assert (signal.shape, signal.dtype) == ((160_000,), np.float32)
    assert 0.2 < np.abs(signal).max() < 1
    assert abs(signal.mean()) < 0.01
    digest = hashlib.sha256(signal.tobytes()).hexdigest()
    assert digest.startswith("7aa4a7d146eeb36051f3")
