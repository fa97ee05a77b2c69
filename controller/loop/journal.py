"""Never act without a record: the store first, the log when the store cannot be written."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from structlog.typing import FilteringBoundLogger

from controller.codec import dump_record
from controller.domain.lasting import Piece
from controller.domain.record import TickRecord
from controller.domain.state import PlannerState
from controller.ports import Lasting, LoopEvent, LoopObserver, Store, StoreError


class Journal:
    """Writes each tick's record and state.

    A store that cannot be written never stops the loop: the record goes to the log, and ``problem`` says
    so until a write succeeds. Every write tries the store again, so recovery needs nobody. ``notices`` is
    what the store tells about itself, such as a damaged file that was moved aside; new ones are logged.
    """

    def __init__(
        self, *, store: Store, log: FilteringBoundLogger, observer: LoopObserver, notices: Sequence[str] = ()
    ) -> None:
        self._store = store
        self._log = log
        self._observer = observer
        self._notices = notices
        self._noticed = len(notices)
        self.problem: str | None = None

    def begin(self, record: TickRecord, state: PlannerState) -> None:
        """Record before acting."""
        self._write(record, lambda: self._store.begin(record, state))

    def finish(self, record: TickRecord, state: PlannerState, lasting: Lasting) -> None:
        """Record outcomes, state and what is to outlive the process."""
        self._write(record, lambda: self._store.finish(record, state, lasting))

    def close(self, last: Sequence[Piece] = ()) -> None:
        """Write what was learned ``last``, and close the store."""
        try:
            self._store.keep(last)
        except StoreError as error:
            self._log.error("learned_not_stored", problem=str(error))
        finally:
            self._store.close()

    def _write(self, record: TickRecord, write: Callable[[], None]) -> None:
        try:
            write()
        except StoreError as error:
            self.problem = f"nothing is lowered while records cannot be stored (they go to the log): {error}"
            self._observer.note(LoopEvent.STORE_FAILED)
            self._log.error(
                "record_not_stored", tick=record.tick, problem=str(error), record=dump_record(record).decode()
            )
        else:
            self.problem = None
        for notice in self._notices[self._noticed :]:
            self._log.warning("store_notice", tick=record.tick, notice=notice)
        self._noticed = len(self._notices)
