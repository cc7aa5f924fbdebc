"""When an attempt is repeated, and when no more: growing gaps for three days."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from events.delivering import LONGEST_GAP, TRIED_FOR, next_gap, rest
from events.sending import wait_of


def schedule(jitter):
    """Return when each attempt is made, counted from the first, of an endpoint that never answers."""
    times = [timedelta(0)]
    while (gap := next_gap(len(times), times[-1], jitter=jitter)) is not None:
        times.append(times[-1] + gap)
    return times


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_the_gaps_grow_and_end_when_three_days_are_over(jitter):
    times = schedule(jitter)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps[0] == timedelta(seconds=5 * (1 + 0.2 * jitter))
    assert times[-1] == TRIED_FOR == timedelta(days=3)
    growing = gaps[:9]
    assert growing == sorted(set(growing))
    assert all(gap <= LONGEST_GAP * 1.2 for gap in gaps)
    assert len(times) == {0.0: 15, 0.5: 15, 1.0: 14}[jitter]


def test_the_schedule_without_jitter():
    assert [int(time.total_seconds()) for time in schedule(0.0)][:10] == [
        0, 5, 20, 65, 200, 605, 1820, 5465, 16400, 49205,
    ]  # fmt: skip


def test_jitter_makes_a_gap_up_to_a_fifth_longer():
    gaps = {next_gap(3, timedelta(0), jitter=jitter / 10) for jitter in range(11)}
    assert (min(gaps), max(gaps), len(gaps)) == (timedelta(seconds=45), timedelta(seconds=54), 11)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (timedelta(seconds=1), timedelta(seconds=5)),
        (timedelta(seconds=6), timedelta(seconds=6)),
        (timedelta(0), timedelta(seconds=5)),
        (timedelta(days=300), timedelta(days=3)),
    ],
)
def test_retry_after_makes_a_gap_longer_never_shorter_and_not_beyond_three_days(asked, expected):
    assert next_gap(1, timedelta(0), asked) == expected


@pytest.mark.parametrize(("elapsed", "left"), [(71.5, timedelta(minutes=30)), (72, None), (73, None), (1000, None)])
def test_the_last_attempt_is_at_three_days_and_then_it_is_given_up(elapsed, left):
    assert next_gap(20, timedelta(hours=elapsed)) == left


def test_any_number_of_attempts_has_a_gap():
    assert next_gap(10**6, timedelta(0)) == LONGEST_GAP


def test_an_endpoint_rests_longer_the_more_it_fails_up_to_a_minute_or_as_it_asks_up_to_an_hour():
    assert [rest(failures).total_seconds() for failures in (1, 2, 3, 5, 6, 7, 10**6)] == [2, 4, 8, 32, 60, 60, 60]
    assert rest(1, timedelta(seconds=90)) == timedelta(seconds=90)
    assert rest(1, timedelta(days=9)) == timedelta(hours=1)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        ("120", 120),
        (" 120 ", 120),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("²", None),
        ("9" * 5000, 10**8),
        ("Tue, 24 Nov 2026 10:02:00 GMT", 120),
        ("Tue, 24 Nov 2026 09:00:00 GMT", 0),
        ("Tue, 24 Nov 2026 12:02:00 +0200", 120),
        ("Tue, 99 Nov 2026 10:02:00 GMT", None),
        ("\x00", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header, seconds):
    told = wait_of(header, datetime(2026, 11, 24, 10, tzinfo=UTC))
    assert told == (None if seconds is None else timedelta(seconds=seconds))
