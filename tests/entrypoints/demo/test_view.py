"""The demo's picture: the newest events stay on the screen, whatever its size."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from backstop.entrypoints.demo.view import DemoView


class Watched:
    """What the view reads of a manager, around a book that was fed by hand."""

    def __init__(self, guard: Any) -> None:
        self.book = guard.book
        self.steps = 1
        self.now_ns = guard.now_ns


def a_screen(width: int, height: int, view: DemoView) -> DemoView:
    view.console = Console(file=StringIO(), width=width, height=height, force_terminal=True)
    return view


async def a_view_of_orders(desk: Any, count: int) -> DemoView:
    guard = desk.guard()
    async with desk.calling(guard) as caller:
        for number in range(count):
            await caller.ask("POST", "/v1/orders", json=desk.body(f"order-{number:02}"))
            guard.clock_ns += 2_000_000_000
    view = DemoView()
    view.watch(Watched(guard))  # type: ignore[arg-type]
    for number in range(40):
        view.say(f"event {number} of a story, with as many words as an event of the guard has")
    return view


def drawn(view: DemoView, *, whole: bool = False) -> list[str]:
    lines = view.console.render_lines(view._screen(whole=whole), pad=False)
    return ["".join(segment.text for segment in line) for line in lines]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 45), (130, 30), (130, 60)])
async def test_the_newest_event_and_order_are_on_the_screen(
    desk: Any, width: int, height: int
) -> None:
    view = a_screen(width, height, await a_view_of_orders(desk, 3))

    lines = drawn(view)

    assert len(lines) < height
    assert any("event 39 " in line for line in lines)
    assert any("order-02" in line for line in lines)


async def test_what_is_left_behind_at_the_end_is_the_whole_picture(desk: Any) -> None:
    view = a_screen(80, 24, await a_view_of_orders(desk, 3))

    lines = drawn(view, whole=True)

    for number in range(3):
        assert any(f"order-{number:02}" in line for line in lines)
    assert any("event 26 " in line for line in lines)
