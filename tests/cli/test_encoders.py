"""`unmute encoders` lists every encoder, and describes one with options and weights."""

import pytest

from unmute_jax.cli.encoders import main
from unmute_jax.encoders import list_encoders


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")


def test_every_encoder_is_listed_with_its_facts(capsys):
    main([])
    rows = {line.split(" ")[0]: line for line in capsys.readouterr().out.splitlines()}
    assert set(list_encoders()) <= rows.keys()
    facts = {
        "dasheng": "16 250 x 1 of 768 40 Apache-2.0",
        "bird_mae": "32 32 x 8 of 768 160 none stated by the authors",
        "logmel": "16 62 x 8 of 256 160 none needed",
    }
    for name, expected in facts.items():
        assert " ".join(rows[name].split()) == f"{name} {expected}"


def test_an_encoder_is_described_with_its_options_and_weights(capsys):
    main(["whisper"])
    text = capsys.readouterr().out
    for words in (
        "Source: Radford et al., Robust Speech Recognition",
        "base (512 x 6)",
        "Rate: 16 kHz. Tokens of 10 s: 500 x 1 of 768. Time step: 20 ms.",
        "Licence of the weights: MIT.",
        "--config.frontend.length_policy=pad|repeat|crop|window",
        "whisper-base (default of whisper): 290 MB, MIT",
    ):
        assert words in text
    assert "config.frontend.recipe" not in text
    _, after = text.split("--config.frontend.mask_padding=True|False\n")
    assert "Default: True." in after.split("--config")[0]


def test_recipes_are_those_of_the_encoder(capsys):
    main(["bat"])
    recipes = "audioset|esc50|speech_commands|birdset"
    assert f"--config.frontend.recipe={recipes}\n" in capsys.readouterr().out
    main(["aves2_beats"])
    text = capsys.readouterr().out
    assert "--config.frontend.recipe=16khz|32khz_as_16khz\n" in text


def test_the_encoder_without_weights_has_no_options_of_weights(capsys):
    main(["logmel"])
    text = capsys.readouterr().out
    assert "config.encoder_options" not in text
    assert "Published weights" not in text
    assert "1 s for 1 s, 5 s for 5 s" in text


def test_an_unknown_encoder_is_answered_with_the_nearest_one(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["wisper"])
    assert caught.value.code == 2
    assert "did you mean 'whisper'" in capsys.readouterr().err
