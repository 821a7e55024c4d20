"""Checkpoints in files and at an address: one after the other, whole, and never written over."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from backstop.adapters import checkpoints
from backstop.adapters.checkpoints import CheckpointAddress, CheckpointFolder, notes_in
from backstop.errors import StateFolderError, TamperedRecordError


def a_note(size: int) -> str:
    return f"backstop/42\n{size}\nroot{size}=\n\n— backstop/42 signature{size}=\n"


def written(folder: Path, *sizes: int) -> CheckpointFolder:
    kept = CheckpointFolder(folder)
    for size in sizes:
        kept.append(a_note(size))
    return kept


def test_what_was_written_is_read_back_in_order(tmp_path: Path) -> None:
    kept = written(tmp_path / "checkpoints", 0, 7, 9)

    assert list(kept.notes()) == [a_note(0), a_note(7), a_note(9)]
    assert [path.name for path in kept.files()] == ["checkpoints.log"]


def test_nothing_there_is_no_checkpoint(tmp_path: Path) -> None:
    assert list(CheckpointFolder(tmp_path / "none").notes()) == []
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("length", range(1, len(a_note(9).encode()) + 1))
def test_a_note_that_a_crash_cut_short_is_left_out_and_then_replaced(
    tmp_path: Path, length: int
) -> None:
    kept = written(tmp_path, 0, 7)
    with (tmp_path / "checkpoints.log").open("ab") as file:
        file.write(a_note(9).encode()[:length])

    whole = length == len(a_note(9).encode())
    assert list(kept.notes()) == [a_note(0), a_note(7), *([a_note(9)] if whole else [])]
    kept.append(a_note(11))
    assert list(kept.notes()) == [a_note(0), a_note(7), a_note(11)]


def test_a_full_file_makes_room_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "MAX_FILE_BYTES", 2 * len(a_note(0).encode()))
    kept = written(tmp_path, *range(5))

    assert list(kept.notes()) == [a_note(size) for size in range(5)]
    assert [path.name for path in kept.files()] == [
        "checkpoints-000001.log",
        "checkpoints-000002.log",
        "checkpoints.log",
    ]


def test_what_is_added_while_somebody_reads_is_not_read(tmp_path: Path) -> None:
    kept = written(tmp_path, 0, 7)
    notes = kept.notes()
    kept.append(a_note(9))

    assert list(notes) == [a_note(0), a_note(7)]


def test_a_note_saved_by_itself_is_read(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text(a_note(7), encoding="utf-8")

    assert list(notes_in(tmp_path / "kept.txt")) == [a_note(7)]


@pytest.mark.parametrize("content", [b"\xff\xfe\n", b"x\n" * 100])
def test_a_file_of_something_else_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "checkpoints.log").write_bytes(content)

    with pytest.raises(TamperedRecordError, match=r"checkpoints\.log.*no checkpoint"):
        list(CheckpointFolder(tmp_path).notes())


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file where the folder should be")

    with pytest.raises(StateFolderError, match="cannot take a checkpoint"):
        CheckpointFolder(tmp_path / "checkpoints").append(a_note(0))


async def test_an_address_gets_the_note_itself() -> None:
    taken: list[tuple[str, str]] = []

    async def take(request: web.Request) -> web.Response:
        taken.append((request.headers["Content-Type"], await request.text()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/checkpoints", take)
    async with TestServer(app) as server:
        place = CheckpointAddress(str(server.make_url("/checkpoints")))
        await asyncio.to_thread(place.append, a_note(7))

    assert taken == [("text/plain; charset=utf-8", a_note(7))]


async def test_an_address_that_does_not_take_it_is_named_by_its_host_alone() -> None:
    async with TestServer(web.Application()) as server:
        url = str(server.make_url("/a-secret-path"))
        with pytest.raises(StateFolderError, match=r"not taken by 127\.0\.0\.1") as refused:
            await asyncio.to_thread(CheckpointAddress(url).append, a_note(7))

    assert "a-secret-path" not in str(refused.value)
