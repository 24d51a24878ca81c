"""Links between `docs/` and the files beside it lead somewhere on the site, too."""

import pytest

pytest.importorskip("mkdocs")
pytest.importorskip("nbconvert")

from experiments.site import adapted_links


@pytest.mark.parametrize(
    ("page", "link", "adapted"),
    [
        ("architecture.md", "../SECURITY.md#a", "security.md#a"),
        ("contributing.md", "docs/architecture.md", "architecture.md"),
        ("tutorials/one_bit.md", "../../CHANGELOG.md", "../changelog.md"),
        ("tutorials/one_bit.md", "../recordings.md#x", "../recordings.md#x"),
        ("many_machines.md", "../deploy/Dockerfile", "deploy/Dockerfile"),
        ("index.md", "where.png", "where.png"),
        ("index.md", "#here", "#here"),
        ("index.md", "https://example.org/a.md", "https://example.org/a.md"),
    ],
)  # fmt: skip
def test_links_are_those_of_the_site(page, link, adapted):
    assert adapted_links(f"[a]({link}), b", page) == f"[a]({adapted}), b"
