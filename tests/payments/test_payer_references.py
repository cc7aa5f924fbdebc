"""Payer references: made on request, one for each record, typed right or refused before anything is looked up."""

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import IntegrityError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from stdnum import damm

from billers.acts import perform
from billers.models import Enablement
from core.ids import new_id, uuid_of
from customers.models import Customer
from payments import giving, payer_references
from payments.models import PayerReference
from payments.payer_references import drawn, is_payer_reference

KINDS = {"customers": "C", "accounts": "A", "bills": "B"}
ONE, TWO = (digit + damm.calc_check_digit(digit) for digit in "12")


@pytest.fixture
def records(owe):
    """The ids of a customer, its account and its bill."""
    account = {"external_reference": "A", "customer": {"external_reference": "C", "name": "John Doe"}}
    bill = owe(external_reference="B", account=account)
    return {"customers": bill["customer_id"], "accounts": bill["account_id"], "bills": bill["id"]}


def made(api, kind="bills", key="B"):
    return api.post(f"/billing/{kind}/{key}/payer_reference").json()["payer_reference"]


def look(till, digits, biller="acme"):
    return till.get(f"/partner/obligations?biller={biller}&payer_reference={digits}")


# --- Its digits ---


def test_it_is_twelve_digits_that_begin_with_no_zero_and_end_in_a_check_digit():
    for _ in range(1000):
        assert re.fullmatch("[1-9][0-9]{11}", digits := drawn())
        assert damm.is_valid(digits)


def test_every_mistyped_digit_and_every_swapped_neighbour_is_seen():
    for digits in (drawn(), drawn(), "100000000007"[:11] + damm.calc_check_digit("10000000000")):
        assert is_payer_reference(digits)
        for place, digit in enumerate(digits):
            for other in set("0123456789") - {digit}:
                assert not is_payer_reference(digits[:place] + other + digits[place + 1 :])
            swapped = digits[:place] + digits[place + 1 : place + 2] + digit + digits[place + 2 :]
            assert swapped == digits or not is_payer_reference(swapped)


@pytest.mark.parametrize("length", range(2, 13))
def test_two_to_twelve_digits_pass(length):
    assert is_payer_reference("1" * (length - 1) + damm.calc_check_digit("1" * (length - 1)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        " ",
        "1" * 12 + damm.calc_check_digit("1" * 12),
        "abc",
        "\uff11\uff13",
        "٢٠",
        " 18",
        "18 ",
        "1 8",
        "18\n",
        "-18",
    ],
)
def test_anything_else_is_no_payer_reference(text):
    assert not is_payer_reference(text)


# --- Made on request ---


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_gets_one_by_id_or_reference_and_keeps_it(api, records, kind):
    first = api.post(f"/billing/{kind}/{records[kind]}/payer_reference")
    assert first.status_code == 201
    assert set(first.json()) == {"payer_reference", "obligation", "created_at"}
    assert first.json()["obligation"] == records[kind]
    assert is_payer_reference(first.json()["payer_reference"])
    for key in (records[kind], KINDS[kind]):
        again = api.post(f"/billing/{kind}/{key}/payer_reference")
        read = api.get(f"/billing/{kind}/{key}/payer_reference")
        assert (again.status_code, again.json()) == (200, first.json())
        assert (read.status_code, read.json()) == (200, first.json())
    assert PayerReference.objects.count() == 1


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_was_not_made_is_absent(api, records, kind):
    answer = api.get(f"/billing/{kind}/{KINDS[kind]}/payer_reference")
    assert (answer.status_code, answer.json()["code"]) == (404, "payer_reference_not_found")
    assert PayerReference.objects.count() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_of_nobody_or_of_another_biller_has_none(api, api_for, other, records, kind):
    made(api, kind, KINDS[kind])
    stranger = api_for(other)
    for key in (records[kind], KINDS[kind], "nothing", "%00", "%0A", new_id(records[kind].partition("_")[0])):
        for method in ("GET", "POST"):
            answer = stranger.call(method, f"/billing/{kind}/{key}/payer_reference")
            assert (answer.status_code, answer.json()["code"]) == (404, f"{kind[:-1]}_not_found"), (method, key)
    assert PayerReference.objects.count() == 1


@pytest.mark.parametrize("body", [{"payer_reference": "18"}, {"digits": 1}, [], "x", 1, None])
def test_nobody_chooses_the_digits(api, records, body):
    answer = api.post("/billing/bills/B/payer_reference", body if body is not None else "null")
    assert answer.status_code == 400
    assert PayerReference.objects.count() == 0


def test_it_is_made_once_for_an_idempotency_key(api, records):
    first = api.post("/billing/bills/B/payer_reference", {}, Idempotency_Key="once")
    again = api.post("/billing/bills/B/payer_reference", {}, Idempotency_Key="once")
    assert (first.status_code, again.status_code, again.headers["Idempotent-Replayed"]) == (201, 201, "true")
    assert again.json() == first.json()


