"""Lists: cursors, orders, filters, expansion. Contract, section 1."""

import base64
import json
from urllib.parse import parse_qs, urlsplit

import pytest

KINDS = ("customers", "accounts", "bills")
SORTS = {
    "customers": ("created_at", "updated_at", "external_reference", "name"),
    "accounts": ("created_at", "updated_at", "external_reference", "name"),
    "bills": ("created_at", "updated_at", "external_reference", "amount_due", "due_date"),
    "entries": ("created_at",),
}
NULLABLE = {"name", "due_date"}
CASES = [(kind, f"{sign}{field}") for kind, fields in SORTS.items() for field in fields for sign in ("", "-")]


@pytest.fixture
def seven(api):
    """Seven records of each kind; of each kind three share a sort value and two have none."""
    values = ("m", None, "k", "m", None, "m", "a")
    days = ("2026-03-01", None, "2026-02-01", "2026-03-01", None, "2026-03-01", "2026-01-01")
    amounts = (300, 100, 200, 300, 100, 300, 50)
    for number, (name, day, amount) in enumerate(zip(values, days, amounts, strict=True)):
        account = {"external_reference": f"A{number}", "name": name, "currency": "ZAR", "balance": number + 1}
        body = {"external_reference": f"B{number}", "currency": "ZAR", "amount_due": amount, "due_date": day}
        customer = {"external_reference": f"C{number}", "name": name}
        made = api.post("/billing/bills", {**body, "account": {**account, "customer": customer}})
        assert made.status_code == 201
    api.patch("/billing/bills/B2", {"description": "touched"})
    api.patch("/billing/customers/C2", {"email": "jo@example.com"})
    api.patch("/billing/accounts/A2", {"metadata": {"a": "b"}})


def references(response):
    assert response.status_code == 200, response.content
    return [row.get("external_reference", row["id"]) for row in response.json()["data"]]


def walked(api, path, cursor_name="next_cursor"):
    """Return the pages from here on, following one kind of cursor."""
    pages = [api.get(path)]
    while cursor := pages[-1].json()[cursor_name]:
        pages.append(api.get(f"{path}&cursor={cursor}"))
        assert len(pages) < 20
    return pages


@pytest.mark.usefixtures("seven")
@pytest.mark.parametrize(("kind", "sort"), CASES)
@pytest.mark.parametrize("limit", [1, 3, 7])
def test_pages_follow_each_other_both_ways_in_every_order_with_nulls_last(api, kind, sort, limit):
    whole = api.get(f"/billing/{kind}?sort={sort}&limit=100").json()["data"]
    field = sort.removeprefix("-")
    values = [row[field] for row in whole if row[field] is not None]
    assert len(whole) == 7
    assert values == sorted(values, reverse=sort.startswith("-"))
    assert [row[field] for row in whole[len(values) :]] == [None] * (2 if field in NULLABLE else 0)
    pages = walked(api, f"/billing/{kind}?sort={sort}&limit={limit}")
    assert [row for page in pages for row in page.json()["data"]] == whole
    assert all(len(page.json()["data"]) == limit for page in pages[:-1])
    assert pages[0].json()["previous_cursor"] is None
    back = [pages[-1]]
    while cursor := back[-1].json()["previous_cursor"]:
        back.append(api.get(f"/billing/{kind}?sort={sort}&limit={limit}&cursor={cursor}"))
    assert [page.json()["data"] for page in back[::-1]] == [page.json()["data"] for page in pages]


@pytest.mark.usefixtures("seven")
@pytest.mark.parametrize("kind", KINDS)
def test_newest_first_unless_sorted(api, kind):
    letter = kind[0].upper()
    assert references(api.get(f"/billing/{kind}")) == [f"{letter}{number}" for number in range(6, -1, -1)]


