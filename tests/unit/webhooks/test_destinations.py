"""Addresses that nothing is sent to, however they are written or named."""

import asyncio
import socket
import threading

import pytest

from controller.webhooks.destinations import ForbiddenAddressError, GuardedResolver, check, networks


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("169.254.169.254", "a metadata address"),
        ("100.100.100.200", "a metadata address"),
        ("fd00:ec2::254", "a metadata address"),
        ("fd20:ce::254", "a metadata address"),
        ("169.254.1.1", "a link-local address"),
        ("fe80::1", "a link-local address"),
        ("fe80::1%eth0", "a link-local address"),
        ("127.0.0.1", "a loopback address"),
        ("127.8.8.8", "a loopback address"),
        ("::1", "a loopback address"),
        ("0.0.0.0", "an unspecified address"),
        ("0.1.2.3", "an unspecified address"),
        ("::", "an unspecified address"),
        ("224.0.0.1", "a multicast address"),
        ("ff02::1", "a multicast address"),
        ("255.255.255.255", "a reserved address"),
        ("::ffff:169.254.169.254", "a metadata address"),
        ("::ffff:127.0.0.1", "a loopback address"),
        ("64:ff9b::a9fe:a9fe", "a metadata address"),
        ("2002:7f00:1::", "a loopback address"),
        ("2001:0:4136:e378:8000:63bf:5601:5601", "a metadata address"),
    ],
)
def test_an_address_of_this_machine_its_link_or_its_cloud_is_refused(address: str, kind: str) -> None:
    with pytest.raises(ForbiddenAddressError, match=f"is {kind}; add it to allow_addresses"):
        check(address, ())


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "10.1.2.3", "192.168.0.9", "2606:4700::1111", "fd12::1", "64:ff9b::808:808"]
)
def test_other_addresses_are_not(address: str) -> None:
    check(address, ())


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1", "::1"])
def test_the_policy_may_allow_some(address: str) -> None:
    check(address, networks(["127.0.0.0/8", "::1/128"]))


def test_allowing_some_allows_no_others() -> None:
    with pytest.raises(ForbiddenAddressError):
        check("169.254.169.254", networks(["127.0.0.0/8"]))


async def test_a_name_that_leads_to_one_is_refused_when_it_is_resolved() -> None:
    with pytest.raises(ForbiddenAddressError, match="a loopback address"):
        await GuardedResolver(()).resolve("localhost", 80)


async def test_a_name_that_leads_to_an_allowed_one_is_resolved() -> None:
    found = await GuardedResolver(networks(["127.0.0.0/8", "::1/128"])).resolve("localhost", 80)

    assert found


async def test_a_name_server_that_hangs_keeps_nobody_else_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(30) and [])
    hanging = [asyncio.create_task(GuardedResolver(()).resolve(f"{number}.example")) for number in range(40)]
    try:
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 5) == "free"
    finally:
        released.set()
        await asyncio.gather(*hanging)
