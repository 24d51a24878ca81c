"""`unmute probes` lists every probe, and describes one with its options."""

import pytest

from unmute_jax.cli.probes import main
from unmute_jax.probes import list_probes, make_probe, probe_options


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")


def test_every_probe_is_listed_with_its_size_and_a_sentence(capsys):
    main([])
    rows = {line.split(" ")[0]: line for line in capsys.readouterr().out.splitlines()}
    assert set(list_probes()) <= rows.keys()
    assert "7,690  An affine map of one vector" in rows["linear"]  # 768 x 10 + 10.
    assert "155,610" in rows["protobin"]  # 200 prototypes, and 200 x 10 + 10.
    assert "k-NN" in rows["knn"]
    assert " none " in rows["knn"]


def test_a_probe_is_described_with_its_own_options_and_defaults(capsys):
    main(["mhca"])
    text = " ".join(capsys.readouterr().out.split())
    assert "Multi-head cross-attention with learned queries; section 3.3." in text
    assert "It reads the tokens of a clip. It has 1,188,106 parameters" in text
    assert (
        "--config.probe_options.num_queries=N Number of queries. "
        "Values: a whole number from 1 to 1,000. Default: 1."
    ) in text
    assert "prototypes_per_class" not in text
    assert "--config.probes=linear,mhca@" in text


def test_choices_are_those_of_the_probe(capsys):
    main(["abmilp"])
    assert "--config.probe_options.activation=tanh|relu\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", list_probes())
def test_every_option_of_every_probe_is_shown_with_a_default(name, capsys):
    main([name])
    text = capsys.readouterr().out
    shown = text.split("Options behind --config:")[-1].split("\n  --")[1:]
    names = {
        block.split("=")[0].removeprefix("config.probe_options.") for block in shown
    }
    made = make_probe(name, num_classes=10)
    # Options that have no setting are for Python alone.
    assert names <= probe_options(name)
    assert all("Default: " in " ".join(block.split()) for block in shown)
    assert ("It has no options." in text) == (not names)
    assert type(made).__doc__.splitlines()[0] in " ".join(text.split())


def test_an_unknown_probe_is_answered_with_the_nearest_one(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["protobim"])
    assert caught.value.code == 2
    assert "did you mean 'protobin'" in capsys.readouterr().err
