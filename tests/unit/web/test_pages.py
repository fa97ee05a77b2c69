"""The page over real HTTP, as a reader without scripts gets it, and what its scripts ask for."""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest

from controller.domain.cluster_record import ClusterRecord, GroupSeen, PoolSeen
from controller.domain.identity import DeploymentId
from controller.domain.layer import Layer
from controller.domain.override import Override, OverrideAction
from controller.domain.placement import ClusterPlan, GroupTarget, Obstacle, PoolTarget, Unplaced
from controller.domain.plan import Action, Conflict, Order, OrderStatus, OutcomeStatus, Reason
from controller.domain.pools import PoolStatus, PoolVerdict, Provisioning, VerdictKind
from controller.domain.scrape import SourceHealth, SourceKind
from controller.domain.supply import Standing, SupplyOrder, SupplyStatus
from controller.explain.wording import REASONS
from controller.web import assets
from tests.page_world import POLICY, TOKEN, PageWorld, page_world, serving, shown_records
from tests.records import CHAT, EMBED, decision, deployment_record, record, snapshot

NASTY = DeploymentId('<img src=x onerror="alert(1)">', "\"'><script>alert(2)</script>")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[PageWorld]:
    async with page_world(tmp_path, past_s=120, phase_s=180) as made:
        yield made


async def get(url: str, **options: object) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url, **options) as response:
        return response.status, await response.text()


def text_of(page: str) -> str:
    """What a reader without scripts reads, with runs of spaces as one."""
    reader = _Reader()
    reader.feed(page)
    return re.sub(r"\s+", " ", " ".join(reader.said))


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._silent += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.said.append(data)


_BEARER = {"Authorization": f"Bearer {TOKEN}"}


def entry_of(name: DeploymentId, **changes: object) -> object:
    return deployment_record(name, **changes)


async def page_of(*records: object, path: str = "/") -> str:
    async with serving(shown_records(*records)) as url:
        status, page = await get(url + path)
    assert status == 200, page
    return page


async def test_before_the_first_tick_it_says_so() -> None:
    assert "Waiting for the first tick" in text_of(await page_of())


async def test_a_single_deployment_is_shown_at_once_with_why(world: PageWorld) -> None:
    _, page = await get(world.url)
    said = text_of(page)

    assert "chat/LLMServer:tiny" in said
    assert "Last change" in said
    assert "forecast" in said
    assert "Orders and their deadlines" in said
    assert "haproxy/10.0.0.3" in said


async def test_the_last_change_is_explained_one_click_away(world: PageWorld) -> None:
    _, page = await get(world.url)
    (link,) = re.findall(r'id="why" href="([^"]+)"', page)

    status, explained = await get(world.url + link.replace("&amp;", "&"))
    said = text_of(explained)

    assert status == 200
    for stage in ("reactive", "forecast", "stabilise", "limit"):
        assert stage in said
    assert "set the final number" in said
    assert "applied, and read back" in said
    assert "requests in flight" in said


async def test_all_deployments_are_listed_with_those_that_need_attention_first() -> None:
    late = Order(id=EMBED, ordered_at=900.0, from_replicas=1, to_replicas=2, deadline=950.0, status=OrderStatus.LATE)
    page = await page_of(record(deployment_record(), deployment_record(EMBED), ledger=(late,)))
    said = text_of(page)

    assert "2 deployments" in said
    assert said.index("embed/Embedder capacity late") < said.index("chat/LLMServer:tiny 1")
    assert "embed/Embedder: 2 replicas ordered, not ready by the deadline" in said


