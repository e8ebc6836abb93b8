"""What the tests of deliveries ask of a process, and of what a receiver has of it."""

from collections import Counter

from receiver import Answer

# A batch that is full at once, in a process that stays: at its end nothing is sent again.
TEN = ["--count", 10, "--batch", 10, "--seconds", 120]


def settled(count):
    """Whether so many spans have found their end."""
    return lambda counts: counts["exported"] + counts["dropped"] == count


def once(receiver, count):
    """What is wrong where each of so many spans should have come once."""
    ids = receiver.ids
    twice = sum(times > 1 for times in Counter(ids).values())
    found = [f"{twice} spans came more than once"] if twice else []
    return found + ([f"{len(set(ids))} spans came of {count}"] if len(set(ids)) != count else [])


def left(fixture, counts):
    """How the counts differ from what they should be, and how the process that is told to end does."""
    seen = {name: fixture.counts[name] for name in counts}
    found = [f"counts {seen}, not {counts}"] if seen != counts else []
    fixture.terminate()
    status, seconds = fixture.ends(10)
    return found + fixture.faults(status) + ([f"took {seconds:.1f} s to end"] if seconds > 3 else [])


def always(answer):
    return lambda request, number: answer


def first_then_well(answer):
    return lambda request, number: answer if number == 0 else Answer()


def sending(data):
    """These bytes, and then the end of the connection."""
    return lambda connection: connection.sendall(data)
