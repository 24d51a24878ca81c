from tests.report.made_up import record
from unmute_jax.results import plots


def line(stage, epoch, **changes):
    values = {
        "probe": "linear", "protocol": "official splits", "stage": stage, "seed": 0,
        "learning_rate": 0.01, "epoch": epoch, "loss": 1 / epoch, "validation": 0.5,
    }  # fmt: skip
    return {**values, **changes}


def test_curves_of_a_sweep_are_those_of_the_repeats(tmp_path):
    lines = [
        line("search 0, epoch 1, from 0", 1),
        line("search 0, epoch 3, from 2", 3),
        *(line("repeat 1", epoch, seed=seed) for seed in (0, 1) for epoch in (1, 2, 3)),
    ]
    path = tmp_path / "curves.png"
    plots.training_curves(path, lines, [record()], ("linear",))
    assert path.read_bytes().startswith(b"\x89PNG")