async def test_everything_that_is_wrong_is_told() -> None:
    stale = SourceHealth(source="ray/x", kind=SourceKind.RAY, age_s=75.0, stale=True, error="refused")
    entry = deployment_record(
        snapshot=snapshot(status="UNHEALTHY", sources=(stale,), blind_spots=("ray/x",)),
        outcome=deployment_record().outcome.__class__(id=CHAT, status=OutcomeStatus.FAILED, detail="HTTP 500"),
    )
    said = text_of(
        await page_of(
            record(
                entry,
                degraded=("the store cannot be written: disk full",),
                conflicts=(Conflict(id=CHAT, expected=3, found=1, cause="second_writer"),),
            )
        )
    )

    assert "the target was set to 3 and is found at 1 (second writer)" in said
    assert "Serve says unhealthy" in said
    assert "failed: HTTP 500" in said
    assert "nothing is lowered while blind to ray/x" in said
    assert "the store cannot be written: disk full" in said
    assert "stale refused" in said


async def test_what_is_unknown_is_no_number() -> None:
    nothing = decision(current=None, desired=None, action=Action.NONE, steps=(), forecasts=(), binding=Reason.NO_DATA)
    entry = deployment_record(
        snapshot=snapshot(replicas=None, target_replicas=None, demand={}),
        decision=nothing,
        terms=None,
    )

    said = text_of(await page_of(record(entry, ledger=())))

    assert "replicas unknown" in said
    assert "the target stays" in said


async def test_a_stalled_controller_is_said_to_have_stalled() -> None:
    shown = shown_records(record())
    shown.latest._clock.advance(100.0)
    async with serving(shown) as url:
        _, page = await get(url)

    assert "The controller has stalled. no tick was completed for 100 s" in text_of(page)


@pytest.mark.parametrize("path", ["/", "/?tick=7&deployment={}", "/?deployment={}", "/?view=cost"])
async def test_names_from_outside_stay_text(path: str) -> None:
    entry = deployment_record(NASTY, snapshot=snapshot(NASTY, status="<b>x</b>", blind_spots=("<i>s</i>",)))
    tick = record(entry, entry_of(EMBED), degraded=("<u>bad</u>",), mode="<s>m</s>", policy_version="<q>")
    page = await page_of(tick, path=path.format(quote(str(NASTY))))
    reader = _Reader()
    reader.feed(page)

    assert str(NASTY) in " ".join(reader.said)
    tags = {tag for tag, _ in reader.tags}
    assert not tags & {"u", "s", "q"}
    assert [given for tag, given in reader.tags if tag == "img" and given.get("alt") != ""] == []
    assert all(not name.startswith("on") and name != "style" for _, given in reader.tags for name in given)
    scripts = [given.get("src") or "" for tag, given in reader.tags if tag == "script"]
    assert all(source.startswith("/assets/") for source in scripts)


async def test_what_was_asked_for_wrongly_stays_text_too() -> None:
    async with serving(shown_records(record())) as url:
        status, page = await get(url + "/?deployment=%3Cscript%3Ealert(1)%3C/script%3E")

    assert status == 404
    assert "<script>alert" not in page


async def test_a_decision_that_is_not_kept_any_more_is_not_found(world: PageWorld) -> None:
    status, page = await get(world.url + "/?deployment=chat/LLMServer:tiny&tick=99999")

    assert status == 404
    assert "Tick 99999 of chat/LLMServer:tiny is not in the store any more." in text_of(page)


async def test_the_page_allows_itself_nothing_but_its_own_files(world: PageWorld) -> None:
    async with aiohttp.ClientSession() as session, session.get(world.url) as response:
        allowed, page = response.headers["Content-Security-Policy"], await response.text()

    assert "default-src 'none'" in allowed
    assert "unsafe" not in allowed
    assert "require-trusted-types-for 'script'" in allowed
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert re.findall(r'(?:src|href)="(?!/|#)([^"]*)"', page) == []


async def test_everything_together_is_small(world: PageWorld) -> None:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        total = 0
        for path in ("/", "/api/v1/history?deployment=chat/LLMServer:tiny", *_files()):
            async with session.get(world.url + path, headers={"Accept-Encoding": "gzip"}) as response:
                assert response.status == 200, path
                total += len(await response.read())

    assert total < 300_000


