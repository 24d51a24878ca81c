import dataclasses
import json

from tests.report.page_reader import Page
from unmute_jax.inference.diagnose_page import page


def test_the_page_stands_alone_and_escapes_names(diagnosed):
    trained, _, diagnosis = diagnosed
    strange = dataclasses.replace(trained, classes=("<i>", "birch", "cedar"))
    text = page(strange, diagnosis)
    assert "&lt;i&gt;" in text
    assert "<i>" not in text
    read = Page(text)
    assert not read.open
    assert [x.split(",")[0] for x in read.fetched] == ["data:image/png;base64"]
    assert f"{100 * diagnosis.never:.1f} %" in text


def test_prototypes_are_listed_by_influence(diagnosed):
    trained, _, diagnosis = diagnosed
    read = Page(page(trained, diagnosis))
    numbers = [
        x.index for x in sorted(diagnosis.prototypes, key=lambda x: -x.influence)
    ]
    assert read.values[7::3] == [float(n) for n in numbers][: len(read.values[7::3])]
    nearest = diagnosis.prototypes[numbers[0]].nearest[0]
    assert any(nearest.clip in part for part in read.text)


def test_a_diagnosis_is_plain_json(diagnosed):
    _, _, diagnosis = diagnosed
    assert json.loads(json.dumps(diagnosis.to_dict()))["size"] == list(diagnosis.size)
