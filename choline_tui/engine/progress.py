"""A transfer's progress, told as news to whoever looks on, with what the machine has cost by then."""

from collections.abc import Callable

from choline_tui.engine.context import Context
from choline_tui.kernel.session import Progress

__all__ = ["reporter"]


def reporter(ctx: Context, run_id: str, what: str) -> Callable[[Progress], None]:
    """``what`` is done with the bytes, where the progress itself does not say."""

    def report(progress: Progress) -> None:
        now = ctx.clock.time()
        rentals = ctx.store.rentals(run=run_id, live=True)
        ctx.hub.publish(
            "progress",
            run_id,
            what=progress.what or what,
            bytes_done=progress.bytes_done,
            bytes_total=progress.bytes_total,
            files_done=progress.files_done,
            files_total=progress.files_total,
            seconds_left=progress.seconds_left,
            dollars=sum(rental.cost_until(now) for rental in rentals) if rentals else None,
        )

    return report
