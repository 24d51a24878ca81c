"""The list of published weights."""

import re

from unmute_jax.encoders import list_encoders
from unmute_jax.weights.published_list import PUBLISHED


def test_every_default_belongs_to_an_encoder():
    defaults = [published.default_of for published in PUBLISHED if published.default_of]
    assert len(defaults) == len(set(defaults))
    assert set(defaults) <= set(list_encoders())
    for published in PUBLISHED:
        assert published.default_of in (None, *published.encoders)


def test_names_are_unique_and_licences_stated():
    names = [published.name for published in PUBLISHED]
    assert len(names) == len(set(names))
    assert all(published.licence for published in PUBLISHED)


def test_every_file_can_be_found_somewhere():
    for published in PUBLISHED:
        places = (published.hub, published.url, published.drive_id, published.page)
        assert any(places), published.name
    drive_ids = [published.drive_id for published in PUBLISHED if published.drive_id]
    assert {len(drive_id) for drive_id in drive_ids} == {33}


def test_hashes_are_complete():
    hashes = [h for p in PUBLISHED for h in (p.sha256, p.hub_sha256) if h]
    assert len(hashes) == len(set(hashes)) > 10
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in hashes)
