"""Clips that are cut and inputs that are mostly padding are told, and nothing else."""

import pytest

from tests.encoders import custom_encoders
from tests.store.fakes import fake_dataset
from unmute_jax.encoders import load_encoder
from unmute_jax.store.batches import input_lengths
from unmute_jax.store.clip_lengths import length_notes

SMALL = {"weights": "untrained", "width": 8, "depth": 1, "num_heads": 2}


def dataset(**durations):
    of_splits = {
        split: {float(s): n for s, n in of_split.items()}
        for split, of_split in durations.items()
    }
    longest = max(s for of_split in of_splits.values() for s in of_split)
    return fake_dataset(durations=of_splits, clip_seconds=longest)


def test_clips_that_are_cut_are_counted_over_all_splits():
    clips = dataset(train={12: 3, 5: 4, 10.3: 1}, test={13: 5})
    (note,) = length_notes(load_encoder("eat", **SMALL), clips)
    assert note == (
        "8 of 13 clips are cut at 10.24 s, where the input of eat ends; "
        "config.frontend.length_policy=window keeps all of them"
    )


@pytest.mark.parametrize(
    ("options", "clips"),
    [
        # No whole time step of 0.16 s is lost,
        ({}, dataset(train={10.3: 9})),
        # the window policy keeps what follows,
        ({"length_policy": "window"}, dataset(train={12: 3, 9: 4})),
        ({"length_policy": "window", "target_frames": 512}, dataset(train={60: 9})),
        # the input is as long as the longest clip,
        ({"name": "logmel"}, dataset(train={12: 3, 9: 4})),
        # and padding up to a length that the encoder asks for is not due to any clip.
        ({}, dataset(train={1: 99, 10: 1})),
    ],
)
def test_nothing_is_said_where_nothing_is_lost(options, clips):
    options = {"name": "eat", **SMALL, **options}
    if options["name"] == "logmel":
        options = {"name": "logmel"}
    assert length_notes(load_encoder(**options), clips) == ()


def test_a_target_that_cuts_is_told():
    logmel = load_encoder("logmel", target_frames=208)
    (note,) = length_notes(logmel, dataset(train={1: 60, 2: 30, 4: 10}))
    assert note.startswith("10 of 100 clips are cut at 2.08 s, where the input of log")


def test_one_long_clip_that_pads_all_others_is_told_with_what_helps():
    logmel = load_encoder("logmel")
    clips = dataset(train={1: 60, 1.1: 37}, test={60: 1})
    (note,) = length_notes(logmel, clips)
    assert note == (
        "all clips are padded to 60 s for the sake of the longest, but half of them "
        "last at most 1 s: 97% of the input is padding; config.tokens.lengths=6 gives "
        "short clips short inputs, and config.frontend.target_frames=112 cuts the "
        "longest at 1.12 s"
    )
    # What is advised works, and is not advised again.
    assert min(input_lengths(logmel, 60.0, 6)) == 16_000 * 60 // 32
    assert length_notes(logmel, clips, 6) == ()
    (note,) = length_notes(load_encoder("logmel", target_frames=112), clips)
    assert note.startswith("1 of 98 clips are cut at 1.12 s")


def test_many_long_clips_are_not_to_be_cut():
    (note,) = length_notes(load_encoder("logmel"), dataset(train={1: 80, 20: 20}))
    assert note.endswith("config.tokens.lengths=5 gives short clips short inputs")


def test_clips_shorter_than_a_frame_are_no_error():
    (note,) = length_notes(load_encoder("logmel"), dataset(train={0.01: 80, 20: 20}))
    assert "tokens.lengths=" in note


def test_custom_encoders_have_no_length_policy_to_advise():
    custom = load_encoder(f"{custom_encoders.__name__}:Spectral")
    (note,) = length_notes(custom, dataset(train={1: 99, 20: 1}))
    assert "config.tokens.lengths=" in note
    assert "frontend" not in note


def test_nothing_is_said_of_unknown_lengths():
    assert length_notes(load_encoder("eat", **SMALL), fake_dataset()) == ()
