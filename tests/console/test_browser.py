"""The console in a real browser: it works under its Content-Security-Policy, and asks no other host for anything."""

from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connections

from accounts.models import Account
from billers.acts import perform
from billers.models import Biller
from bills.models import Bill
from customers.models import Customer
from imports.running import Runner
from ledger.models import Entry
from payments.models import Payment, Reversal

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


@pytest.fixture(autouse=True)
def _several_threads_ask(monkeypatch):
    # Playwright keeps an event loop in this thread, where Django would refuse the test's own queries.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")


@pytest.fixture
def complaints():
    return []


@pytest.fixture(params=[(1360, 900), (390, 844)], ids=["desktop", "phone"])
def browser_page(request, live_server, complaints):
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        width, height = request.param
        page = browser.new_page(viewport={"width": width, "height": height}, base_url=live_server.url)
        page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda asked: None if asked.url.startswith((live_server.url, "data:")) else complaints.append(asked.url),
        )
        yield page
        browser.close()
        # The connection of Playwright's event loop is another than the test's, and nobody else closes it.
        connections.close_all()


@pytest.fixture
def bill():
    User.objects.create_superuser("thandi", password="pass")
    biller = Biller.objects.found(name="Highveld Water", reference="highveld")["live"]
    customer = perform(
        biller, "api:test", lambda act: Customer.objects.enrol(act, external_reference="C-1", name="John Doe")
    )
    perform(biller, "api:test", lambda act: Account.objects.open(act, external_reference="A-1", customer=customer.pk))
    return perform(
        biller,
        "api:test",
        lambda act: Bill.objects.issue(
            act, external_reference="INV-1", customer=customer.pk, currency="ZAR", amount_due=2000
        ),
    )


def sign_in(page, address):
    page.goto(address)
    page.get_by_label("Username").fill("thandi")
    page.get_by_label("Password").fill("pass")
    page.get_by_role("button", name="Log in").click()


def test_a_clerk_signs_in_finds_corrects_and_voids_a_bill(browser_page, bill, complaints):
    page = browser_page
    sign_in(page, "/admin/bills/bill/")
    page.wait_for_url(f"**/admin/bills/bill/?biller={bill.biller_id}")

    page.locator("#searchbar").fill("inv")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="INV-1").first.click()
    page.get_by_label("Amount paid").fill("5.005")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("ZAR has 2 decimals.").wait_for()
    page.get_by_label("Amount paid").fill("5.00")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("Say why the amount changes.").wait_for()
    page.get_by_label("Reason").fill("Paid at the counter")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("was changed successfully").wait_for()
    assert Entry.objects.values_list("amount", "actor", "reason").get() == (500, "staff:thandi", "Paid at the counter")

    page.get_by_role("link", name="INV-1").first.click()
    page.goto(page.url.split("?")[0].replace("/change/", "/void/"))
    page.get_by_label("Reason").fill("Issued twice")
    page.get_by_role("button", name="Void the bill").click()
    page.get_by_text("A bill with money on it cannot be void").wait_for()
    bill.refresh_from_db()
    assert (bill.status, bill.amount_paid) == ("UNPAID", 500)
    assert complaints == []


def test_a_customer_is_chosen_by_typing(browser_page, bill, complaints):
    page = browser_page
    sign_in(page, "/admin/bills/bill/add/")
    page.wait_for_url("**/add/?biller=*")
    page.locator(".field-customer .select2-selection").click()
    page.keyboard.type("joh")
    page.get_by_role("option", name="C-1 — John Doe").click()
    page.get_by_label("External reference").fill("INV-2")
    page.locator("#id_currency + .select2 .select2-selection").click()
    page.keyboard.type("KWD")
    page.keyboard.press("Enter")
    page.get_by_label("Amount due").fill("20.125")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("was added successfully").wait_for()
    made = Bill.objects.get(external_reference="INV-2")
    assert (made.customer_id, made.currency, made.amount_due) == (bill.customer_id, "KWD", 20125)
    assert complaints == []


def test_a_clerk_records_a_payment_after_seeing_its_effect_and_reverses_it(browser_page, bill, complaints):
    page = browser_page
    sign_in(page, f"/admin/payments/payment/add/?biller={bill.biller_id}")
    page.wait_for_url("**/add/?biller=*")
    page.locator(".field-bill .select2-selection").click()
    page.keyboard.type("inv")
    page.get_by_role("option", name="INV-1").click()
    page.get_by_label("Amount").fill("20.01")
    page.get_by_role("button", name="Show its effect").click()
    page.get_by_text("No more than ZAR 20.00 is owed.").wait_for()
    page.get_by_label("Amount").fill("5.00")
    page.get_by_role("button", name="Show its effect").click()
    page.get_by_text("ZAR 5.00 for bill INV-1, of which ZAR 15.00 then remains.").wait_for()
    assert Payment.objects.count() == 0
    page.get_by_role("button", name="Record the payment").click()
    page.get_by_text("Recorded: ZAR 5.00 for bill INV-1").wait_for()
    payment = Payment.objects.get()
    page.goto(page.url.split("?")[0].replace("/change/", "/reverse/"))
    page.get_by_label("Reason").fill("Typed at the wrong till")
    page.get_by_role("button", name="Reverse the payment").click()
    page.get_by_text("The payment is reversed.").wait_for()
    assert Reversal.objects.get().payment_id == payment.pk
    bill.refresh_from_db()
    assert (bill.status, bill.amount_paid) == ("UNPAID", 0)
    assert complaints == []


def test_a_clerk_imports_a_file_after_seeing_how_it_begins(browser_page, bill, complaints, tmp_path):
    page = browser_page
    file = tmp_path / "november.csv"
    header = "external_reference,currency,amount_due,Payer,Note"
    file.write_text("\n".join([header, *(f"N-{n},ZAR,{n},C-1,for November" for n in range(12))]))
    sign_in(page, f"/admin/imports/import/add/?biller={bill.biller_id}")
    page.wait_for_url("**/add/?biller=*")
    page.locator("input[type=file]").set_input_files(str(file))
    page.get_by_role("button", name="Look at it").click()
    page.get_by_text("These columns are no fields: “Payer”, “Note”.").wait_for()
    page.get_by_label("Map").fill("customer_external_reference=Payer\ndescription=Note")
    page.get_by_role("button", name="Look again").click()
    page.get_by_text("→ customer_external_reference").wait_for()
    page.get_by_role("button", name="Dry run").click()
    page.get_by_text("It waits for a worker.").wait_for()
    assert Runner(once=True).work()["completed"] == 1
    page.get_by_role("link", name="Back to the file").wait_for()  # the page came again by itself
    page.get_by_text("1 — get them as CSV").wait_for()
    assert Bill.objects.count() == 1
    page.get_by_role("link", name="Back to the file").click()
    page.get_by_text("→ description").wait_for()
    page.get_by_role("button", name="Import it").click()
    page.get_by_text("It waits for a worker.").wait_for()
    assert Runner(once=True).work()["completed"] == 1
    page.get_by_text("Completed").first.wait_for()
    assert Bill.objects.count() == 12
    with page.expect_download() as download:
        page.get_by_role("link", name="get them as CSV").click()
    assert download.value.suggested_filename == "november.csv.errors.csv"
    assert "out_of_range" in download.value.path().read_text()
    assert complaints == []
