from __future__ import annotations

import os
import socket
from collections.abc import Callable

import pytest

from controller.errors import BadInputError
from controller.local.ports import FLAGS, Ports, claim, is_free


def free_except(*taken: int) -> Callable[[int], bool]:
    return lambda port: port not in taken


def test_ports_that_are_free_are_kept() -> None:
    assert claim(Ports(), free=free_except()) == Ports()


@pytest.mark.parametrize(("name", "flag"), [(name, flag) for name, (_, flag) in FLAGS.items()])
def test_a_promised_port_that_is_taken_is_named_with_its_flag(name: str, flag: str) -> None:
    port = getattr(Ports(), name)

    with pytest.raises(BadInputError, match=rf"port {port} .* choose another with {flag}$"):
        claim(Ports(), free=free_except(port))


def test_every_taken_promised_port_is_named_at_once() -> None:
    with pytest.raises(BadInputError) as caught:
        claim(Ports(), free=free_except(8000, 9090))

    assert "--port" in str(caught.value)
    assert "--prometheus-port" in str(caught.value)


def test_the_process_that_holds_a_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        with pytest.raises(BadInputError, match=rf"port {port} .* taken by .*process {os.getpid()}"):
            claim(Ports(openai=port))


def test_an_internal_port_that_is_taken_is_moved_to_a_free_one() -> None:
    claimed = claim(Ports(), free=free_except(9101, 9102))

    assert claimed.haproxy_metrics == 9103
    assert claimed.haproxy_stats == Ports().haproxy_stats


def test_moved_ports_never_meet() -> None:
    wanted = Ports(openai=8080, ray_metrics=8080, haproxy_stats=8081)

    numbers = claim(wanted, free=free_except()).numbers()

    assert len(set(numbers)) == len(numbers)


def test_one_number_for_two_promised_ports_is_refused() -> None:
    with pytest.raises(BadInputError, match="--port and --controller-port are both 9900"):
        claim(Ports(openai=9900), free=free_except())


def test_a_port_that_will_not_be_used_may_be_taken() -> None:
    claim(Ports(), without=("prometheus",), free=free_except(9090))


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_listener_on_any_address_makes_a_port_taken(address: str) -> None:
    with socket.create_server((address, 0)) as listener:
        port = listener.getsockname()[1]
        assert not is_free(port)

    assert is_free(port)
