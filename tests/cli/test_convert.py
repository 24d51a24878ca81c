"""The converter: one file that says what it is, and gives the same tokens."""

import dataclasses
import hashlib

import numpy as np
import pytest

from tests import golden
from unmute_jax.cli import conversion, convert
from unmute_jax.encoders import load_encoder
from unmute_jax.weights import converted

EAT = golden.ENCODERS / "eat_tiny.pt"


def run(capsys, *arguments):
    """(exit status, what was printed, what was complained of)."""
    status = 0
    try:
        convert.main([str(argument) for argument in arguments])
    except SystemExit as end:
        status = end.code
    return status, *capsys.readouterr()


@pytest.fixture(scope="module")
def eat(tmp_path_factory):
    """A converted file, never to be changed."""
    output = tmp_path_factory.mktemp("converted") / "eat.safetensors"
    convert.main(["--encoder=eat", f"--input={EAT}", f"--output={output}"])
    return output


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

    monkeypatch.setattr(converted, "sha256_of_array", stop)
    output = tmp_path / "eat.safetensors"
    base = ["--encoder=eat", "--input", EAT, "--output", output]
    assert run(capsys, *base)[0] == 130
    assert not list(tmp_path.iterdir())

    def full(array):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(converted, "sha256_of_array", full)
    status, _, complaint = run(capsys, *base)
    assert status == 2
    assert complaint.startswith(f"error: {output}: No space left on device (")
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


def test_the_list_can_be_that_of_one_encoder(capsys):
    status, out, _ = run(capsys, "--list", "--encoder", "whisper")
    assert status == 0
    assert "whisper-large-v3-turbo: 1618 MB, MIT" in out
    assert "EAT" not in out


def test_the_built_in_signal_is_the_same_everywhere():
    signal = conversion.built_in_signal(16000)
    assert (signal.shape, signal.dtype) == ((160_000,), np.float32)
    assert 0.2 < np.abs(signal).max() < 1
    assert abs(signal.mean()) < 0.01
    digest = hashlib.sha256(signal.tobytes()).hexdigest()
    assert digest.startswith("7aa4a7d146eeb36051f3")
