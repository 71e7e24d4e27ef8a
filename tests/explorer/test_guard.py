"""Who is answered: hosts, other sites, the token, sizes. And the headers of every answer."""

from __future__ import annotations

import pytest

pytest.importorskip("fastapi")
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from gencore.explorer.guard import COOKIE, Guard, new_token

LOCAL = "http://127.0.0.1:8765"


def client(*, token: str | None = None, base: str = LOCAL, max_body: int = 1000) -> TestClient:
    app = FastAPI()

    @app.get("/page")
    def page() -> str:
        return "secret"

    @app.post("/page")
    async def post(request: Request) -> int:
        return len(await request.body())

    return TestClient(Guard(app, token=token, max_body=max_body), base_url=base)


@pytest.mark.parametrize("base", [LOCAL, "http://localhost:1", "http://[::1]:8765", "http://127.0.0.1"])
def test_the_loopback_names_are_answered(base: str) -> None:
    assert client(base=base).get("/page").status_code == 200


@pytest.mark.parametrize("base", ["http://rebound.example:8765", "http://127.0.0.1.example", "http://192.168.1.2:8765"])
def test_another_name_for_this_machine_is_not(base: str) -> None:
    answer = client(base=base).get("/page")
    assert answer.status_code == 403
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://other.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Origin": LOCAL, "Sec-Fetch-Site": "same-origin"}, 200),
        ({}, 200),
    ],
)
def test_another_site_in_this_browser_is_refused(headers: dict, status: int) -> None:
    assert client().post("/page", content=b"x", headers=headers).status_code == status


def test_another_site_may_link_but_not_embed() -> None:
    cross = {"Sec-Fetch-Site": "cross-site"}
    assert client().get("/page", headers=cross | {"Sec-Fetch-Mode": "navigate"}).status_code == 200
    assert client().get("/page", headers=cross | {"Sec-Fetch-Mode": "no-cors"}).status_code == 403


def test_a_token_comes_once_in_the_address_then_in_a_cookie() -> None:
    token = new_token()
    browser = client(token=token, base="http://10.0.0.5:8765")
    assert browser.get("/page").status_code == 403
    assert browser.get("/page?token=wrong").status_code == 403
    assert browser.get("/page", headers={"Cookie": f"{COOKIE}=wrong"}).status_code == 403
    answer = browser.get(f"/page?token={token}&seed=3", follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/page?seed=3"
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "SameSite=Strict" in answer.headers["set-cookie"]
    assert browser.get("/page").text == '"secret"'
    assert client(token=token, base="http://10.0.0.5:8765").get("/page").status_code == 403, "another browser"


def test_the_way_back_leads_to_no_other_site() -> None:
    browser = client(token="t", base="http://10.0.0.5")
    answer = browser.get("http://10.0.0.5//evil.example/x?token=t", follow_redirects=False)
    assert answer.headers["location"] == "/evil.example/x"


def test_too_large_is_said_whether_the_length_is_told_or_not() -> None:
    assert client().post("/page", content=b"x" * 1000).text == "1000"
    told = client().post("/page", content=b"x" * 1001)
    untold = client().post("/page", content=iter([b"x" * 600] * 3))
    for answer in (told, untold):
        assert answer.status_code == 413
        assert "too large" in answer.text


def test_headers_keep_the_page_to_itself() -> None:
    for answer in (client().get("/page"), client().get("/none"), client(token="t").get("/page")):
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