@pytest.mark.usefixtures("seven")
def test_a_list_is_stable_under_inserts(api):
    pages = [api.get("/billing/bills?limit=3")]
    for number in range(3):
        body = {"external_reference": f"late{number}", "currency": "ZAR", "amount_due": 1, "customer": "C0"}
        assert api.post("/billing/bills", body).status_code == 201
        if cursor := pages[-1].json()["next_cursor"]:
            pages.append(api.get(f"/billing/bills?limit=3&cursor={cursor}"))
    assert [name for page in pages for name in references(page)] == ["B6", "B5", "B4", "B3", "B2", "B1", "B0"]
    newer = api.get(f"/billing/bills?limit=3&cursor={pages[1].json()['previous_cursor']}")
    assert references(newer) == ["B6", "B5", "B4"]
    newest = api.get(f"/billing/bills?limit=3&cursor={newer.json()['previous_cursor']}")
    assert references(newest) == ["late2", "late1", "late0"]
    assert newest.json()["previous_cursor"] is None


@pytest.mark.usefixtures("seven")
def test_cursors_are_in_the_body_the_headers_and_the_links_alike(api):
    first = api.get("/billing/bills?limit=2&sort=-amount_due&currency=ZAR&search=b")
    assert "Prev-Cursor" not in first.headers
    middle = api.get(f"/billing/bills?limit=2&sort=-amount_due&currency=ZAR&search=b&cursor={first['Next-Cursor']}")
    told = middle.json()
    assert (middle.headers["Next-Cursor"], middle.headers["Prev-Cursor"]) == (
        told["next_cursor"],
        told["previous_cursor"],
    )
    links = dict(reversed(link.strip().split("; ")) for link in middle.headers["Link"].split(", "))
    assert set(links) == {'rel="next"', 'rel="prev"'}
    for relation, cursor in (("next", told["next_cursor"]), ("prev", told["previous_cursor"])):
        address = urlsplit(links[f'rel="{relation}"'].strip("<>"))
        query = {"limit": ["2"], "sort": ["-amount_due"], "currency": ["ZAR"], "search": ["b"], "cursor": [cursor]}
        assert (address.path, parse_qs(address.query)) == ("/billing/bills", query)
    followed = api.get(links['rel="prev"'].strip("<>"))
    assert followed.json()["data"] == first.json()["data"]
    alone = api.get("/billing/bills?limit=7")
    assert not {"Next-Cursor", "Prev-Cursor", "Link"} & set(alone.headers)
    assert (alone.json()["next_cursor"], alone.json()["previous_cursor"]) == (None, None)


def test_an_empty_list_has_no_cursors(api):
    for kind in SORTS:
        assert api.get(f"/billing/{kind}").json() == {"data": [], "next_cursor": None, "previous_cursor": None}


def changed(cursor, place, value):
    """Return a cursor with one of its parts replaced."""
    parts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    parts[place] = value
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


@pytest.mark.usefixtures("seven")
@pytest.mark.parametrize("sort", ["-created_at", "amount_due", "due_date", "external_reference"])
def test_a_tampered_cursor_is_refused(api, sort):
    cursor = api.get(f"/billing/bills?limit=1&sort={sort}").json()["next_cursor"]
    account = api.get("/billing/accounts").json()["data"][0]["id"]
    for wrong in (
        cursor[:-4],
        cursor + "AAAA",
        "=" + cursor,
        "AAAA",
        "e30",
        "W10",
        changed(cursor, 0, "name"),
        changed(cursor, 0, None),
        changed(cursor, 1, {}),
        changed(cursor, 1, True),
        changed(cursor, 1, 1.5),
        changed(cursor, 1, "\0"),
        changed(cursor, 1, 1 << 70),
        changed(cursor, 1, "not a date") if sort != "external_reference" else "x",
        changed(cursor, 2, account),
        changed(cursor, 2, "bill_"),
        changed(cursor, 2, 5),
        changed(cursor, 3, 2),
        changed(cursor, 3, None),
    ):
        refused = api.get(f"/billing/bills?limit=1&sort={sort}&cursor={wrong}")
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_cursor"), wrong


@pytest.mark.usefixtures("seven")
def test_a_cursor_of_another_order_or_list_is_refused(api):
    cursor = api.get("/billing/bills?limit=1").json()["next_cursor"]
    for path in ("bills?sort=created_at&", "bills?sort=amount_due&", "customers?", "accounts?", "entries?"):
        refused = api.get(f"/billing/{path}cursor={cursor}")
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_cursor"), path


