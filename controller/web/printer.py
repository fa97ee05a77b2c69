"""From templates to answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import Request, Response

from controller.api.access import Refusal
from controller.web.render import render
from controller.web.sending import html
from controller.web.shown import Shown

_KEPT_PAGES = 64
_NOTHING = {"record": None, "active": "", "stalled": None, "live": False, "late_after": 0}


class Printer:
    """Renders pages; the same page of the same tick once, however many look at it."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown
        self._made: dict[tuple[str, str], tuple[object, bytes]] = {}

    def page(self, request: Request, template: str, active: str, context: Callable[[], dict[str, Any]]) -> Response:
        """Answer with a page that depends on the address and the newest tick only."""
        record = self._shown.timeline.record
        waiting = tuple((one.id, one.status) for one in self._shown.proposals())
        as_of = (record.tick if record else None, self._shown.stalled, self._shown.policy().version, waiting)
        address = (template, request.url.query)
        kept = self._made.get(address)
        if kept is None or kept[0] != as_of:
            kept = self._made[address] = (as_of, self._render(template, active, context()))
            while len(self._made) > _KEPT_PAGES:
                del self._made[next(iter(self._made))]
        return html(request, kept[1])

    def once(
        self, request: Request, template: str, active: str, context: dict[str, Any], status: int = 200
    ) -> Response:
        """Answer with a page that is made for this request."""
        return html(request, self._render(template, active, context), status)

    def locked(self, request: Request, refusal: Refusal) -> Response:
        """Ask for a token, and show nothing."""
        page = render("locked.html", {**_NOTHING, "text": refusal.sentence})
        return html(request, page.encode(), refusal.status)

    def not_found(self, request: Request, title: str, text: str) -> Response:
        """Say that there is no such thing."""
        return self.once(request, "problem.html", "", {"title": title, "text": text}, 404)

    def _render(self, template: str, active: str, context: dict[str, Any]) -> bytes:
        base = {
            "record": self._shown.timeline.record,
            "active": active,
            "stalled": self._shown.stalled,
            "live": active in ("Now", "Cost"),
            "late_after": 3 * self._shown.interval_s,
        }
        return render(template, base | context).encode()
