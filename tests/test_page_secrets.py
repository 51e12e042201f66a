"""Where the page finds a token in its address, and that it leaves it there for nobody to copy."""

from __future__ import annotations

import pytest
from support.page_modules import run

pytestmark = pytest.mark.usefixtures("node")

SERVED = """
globalThis.location = new URL(x.address);
globalThis.history = { replaceState: (_state, _title, address) => (globalThis.location = new URL(address)) };
const kept = {};
globalThis.sessionStorage = { getItem: (n) => kept[n] ?? null, setItem: (n, v) => (kept[n] = v) };
globalThis.document = { querySelector: () => null, getElementById: () => null };
const server = new m.Server();
const [token, base] = [server.token, server.base.href];
return { token, base, left: location.href, link: server.link("shared"), kept: new m.Server().token };
"""


@pytest.mark.parametrize(
    ("address", "token", "base"),
    [
        ("http://h:8080/#token=abc", "abc", "http://h:8080/"),
        ("http://h:8080/?token=abc&x=1", "abc", "http://h:8080/"),
        ("http://h:8080/t/abc/", "abc", "http://h:8080/"),
        ("https://h/model/t/a.b-c_d/?x=1#author=k", "a.b-c_d", "https://h/model/"),
        ("http://h/t/a%20b/", "a b", "http://h/"),
        # What is said behind the # is meant for the page; the path is what a link was made of.
        ("http://h/t/abc/#token=def", "def", "http://h/"),
        ("http://h/model/", "", "http://h/model/"),
        ("http://h/t/", "", "http://h/t/"),
    ],
)
def test_a_token_in_the_address_is_taken_out_of_it_and_no_link_to_share_has_it(
    address: str, token: str, base: str
) -> None:
    told = run("server", SERVED, {"address": address})
    assert (told["token"], told["base"], told["kept"]) == (token, base, token)
    for shown in (told["left"], told["link"]):
        assert "abc" not in shown
        assert "/t/" not in shown or address == "http://h/t/"
    assert told["link"].endswith("#token=shared")
