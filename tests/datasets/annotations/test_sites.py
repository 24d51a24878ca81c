"""Sites are found in the names of folders and files."""

import pytest

from unmute_jax.datasets.annotations.sites import sites_of
from unmute_jax.errors import InputError


@pytest.mark.parametrize(
    ("names", "sites"),
    [
        (["north/0.wav", "north/1.wav", "south/0.wav"], ["north", "north", "south"]),
        (["audio/n/day1/0.wav", "audio/s/day1/0.wav"], ["n", "s"]),
        # In one folder every recording is for itself.
        (["audio/0.wav", "audio/1.wav"], ["audio/0.wav", "audio/1.wav"]),
        (["0.wav", "north/0.wav"], ["0.wav", "north"]),
    ],
)
def test_the_first_folder_that_differs_is_the_site(names, sites):
    assert list(sites_of(names, "", "").values()) == sites


def test_a_pattern_finds_the_site_in_the_name():
    names = ["rec/N1_2024.wav", "rec/S2_2024.wav"]
    assert list(sites_of(names, r"([NS])\d_", "here").values()) == ["N", "S"]
    with pytest.raises(InputError, match=r"here: group_pattern='\(N\)' finds no group"):
        sites_of(names, "(N)", "here")