@pytest.mark.usefixtures("seven")
def test_a_limit_is_1_to_100_and_20_unless_told(api):
    for number in range(7, 25):
        api.post("/billing/customers", {"external_reference": f"C{number}"})
    assert len(api.get("/billing/customers").json()["data"]) == 20
    assert len(api.get("/billing/customers?limit=1").json()["data"]) == 1
    assert len(api.get("/billing/customers?limit=100").json()["data"]) == 25
    for wrong in ("0", "101", "-1", "x", "", "1.0", "%201", "0x1", "1000000000000"):
        refused = api.get(f"/billing/customers?limit={wrong}")
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_limit"), wrong


@pytest.mark.parametrize("kind", SORTS)
def test_an_unknown_order_is_refused_with_the_known_ones(api, kind):
    for wrong in ("colour", "id", "-", "", "--created_at", "+created_at", "created_at,name", "CREATED_AT"):
        refused = api.get(f"/billing/{kind}?sort={wrong}")
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_sort"), wrong
        assert all(field in refused.json()["detail"] for field in SORTS[kind])


# --- Filters ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def ledger(api):
    """Two customers: John with two accounts and a bill of his own, Jane with one bill in dollars; some paid, some late.

    Returns the ids by reference.
    """
    john = {"external_reference": "john", "name": "John Doe", "email": "john@example.com", "phone": "+27821234567"}
    jane = {"external_reference": "jane", "name": "Jane Roe", "currency": "USD", "balance": -50}
    bill = {"currency": "ZAR", "amount_due": 100, "bill_date": "2026-01-01"}
    home = {"external_reference": "home", "name": "Home", "currency": "ZAR", "balance": 500, "customer": john}
    for name, fields in (
        ("home-1", {"account": home, "due_date": "2020-01-31", "metadata": {"route": "7"}}),
        ("home-2", {"account": "home", "due_date": "2999-01-31", "metadata": {"route": "7", "a.b": "x"}}),
        ("shop-1", {"account": {"external_reference": "shop", "customer": "john"}, "amount_due": 200}),
        ("john-1", {"customer": "john", "amount_due": 300, "amount_paid": 300, "due_date": "2020-02-29"}),
        ("jane-1", {"customer": jane, "currency": "USD", "amount_due": 400, "bill_date": "2025-12-31"}),
    ):
        assert api.post("/billing/bills", {**bill, "external_reference": name, **fields}).status_code == 201, name
    api.post("/billing/bills/shop-1/void", {}, Idempotency_Key="k")
    return {
        row["external_reference"]: row["id"]
        for kind in KINDS
        for row in api.get(f"/billing/{kind}?limit=100").json()["data"]
    }


JOHNS = {"home-1", "home-2", "shop-1", "john-1"}


