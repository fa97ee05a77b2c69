"""A typed client of GKE's API: the node pools of one cluster, their bounds and sizes, and operations.

The library behind it is heavy and blocking. It is imported with the first call, and every call runs in a thread
and has a time limit. Reads are repeated after a failure, writes never: a write whose answer is lost may have been
done all the same, and only reading tells.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential
from yarl import URL

from controller.clients.gke_answer import OperationAnswer, PoolAnswer, read_operation, read_pool
from controller.domain.pools import PoolBounds, TotalBounds
from controller.errors import BadInputError, UnavailableError
from controller.policy.cluster import GkePolicy

if TYPE_CHECKING:
    from google.api_core.exceptions import GoogleAPICallError
    from google.cloud import container_v1

ENDPOINT_SETTING = "FORESERVE_GKE_ENDPOINT"
ANONYMOUS_SETTING = "FORESERVE_GKE_ANONYMOUS"

_BUSY_REASON = "CLUSTER_ALREADY_HAS_OPERATION"
_BUSY_WORDS = re.compile(
    r"please wait|incompatible operation|is currently (being )?(creat|delet|updat|upgrad|repair|resiz)", re.IGNORECASE
)
_MAX_REASON_CHARS = 400
_THREADS = 4
_T = TypeVar("_T")


class GkeUnavailableError(UnavailableError):
    """No usable answer: unreachable, too slow, a server error. Asking again may help."""


class GkeBusyError(UnavailableError):
    """GKE wants to be asked later: an operation is in flight, or too much was asked. Nothing was done.

    ``retry_after_s`` is what GKE named, if it named anything.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class GkeRefusedError(UnavailableError):
    """GKE understood and said no; asking again will not help."""


