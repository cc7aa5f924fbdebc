"""The page of the document in a real browser: it works under its policy, and asks no other host for anything."""

import json
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connections

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no /usr/bin/chromium: apt-get install chromium"),
]


@pytest.fixture
def complaints():
    return []


@pytest.fixture
def page(live_server, complaints, monkeypatch):
    # Playwright keeps an event loop in this thread, where Django would refuse the test's own queries.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900}, base_url=live_server.url)
        page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda asked: None if asked.url.startswith((live_server.url, "data:")) else complaints.append(asked.url),
        )
        yield page
        browser.close()
        connections.close_all()


def test_the_page_shows_every_operation_and_tries_one_out_with_what_it_offers(api, page, complaints):
    page.goto("/docs")
    page.locator("#operations-bills-bills_create .opblock-summary-control").click()
    page.get_by_text("Create a bill of ZAR 20.00 under a new customer John Doe, in one call").first.wait_for(
        state="attached"
    )
    document = json.loads((settings.BASE_DIR / "docs" / "openapi.json").read_text())
    shown = [*document["paths"].values(), *document["webhooks"].values()]
    assert page.locator(".opblock").count() == sum(map(len, shown))

    page.locator("button.authorize").first.click()
    page.locator("input[aria-label=auth-bearer-value]").fill(api.key)
    page.locator(".auth-btn-wrapper button.authorize").click()
    page.locator("button.btn-done").click()
    for collection in ("customers", "accounts", "bills", "entries", "webhook_endpoints", "deliveries"):
        operation = page.locator(f"#operations-{collection}-{collection}_list")
        operation.locator(".opblock-summary-control").click()
        operation.locator("button.try-out__btn").click()
        with page.expect_response(lambda answer: "/billing/" in answer.url) as answered:
            operation.locator("button.execute").click()
        assert answered.value.status == 200, answered.value.url
    assert complaints == []


def test_on_a_phone_a_tag_is_described_in_lines_and_not_in_letters(page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/docs")
    told = page.locator(".opblock-tag small")
    told.first.wait_for()
    assert all(told.nth(number).bounding_box()["width"] > 200 for number in range(told.count()))
