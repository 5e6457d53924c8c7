"""Numbers as a report writes them."""

from __future__ import annotations

import pytest

from segtune.report.numbers import between, count, decimal, duration, moment, p_value, plain, signed, signed_between


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.8564, ".856"), (1.0, "1.000"), (0.9996, "1.000"), (-0.034, "−.034"), (-0.0001, ".000"), (12.5, "12.500"),
     (None, "–"), (float("nan"), "–"), (float("inf"), "–"), (0, ".000")],
)  # fmt: skip
def test_decimals_have_no_leading_zero(value, text):
    """A score is written as papers write it, and what does not exist is a dash."""
    assert decimal(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.1234, "+.123"), (-0.1234, "−.123"), (0.0001, ".000"), (None, "–")])
def test_differences_carry_their_sign(value, text):
    """A gain has a plus, a loss a real minus, and what rounds to nothing has neither."""
    assert signed(value) == text


def test_an_end_that_is_not_zero_is_not_written_as_if_it_were():
    """Whether an interval of differences contains zero is the point of it."""
    assert signed_between(0.0003, 0.05) == "+.0003 to +.050"
    assert signed_between(-0.03, -0.00004) == "−.030 to −.00004"
    assert signed_between(0.0, 0.05) == ".000 to +.050"


def test_intervals_need_both_ends():
    """An interval with a missing end is left out, not written halfway."""
    assert between(0.79, 0.831) == ".790–.831"
    assert signed_between(-0.01, 0.2) == "−.010 to +.200"
    assert between(None, 0.8) == signed_between(0.1, None) == ""


@pytest.mark.parametrize(("p", "text"), [(0.0121, ".012"), (0.00002, "<.001"), (1.0, "1.000"), (None, "–")])
def test_p_values_do_not_pretend(p, text):
    """Below a thousandth only that is said."""
    assert p_value(p) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.21, "3.2 s"), (48.4, "48 s"), (59.7, "1 min 00 s"), (372, "6 min 12 s"), (7500, "2 h 05 min"), (None, "–")],
)
def test_durations_are_as_people_say_them(seconds, text):
    """Seconds, minutes and hours change over without a 60."""
    assert duration(seconds) == text


def test_moments_and_counts():
    """Times and large numbers can be read, and a text that is no time stays."""
    assert moment("2026-11-21T04:19:21+00:00") == "21 November 2026, 04:19 UTC"
    assert moment("yesterday") == "yesterday"
    assert count(10000) == "10,000"


def test_plain_values_are_short():
    """Values of settings files become one line each."""
    assert plain({"focal": 20 / 21, "dice": 1 / 21}) == "focal 0.952381, dice 0.047619"
    assert [plain(value) for value in (True, None, [1, 2], [], "a")] == ["yes", "–", "1, 2", "–", "a"]