def test_a_read_key_makes_none(api_for, biller, records):
    answer = api_for(biller, scope="read").post("/billing/bills/B/payer_reference")
    assert answer.status_code == 403
    assert PayerReference.objects.count() == 0


def test_digits_that_are_taken_are_drawn_again(api, records, monkeypatch):
    lots = iter([ONE, ONE, ONE, TWO])
    monkeypatch.setattr(payer_references, "drawn", lambda: next(lots))
    assert made(api, "customers", "C") == ONE
    assert made(api, "accounts", "A") == TWO
    assert next(lots, None) is None


@pytest.mark.django_db(transaction=True)
def test_many_who_ask_at_once_get_the_same_one(api_for, biller, records):
    callers = [api_for(biller) for _ in range(8)]
    together = threading.Barrier(len(callers))

    def ask(caller):
        try:
            together.wait()
            return caller.post("/billing/bills/B/payer_reference")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(callers)) as pool:
        answers = list(pool.map(ask, callers))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["payer_reference"] for answer in answers}) == 1
    assert PayerReference.objects.count() == 1


# --- What the database holds ---


def put(biller, digits, **of):
    """Write a payer reference past the verbs."""
    with transaction.atomic():
        PayerReference.objects.bulk_create([PayerReference(biller=biller, digits=digits, **of)])


def test_the_database_refuses_one_of_nothing_of_two_or_of_another_billers(biller, other, records):
    for owner, of in (
        (biller, {}),
        (biller, {"customer_id": records["customers"], "bill_id": records["bills"]}),
        (biller, {"bill_id": new_id("bill")}),
        (other, {"bill_id": records["bills"]}),
        (other, {"account_id": records["accounts"]}),
        (other, {"customer_id": records["customers"]}),
    ):
        with pytest.raises(IntegrityError):
            put(owner, ONE, **of)
    assert PayerReference.objects.count() == 0


def test_the_database_refuses_a_second_one_and_digits_that_are_taken(biller, records):
    put(biller, ONE, bill_id=records["bills"])
    for digits, of in ((TWO, {"bill_id": records["bills"]}), (ONE, {"account_id": records["accounts"]})):
        with pytest.raises(IntegrityError):
            put(biller, digits, **of)
    for digits in ("1", "1234567890123", "1a", "\uff11\uff13"):
        with pytest.raises(Exception, match=r"payer_reference_is_digits|too long"):
            put(biller, digits, account_id=records["accounts"])
    assert [row.digits for row in PayerReference.objects.all()] == [ONE]


def test_one_is_never_changed_nor_removed(biller, records):
    put(biller, ONE, bill_id=records["bills"])
    for forbidden in (lambda rows: rows.update(digits=TWO), lambda rows: rows.delete()):
        with pytest.raises(Exception, match="Cannot update or delete"), transaction.atomic():
            forbidden(PayerReference.objects.all())


# --- Looked up ---


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_owed_is_found_by_it(api, till, records, kind):
    answer = look(till, made(api, kind, KINDS[kind]))
    assert (answer.status_code, [one["obligation"] for one in answer.json()["data"]]) == (200, [records["bills"]])


def test_it_is_unique_to_its_biller_alone(api, api_for, till, partner, biller, other, records):
    theirs = api_for(other).post("/billing/customers", {"external_reference": "C"}).json()["id"]
    put(biller, ONE, bill_id=records["bills"])
    put(other, ONE, customer_id=theirs)
    Enablement.objects.enable(partner, [other])
    assert [one["obligation"] for one in look(till, ONE).json()["data"]] == [records["bills"]]
    assert look(till, ONE, "other").json()["data"] == []


def test_one_that_nobody_has_is_known_as_absent(till, records):
    answer = look(till, drawn())
    assert (answer.status_code, answer.json()["code"]) == (404, "payer_not_found")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "%20",
        "abc",
        "%EF%BC%91%EF%BC%98",
        "1" * 12 + damm.calc_check_digit("1" * 12),
        f"{ONE}%20",
        f"%2B{ONE}",
        "1.3",
    ],
)
def test_a_mistyped_one_is_refused_before_anything_is_looked_up(till, records, text):
    look(till, ONE)  # the key is known from here on
    with CaptureQueriesContext(connection) as captured:
        answer = look(till, text)
    assert (answer.status_code, answer.json()["code"]) == (422, "reference_check_digit")
    assert [query["sql"] for query in captured] == []


def test_every_wrong_digit_and_every_swap_is_refused_without_a_statement(api, till, records):
    digits = made(api)
    wrong = {digits[:n] + d + digits[n + 1 :] for n in range(len(digits)) for d in "0123456789"}
    wrong |= {digits[:n] + digits[n + 1] + digits[n] + digits[n + 2 :] for n in range(len(digits) - 1)}
    look(till, digits)
    with CaptureQueriesContext(connection) as captured:
        answers = [look(till, text) for text in sorted(wrong - {digits})]
    assert len(answers) > 100
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(422, "reference_check_digit")}
    assert [query["sql"] for query in captured] == []
    assert look(till, digits).status_code == 200


