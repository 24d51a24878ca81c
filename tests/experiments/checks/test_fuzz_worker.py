"""A crash, a limit that is passed and a printed line are seen; the next one runs."""

import os
import time

from experiments.checks.fuzz_worker import Worker


def behave(folder, kind, may_differ):
    """Stands for a reader, in the process of the worker."""
    match kind:
        case "ends the process":
            os._exit(7)
        case "takes long":
            time.sleep(60)
        case "takes memory":
            return bytes(500_000_000)[:0].decode()
        case "raises":
            raise ValueError("a fault")
        case "leaves":
            raise SystemExit(2)
        case "prints":
            os.write(2, b"a message")
        case "writes":
            (folder.parents[2] / "outside").write_text("x")
    return (folder / "file").read_text()


def test_every_failure_is_noticed_and_the_next_input_is_tried(tmp_path):
    (tmp_path / "file").write_text("fine")
    worker = Worker(behave, seconds=0.5, megabytes=300)
    kinds = (
        *("raises", "leaves", "prints", "takes memory", "ends the process", "fine"),
        "takes long",
    )
    try:
        outcomes = {kind: worker.run(tmp_path, kind) for kind in kinds}
    finally:
        worker.stop()
    assert outcomes.pop("fine").outcome == "fine"
    assert {answer.outcome for answer in outcomes.values()} == {"failed"}
    reasons = [
        answer.reason.partition(" (test_fuzz_worker")[0] for answer in outcomes.values()
    ]
    assert reasons == [
        "ValueError: a fault",
        "SystemExit: 2",
        "prints b'a message'",
        "MemoryError: ",
        "ends the process with code 7",
        "takes longer than 0.5 s",
    ]