async def test_files_may_be_kept_for_ever_and_are_found_under_this_version_only(world: PageWorld) -> None:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        async with session.get(world.url + _files()[0], headers={"Accept-Encoding": "gzip"}) as response:
            packed = await response.read()
        async with session.get(f"{world.url}/assets/000000000000/app.js") as other:
            assert other.status == 404
        async with session.get(f"{world.url}/assets/{assets.version()}/..%2frender.py") as other:
            assert other.status == 404

    assert "immutable" in response.headers["Cache-Control"]
    assert gzip.decompress(packed)


def test_every_file_is_in_the_list() -> None:
    folder = Path(assets.__file__).parent
    listed = {path.rpartition("/")[2] for paths in assets._FILES.values() for path in paths}

    assert {path.name for path in (folder / "static").iterdir()} <= listed


def test_every_reason_is_explained() -> None:
    assert set(REASONS) == set(Reason)


async def test_the_history_goes_on_where_it_was_left(world: PageWorld) -> None:
    async with aiohttp.ClientSession(world.url) as session:
        async with session.get("/api/v1/history?deployment=chat/LLMServer:tiny") as response:
            whole = await response.json()
        last = whole["at"][-3]
        async with session.get(f"/api/v1/history?deployment=chat/LLMServer:tiny&after={last}") as response:
            rest = await response.json()
        async with session.get("/api/v1/history?deployment=nobody/there") as response:
            assert response.status == 404

    assert rest["at"] == whole["at"][-2:]
    assert all(len(column) == len(whole["at"]) for column in whole["columns"].values())
    assert whole["objectives"] == {"ttft": 2.0, "itl": 0.1}


async def test_the_stream_tells_each_tick_and_resumes(world: PageWorld) -> None:
    async with aiohttp.ClientSession(world.url) as session:
        async with session.get("/api/v1/stream") as response:
            assert response.headers["Content-Type"].startswith("text/event-stream")
            first = await _event(response)
            await world.run(5)
            second = await _event(response)
        await world.run(10)
        async with session.get("/api/v1/stream", headers={"Last-Event-ID": second}) as response:
            missed = [await _event(response), await _event(response)]

    assert [int(second), *map(int, missed)] == [int(first) + 1, int(first) + 2, int(first) + 3]


async def test_too_many_followers_are_refused() -> None:
    shown = shown_records(record())
    shown.feed.most_followers = 1
    async with serving(shown) as url, aiohttp.ClientSession(url) as session, session.get("/api/v1/stream") as first:
        await _event(first)
        async with session.get("/api/v1/stream") as second:
            assert second.status == 503
            assert second.headers["Retry-After"]


async def test_another_policy_is_tried_without_scripts(world: PageWorld) -> None:
    async with aiohttp.ClientSession(world.url) as session:
        edited = POLICY.replace("target_ongoing_requests: 4", "target_ongoing_requests: 1").replace("\n", "\r\n")
        async with session.post(
            "/what-if", data=f"policy={edited}\r\n", headers={"Content-Type": "text/plain"}
        ) as response:
            said = text_of(await response.text())

    assert response.status == 200
    assert "1 of 1 deployments would get another number" in said


@pytest.mark.parametrize(
    ("body", "headers", "status", "said"),
    [
        ("version: 2", {}, 422, "version"),
        ("a: &a [x]\nb: *a", {}, 422, "policy"),
        ("x" * 300_000, {}, 413, "256 KiB"),
        (POLICY, {"Sec-Fetch-Site": "cross-site"}, 403, "another site"),
    ],
)
async def test_what_is_no_policy_or_not_asked_from_here_is_refused(
    world: PageWorld, body: str, headers: dict[str, str], status: int, said: str
) -> None:
    async with (
        aiohttp.ClientSession(world.url) as session,
        session.post("/api/v1/what-if", data=body, headers=headers) as response,
    ):
        assert response.status == status
        assert said in (await response.json())["detail"]


async def test_no_address_but_what_if_takes_anything(world: PageWorld) -> None:
    async with aiohttp.ClientSession(world.url, headers=_BEARER) as session:
        for path in ("/", "/api/v1/stream", "/api/v1/history"):
            async with session.post(path) as response:
                assert response.status == 405, path


