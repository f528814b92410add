"""What the checks of clients in Python share: accounts in different swarms, and saying what holds."""

import sys


def holds(what, truth):
    if not truth:
        sys.exit(f"failed: {what}")
    print(f"  ok: {what}")


def in_two_swarms(make, swarm_of):
    """Two accounts that do not share a swarm: `make()` gives an account, `swarm_of(account)` the keys of its members."""
    first = make()
    swarm = swarm_of(first)
    for _ in range(64):
        second = make()
        if swarm.isdisjoint(swarm_of(second)):
            return first, second
    sys.exit("failed: of 64 accounts all are in one swarm; the network needs two, which twelve nodes have")
