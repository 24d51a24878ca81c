import json
import subprocess
import sys
import threading
import time
import uuid

import pytest

from unmute_jax.errors import InputError
from unmute_jax.grid.claims import CellStatus, ClaimLost, Claims


@pytest.fixture(params=["folder", "bucket"])
def root(request, tmp_path):
    """Where a grid may be; the memory of tensorstore stands for a bucket."""
    return tmp_path if request.param == "folder" else f"memory://{uuid.uuid4().hex}"


def state(claims, cell="a"):
    return claims.look([cell])[cell].state


def test_a_cell_has_one_owner_until_it_ends(root):
    ours, theirs = Claims(root), Claims(root)
    assert state(ours) == "open"
    with ours.claim("a") as claim:
        assert state(theirs) == "running"
        assert theirs.claim("a") is None
        assert theirs.claim("b") is not None
        claim.end("done")
    assert state(theirs) == "done"
    assert theirs.claim("a") is None
    assert ours.claim("a") is None


def test_one_of_many_processes_gets_a_cell(root):
    processes = [Claims(root) for _ in range(8)]
    start, got = threading.Barrier(8), []

    def try_it(claims):
        for cell in "abcde":
            start.wait()
            if claim := claims.claim(cell):
                got.append((cell, claim))

    threads = [threading.Thread(target=try_it, args=(c,)) for c in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(cell for cell, _ in got) == list("abcde")


def test_one_of_many_processes_takes_over_an_abandoned_cell(root):
    dead = Claims(root)
    assert dead.claim("a") is not None
    processes = [Claims(root, expiry=0.0) for _ in range(8)]
    seen, start, got = threading.Barrier(8), threading.Barrier(8), []

    def try_it(claims):
        claims.look(["a"])
        seen.wait()
        write = claims.write

        # All have read the same claim when the first of them replaces it.
        def together(*arguments):
            start.wait()
            return write(*arguments)

        claims.write = together
        if claim := claims.claim("a"):
            got.append(claim)

    threads = [threading.Thread(target=try_it, args=(c,)) for c in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1


def test_a_claim_lasts_while_it_has_beats(root, monkeypatch):
    ours, theirs = Claims(root, expiry=0.1), Claims(root, expiry=300.0)
    start = time.monotonic()
    with ours.claim("a"):
        for late in (0.0, 299.0, 598.0):
            beat = theirs.look(["a"])["a"].beat
            while ours.look(["a"])["a"].beat == beat:
                time.sleep(0.01)
            monkeypatch.setattr(time, "monotonic", lambda late=late: start + late)
            assert theirs.claim("a") is None


def test_a_claim_expires_by_the_clock_of_the_reader(root, monkeypatch):
    ours, theirs = Claims(root), Claims(root, expiry=300.0)
    assert ours.claim("a") is not None
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    assert theirs.claim("a") is None
    monkeypatch.setattr(time, "monotonic", lambda: now + 299.0)
    assert theirs.claim("a") is None
    monkeypatch.setattr(time, "monotonic", lambda: now + 300.0)
    assert theirs.claim("a") is not None


def test_an_owner_that_was_silent_too_long_leaves(root):
    ours, theirs = Claims(root, expiry=0.2), Claims(root, expiry=0.0)
    claim = ours.claim("a")
    with claim:
        claim.check()
        taken = theirs.claim("a")
        while not claim.is_lost:  # Its next beat finds out.
            time.sleep(0.01)
        with pytest.raises(ClaimLost):
            claim.check()
    taken.end("done")
    claim.end("failed", "late")
    assert state(theirs) == "done"


def test_the_seconds_of_a_cell_are_summed_over_its_owners(root):
    claims = Claims(root)
    for _ in range(2):
        with claims.claim("a") as claim:
            claim.enter("tokens")
            time.sleep(0.05)
            claim.enter("training")
    with claims.claim("a") as claim:
        claim.end("failed", "no memory", "trace")
    entry = claims.look(["a"])["a"]
    assert entry.tokens >= 0.1
    assert 0 < entry.training < entry.tokens
    assert (entry.state, entry.message, entry.details) == (
        "failed",
        "no memory",
        "trace",
    )
    # It is tried again, and then nothing says that it once failed.
    with claims.claim("a") as claim:
        assert claims.look(["a"])["a"].message == ""


def test_a_process_that_was_killed_here_is_known_to_be_dead(tmp_path):
    code = (
        "import os, signal; from unmute_jax.grid.claims import Claims; "
        f"c = Claims(__import__('pathlib').Path({str(tmp_path)!r})); c.claim('a'); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], timeout=120)
    entry = json.loads((tmp_path / "claims" / "a.json").read_text())
    assert entry["state"] == "running"
    assert Claims(tmp_path, expiry=1e9).claim("a") is not None


def test_a_damaged_file_is_one_line(tmp_path):
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "a.json").write_text("{")
    with pytest.raises(InputError, match=r"claims/a\.json: not a claim"):
        Claims(tmp_path).look(["a"])
    assert Claims(tmp_path).look(["b"]) == {"b": CellStatus()}
