"""The class names of AudioSet and of fine-tuned encoders."""

import pytest

from tests import golden
from unmute_jax.datasets import audioset_labels
from unmute_jax.encoders import load_encoder
from unmute_jax.errors import InputError
from unmute_jax.weights.torch_file import read_torch


def test_the_list_has_the_527_classes_of_audioset():
    names = list(audioset_labels.classes().values())
    assert len(names) == len(set(audioset_labels.classes())) == 527
    assert (names[0], names[137], names[526]) == ("Speech", "Music", "Field recording")
    assert audioset_labels.classes()["/m/0bt9lr"] == "Dog"


def test_the_order_of_a_files_own_list_is_used():
    listed = {1: "/m/09x0r", 0: "/m/0bt9lr", 2: "/x/unknown"}
    assert audioset_labels.head_names(3, listed, "it") == (
        "Dog",
        "Speech",
        "/x/unknown",
    )
    texts = {str(key): value for key, value in listed.items()}
    assert audioset_labels.head_names(3, texts, "it") == ("Dog", "Speech", "/x/unknown")
    with pytest.raises(
        InputError, match="it: its list of 3 labels does not name the 4"
    ):
        audioset_labels.head_names(4, listed, "it")


def test_heads_of_other_sizes_have_no_names():
    assert audioset_labels.head_names(None, None, "it") == ()
    assert audioset_labels.head_names(50, None, "it") == ()
    assert audioset_labels.head_names(527, None, "it")[0] == "Speech"


def test_the_outputs_of_an_encoder_have_the_names_of_its_file():
    path = golden.ENCODERS / "beats_ft_tiny.pt"
    encoder = load_encoder("beats+", path)
    listed = read_torch(path)["label_dict"]
    names = audioset_labels.classes()
    assert len(encoder.classes) == len(listed)
    for i in (0, 1, len(listed) - 1):
        assert encoder.classes[i] == names.get(listed[i], listed[i])


def test_pretrained_weights_have_no_classes():
    assert load_encoder("beats", golden.ENCODERS / "beats_tiny.pt").classes == ()
