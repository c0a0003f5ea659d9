"""What reaches the log."""

import logging

from shared.logs import OncePer


def test_a_line_is_let_through_once_in_a_while_whatever_its_numbers() -> None:
    now = 0.0
    once = OncePer(60.0, clock=lambda: now)

    def passes(line: str) -> bool:
        return once.filter(logging.LogRecord("librdkafka", logging.ERROR, "", 0, line, None, None))

    assert passes("kafka-1: refused (after 3ms)")
    now = 59.0
    assert not passes("kafka-2: refused (after 14ms)")
    assert passes("kafka-1: timed out")
    now = 61.0
    assert passes("kafka-1: refused (after 0ms)")
