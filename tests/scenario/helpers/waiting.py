"""Waiting for a condition, without guessing how long it takes."""
import time

LIMIT_S = 30.0


def until(condition, what, limit_s=LIMIT_S):
    """Asks again and again; what it gave once that is true. The limit only ends a test that has failed."""
    deadline = time.monotonic() + limit_s
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {limit_s} s: {what}"
        time.sleep(0.02)
    return result
