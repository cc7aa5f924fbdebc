"""How staff import a file: they see how it begins, try it, run it, follow it, cancel it."""

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from bills.models import Bill
from imports.models import Import, Job, Phase, Piece
from imports.running import Runner

pytestmark = pytest.mark.django_db(transaction=True)
FILE = b"external_reference,currency,amount_due,Payer,Note\n" + b"".join(
    b"B%d,ZAR,%d,C-1,<b>%d</b>\n" % (n, n + 1, n) for n in range(12)
)
MAPPED = {"map": "customer_external_reference=Payer", "ignore_unknown": "on", "amounts": "minor", "on_error": "skip"}
MAPPED |= {"date_format": "%Y-%m-%d"}
LIST = reverse("admin:imports_import_changelist")


def address(imported, page):
    return reverse(f"admin:imports_import_{page}", args=[quote(imported.pk)])


@pytest.fixture
def draft(staff, biller):
    """A file of bills that waits for the word of staff."""
    add = f"{reverse('admin:imports_import_add')}?biller={biller.pk}"
    answer = staff.post(add, {"kind": "bills", "file": SimpleUploadedFile("../november.csv", FILE)})
    draft = Import.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, address(draft, "preview"))
    return draft


def test_a_file_is_looked_at_under_its_own_header_before_anything_is_done(staff, draft):
    assert (draft.phase, draft.file_name, draft.asked_by) == (Phase.DRAFT, "november.csv", "staff:thandi")
    page = staff.get(address(draft, "preview"))
    shown = page.context["preview"]
    assert shown.columns == [
        ("external_reference", ["external_reference"]), ("currency", ["currency"]), ("amount_due", ["amount_due"]),
        ("Payer", []), ("Note", []),
    ]  # fmt: skip
    assert (len(shown.rows), shown.unknown) == (10, ["Payer", "Note"])
    text = page.content.decode()
    assert "These columns are no fields: “Payer”, “Note”. Say where they go with map, or ignore_unknown." in text
    assert "&lt;b&gt;0&lt;/b&gt;" in text
    assert "These columns give no field: Payer, Note." in text
    assert staff.get(address(draft, "change"))["Location"] == address(draft, "preview")
    assert (Job.objects.count(), Bill.objects.count()) == (0, 0)


def test_options_show_what_they_do_and_nothing_is_run_while_they_make_no_sense(staff, draft):
    look = staff.post(address(draft, "preview"), {**MAPPED, "look": ""})
    assert look.context["trouble"] == ""
    assert look.context["preview"].columns[3] == ("Payer", ["customer_external_reference"])
    for wrong, told in (
        ({"map": "x"}, "map x: give FIELD=SOURCE."),
        ({"currency": "zar"}, "currency zar: give an ISO 4217 code"),
        ({"due_days": "soon"}, "due_days soon: give a whole number."),
        ({"encoding": "nope"}, "There is no encoding"),
        ({"ignore_unknown": ""}, "These columns are no fields"),
    ):
        page = staff.post(address(draft, "preview"), {**MAPPED, **wrong, "run": ""})
        assert (page.status_code, told in page.content.decode()) == (200, True), told
    assert Job.objects.count() == 0


def test_a_file_is_tried_and_then_run_and_its_page_tells_how_far_it_is(staff, draft):
    tried = staff.post(address(draft, "preview"), {**MAPPED, "try": ""})
    copy = Import.objects.exclude(pk=draft.pk).get()
    assert tried["Location"] == f"{address(copy, 'change')}?draft={draft.pk}"
    waiting = staff.get(tried["Location"])
    assert waiting["Refresh"] == "2"
    assert "It waits for a worker." in waiting.content.decode()
    Job.objects.update(doing="Reading", done=1234, there_is=5678)
    text = staff.get(tried["Location"]).content.decode()
    assert "Reading: 1,234 of 5,678 bytes" in text
    assert 'max="5678" value="1234"' in text
    assert Runner(once=True).work()["completed"] == 1
    done = staff.get(tried["Location"])
    assert "Refresh" not in done.headers
    assert address(draft, "preview") in done.content.decode()
    copy.refresh_from_db()
    assert (copy.dry_run, copy.created, Bill.objects.count()) == (True, 12, 0)

    shown = staff.get(address(draft, "preview"))
    assert shown.context["form"]["map"].value() == "customer_external_reference=Payer"
    assert (shown.context["trouble"], shown.context["form"]["ignore_unknown"].value()) == ("", True)
    run = staff.post(address(draft, "preview"), {**MAPPED, "run": ""})
    assert run["Location"] == address(draft, "change")
    Runner(once=True).work()
    draft.refresh_from_db()
    assert (draft.phase, draft.created, Bill.objects.count()) == (Phase.COMPLETED, 12, 12)
    assert draft.options == {"map": ["customer_external_reference=Payer"], "ignore_unknown": True}
    text = staff.get(address(draft, "change")).content.decode()
    for told in ("Completed", "map: customer_external_reference=Payer", "amount due ZAR 0.78"):
        assert told in text
    assert (Job.objects.count(), Piece.objects.count()) == (0, 0)
    again = staff.post(address(draft, "preview"), {**MAPPED, "run": ""})
    assert (again["Location"], Job.objects.count()) == (address(draft, "change"), 0)


