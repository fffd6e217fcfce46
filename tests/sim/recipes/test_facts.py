"""`lnsim formats NAME`: layout, precision and the picture."""

from pathlib import Path

import numpy as np
import pytest
from lnsim.lns import (
    FORMATS,
    MX_FORMATS,
    IntFormat,
    LNSFormat,
    decode,
    decode_mx,
    encode,
    encode_mx,
)
from lnsim.sim.cli.main import main
from lnsim.sim.recipes.facts import ZOO, details, worst_error
from lnsim.sim.report.precision_plot import magnitudes, precision_picture, worst_errors


@pytest.mark.parametrize("name", ZOO)
def test_every_format_is_described(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Layout, steps and range of each."""
    assert main(["formats", name]) == 0
    printed = capsys.readouterr().out
    for text in ("bit layout", "steps per octave", "largest magnitude", "worst relative"):
        assert text in printed


def test_layouts() -> None:
    """Fields from the top bit, and what the special codes are."""
    wanted = {
        "lns8": "s[7] e[6:0]: (-1)^s 2^((e + offset)/8), e = 0 is zero",
        "lns-madam-u16": "s[15] e[14:0]: (-1)^s 2^((e + offset)/2048)",
        "fp8-e4m3": "s[7] exponent[6:3] mantissa[2:0], bias 7; all ones: NaN, no infinity",
        "fp8-e5m2fnuz": "s[7] exponent[6:2] mantissa[1:0], bias 16; minus zero: NaN, no infinity",
        "fp4-e2m1": "s[3] exponent[2:1] mantissa[0:0], bias 1; no NaN, no infinity",
        "int4": "two's complement [3:0]",
        "mxint8": "32 elements, each two's complement [7:0], counting 2^-6; "
        "one scale X[7:0] (E8M0): 2^(X - 127), all ones: NaN",
    }
    assert {name: dict(details(name))["bit layout"] for name in wanted} == wanted


@pytest.mark.parametrize("name", ["lns8", "lns5", "fp8-e4m3", "fp6-e2m3", "int8", "fp32", "tf32"])
def test_the_drawn_error_is_the_real_one(name: str) -> None:
    """Numbers at the drawn places are off by the drawn share, or less by an uneven neighbour."""
    fmt = FORMATS[name]
    x, error = worst_errors(fmt)
    inside = x < magnitudes(fmt)[-1]
    x, error = x[inside], error[inside]
    off = np.abs(decode(encode(x, fmt, 0)) - x) / x
    slack = 1 + 1e-6  # at a tie of the logarithm either neighbour may be taken
    assert (off <= error * slack).all()
    assert off.max() == pytest.approx(error.max(), rel=1e-3 if isinstance(fmt, LNSFormat) else 1e-9)
    stated = worst_error(fmt)
    if stated is not None and name.startswith("lns"):
        assert error.max() == pytest.approx(stated, rel=1e-9)


@pytest.mark.parametrize("name", MX_FORMATS)
def test_the_drawn_error_of_a_block_is_the_real_one(name: str) -> None:
    """Beside a neighbour that sets the scale 1; the last place is where a maximum saturates."""
    fmt = MX_FORMATS[name]
    x, error = worst_errors(fmt)
    x[-1] = np.nextafter(x[-1], 0)
    pairs = np.stack([np.full(x.size, 2.0**fmt.max_exponent), x], axis=1)
    off = np.abs(decode_mx(encode_mx(pairs, fmt, 1))[:, 1] - x) / x
    np.testing.assert_allclose(off, error, rtol=1e-12)
    stated = worst_error(fmt)
    normal = x >= 2.0 ** (fmt.max_exponent - 1)
    assert stated is None or error[normal].max() == pytest.approx(stated, rel=0.3)
    assert stated is None or error[normal].max() <= stated


def test_bits_with_the_share_of_the_scale(capsys: pytest.CaptureFixture[str]) -> None:
    """8 bits of scale for 32 elements are a quarter of a bit each, in the list and alone."""
    wanted = {"mxfp8-e5m2": "8.25", "mxfp6-e3m2": "6.25", "mxfp4": "4.25", "fp8-e4m3": "8"}
    assert {name: dict(details(name))["bits"] for name in wanted} == wanted
    assert dict(details("mxfp4"))["with the scale"] == "2^-128 to 6 * 2^127"
    assert main(["formats"]) == 0
    formats, _, _ = capsys.readouterr().out.partition("Training recipes")
    rows = [line.split() for line in formats.splitlines() if line.strip()]
    assert {row[0]: row[1] for row in rows if row[0] in wanted} == wanted


def test_steps_per_octave() -> None:
    """Codes whose values lie in an octave, counted."""
    steps = {name: dict(details(name))["steps per octave"] for name in ZOO}
    for name, fmt in ZOO.items():
        if isinstance(fmt, IntFormat):
            assert steps[name].startswith("as many as its smallest number")
            continue
        value = magnitudes(fmt)
        if fmt.bits <= 16:  # drawn code by code
            low = 2 if isinstance(fmt, LNSFormat) else 1  # whose 1 may be the code of zero
            count = int(((value >= low) & (value < 2 * low)).sum())
            assert steps[name].split()[0] == str(count), name
    assert steps["mxint8"] == "64 from 1 to 2, half as many in each octave below: one spacing"


def test_the_picture_is_of_the_kind_its_name_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """PNG, SVG and PDF by the suffix, the same twice; others are refused, and so are recipes."""
    for suffix, start in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("PDF", b"%PDF")):
        contents = set()
        for name in ("a", "b"):
            path = tmp_path / f"{name}.{suffix}"
            assert main(["formats", "lns8", "--plot", str(path)]) == 0
            contents.add(path.read_bytes())
        assert len(contents) == 1
        assert contents.pop().startswith(start)
    assert main(["formats", "e5g4", "--plot", str(tmp_path / "e5g4.png")]) == 0
    assert (tmp_path / "e5g4.png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    for words, message in (
        (["lns8", "--plot", "x.jpg"], "plot must end in .pdf, .png or .svg, got x.jpg"),
        (["lns8", "--plot", "x"], "plot must end in .pdf, .png or .svg, got x"),
        (["fp8", "--plot", "x.png"], "plot must be of a number format, such as the recipe's "
         "fp8-e4m3 or fp8-e5m2, got the recipe fp8"),
        (["lns", "--plot", "x.png"], "plot must be of a number format, such as the recipe's "
         "lns8 or lns16-update, got the recipe lns"),
        (["e5g4-log", "--plot", "x.png"], "plot must be of a number format, such as the recipe's "
         "e5g4 or lns16-update, got the recipe e5g4-log"),
    ):  # fmt: skip
        assert main(["formats", *words]) == 2
        out = capsys.readouterr()
        assert out.err == f"lnsim: error: {message}\n"
        assert not out.out


def test_the_picture_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A PNG where asked, the same twice; without a format it is refused."""
    path = tmp_path / "a" / "lns8.png"
    assert main(["formats", "lns8", "--plot", str(path)]) == 0
    assert str(path) in capsys.readouterr().out
    assert path.read_bytes() == precision_picture("lns8")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert precision_picture("mxfp4") != precision_picture("fp4-e2m1")
    assert main(["formats", "--plot", str(path)]) == 2
    assert "plot must come with the name of a format" in capsys.readouterr().err
    with pytest.raises(
        ValueError, match=r"^format must be one of bf16, .+, got 'fp9'; did you mean fp8\?$"
    ):
        precision_picture("fp9")
