from matplotlib.figure import Figure

from unmute_jax import probes
from unmute_jax.results import looks


def pair(name):
    found = looks.probe_look(name)
    return found["color"], found["marker"]


def test_every_probe_has_a_look_of_its_own():
    assert set(probes.list_probes()) <= set(looks.PROBES)
    pairs = {name: pair(name) for name in (*looks.PROBES, "somebodys_probe")}
    assert len(set(pairs.values())) == len(pairs)


def test_the_probes_that_are_compared_most_differ_in_colour():
    names = ("linear", "mhca", "protobin", "stats", "ep", "simpool", "proto")
    assert len({pair(name)[0] for name in names}) == len(names)


def test_an_unknown_probe_looks_alike_in_every_process():
    # A hash of Python would differ between processes.
    assert pair("somebodys_probe") == ("#0072B2", "s")


def test_names_start_no_formula_and_are_cut():
    text = looks.shorten(r"a $\bad$ b")
    assert text == r"a \$\bad\$ b"
    figure = Figure()
    figure.suptitle(text)
    figure.draw_without_rendering()
    assert looks.shorten("a" * 30, 10) == "a" * 9 + "…"
