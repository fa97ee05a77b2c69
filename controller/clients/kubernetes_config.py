"""How the Kubernetes API is reached: from inside a pod, or by a kubeconfig file and a context in it."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from controller.errors import BadInputError

if TYPE_CHECKING:
    from kubernetes.aio.client import Configuration

CONTEXT_SETTING = "FORESERVE_KUBE_CONTEXT"
KUBECONFIG = "KUBECONFIG"

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where the API server is and who we are there.

    ``load`` reads both again, for credentials that expire. ``namespace`` is the one of the pod, or of the context.
    ``source`` says in words where this comes from.
    """

    load: Callable[[], Awaitable[Configuration]]
    namespace: str
    source: str


def connection(context: str | None = None) -> Connection:
    """Find the way: a named context or KUBECONFIG, else the pod that this runs in, else ``~/.kube/config``.

    Raises:
        BadInputError: there is none of these, or the kubeconfig has no such context.

    """
    if context is None and KUBECONFIG not in os.environ and "KUBERNETES_SERVICE_HOST" in os.environ:
        return _in_cluster()
    return _by_file(os.environ.get(KUBECONFIG) or str(Path.home() / ".kube" / "config"), context)


def _in_cluster() -> Connection:
    async def load() -> Configuration:
        from kubernetes.aio.client import Configuration  # noqa: PLC0415 - as in clients/kubernetes.py
        from kubernetes.aio.config import ConfigException, load_incluster_config  # noqa: PLC0415

        configuration = Configuration()
        try:
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        except (ConfigException, OSError) as error:
            msg = f"the pod's service account cannot be used ({error}); set automountServiceAccountToken: true"
            raise BadInputError(msg) from None
        return configuration

    try:
        namespace = (_ACCOUNT / "namespace").read_text(encoding="utf-8").strip()
    except OSError:
        namespace = _DEFAULT_NAMESPACE
    return Connection(load=load, namespace=namespace, source="the pod's service account")


def _by_file(files: str, context: str | None) -> Connection:
    namespace = _namespace(files, context)

    async def load() -> Configuration:
        from kubernetes.aio.client import Configuration  # noqa: PLC0415 - as in clients/kubernetes.py
        from kubernetes.aio.config import ConfigException, load_kube_config  # noqa: PLC0415

        configuration = Configuration()
        try:
            await load_kube_config(  # type: ignore[no-untyped-call]
                config_file=files, context=context, client_configuration=configuration, persist_config=False
            )
        except (ConfigException, OSError, ValueError, YAMLError) as error:
            msg = f"{files}: {_one_line(error)}; {KUBECONFIG} names a file that `kubectl get nodes` works with"
            raise BadInputError(msg) from None
        return configuration

    return Connection(load=load, namespace=namespace, source=f"{files}, context {context or 'in use there'}")


def _namespace(files: str, wanted: str | None) -> str:
    """Find the namespace of a context as kubectl does: of several files the first that has it wins."""
    paths = [path for name in files.split(os.pathsep) if name and (path := Path(name).expanduser()).exists()]
    if not paths:
        msg = f"{files}: no such file; set {KUBECONFIG} to a kubeconfig, or run inside the cluster"
        raise BadInputError(msg)
    contexts: dict[str, str] = {}
    current = wanted
    for path in paths:
        document = _read(path)
        current = current or document.current
        contexts = document.namespaces | contexts
    if current not in contexts:
        what = f"there is no context {current!r}" if current else "no context is in use"
        msg = f"{files}: {what}; choose one of {', '.join(sorted(contexts)) or 'none'} with {CONTEXT_SETTING}"
        raise BadInputError(msg)
    return contexts[current]


@dataclass(frozen=True, slots=True)
class _Contexts:
    current: str | None
    namespaces: dict[str, str]


def _read(path: Path) -> _Contexts:
    try:
        document = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        return _Contexts(
            current=document.get("current-context") or None,
            namespaces={
                entry["name"]: (entry.get("context") or {}).get("namespace") or _DEFAULT_NAMESPACE
                for entry in document.get("contexts") or ()
            },
        )
    except (OSError, UnicodeDecodeError, YAMLError, AttributeError, KeyError, TypeError) as error:
        msg = (
            f"{path}: cannot be read as a kubeconfig ({_one_line(error)}); `kubectl config view` shows what is expected"
        )
        raise BadInputError(msg) from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
