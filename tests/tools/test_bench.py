"""The report is what its document says, and what is measured at different times goes into one."""

import json
from itertools import chain
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import bench
import pytest
from benchmarks import page
from benchmarks.figures import Figure, Goal, Of
from benchmarks.growth import Curve, Panel, Point
from benchmarks.growth_plot import AXES, picture
from benchmarks.report import Document, Finding, Measured, document, merged
from tests.tools.bench_trials import FIGURES, TRIALS, check_figure

SVG = "{http://www.w3.org/2000/svg}"


def a_figure(key: str = "k", *rounds: float, **changes: Any) -> Figure:
    facts = {"what": f"orders of {key}", "unit": "1/s", "rounds": rounds or (10.0,)} | changes
    return Figure(key=key, **facts)


def a_curve(key: str = "c", *costs: float) -> Curve:
    points = (Point(at=10**n, rounds=(it, it * 2)) for n, it in enumerate(costs or (1.0, 5.0), 1))
    return Curve(
        key=key, what=f"cost of {key}", panel=Panel.ORDERS, unit="us", points=tuple(points)
    )


def measured(part: str, *findings: Finding, python: str = "3.11.7", load: float = 0.5) -> Measured:
    return Measured(
        name=part,
        measured_at="2026-11-23T06:00:00+00:00",
        findings=findings,
        machine={
            "system": "Linux 6.18 x86_64",
            "python": python,
            "sqlite": "3.40.1",
            "processor": "a processor",
            "processors": 2,
            "sync_ms": {"median": 0.2, "low": 0.1, "high": 3.0, "rounds": 200},
        },
        load_before=load,
        load_after=load,
        took_s=12.3,
    )


def told(*parts: Measured) -> Document:
    """Return the document as a file brings it back."""
    back: Document = json.loads(json.dumps(document(parts)))
    return back


# -- what is published ---------------------------------------------------------------------------


def test_every_part_is_tried() -> None:
    assert sorted(chain(*TRIALS.values())) == sorted(page.PARTS)


def test_the_published_page_says_what_its_document_says() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.rendered(page.published())


def test_the_published_picture_shows_what_its_document_says() -> None:
    assert page.PICTURE.read_text(encoding="utf-8") == page.picture(page.published())


def test_every_published_figure_stands_in_the_table() -> None:
    published = page.published()
    rows = page.PAGE.read_text(encoding="utf-8").splitlines()

    assert set(published["figures"]) == set(chain(*FIGURES.values()))
    for key, figure in published["figures"].items():
        assert key in FIGURES[figure["part"]]
        check_figure(key, figure)
        assert sum(row.startswith(f"| {figure['what'].strip()} |") for row in rows) == 1, key


# -- goals ---------------------------------------------------------------------------------------


def test_a_missed_goal_is_said_twice() -> None:
    """In its row, and by how much it was missed above all tables."""
    goal = Goal(of=Of.VALUE, bound=20, at_least=True)
    figure = a_figure("k", 9.0, 10.0, 11.0, what="orders made durable", goal=goal)

    lines = page.rendered(told(measured("journal", figure))).splitlines()

    assert "0 of 1 goals are met." in lines
    assert "- orders made durable: 10.0 1/s, where the goal is >= 20." in lines
    assert (
        "| orders made durable | 1/s | 10.0 | 9.00 to 11.0 | 3 |  |  | >= 20 | **missed** |"
        in lines
    )


@pytest.mark.parametrize(("worst", "verdict"), [(2.0, "met"), (2.5, "missed")])
def test_a_goal_of_every_round_is_missed_by_one(worst: float, verdict: str) -> None:
    goal = Goal(of=Of.WORST, bound=2, at_least=False)

    assert a_figure("k", 1.0, 1.0, worst, goal=goal).verdict == verdict


# -- parts of different times --------------------------------------------------------------------


def test_a_part_measured_again_brings_its_own_machine_and_leaves_the_others() -> None:
    held = told(measured("journal", a_figure("a", 1.0)), measured("core", a_figure("b", 2.0)))
    new = told(measured("core", a_figure("b", 7.0), python="3.13.1", load=9.0))

    both = merged(held, new, order=page.PARTS)

    assert both["figures"]["a"] == held["figures"]["a"]
    assert both["parts"]["journal"] == held["parts"]["journal"]
    assert both["figures"]["b"]["median"] == 7.0
    assert both["parts"]["core"] == new["parts"]["core"]


