"""Each guard is taken away, one at a time: a lock, a tenant filter, a rule of the database. A test must fail.

`GUARDS=payments_ .venv/bin/pytest -m prove tests/guards` tries those alone whose name has this in it.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from removing import Copies, guards_of_the_database, guards_of_the_source

pytestmark = [pytest.mark.prove, pytest.mark.django_db]


@pytest.fixture
def missed(tmp_path, capsys, django_db_blocker):
    """Try guards, as many at once as there are processors; return those that no test misses, and print the count."""

    def missed(guards):
        guards = [guard for guard in guards if os.environ.get("GUARDS", "") in guard.name]
        copies = Copies(tmp_path, os.cpu_count() or 1)

        def caught(guard):
            with django_db_blocker.unblock():
                failed = copies.fails(guard)
            with capsys.disabled():
                print("caught" if failed else "MISSED", guard.name, flush=True)  # noqa: T201 it takes an hour
            return failed

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            outcomes = list(pool.map(caught, guards))
        with capsys.disabled():
            print(f"{sum(outcomes)} of {len(guards)} guards caught")  # noqa: T201
        return [guard.name for guard, failed in zip(guards, outcomes, strict=True) if not failed]

    return missed


def test_no_rule_of_the_database_can_be_dropped_unnoticed(missed):
    guards = list(guards_of_the_database())
    assert len(guards) > 150
    assert missed(guards) == []


def test_no_lock_and_no_filter_can_be_dropped_unnoticed(missed):
    guards = list(guards_of_the_source())
    assert len(guards) > 60
    assert missed(guards) == []
