"""The check tells good encoders from bad ones; those that are built in are good."""

import subprocess
import sys

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from tests.encoders.test_conformance import TINY
from unmute_jax import load_encoder
from unmute_jax.encoders import list_encoders
from unmute_jax.errors import InputError
from unmute_jax.store.encoder_check import FAIL, NOTE, PASS, check_encoder

MODULE = "tests.encoders.own_encoders"


@pytest.fixture(scope="module", autouse=True)
def kept_programs(tmp_path_factory):
    """What is loaded again is compiled once, as in the program."""
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
    """An encoder of one block, where it has any."""
    sizes = {**TINY[name], "depth": 1} if name in TINY else {}
    return load_encoder(name, weights="untrained", **sizes)


def checked(name, seconds=1.0):
    findings = list(check_encoder(lambda: load_encoder(f"{MODULE}:{name}"), seconds))
    return {finding.check: finding for finding in findings}


@pytest.mark.parametrize("name", list_encoders())
def test_built_in_encoders_conform(name):
    findings = {f.check: f for f in check_encoder(lambda: shallow(name), 1.0)}
    assert [f for f in findings.values() if f.verdict == FAIL] == []
    strict = ("finite", "deterministic", "batched = single", "loaded again", "time")
    for check in (*strict, "behind a clip", "place in time"):
        assert findings[check].verdict == PASS, findings[check]
    # Untrained attention mixes all bands of a step, yet the place can be told.
    if len(shallow(name).geometry.frequency_edges_hz) >= 4:
        assert findings["place in frequency"].verdict == PASS
    assert " kB per clip" in findings["disk"].value


@pytest.mark.parametrize("name", ["Spectral", "Jax", "closed", "OneLength"])
def test_good_encoders_of_other_people_conform(name):
    findings = checked(name)
    assert not [f for f in findings.values() if f.verdict == FAIL]
    assert findings["batched = single"].verdict == PASS


@pytest.mark.parametrize(
    ("name", "check", "message"),
    [
        ("Drops", "deterministic", "a second call gives other tokens"),
        ("DependsOnBatch", "batched = single", "the other clips of a batch change"),
        ("Unseeded", "loaded again", "weights without a seed"),
        ("Renamed", "loaded again", "kept tokens would not be found"),
        ("NanInSilence", "finite", "NaN or infinity for silence"),
        ("WrongStep", "time", "seconds_per_step of 0.1 would fit"),
        ("BandsAboveNyquist", "frequency", "must rise, and end by 500 Hz"),
        ("WrongBands", "tokens", "gives 2 frequency bands, and frequency_edges_hz"),
        ("Ragged", "tokens", "must not depend on what is in them"),
        ("Integers", "tokens", "floating point is wanted"),
        ("ForgotToSay", "tokens", "set jittable = False"),
    ],
)
def test_one_mistake_is_one_clear_line(name, check, message):
    (failed,) = [f for f in checked(name).values() if f.verdict == FAIL]
    assert failed.check == check
    assert message in failed.value
    assert "\n" not in failed.value


def test_swapped_axes_and_read_padding_are_noted():
    swapped = checked("Swapped", seconds=2.0)["place in time"]
    assert swapped.verdict == NOTE
    assert "are patches in the order [time, frequency]?" in swapped.value
    behind = checked("Spectral")["behind a clip"]
    assert behind.verdict == NOTE
    assert "the pipeline puts zeros there" in behind.value
    only = checked("OneLength")["padding"]
    assert "takes one length of input only (one second is wanted" in only.value
    assert "5 of 10 time steps" in checked("Jax")["mask"].value


def test_clips_must_have_a_frame_in_their_half():
    with pytest.raises(InputError, match=r"clips of at least 0\.05 s, not 0\.01"):
        list(check_encoder(lambda: shallow("eat"), 0.01))


def test_the_program_says_it_all_and_ends_with_its_verdict():
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
