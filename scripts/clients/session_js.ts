// session.js, straight to members of swarms: bun session_js.ts DOOR PROXY
// With its network for Node.js, which is told the door, and with its first one, which knows the public seeds alone and
// is told a proxy.
import { Poller, ready, Session } from "@session.js/client";
import { NetworkNode } from "@session.js/client/network";
import { BunNetwork } from "@session.js/bun-network";
import { SessionFetchError, SessionFetchErrorCode } from "@session.js/errors";
import { generateSeedHex } from "@session.js/keypair";
import { encode } from "@session.js/mnemonic";
import { RequestType } from "@session.js/types/network/request";

const [door, proxy] = process.argv.slice(2);
await ready;

function holds(what: string, truth: boolean) {
	if (!truth) {
		console.error(`failed: ${what}`);
		process.exit(1);
	}
	console.log(`  ok: ${what}`);
}

async function converse(network: any) {
	const account = (phrase?: string) => {
		const session = new Session({ network });
		session.setMnemonic(phrase ?? encode(generateSeedHex()));
		return session;
	};
	const swarmOf = async (session: Session) =>
		(await session.getSwarmsFor(session.getSessionID())).map((node: any) => node.pubkey_ed25519);
	const alice = account();
	const members = await swarmOf(alice);
	let bob = account();
	for (let tries = 0; (await swarmOf(bob)).some((key) => members.includes(key)); tries++) {
		holds("of 64 accounts not all are in one swarm", tries < 64);
		bob = account();
	}

	const pollers = new Map([alice, bob].map((session) => [session, new Poller({ interval: null })]));
	pollers.forEach((poller, session) => session.addPoller(poller));
	for (const [sender, recipient] of [[alice, bob], [bob, alice]] as const) {
		const to = recipient.getSessionID();
		const events: string[] = [];
		const message = new Promise<any>((resolve) => recipient.on("message", resolve));
		const copy = new Promise<any>((resolve) => sender.on("syncMessage", resolve));
		recipient.on("messageTypingIndicator", () => events.push("typing"));
		recipient.on("reactionAdded", () => events.push("reaction"));
		recipient.on("messageRead", () => events.push("read"));
		recipient.on("messageRequestApproved", () => events.push("approved"));
		recipient.on("screenshotTaken", () => events.push("screenshot"));
		const deleted = new Promise<boolean>((resolve) =>
			recipient.on("messageDeleted", (message) => message.timestamp === sent.timestamp && resolve(true)),
		);

		const sent = await sender.sendMessage({ to, text: "straight to a member" });
		await pollers.get(recipient)!.poll();
		const got = await message;
		holds("a message arrives in another swarm", got.text === "straight to a member");
		holds("and says who sent it", got.from === sender.getSessionID() && got.id === sent.messageHash);
		await pollers.get(sender)!.poll();
		holds("the sender's other devices get a copy", (await copy).text === "straight to a member");
		holds("what was read is not told again", (await pollers.get(recipient)!.poll()).length === 0);

		await sender.showTypingIndicator({ conversation: to });
		await sender.addReaction({ messageTimestamp: sent.timestamp, messageAuthor: to, emoji: "👍" });
		await sender.markMessagesAsRead({ from: to, messagesTimestamps: [sent.timestamp] });
		await sender.acceptConversationRequest({ from: to });
		await sender.notifyScreenshotTaken({ conversation: to });
		await sender.deleteMessage({ to, timestamp: sent.timestamp, hash: sent.messageHash });
		await pollers.get(recipient)!.poll();
		holds("a deletion is told", await deleted);
		const all = ["approved", "reaction", "read", "screenshot", "typing"];
		holds("what is no text arrives", events.sort().join() === all.join());

		const note = await sender.sendMessage({ to: sender.getSessionID(), text: "a note to oneself" });
		await sender.deleteMessage({ to: sender.getSessionID(), timestamp: note.timestamp, hash: note.messageHash });
		const device = account(sender.getMnemonic());
		const poller = new Poller({ interval: null });
		device.addPoller(poller);
		const left = (await poller.poll()).map((message: any) => message.hash);
		holds("what its owner deletes is gone", left.length > 0 && !left.includes(note.messageHash));
	}

	await alice.setDisplayName("Alice");
	const device = account(alice.getMnemonic());
	const name = new Promise((resolve) => device.on("syncDisplayName", resolve));
	const poller = new Poller({ interval: null });
	device.addPoller(poller);
	await poller.poll();
	holds("a second device learns the name", (await name) === "Alice");

	const swarm = await bob.getOurSwarm();
	const body = { swarm, destination: alice.getSessionID(), data64: "AAAA", namespace: 0, timestamp: Date.now(), ttl: 60_000 };
	const refusal = await network.onRequest(RequestType.Store, body).catch((error: unknown) => error);
	const code = refusal instanceof SessionFetchError && refusal.code;
	holds("a node of another swarm says so", code === SessionFetchErrorCode.RetryWithOtherNode421Error);
}

console.log("its network for Node.js:");
await converse(new NetworkNode({ seedNodes: [new URL(door).host], insecureTls: true }));
console.log("its network for Bun:");
await converse(new BunNetwork({ proxy }));
process.exit(0);
