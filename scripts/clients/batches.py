"""session-python, which sends batches straight to members of swarms: python batches.py PROXY"""

import sys
import time

from session_python.client import Session
from session_python.network import SnodeRPCError
from session_python.polling import Poller

from accounts import holds, in_two_swarms

PROXY = sys.argv[1]


def account(phrase=None):
    session = Session(proxy=PROXY)
    session.set_mnemonic(phrase or Session.generate_mnemonic())
    return session


def swarm_of(session):
    return {node["pubkey_ed25519"] for node in session.get_swarms_for(session.get_session_id())}


alice, bob = in_two_swarms(account, swarm_of)
pollers = {session: Poller(session) for session in (alice, bob)}
for sender, recipient in ((alice, bob), (bob, alice)):
    to = recipient.get_session_id()
    sent = sender.send_message(to, "straight to a member")
    told = pollers[recipient].poll()
    got = [message for message in told if message["hash"] == sent["messageHash"]]
    holds("a message arrives in another swarm", [message["body"] for message in got] == ["straight to a member"])
    holds("and says who sent it", got[0]["from"] == sender.get_session_id())
    copies = [message["syncTarget"] for message in pollers[sender].poll()]
    holds("the sender's other devices get a copy", to in copies)
    holds("what was read is not told again", pollers[recipient].poll() == [])

    sender.show_typing_indicator(to)
    sender.mark_messages_as_read(to, [sent["timestamp"]])
    kinds = [message["type"] for message in pollers[recipient].poll()]
    holds("what is no text arrives in its order", kinds == ["typing", "receipt"])

    note = sender.send_message(sender.get_session_id(), "a note to oneself")
    sender.delete_message(sender.get_session_id(), note["timestamp"], note["messageHash"])
    left = Poller(account(sender.mnemonic)).poll()
    holds("what its owner deletes is gone", note["messageHash"] not in [message["hash"] for message in left])
    holds("and other devices are told", "unsend" in [message["type"] for message in left])

try:
    member = bob.get_our_swarm()
    node = {"public_ip": member["ip"], "storage_port": int(member["port"])}
    request = {"method": "get_swarm", "params": {"pubkey": alice.get_session_id()}}
    found = alice.network.snode_batch_request(node, [request])[0]["body"]["snodes"]
    holds("any node knows every swarm", {node["pubkey_ed25519"] for node in found} == swarm_of(alice))
    now = int(time.time() * 1000)
    store = {"pubkey": alice.get_session_id(), "ttl": 60_000, "timestamp": now, "data": "AAAA", "namespace": 0}
    alice.network.snode_batch_request(node, [{"method": "store", "params": store}])
    told = "nothing"
except SnodeRPCError as error:
    told = str(error)
holds("a node of another swarm says so", told.startswith("421"))