@pytest.mark.parametrize(
    ("kind", "query", "found"),
    [
        ("bills", "external_reference=home-1", {"home-1"}),
        ("bills", "external_reference=HOME-1", set()),
        ("bills", "external_reference=nothing", set()),
        ("bills", "external_reference=%20", set()),
        ("bills", "status=PAID", {"john-1"}),
        ("bills", "status=paid", {"john-1"}),
        ("bills", "status=VOIDED", {"shop-1"}),
        ("bills", "status=UNPAID", {"home-1", "home-2", "jane-1"}),
        ("bills", "currency=USD", {"jane-1"}),
        ("bills", "currency=usd", {"jane-1"}),
        ("bills", "currency=JPY", set()),
        ("bills", "customer=john", JOHNS),
        ("bills", "customer={john}", JOHNS),
        ("bills", "customer=jane", {"jane-1"}),
        ("bills", "customer=nobody", set()),
        ("bills", "customer={home}", set()),
        ("bills", "account=home", {"home-1", "home-2"}),
        ("bills", "account={home}", {"home-1", "home-2"}),
        ("bills", "account=nothing", set()),
        ("bills", "account=home&customer=jane", set()),
        ("bills", "overdue=true", {"home-1"}),
        ("bills", "overdue=false", {"home-2", "shop-1", "john-1", "jane-1"}),
        ("bills", "amount_due_gte=200", {"shop-1", "john-1", "jane-1"}),
        ("bills", "amount_due_lte=200", {"home-1", "home-2", "shop-1"}),
        ("bills", "amount_due_gte=200&amount_due_lte=200", {"shop-1"}),
        ("bills", "amount_due_gte=201&amount_due_lte=200", set()),
        ("bills", "amount_paid_gte=300", {"john-1"}),
        ("bills", "amount_paid_lte=299", {"home-1", "home-2", "shop-1", "jane-1"}),
        ("bills", "due_date_gte=2020-02-29", {"home-2", "john-1"}),
        ("bills", "due_date_lte=2020-02-28", {"home-1"}),
        ("bills", "bill_date_gte=2026-01-01", JOHNS),
        ("bills", "bill_date_lte=2025-12-31", {"jane-1"}),
        ("bills", "created_at_gte=2999-01-01", set()),
        ("bills", "created_at_lte=2999-01-01T00:00:00Z", JOHNS | {"jane-1"}),
        ("bills", "updated_at_gte=2020-01-01T00:00:00%2B02:00", JOHNS | {"jane-1"}),
        ("bills", "updated_at_lte=2020-01-01T00:00:00+02:00", set()),
        ("bills", "metadata.route=7", {"home-1", "home-2"}),
        ("bills", "metadata.route=7&metadata.a.b=x", {"home-2"}),
        ("bills", "metadata.route=8", set()),
        ("bills", "metadata.colour=7", set()),
        ("bills", "search=ome", {"home-1", "home-2"}),
        ("bills", "search=HOME-1", {"home-1"}),
        ("bills", "search=%25", set()),
        ("bills", "search=_", set()),
        ("accounts", "external_reference=home", {"home"}),
        ("accounts", "customer=john", {"home", "shop"}),
        ("accounts", "customer={john}", {"home", "shop"}),
        ("accounts", "customer=jane", set()),
        ("accounts", "currency=ZAR", {"home"}),
        ("accounts", "balance_gte=500", {"home"}),
        ("accounts", "balance_lte=499", set()),
        ("accounts", "search=hOm", {"home"}),
        ("customers", "external_reference=john", {"john"}),
        ("customers", "currency=USD", {"jane"}),
        ("customers", "balance_lte=-50", {"jane"}),
        ("customers", "balance_gte=-49", set()),
        ("customers", "search=oe", {"john", "jane"}),
        ("customers", "search=example.com", {"john"}),
        ("customers", "search=2782", {"john"}),
        ("customers", "search=jan", {"jane"}),
        ("customers", "metadata.x=y", set()),
    ],
)
def test_a_filter_finds_what_it_names_and_a_name_of_nothing_finds_nothing(api, ledger, kind, query, found):
    names = references(api.get(f"/billing/{kind}?{query.format(**ledger)}"))
    assert (set(names), len(names)) == (found, len(found))


def test_entries_are_found_by_obligation_kind_payment_and_time(api, ledger):
    def amounts(query):
        return sorted(entry["amount"] for entry in api.get(f"/billing/entries?{query}").json()["data"])

    api.patch("/billing/accounts/home", {"balance": 700})
    assert amounts("") == [-50, 200, 300, 500]
    assert amounts(f"obligation={ledger['home']}") == [200, 500]
    assert amounts(f"obligation={ledger['jane']}") == [-50]
    assert amounts(f"obligation={ledger['john-1']}") == [300]
    assert amounts(f"obligation={ledger['home-1']}") == []
    assert amounts("obligation=nothing") == []
    assert amounts("kind=opening") == [-50, 300, 500]
    assert amounts("kind=adjustment") == [200]
    assert amounts("payment=pay_nothing") == []
    assert amounts("created_at_gte=2999-01-01") == []
    assert amounts("created_at_lte=2999-01-01") == [-50, 200, 300, 500]


KNOWN = {
    "customers": {
        *("external_reference", "currency", "search", "balance_gte", "balance_lte", "metadata.<key>"),
        *("created_at_gte", "created_at_lte", "updated_at_gte", "updated_at_lte", "limit", "cursor", "sort", "as_of"),
    },
    "entries": {
        *("obligation", "kind", "payment", "created_at_gte", "created_at_lte", "limit", "cursor", "sort", "as_of"),
    },
}
KNOWN["accounts"] = KNOWN["customers"] | {"customer", "expand"}
KNOWN["bills"] = (KNOWN["accounts"] - {"balance_gte", "balance_lte"}) | {
    *("account", "status", "overdue", "amount_due_gte", "amount_due_lte", "amount_paid_gte", "amount_paid_lte"),
    *("due_date_gte", "due_date_lte", "bill_date_gte", "bill_date_lte"),
}