def test_what_a_part_no_longer_measures_is_told_no_more() -> None:
    held = told(measured("core", a_figure("gone"), a_curve("bent")), measured("api", a_figure("s")))

    both = merged(held, told(measured("core", a_figure("new"))), order=page.PARTS)

    assert list(both["figures"]) == ["new", "s"]
    assert both["curves"] == {}


def test_parts_stand_in_the_order_of_the_page_whenever_they_were_measured() -> None:
    found: Document = document(())
    for part in ("start", "journal", "core"):
        found = merged(found, told(measured(part, a_figure(part))), order=page.PARTS)

    assert list(found["parts"]) == list(found["figures"]) == ["journal", "core", "start"]


def test_the_page_tells_the_machine_and_the_load_of_each_part() -> None:
    quiet, busy = measured("journal", a_figure("a")), measured("core", a_figure("b"), load=9.0)

    text = page.rendered(told(quiet, busy, measured("api", a_figure("c"), python="3.13.1")))

    assert "| 2 x a processor | Linux 6.18 x86_64 | 3.11.7 | 3.40.1 | journal, core |" in text
    assert "| 2 x a processor | Linux 6.18 x86_64 | 3.13.1 | 3.40.1 | api |" in text
    moment = "2026-11-23T06:00:00+00:00 | 12.3"
    assert f"| core | {moment} | 9.00, 9.00 | 0.200 (0.100 to 3.00) | 5000 |" in text
    assert [part.title for part in page.PARTS.values() if f"{part.title}** (busy" in text] == [
        page.PARTS["core"].title
    ]


@pytest.fixture
def another_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Publish into a folder of the test; a figure, and curves, stand there already."""
    for name in ("DOCUMENT", "PAGE", "PICTURE"):
        monkeypatch.setattr(page, name, tmp_path / getattr(page, name).name)
    page.write(told(measured("journal", a_figure("a", 1.0)), measured("growth", a_curve("c"))))
    return tmp_path


def test_what_was_measured_elsewhere_is_put_into_the_page_and_the_rest_stays(
    another_page: Path,
) -> None:
    file = another_page / "measured elsewhere.json"
    file.write_text(json.dumps(told(measured("journal", a_figure("a", 3.0)))), encoding="utf-8")

    bench.main(["--merge", str(file)])

    assert page.published()["figures"]["a"]["median"] == 3.0
    assert "| orders of a | 1/s | 3.00 |" in page.PAGE.read_text(encoding="utf-8")
    assert "cost of c" in page.PICTURE.read_text(encoding="utf-8")


def test_a_part_alone_is_measured_and_put_into_the_page_and_the_rest_stays(
    another_page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = page.published()
    monkeypatch.setattr(bench, "Amounts", lambda: bench.QUICK)  # what it is made of, but little

    bench.main(["--only", "core", "--json", str(another_page / "core.json")])

    after, core = page.published(), json.loads((another_page / "core.json").read_text())
    assert set(after["figures"]) == {"a", *FIGURES["core"]}
    assert {key: after["parts"][key] for key in before["parts"]} == before["parts"]
    assert after["parts"]["core"] == core["parts"]["core"]
    assert list(core["parts"]) == ["core"]
    assert page.PAGE.read_text(encoding="utf-8") == page.rendered(after)


# -- the picture ---------------------------------------------------------------------------------


def test_the_picture_names_every_curve_and_the_unit_of_every_axis() -> None:
    curves = list(
        told(measured("growth", a_curve("one"), a_curve("two", 3.0, 400.0)))["curves"].values()
    )

    root = ET.fromstring(picture(curves))  # noqa: S314 - our own picture

    words = ["".join(it.itertext()) for it in root.iter(f"{SVG}text")]
    axes = AXES[Panel.ORDERS]
    assert {"cost of one", "cost of two", axes.title, axes.over, axes.cost} <= set(words)
    assert {"1", "10", "100", "1 000"} <= set(words)
    (style,) = root.iter(f"{SVG}style")
    assert "prefers-color-scheme: dark" in (style.text or "")


def test_twice_the_cost_lies_higher_and_stays_inside_the_picture() -> None:
    curves = list(told(measured("growth", a_curve("c", 2.0, 40.0, 800.0)))["curves"].values())

    root = ET.fromstring(picture(curves))  # noqa: S314 - our own picture

    _, _, width, height = map(float, root.attrib["viewBox"].split())
    places = [(float(it.attrib["cx"]), float(it.attrib["cy"])) for it in root.iter(f"{SVG}circle")]
    assert [y for _, y in places] == sorted((y for _, y in places), reverse=True)
    assert [x for x, _ in places] == sorted(x for x, _ in places)
    assert all(0 < x < width and 0 < y < height for x, y in places)