@pytest.mark.parametrize("view", ["", "?view=cost", "?view=what-if", "?deployment=chat/LLMServer:tiny"])
async def test_who_may_not_read_gets_a_form_for_a_token_and_nothing_else(world: PageWorld, view: str) -> None:
    elsewhere = {"Host": "foreserve.example.com"}  # a name that leads here, as another site's might

    status, page = await get(f"{world.url}/{view}", headers=elsewhere)
    allowed, whole = await get(f"{world.url}/{view}", headers=elsewhere | _BEARER)

    assert status == 401
    assert "This page needs a token" in text_of(page)
    assert "chat" not in text_of(page)
    assert "replica" not in text_of(page)
    assert allowed == 200
    assert "chat" in text_of(whole) or "view=cost" in view


async def test_a_plan_that_waits_is_shown_with_what_it_would_do(tmp_path: Path) -> None:
    async with page_world(tmp_path, past_s=120, phase_s=180, approve=True) as world:
        _, page = await get(world.url)

    assert "Waits for a word" in text_of(page)
    assert "foreserve approve p-" in text_of(page)


async def test_what_people_asked_for_is_shown_while_it_is_in_force() -> None:
    frozen = Override(
        id="o-1",
        action=OverrideAction.FREEZE,
        deployment=CHAT,
        began_at=900.0,
        until=1600.0,
        owner="alice",
        reason="launch",
    )

    said = text_of(await page_of(record(overrides=(frozen,))))

    assert "freeze for another 10 min, by alice (o-1): launch" in said


async def test_nodes_and_workers_are_shown_where_the_record_has_them() -> None:
    lead = decision().lead
    pool = PoolSeen(
        pool="l4-spot",
        accelerator="nvidia-l4",
        gpus_per_node=2,
        provisioning=Provisioning.SPOT,
        order=0,
        price_per_hour=1.5,
        status=PoolStatus.RUNNING,
        most=8,
        ready=3,
        starting=1,
        draining=0,
        in_use=3,
        coming=1,
        warm=None,
        operation=None,
        node=lead,
        worker=lead,
    )
    group = GroupSeen(group="l4", min_workers=3, max_workers=8, ready=3, starting=0, busy=3, pending=2)
    ordered = SupplyOrder(
        layer=Layer.NODE, key="l4-spot", ordered_at=900.0, target=5, count=2, expected_at=1100.0, deadline=1200.0
    )
    cluster = ClusterRecord(
        pools=(pool,),
        groups=(group,),
        plan=ClusterPlan(
            pools=(PoolTarget(pool="l4-spot", nodes=5, present=4, in_use=3, coming=1, new=0),),
            groups=(GroupTarget(group="l4", min_workers=5, max_workers=8, present=3, busy=3),),
            unplaced=(Unplaced(id=CHAT, replicas=1, obstacle=Obstacle.STOCKED_OUT, detail="no L4 left"),),
        ),
        standings=(Standing(order=ordered, status=SupplyStatus.PENDING, wanted=2, created=1, ready=0),),
        verdicts=(
            PoolVerdict(pool="l4-spot", kind=VerdictKind.STOCKED_OUT, since=950.0, until=1300.0, detail="EXHAUSTED"),
        ),
    )

    said = text_of(await page_of(record(cluster=cluster)))

    assert "nodes l4-spot 5 3 2 8 stocked out: EXHAUSTED 2 nvidia-l4 a node, spot, 1.5 an hour" in said
    assert "workers l4 5 3 2 8 3 with replicas, 2 without a node" in said
    assert "node order l4-spot +2 0 1 pending" in said
    assert "1 replica has no place: no L4 left" in said
    assert "Nodes and workers" not in text_of(await page_of(record()))


def _files() -> list[str]:
    return [f"/assets/{assets.version()}/{name}" for name in assets.assets()]


async def _event(response: aiohttp.ClientResponse) -> str:
    """The number of the next message."""
    while True:
        line = (await asyncio.wait_for(response.content.readline(), 10)).decode()
        if line.startswith("id: "):
            return line.removeprefix("id: ").strip()