# --- In bulk ---


def filled(biller, count):
    """Put this many customers, straight into the table."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO customers_customer (id, biller_id, external_reference, payment_rules, metadata, entry_count)
            SELECT gen_random_uuid(), %s, 'C-' || n, '{}', '{}', 0 FROM generate_series(1, %s) AS n
            """,
            [uuid_of(biller.pk), count],
        )


def run(capsys, *options):
    call_command("make_payer_references", "--biller", "acme", "--json", *options)
    return json.loads(capsys.readouterr().out)["made"]


def test_everything_that_has_none_gets_one(api, till, records, test_biller, capsys):
    kept = made(api, "accounts", "A")
    assert run(capsys) == {"customer": 1, "account": 0, "bill": 1}
    assert {row.obligation_id for row in PayerReference.objects.all()} == set(records.values())
    assert made(api, "accounts", "A") == kept
    assert look(till, made(api)).json()["data"][0]["obligation"] == records["bills"]
    assert run(capsys) == {"customer": 0, "account": 0, "bill": 0}
    assert run(capsys, "--mode", "test") == {"customer": 0, "account": 0, "bill": 0}


def test_one_kind_alone_can_be_asked_for(records, capsys):
    assert run(capsys, "--kind", "bill") == {"bill": 1}
    assert [row.obligation_id for row in PayerReference.objects.all()] == [records["bills"]]


def test_an_unknown_biller_is_told_with_exit_code_2(db):
    with pytest.raises(CommandError, match="There is no biller “nobody” in live mode") as refused:
        call_command("make_payer_references", "--biller", "nobody")
    assert refused.value.returncode == 2


def test_digits_that_are_taken_are_drawn_again_in_bulk_too(biller, capsys, monkeypatch):
    filled(biller, 30)
    lots = iter([*[ONE] * 20, *(str(n) + damm.calc_check_digit(str(n)) for n in range(100, 200))])
    monkeypatch.setattr(payer_references, "drawn", lambda: next(lots))
    monkeypatch.setattr(giving, "CHUNK", 10)
    assert run(capsys, "--kind", "customer") == {"customer": 30}
    assert PayerReference.objects.values("digits").distinct().count() == 30


@pytest.mark.django_db(transaction=True)
def test_a_run_that_was_cut_short_is_completed_by_the_next(biller, capsys):
    filled(biller, 3 * giving.CHUNK)

    def cut(kind, done, wanted):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        giving.give_to_all(biller, ["customer"], cut)
    assert PayerReference.objects.count() == giving.CHUNK
    assert run(capsys, "--kind", "customer") == {"customer": 2 * giving.CHUNK}
    assert PayerReference.objects.values("customer_id").distinct().count() == 3 * giving.CHUNK


@pytest.mark.django_db(transaction=True)
def test_a_hundred_thousand_get_one_each_beside_requests_that_ask_for_theirs(api_for, biller, capsys):
    filled(biller, 100_000)
    callers = [api_for(biller) for _ in range(2)]
    answers = []
    over = threading.Event()

    def ask(caller, numbers):
        try:
            for number in numbers:
                if over.is_set():
                    return
                answers.append((number, caller.post(f"/billing/customers/C-{number}/payer_reference")))
        finally:
            connections.close_all()

    asking = [
        threading.Thread(target=ask, args=(caller, range(start, 100_001, 499)))
        for start, caller in enumerate(callers, 1)
    ]
    for thread in asking:
        thread.start()
    there = sum(run(capsys, "--kind", "customer").values())
    over.set()
    for thread in asking:
        thread.join()
    assert answers
    assert {answer.status_code for _, answer in answers} <= {200, 201}
    assert there + sum(answer.status_code == 201 for _, answer in answers) == 100_000
    assert PayerReference.objects.values("customer_id", "digits").distinct().count() == 100_000
    for number, answer in answers:
        customer = Customer.objects.get(external_reference=f"C-{number}")
        assert PayerReference.objects.of(biller.pk, customer.pk).digits == answer.json()["payer_reference"]
    with CaptureQueriesContext(connection) as captured:
        assert run(capsys, "--kind", "customer") == {"customer": 0}
    assert len(captured) == 3  # the biller, how many there are, and the first of them


def test_what_lacks_one_is_looked_up_one_by_one_and_never_joined(biller):
    filled(biller, 2_000)
    perform(biller, "test", lambda act: PayerReference.objects.give(act, Customer.objects.first().pk))
    with connection.cursor() as cursor:
        cursor.execute(
            f"EXPLAIN (ANALYZE, FORMAT JSON) SELECT held.id {giving._LACKING['customer']} ORDER BY held.id LIMIT 100",
            {"biller": uuid_of(biller.pk), "after": giving._BEFORE_ALL},
        )
        [[[plan]]] = cursor.fetchall()
    # Looked up one by one: a join would read all of the biller's for each chunk.
    assert "SubPlan" in json.dumps(plan)
    assert "Join Type" not in json.dumps(plan)
