"""When a disk counts as full, and when it has room again."""

from choline_tui.remote.room import Room, space

GB = 1 << 30


def test_early_and_full_and_room_again() -> None:
    free = [100 * GB]

    def looked(path: str) -> tuple[int, int] | None:
        return free[0], 200 * GB

    room = Room("/", looked)
    said = []
    for megabytes in (100_000, 2100, 2040, 600, 500, 600, 1000, 1030, 2100, 2600):
        free[0] = megabytes << 20
        said.append(room.look())
    assert said == ["", "", "low", "low", "full", "full", "full", "low", "low", ""]


def test_a_small_disk_keeps_a_fiftieth_and_one_that_cannot_be_asked_changes_nothing() -> None:
    answers = [(90, 1000), (19, 1000), None, (50, 1000)]
    room = Room("/", lambda path: answers.pop(0))
    assert [room.look() for _ in range(4)] == ["", "full", "full", "low"]


def test_this_disk_can_be_asked() -> None:
    free, whole = space("/") or (0, 0)
    assert 0 <= free <= whole and whole > 0
    assert space("/no such place") is None