def test_refused_rows_are_a_link_away(staff, biller, draft):
    staff.post(
        address(draft, "preview"),
        {**MAPPED, "run": "", "on_error": "abort", "map": "customer_external_reference=Payer\ndue_date=Note"},
    )
    Runner(once=True).work()
    draft.refresh_from_db()
    assert (draft.phase, draft.rejected) == (Phase.REFUSED, 12)
    assert address(draft, "refused") in staff.get(address(draft, "change")).content.decode()
    file = staff.get(address(draft, "refused"))
    assert (file["Content-Type"], len(file.getvalue().splitlines())) == ("text/csv", 13)
    Import.objects.update(errors_until=None)
    assert staff.get(address(draft, "refused")).status_code == 404


def test_what_waits_is_cancelled_for_a_reason_and_a_draft_is_thrown_away(staff, draft):
    staff.post(address(draft, "preview"), {**MAPPED, "run": ""})
    assert staff.post(address(draft, "cancel"), {"reason": ""}).status_code == 200
    assert staff.post(address(draft, "cancel"), {"reason": "The wrong month"}).status_code == 302
    draft.refresh_from_db()
    assert (draft.phase, Job.objects.count(), Piece.objects.count()) == (Phase.CANCELLED, 0, 0)
    assert staff.post(address(draft, "cancel"), {"reason": "Again"}).status_code == 403
    add = f"{reverse('admin:imports_import_add')}?biller={draft.biller_id}"
    staff.post(add, {"kind": "bills", "file": SimpleUploadedFile("f.csv", FILE)})
    second = Import.objects.get(phase=Phase.DRAFT)
    assert staff.post(address(second, "preview"), {"discard": ""})["Location"] == LIST
    second.refresh_from_db()
    assert (second.phase, Piece.objects.count()) == (Phase.CANCELLED, 0)


def test_a_file_that_is_none_is_refused_in_the_form(staff, biller, settings):
    add = f"{reverse('admin:imports_import_add')}?biller={biller.pk}"
    settings.IMPORT_MAX_BYTES = len(FILE)
    for file, kind, status in (
        (FILE + b"\n", "bills", 200), (b"", "bills", 200), (FILE, "debts", 200), (FILE, "bills", 302),
    ):  # fmt: skip
        answer = staff.post(add, {"kind": kind, "file": SimpleUploadedFile("f.csv", file)})
        assert answer.status_code == status
    assert Import.objects.count() == 1
    assert staff.post(add, {"kind": "bills"}).status_code == 200


@pytest.mark.parametrize("file", [b"\x00\xff\xfe", b"\x1f\x8b\x08", b'"', b"PK\x03\x04", b"a" * (1 << 21), b"\n"])
def test_a_hostile_file_is_shown_as_what_it_is(staff, biller, file):
    add = f"{reverse('admin:imports_import_add')}?biller={biller.pk}"
    staff.post(add, {"kind": "payments", "file": SimpleUploadedFile("f.csv", file)})
    page = staff.get(address(Import.objects.get(), "preview"))
    assert (page.status_code, bool(page.context["trouble"])) == (200, True)
    page = staff.post(address(Import.objects.get(), "preview"), {**MAPPED, "run": ""})
    assert (page.status_code, Job.objects.count()) == (200, 0)


def test_who_may_only_look_sends_starts_and_cancels_nothing(client, draft, staff, biller):
    reader = User.objects.create_user("reader", password="pass", is_staff=True)
    client.force_login(reader)
    for page in ("change", "preview", "refused"):
        assert client.get(address(draft, page)).status_code == 403
    reader.user_permissions.add(Permission.objects.get(codename="view_import"))
    assert client.get(reverse("admin:imports_import_add")).status_code == 403
    assert client.get(address(draft, "change")).status_code == 200
    assert client.post(address(draft, "preview"), {**MAPPED, "run": ""}).status_code == 403
    assert client.post(address(draft, "cancel"), {"reason": "x"}).status_code == 403
    draft.refresh_from_db()
    assert draft.phase == Phase.DRAFT