@pytest.mark.parametrize("kind", KNOWN)
def test_an_unknown_filter_is_refused_and_the_known_ones_are_named(api, kind):
    for wrong in ("colour", "Status", "customer_id", "external_reference__contains", "", "metadata.", "metadata"):
        refused = api.get(f"/billing/{kind}?{wrong}=x")
        assert (refused.status_code, refused.json()["code"]) == (400, "unknown_parameter"), wrong
        named = refused.json()["detail"].partition("Known: ")[2].rstrip(".")
        assert set(named.split(", ")) == KNOWN[kind]
        assert refused.json()["errors"][0]["parameter"] == wrong


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ("status=late", ["status"]),
        ("status=Paid", ["status"]),
        ("currency=XXX", ["currency"]),
        ("overdue=yes", ["overdue"]),
        ("overdue=1", ["overdue"]),
        ("amount_due_gte=1.5", ["amount_due_gte"]),
        ("amount_due_gte=x&due_date_lte=2026-1-1", ["amount_due_gte", "due_date_lte"]),
        ("created_at_gte=yesterday", ["created_at_gte"]),
        ("bill_date_gte=2026-02-29", ["bill_date_gte"]),
    ],
)
def test_malformed_filters_are_all_named(api, query, parameters):
    refused = api.get(f"/billing/bills?{query}")
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_parameter")
    assert sorted(error["parameter"] for error in refused.json()["errors"]) == parameters


def test_a_parameter_that_stands_twice_is_refused(api):
    for name in ("limit", "status", "metadata.k", "expand"):
        refused = api.get(f"/billing/bills?{name}=1&{name}=1")
        assert (refused.status_code, refused.json()["code"]) == (400, "repeated_parameter")


def test_requests_that_take_no_parameter_refuse_one(api, ledger):
    for method, path, body in (
        ("POST", "/billing/bills?dry_run=1", {}),
        ("PATCH", "/billing/bills/home-1?x=1", {}),
        ("PUT", "/billing/bills/home-1?external_reference=home-1", {}),
        ("GET", "/billing/bills/home-1?limit=1", None),
    ):
        refused = api.call(method, path, body)
        assert (refused.status_code, refused.json()["code"]) == (400, "unknown_parameter"), path


# --- Expansion --------------------------------------------------------------------------------------------------------


def test_expand_adds_the_parents_beside_their_ids_on_one_and_on_lists(api, ledger):
    customer = api.get("/billing/customers/john").json()
    account = api.get("/billing/accounts/home").json()
    one = api.get("/billing/bills/home-1?expand=customer,account").json()
    assert (one["customer"], one["account"]) == (customer, account)
    assert (one["customer_id"], one["account_id"]) == (customer["id"], account["id"])
    listed = api.get("/billing/bills?account=home&expand=account,customer&limit=1&sort=created_at").json()["data"]
    assert listed == [one]
    plain = api.get("/billing/bills/home-1").json()
    assert plain == {name: value for name, value in one.items() if name not in {"customer", "account"}}
    assert api.get("/billing/accounts/home?expand=customer").json()["customer"] == customer
    assert api.get("/billing/bills/john-1?expand=account").json()["account"] is None
    assert "account" not in api.get("/billing/bills/john-1?expand=customer").json()


def test_an_unknown_expansion_is_refused(api, ledger):
    for path in ("bills", "bills/home-1", "accounts", "accounts/home"):
        for wrong in ("biller", "", "customer,", "customer.biller", "Customer"):
            refused = api.get(f"/billing/{path}?expand={wrong}")
            assert (refused.status_code, refused.json()["code"]) == (400, "invalid_parameter"), (path, wrong)
    refused = api.get("/billing/customers/john?expand=customer")
    assert (refused.status_code, refused.json()["code"]) == (400, "unknown_parameter")
    assert api.get("/billing/accounts?expand=account").status_code == 400
