import uuid

import pytest
from django.core.exceptions import ValidationError

from core.ids import PrefixedIdField, decode, encode, new_id, uuid7


def test_ids_made_one_after_the_other_rise():
    made = [uuid7() for _ in range(10_000)]
    assert made == sorted(made)
    assert len(set(made)) == 10_000
    assert {(one.version, one.variant) for one in made} == {(7, uuid.RFC_4122)}


@pytest.mark.parametrize("number", [0, 1, 61, 62, 62**10 - 1, 62**10, 62**20, (1 << 128) - 1])
def test_every_uuid_has_one_name_of_22_digits(number):
    value = uuid.UUID(int=number)
    text = encode("bill", value)
    assert len(text) == len("bill_") + 22
    assert decode("bill", text) == value


def test_names_sort_as_their_uuids_do():
    made = [uuid7() for _ in range(100)]
    assert sorted(encode("ent", one) for one in made) == [encode("ent", one) for one in made]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bill_",
        "bill_" + "0" * 21,
        "bill_" + "0" * 23,
        "bill_" + "z" * 22,
        "bill_" + "0" * 21 + "-",
        "bacc_" + "0" * 22,
        7,
        None,
    ],
)
def test_what_is_no_id_names_nothing(text):
    assert decode("bill", text) is None


def test_a_field_refuses_an_id_of_another_kind():
    with pytest.raises(ValidationError):
        PrefixedIdField("bill").to_python(new_id("bacc"))
