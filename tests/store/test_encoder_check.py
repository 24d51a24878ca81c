"""The check distinguishes good encoders from bad ones; built-in encoders pass."""

import subprocess
import sys

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from tests.encoders.test_conformance import NETWORKS, TINY
from unmute_jax import load_encoder
from unmute_jax.errors import InputError
from unmute_jax.store.encoder_check import FAIL, NOTE, PASS, check_encoder

MODULE = "tests.encoders.custom_encoders"


@pytest.fixture(scope="module", autouse=True)
def compilation_cache_of_the_module(tmp_path_factory):
    """An encoder that is loaded again is not compiled again, as in the program."""
    options = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("compiled")),
        "jax_persistent_cache_min_compile_time_secs": 0,
    }
    before = {name: getattr(jax.config, name) for name in options}
    for settings in (options, before):
        compilation_cache.reset_cache()
        for name, value in settings.items():
            jax.config.update(name, value)
        if settings is options:
            yield


def shallow(name):
    """An encoder with one block, if it has blocks."""
    sizes = {**TINY[name], "depth": 1} if name in TINY else {}
    return load_encoder(name, weights="untrained", **sizes)


def checked(name, seconds=1.0):
    findings = list(check_encoder(lambda: load_encoder(f"{MODULE}:{name}"), seconds))
    return {finding.check: finding for finding in findings}


@pytest.mark.parametrize("name", NETWORKS)
def test_built_in_encoders_conform(name):
    findings = {f.check: f for f in check_encoder(lambda: shallow(name), 1.0)}
    assert [f for f in findings.values() if f.verdict == FAIL] == []
    strict = ["finite", "deterministic", "batched = single", "loaded again", "time"]
    # BAT scales a clip by its own minimum and maximum, and starts with a random table
    # that is large beside that: without training, all its tokens are alike.
    if name != "bat":
        strict += ["place in time"]
    strict += ["stored in bfloat16"]
    for check in (*strict, "behind a clip"):
        assert findings[check].verdict == PASS, findings[check]
    # Untrained attention mixes all bands of a step, yet the band can be recognised.
    if name != "bat" and len(shallow(name).geometry.frequency_edges_hz) > 1:
        assert findings["place in frequency"].verdict == PASS
        assert findings["chirps"].verdict == PASS
    assert "int8 loses" in findings["stored in int8"].value
    assert " kB per clip" in findings["disk"].value


@pytest.mark.parametrize("name", ["Spectral", "Jax", "closed", "OneLength"])
def test_good_custom_encoders_conform(name):
    findings = checked(name)
    assert not [f for f in findings.values() if f.verdict == FAIL]
    assert findings["batched = single"].verdict == PASS


@pytest.mark.parametrize(
    ("name", "check", "message"),
    [
        ("Drops", "deterministic", "a second call gives other tokens"),
        ("DependsOnBatch", "batched = single", "the other clips of a batch change"),
        ("Unseeded", "loaded again", "weights without a seed"),
        ("Renamed", "loaded again", "stored tokens would not be found"),
        ("Large", "stored in bfloat16", "use config.tokens.dtype=float32"),
        ("NanInSilence", "finite", "NaN or infinity for silence"),
        ("WrongStep", "time", "seconds_per_step of 0.1 would fit"),
        ("BandsDescend", "place in frequency", "the highest band comes first"),
        ("Reversed", "place in time", "the last step comes first"),
        ("BandsAboveNyquist", "frequency", "must ascend and end at 500 Hz or below"),
        ("WrongBands", "tokens", "gives 2 frequency bands, and frequency_edges_hz"),
        ("Ragged", "tokens", "must not depend on the sound"),
        ("Integers", "tokens", "must be floating point"),
        ("ForgotToSay", "tokens", "set jittable = False"),
    ],
)
def test_one_mistake_is_one_clear_line(name, check, message):
    (failed,) = [f for f in checked(name).values() if f.verdict == FAIL]
    assert failed.check == check
    assert message in failed.value
    assert "\n" not in failed.value


def test_swapped_axes_fail_and_samples_behind_the_clip_are_noted():
    swapped = checked("Swapped", seconds=2.0)["place in time"]
    assert swapped.verdict == FAIL
    assert "are patches in the order [time, frequency]?" in swapped.value
    behind = checked("Spectral")["behind a clip"]
    assert behind.verdict == NOTE
    assert "the pipeline puts zeros there" in behind.value
    only = checked("OneLength")["padding"]
    assert "takes only one length of input (the input must last" in only.value
    assert "5 of 10 time steps" in checked("Jax")["mask"].value


def test_clips_must_have_a_frame_in_their_half():
    with pytest.raises(InputError, match=r"clips of at least 0\.05 s, not 0\.01"):
        list(check_encoder(lambda: shallow("eat"), 0.01))


def test_the_program_prints_all_findings_and_fails():
    command = [sys.executable, "-m", "experiments.check_encoder", "--seconds=1"]
    done = subprocess.run(
        [*command, f"{MODULE}:WrongStep", "--option", "gain=0.5"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    *findings, last = done.stdout.splitlines()
    assert last == "1 failed"
    assert sum(line.startswith("FAIL  time ") for line in findings) == 1
    for check in ("deterministic", "speed", "memory", "disk"):
        assert any(line[6:].startswith(check) for line in findings)
