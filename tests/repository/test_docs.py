"""The documentation: examples print what it says, links lead somewhere, every public name is in."""

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import lnsim.lns
import matplotlib
import numpy as np
import pytest
from lnsim.lns import LNS8, Datapath, LNSFormat, encode

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
GUIDE = sorted((DOCS / "guide").glob("*.md"))
PICTURES = sorted((DOCS / "pictures").glob("*.svg"))


def load(name: str, folder: Path = DOCS) -> Any:
    """A module of the documentation's own folder."""
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))


def text_of(name: str) -> str:
    """A page."""
    return (DOCS / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", GUIDE, ids=lambda path: path.stem)
def test_the_guide_prints_what_it_shows(path: Path) -> None:
    """Its Python runs word for word, and every output and table is what stands there."""
    text = path.read_text(encoding="utf-8")
    assert load("make_pages").refreshed(text, path.name) == text, "run docs/make_pages.py"


def test_an_output_that_is_not_shown_or_wrong_is_found() -> None:
    """The check above would see it."""
    refreshed = load("make_pages").refreshed
    right = "```python\nprint(1)\n```\n\n```text\n1\n```\n"
    assert refreshed(right) == right
    for wrong in (right.replace("1\n```\n", "2\n```\n"), "```python\nprint(1)\n```\n"):
        assert refreshed(wrong) == right
    assert refreshed("```python\nx = 1\n```\n\nText.\n") == "```python\nx = 1\n```\n\nText.\n"


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as they are linked to."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_links_lead_to_what_is_there(path: Path) -> None:
    """Files exist, headings exist, names are defined in the file they are linked to."""
    definitions = load("definitions", DOCS / "tools").definitions
    links = re.findall(r"\]\((?!https?:)([^)\s]*)\)", path.read_text(encoding="utf-8"))
    for link in links:
        file, _, name = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.is_file(), link
        if name and target.suffix == ".py":
            assert name in definitions(target.read_text(encoding="utf-8")), link
        elif name:
            assert name in anchors(target), link


def test_every_page_is_in_a_table_of_contents() -> None:
    """No page is out of reach."""
    listed = {DOCS / "index"}
    for path in PAGES:
        for block in re.findall(r"```\{toctree\}\n(.*?)```", path.read_text("utf-8"), re.DOTALL):
            names = [line for line in block.splitlines() if line and not line.startswith(":")]
            listed |= {path.parent / name for name in names}
    assert listed == {path.with_suffix("") for path in PAGES}


@pytest.mark.parametrize("package", ["lns", "kernels", "sim"])
def test_every_public_name_is_in_the_reference(package: str) -> None:
    """`__all__` is what the page documents, and what it documents can be imported."""
    entries = re.findall(
        r"^\.\. (?:auto|py:)\w+:: (\S+)$", text_of(f"api/{package}.md"), re.MULTILINE
    )
    assert len(entries) == len(set(entries))
    public = importlib.import_module(f"lnsim.{package}")
    assert {name for name in entries if "." not in name} == set(public.__all__)
    for name in entries:
        home, _, last = name.rpartition(".")
        assert hasattr(importlib.import_module(home) if home else public, last)


def test_constants_have_the_values_the_reference_says() -> None:
    """The `:value:` of each entry."""
    page = text_of("api/lns.md")
    values = re.findall(r"^\.\. py:data:: (\w+)\n   :value: (.*)$", page, re.MULTILINE)
    assert len(values) == 8
    for name, value in values:
        assert eval(value, vars(lnsim.lns)) == getattr(lnsim.lns, name)


def test_every_rule_of_the_specification_has_code_and_tests() -> None:
    """Each section names what implements it and what holds it."""
    sections = re.split(r"^#{2,3} (?=\d)", text_of("specification.md"), flags=re.MULTILINE)[1:]
    rules = [part for part in sections if re.match(r"\d\.\d|4\.", part)]
    assert len(rules) == 20
    for part in rules:
        assert re.search(r"^- Code:\s\[\w+\]\(\.\./(lns|kernels|sim)/", part, re.MULTILINE), part
        assert re.search(r"^- Tests[^\[]*:\s+\[test_\w+\]\(\.\./tests/", part, re.MULTILINE), part


def test_docstrings_become_restructuredtext() -> None:
    """Bars, stars and trailing underscores are escaped, code is left, errors start a paragraph."""
    public = load("public", DOCS / "tools")
    prose = public.prose
    array = "~numpy.ndarray[tuple[~typing.Any, ...], ~numpy.dtype[~numpy.int32]]"
    assert (
        public.readable(f"(x: {array} | None)") == "(x: ~numpy.typing.NDArray[~numpy.int32] | None)"
    )
    assert prose(["Return |x| * y of `a * b` and w_."]) == [
        r"Return \|x\| \* y of `a * b` and w\_."
    ]
    assert prose(["Return it.", "Raises ValueError: no."])[1] == ""
    assert prose(["Drawn::", "", "  |s|", "", "|x|"]) == ["Drawn::", "", "  |s|", "", r"\|x\|"]
    assert prose(["Return it.", "a, b: numbers."]) == ["Return it.", "", "a, b: numbers."]
    assert prose(["Return one of the", "a: the first"]) == ["Return one of the", "a: the first"]


def test_powers_are_raised_and_indices_lowered() -> None:
    """Outside code; an exponent's brackets go, other circumflexes and underscores stay."""
    pytest.importorskip("sphinx", reason="the extra docs is not installed")
    parts = load("formulas", DOCS / "tools").parts

    def shown(text: str) -> str:
        return "".join(str(part) for part in parts(text))

    raised, lowered = "<superscript>{}</superscript>".format, "<subscript>{}</subscript>".format
    assert shown("2^(1/(2G)) - 1") == f"2{raised('1/(2G)')} - 1"
    assert (
        shown("2^-x, 2^E and 2^-(T+1)")
        == f"2{raised('-x')}, 2{raised('E')} and 2{raised('-(T+1)')}"
    )
    assert shown("e_a + w_max") == f"e{lowered('a')} + w{lowered('max')}"
    assert shown("2^(p/G_a)") == f"2{raised('p/G' + lowered('a'))}"
    assert shown("a ^ b, 2^floor(x), table_bits") == "a ^ b, 2^floor(x), table_bits"


def test_pictures_are_shown_small_and_described() -> None:
    """Each is on a page with words for who cannot see it, and the script draws that list."""
    assert [path.stem for path in PICTURES] == sorted(load("make_pictures").PICTURES)
    shown = "".join(path.read_text("utf-8") for path in PAGES)
    for path in PICTURES:
        assert path.stat().st_size < 100_000
        assert re.search(rf"!\[[^\]]{{20,}}\]\([./]*pictures/{path.name}\)", shown), path.name


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_pictures_are_the_scripts(path: Path) -> None:
    """The committed file is what docs/make_pictures.py draws, byte for byte."""
    drawn = path.read_text("utf-8")
    version = re.search(r"Matplotlib v([\d.]+)", drawn)
    assert version
    if version[1] != matplotlib.__version__:
        pytest.skip(f"drawn with matplotlib {version[1]}, here is {matplotlib.__version__}")
    assert load("make_pictures").svg(path.stem).decode() == drawn, "run docs/make_pictures.py"


def test_numbers_between_the_examples() -> None:
    """Figures that stand in sentences."""
    errors, bits = (" ".join(text_of(f"guide/{name}.md").split()) for name in ("errors", "bits"))
    assert f"{100 * (2 ** (1 / 8) - 1):.2f} % of Σ|x·y| for G = 8" in errors
    x = 1 / np.log(2) - 1
    assert f"{100 * ((1 + x) / 2**x - 1):.2f} %, at x = 1/ln 2 - 1 = {x:.3f}" in errors
    seen, spanned = Datapath().accumulator.term_bits, 2 * float(LNS8.octaves)
    assert f"{seen} of the {spanned:g} that two 8-bit codes" in errors
    assert f"window of {float(LNS8.octaves):g} octaves" in bits
    assert f"log2(11.3) = {np.floor(1000 * np.log2(11.3)) / 1000}…" in bits
    assert f"rounded {round(8 * np.log2(11.3))}" in bits
    assert f"11.9 ({8 * np.log2(11.9):.2f} steps)" in bits


def test_a_format_narrower_than_an_octave() -> None:
    """2^E < G: the default offset stays a multiple of gamma; what it leaves below is flushed."""
    fmt = LNSFormat(2, 16)
    lost = encode(np.array([1.0]), fmt)
    assert (lost.offset, lost.code.tolist()) == (0, [0])
    kept = encode(np.array([2.0 ** (2 / 16)]), fmt)
    assert (kept.offset, kept.code.tolist()) == (0, [2])
    assert encode(np.array([1.0]), fmt, -3).code.tolist() == [3]
