"""A pytest plugin: the test database is made as ever, and then one of its rules is taken away."""

import os

import pytest
from django.db import connection


@pytest.fixture(scope="session", autouse=True)
def _without(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(os.environ["WITHOUT"])
