"""sessionpy-messenger, whose every request is an onion over three hops: python onion.py DOOR"""

import secrets
import sys

from pysession_client import mnemonic, network
from sessionpy import Poller, Session

from accounts import holds, in_two_swarms

# Where the list of nodes comes from: that is all there is to set. It checks no certificates by itself.
network.SEED_NODES = sys.argv[1:]


def account():
    return Session(mnemonic.encode(secrets.token_bytes(16)))


def swarm_of(session):
    return {node.ed25519_pk_hex for node in session.get_our_swarm()}


alice, bob = in_two_swarms(account, swarm_of)
pollers = {session: session.add_poller(Poller(interval=None)) for session in (alice, bob)}
for sender, recipient in ((alice, bob), (bob, alice)):
    to = recipient.get_session_id()
    sent = sender.send_message(to, "over three hops", expire_seconds=60)
    told = pollers[recipient].poll()
    got = [message for message in told if message["hash"] == sent["message_hash"]]
    holds("a message arrives in another swarm", [message["body"] for message in got] == ["over three hops"])
    holds("and says who sent it", got[0]["sender_session_id"] == sender.get_session_id())
    copies = [message["sync_target"] for message in pollers[sender].poll()]
    holds("the sender's other devices get a copy", to in copies)
    holds("what was read is not told again", pollers[recipient].poll() == [])

    sender.show_typing_indicator(to)
    sender.add_reaction(sent["timestamp"], to, "👍")
    sender.mark_messages_as_read(to, [sent["timestamp"]])
    sender.delete_message(to, sent["timestamp"], sent["message_hash"])
    kinds = [message["type"] for message in pollers[recipient].poll()]
    holds("what is no text arrives in its order", kinds == ["typing", "reaction", "read_receipt", "message_deleted"])

alice.set_display_name("Alice")
device = Session(alice.get_mnemonic())
device.poll()
holds("a second device learns the name", device.get_display_name() == "Alice")

# More than one answer holds: 7.8 MB are the most, of which one retrieval asks for a fifth.
pollers[bob].poll()
content = [alice.send_message(bob.get_session_id(), f"{n:04}" + "x" * 40_000)["message_hash"] for n in range(40)]
told = pollers[bob].poll()
holds("a mailbox of several answers is read to its end", [message["hash"] for message in told] == content)