class GkeClient:
    """Reads and sets the node pools of one cluster.

    Credentials are Application Default Credentials, which on GKE are those of Workload Identity. ``endpoint`` is
    where the API is when not at Google's address (a private endpoint, a stand-in); ``anonymous`` sends no
    credentials, for a stand-in on this machine. ``timeout_s`` bounds each call, ``attempts`` how often a read is
    tried.

    Raises:
        BadInputError: ``endpoint`` is no address, is one that credentials must not be sent to, or is missing
            although no credentials are to be sent.

    """

    def __init__(
        self,
        *,
        cluster: GkePolicy,
        endpoint: str | None = None,
        anonymous: bool = False,
        timeout_s: float = 10.0,
        attempts: int = 3,
        backoff_s: float = 0.2,
    ) -> None:
        self._endpoint = checked_endpoint(endpoint, anonymous=anonymous)
        self._cluster = cluster
        self._anonymous = anonymous
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._backoff_s = backoff_s
        self._threads = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="gke")
        self._client: container_v1.ClusterManagerClient | None = None
        self._connecting = asyncio.Lock()

    def __repr__(self) -> str:
        return f"GkeClient({self._cluster.path})"

    async def pools(self) -> tuple[PoolAnswer, ...]:
        """Read every node pool of the cluster, by name.

        Raises:
            GkeUnavailableError, GkeBusyError, GkeRefusedError: there is no answer; the message says why.

        """
        answer = await self._read(lambda client: client.list_node_pools(parent=self._cluster.path, **self._limits()))
        return tuple(sorted(map(read_pool, answer.node_pools), key=lambda pool: pool.found.name))

    async def pool(self, name: str) -> PoolAnswer:
        """Read one node pool. Raises like ``pools``."""
        answer = await self._read(lambda client: client.get_node_pool(name=self._pool_path(name), **self._limits()))
        return read_pool(answer)

    async def operations(self) -> tuple[OperationAnswer, ...]:
        """Read the cluster's operations that GKE still lists, in flight or done. Raises like ``pools``."""
        answer = await self._read(
            lambda client: client.list_operations(parent=self._cluster.location_path, **self._limits())
        )
        listed = map(read_operation, answer.operations)
        return tuple(one for one in listed if one.cluster == self._cluster.cluster)

    async def operation(self, name: str) -> OperationAnswer:
        """Read one operation. Raises like ``pools``."""
        path = f"{self._cluster.location_path}/operations/{name}"
        return read_operation(await self._read(lambda client: client.get_operation(name=path, **self._limits())))

    async def set_bounds(self, pool: PoolAnswer, bounds: PoolBounds) -> OperationAnswer:
        """Begin to set the bounds between which the cluster autoscaler sizes a pool; the rest stays as it was read.

        Sent once. Raises like ``pools``; after a GkeUnavailableError it may have begun all the same.
        """
        scaling: dict[str, Any] = {
            "enabled": True,
            "location_policy": pool.location_policy,
            "autoprovisioned": pool.autoprovisioned,
        }
        if isinstance(bounds, TotalBounds):
            scaling |= {"total_min_node_count": bounds.min_nodes, "total_max_node_count": bounds.max_nodes}
        else:
            scaling |= {"min_node_count": bounds.min_nodes_per_zone, "max_node_count": bounds.max_nodes_per_zone}
        request = {"name": self._pool_path(pool.found.name), "autoscaling": scaling}
        return read_operation(
            await self._call(lambda client: client.set_node_pool_autoscaling(request=request, **self._limits()))
        )

    async def set_size(self, pool: str, nodes_per_zone: int) -> OperationAnswer:
        """Begin to set a pool's nodes in **each** of its zones. Sent once; raises like ``set_bounds``."""
        request = {"name": self._pool_path(pool), "node_count": nodes_per_zone}
        return read_operation(
            await self._call(lambda client: client.set_node_pool_size(request=request, **self._limits()))
        )

    async def close(self) -> None:
        """Release connections. A call that a thread is still in ends by its own time limit."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            self._client.transport.close()  # type: ignore[no-untyped-call]

    def _pool_path(self, name: str) -> str:
        return f"{self._cluster.path}/nodePools/{name}"

    def _limits(self) -> dict[str, Any]:
        return {"timeout": self._timeout_s, "retry": None}

    async def _read(self, call: Callable[[container_v1.ClusterManagerClient], _T]) -> _T:
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._attempts),
            wait=wait_random_exponential(multiplier=self._backoff_s),
            retry=retry_if_exception_type(GkeUnavailableError),
            reraise=True,
        )
        return await retrying(self._call, call)

    async def _call(self, call: Callable[[container_v1.ClusterManagerClient], _T]) -> _T:
        # Imported and built outside of the time limit of a call: both happen once, and take their time.
        client = await self._connected()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._in_thread(partial(call, client))
        except TimeoutError:
            msg = f"GKE gave no complete answer within {self._timeout_s:g} s"
            raise GkeUnavailableError(msg) from None

    async def _connected(self) -> container_v1.ClusterManagerClient:
        async with self._connecting:
            if self._client is None:
                self._client = await self._in_thread(self._connect)
            return self._client

    async def _in_thread(self, call: Callable[[], _T]) -> _T:
        running = asyncio.get_running_loop()
        try:
            return await running.run_in_executor(self._threads, _explained, call)
        except RuntimeError as error:
            msg = f"GKE cannot be asked ({_shorten(str(error))})"
            raise GkeUnavailableError(msg) from None

    def _connect(self) -> container_v1.ClusterManagerClient:
        from google.api_core.client_options import ClientOptions  # noqa: PLC0415 - heavy, and only GKE needs it
        from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415
        from google.cloud import container_v1  # noqa: PLC0415

        credentials = AnonymousCredentials() if self._anonymous else None  # type: ignore[no-untyped-call]
        options = ClientOptions(api_endpoint=self._endpoint)
        return container_v1.ClusterManagerClient(transport="rest", credentials=credentials, client_options=options)


def checked_endpoint(endpoint: str | None, *, anonymous: bool) -> str | None:
    """Check where the API is, and whether credentials may go there.

    Raises:
        BadInputError: names the setting, and what would be right.

    """
    if endpoint is None:
        if anonymous:
            msg = f"{ANONYMOUS_SETTING} is for a stand-in of GKE; give its address with {ENDPOINT_SETTING} too"
            raise BadInputError(msg)
        return None
    try:
        url = URL(endpoint)
    except ValueError:
        url = URL()
    plain = not (url.user or url.password or url.query_string or url.fragment or url.path.strip("/"))
    if url.scheme not in {"http", "https"} or not url.host or not plain:
        msg = f"{ENDPOINT_SETTING} is not the address of an API; expected one like https://container.googleapis.com"
        raise BadInputError(msg)
    if url.scheme == "http" and not anonymous:
        msg = f"{ENDPOINT_SETTING}: credentials are not sent over http; use https, or set {ANONYMOUS_SETTING}"
        raise BadInputError(msg)
    return endpoint.rstrip("/")


def _explained(call: Callable[[], _T]) -> _T:
    """Make the call; everything that the libraries raise becomes one of the three errors of this module."""
    from google.api_core.exceptions import GoogleAPICallError  # noqa: PLC0415 - heavy, and only GKE needs it
    from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError  # noqa: PLC0415
    from google.protobuf.json_format import ParseError  # noqa: PLC0415

    try:
        return call()
    except GoogleAPICallError as error:
        raise _failure(error) from error
    except DefaultCredentialsError as error:
        msg = f"no credentials for GKE ({_shorten(str(error))}); run with Workload Identity, see docs/gke.md"
        raise GkeRefusedError(msg) from error
    except GoogleAuthError as error:
        msg = f"no access token for GKE could be had ({_shorten(str(error))})"
        raise GkeUnavailableError(msg) from error
    except ParseError as error:
        msg = f"GKE answered with something else than its API's JSON ({_shorten(str(error))})"
        raise GkeUnavailableError(msg) from error
    # requests' own errors are OSErrors
    except OSError as error:
        msg = f"GKE cannot be reached ({_shorten(str(error)) or type(error).__name__})"
        raise GkeUnavailableError(msg) from error


def _failure(error: GoogleAPICallError) -> UnavailableError:
    status = error.code or 0
    said = f"HTTP {int(status)}: {_shorten(str(error.message))}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return GkeBusyError(f"GKE wants to be asked later ({said})", retry_after_s=_retry_after(error))
    if status in (HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT) and _is_busy(error):
        return GkeBusyError(f"another operation is in flight on the cluster ({said})")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in (0, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT):
        return GkeUnavailableError(f"GKE failed ({said})")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return GkeRefusedError(f"GKE refused ({said}); give the controller's service account the permission it names")
    if status == HTTPStatus.NOT_FOUND:
        return GkeRefusedError(
            f"GKE knows no such thing ({said}); correct cluster.gke or the pool's name in the policy"
        )
    return GkeRefusedError(f"GKE refused ({said})")


def _is_busy(error: GoogleAPICallError) -> bool:
    return error.reason == _BUSY_REASON or bool(_BUSY_WORDS.search(str(error.message)))


def _retry_after(error: GoogleAPICallError) -> float | None:
    headers = getattr(error.response, "headers", {})
    try:
        return max(0.0, float(headers.get("Retry-After", "")))
    except ValueError:
        return None


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MAX_REASON_CHARS else f"{text[: _MAX_REASON_CHARS - 1]}…"
