"""Every public problem code, with the sentence that explains it."""

from collections.abc import Iterable
from functools import cache

from core.refusals import named, rules

OWN = {
    # The request itself
    "invalid_request": "The request is malformed; `errors` lists everything that is wrong with it.",
    "invalid_json": "The body is not strict JSON: UTF-8, no duplicate keys, no NaN, no NUL, at most 32 levels deep.",
    "invalid_parameter": "A query parameter cannot be read.",
    "unknown_parameter": "There is no such query parameter here; `detail` names those there are.",
    "repeated_parameter": "A query parameter stands twice.",
    "invalid_cursor": "The cursor is not one of this list and order.",
    "invalid_limit": "A limit is 1 to 100.",
    "invalid_sort": "The list cannot be sorted by this field.",
    "request_too_large": "The body is larger than the limit.",
    "unsupported_media_type": "Bodies are application/json in UTF-8, or a file where one is imported.",
    "not_acceptable": "Answers are application/json.",
    "method_not_allowed": "The method is not offered at this address.",
    "not_found": "There is nothing at this address.",
    # Fields of a body
    "required": "The field is required.",
    "null": "The field cannot be null.",
    "invalid_type": "The value is of another type than the field's.",
    "too_long": "The text is longer than the field allows.",
    "out_of_range": "The amount is outside the field's range.",
    "unknown_field": "There is no such field.",
    "read_only": "The field is ours to set.",
    "not_updatable": "The field cannot be changed.",
    "invalid_reference": "A reference is 1 to 255 printable characters without a blank at either end.",
    "reference_mismatch": "The body's external_reference differs from the path's.",
    "invalid_email": "The value is no e-mail address.",
    "invalid_phone": "The value is no telephone number in E.164.",
    "invalid_currency": "The value is no ISO 4217 code in upper case with a minor unit.",
    "invalid_date": "The value is no date, YYYY-MM-DD.",
    "too_many_keys": "Metadata holds at most 10 keys.",
    "invalid_metadata_key": "A metadata key is 1 to 40 characters.",
    "invalid_metadata_value": "A metadata value is text of at most 500 characters.",
    "invalid_url": "The value is no https URL that a webhook can go to.",
    "url_not_public": "The URL's host is not on the public internet.",
    "invalid_event_types": "Event types are known ones, each once, or “*” alone for all.",
    "blank": "The text is empty.",
    "empty": "The list is empty.",
    "too_many": "The list is longer than is allowed.",
    "invalid_choice": "The value is none of the words there are.",
    "invalid_time": "The value is no ISO 8601 time with its offset.",
    "card_number": "The text looks like the number of a payment card, which must not be kept.",
    "ambiguous_payment": "A payment names one obligation, or lists allocations, or names a payer: one of these.",
    "customer_given_twice": "The customer stands both beside the account and in it.",
    # Keys
    "api_key_required": "The request carries no API key.",
    "invalid_api_key": "The API key is unknown.",
    "api_key_revoked": "The API key has been revoked.",
    "api_key_expired": "The API key has expired.",
    "api_key_out_of_scope": "The API key may read, not write, or its owner is no caller of this address.",
    # Idempotency and concurrency
    "idempotency_key_required": "The call needs an Idempotency-Key.",
    "invalid_idempotency_key": "An Idempotency-Key is 1 to 255 of A-Z a-z 0-9 _ -.",
    "idempotency_key_reused": "The Idempotency-Key was used for another request.",
    "idempotency_in_progress": "The same request is being worked on; ask again for its answer.",
    "stale": "The record has changed since the version that If-Match names.",
    # Records
    "customer_not_found": "There is no such customer.",
    "account_not_found": "There is no such account.",
    "bill_not_found": "There is no such bill.",
    "payer_reference_not_found": "The customer, account or bill has no payer reference yet.",
    "external_reference_taken": "The external reference is in use; `existing_id` says by which record.",
    "account_of_another_customer": "The account belongs to another customer than the one named.",
    "bill_without_account": "The bill hangs on its customer, not on an account.",
    # Imports
    "import_not_found": "There is no such import.",
    "import_finished": "The import has ended already.",
    "import_of_command": "A command runs the import: it is stopped where it runs.",
    "no_refused_rows": "The import has no refused rows, or none yet, or they are not kept any more.",
    "file_required": "The form brings no file in the part “file”.",
    # Webhooks
    "webhook_endpoint_not_found": "There is no such webhook endpoint.",
    "delivery_not_found": "There is no such delivery.",
    "too_many_webhook_endpoints": "A biller has at most 20 enabled webhook endpoints.",
    "webhook_endpoint_disabled": "The webhook endpoint is disabled, so nothing is delivered to it.",
    # Payments
    "payment_not_found": "There is no such payment.",
    "payer_not_found": "Nobody is known by this.",
    "biller_not_found": "There is no such biller, or the partner does not collect for it.",
    "obligation_not_found": "There is no such bill, account or customer of a biller that is collected for.",
    "obligation_settled": "Nothing is owed on it any more.",
    "obligation_not_payable": "It carries no balance that could be paid.",
    "reference_reused": "The reference stands for another payment; `existing_id` says which.",
    "payment_reversed": "The reference was reversed before its payment came.",
    "amount_below_minimum": "The amount is below the least that is taken.",
    "amount_above_maximum": "The amount is above the most that is taken.",
    "underpayment_not_allowed": "Less than what is owed is not taken.",
    "overpayment_not_allowed": "More than what is owed is not taken.",
    "currency_mismatch": "It is owed in another currency.",
    "allocation_mismatch": "The allocations do not come to the amount, or name an obligation twice.",
    "reference_check_digit": "The payer reference is mistyped.",
    # Us
    "unavailable": "The service cannot answer now; repeat the request with the same Idempotency-Key.",
    "internal_error": "Something broke on our side.",
}


RECORDS = ("customer", "account", "bill")
_UNTOLD = ("_external_reference_taken", "_of_biller", "_of_customer", "_biller_fixed", "_has_entries")
"""What ends the names of rules that a caller meets under another code, or not at all."""


_NAMED_OTHERWISE = {"bill": ("amount_paid_",)}
"""How else the names of a kind's rules begin."""


def rules_of(kinds: Iterable[str]) -> list[str]:
    """Return the codes of the rules that the database holds for these kinds of record."""
    starts = tuple(start for kind in kinds for start in (f"{kind}_", *_NAMED_OTHERWISE.get(kind, ())))
    return sorted(code for code in named() if code.startswith(starts) and not code.endswith(_UNTOLD))


@cache
def codes() -> dict[str, str]:
    """Return the sentence of every code: our own, and those of the constraints and rules they name."""
    sentences = rules()
    return OWN | {code: sentences[code] for code in rules_of(RECORDS)}


def sentence(code: str) -> str | None:
    """Return the sentence of a code."""
    return codes().get(code)
