import pytest

from unmute_jax.datasets.known_copies import notes_on_copy


@pytest.mark.parametrize(
    ("name", "columns", "known"),
    [
        ("ashraq/esc50", [], "ESC-50: "),
        ("me/ESC-50", [], "ESC-50: "),
        ("clips", ["audio", "fold", "src_file", "take", "esc10"], "ESC-50: "),
        ("philgzl/fsd50k", [], "FSD50K: "),
        ("FSD-Kaggle2019", [], "FSDKaggle: "),
        ("agkphysics/AudioSet:balanced", [], "AudioSet: "),
        ("google/speech_commands:v0.01", [], "Speech Commands: "),
        ("danavery/urbansound8K", [], "UrbanSound8K: "),
        ("x", ["ebird_code", "ebird_code_multilabel", "audio"], "BirdSet: "),
    ],
)
def test_known_copies_are_warned_of(name, columns, known):
    [note] = notes_on_copy(name, columns)
    assert note.startswith(known)


def test_other_data_sets_are_not():
    for name in ("desc50", "me/birds", "esc500k", "speech"):
        assert not notes_on_copy(name, ["audio", "label", "fold"])
