//! Guards that are good to tests of paths, and not to their clients: each in its own way.

use session_protocols::{Span, onion::relay::Refusal};

use super::world::{Event, Party, Word, World};

/// How long one that is busy is, and how long it is not between.
const BUSY: Span = Span::secs(40);
/// When another one is looked for that falls ill, where no client has a guard so far.
const LATER: Span = Span::secs(10);

/// How a guard is ill. Whether a packet is a test, it knows: nobody could do worse by guessing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ill {
    /// It leaves what is no test without a word, or refuses it.
    Mute,
    /// It says that it has too much to do, and after a while no more, and again.
    Busy,
    /// It leaves without a word what is no test and does not lead to a friend.
    Steers,
}

/// What becomes of a packet at a guard that is ill.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    Left,
    Refused(Refusal),
}

impl World {
    /// Makes the guard that a client prefers ill, another client's for each illness that there is.
    pub(super) fn fall_ill(&mut self) {
        let faults = self.faults;
        let all = [(Ill::Mute, faults.mute), (Ill::Busy, faults.busy), (Ill::Steers, faults.steers)];
        let mut missing = false;
        for (client, (ill, on)) in all.into_iter().enumerate() {
            if !on || self.ill.values().any(|other| *other == ill) {
                continue;
            }
            let guards = self.clients[client % self.clients.len()].guards();
            let mut guards = guards.into_iter().filter_map(|guard| self.index.get(&guard).copied());
            match guards.find(|guard| !self.ill.contains_key(guard)) {
                Some(guard) => drop(self.ill.insert(guard, ill)),
                None => missing = true,
            }
        }
        if missing {
            self.queue.push(self.now.after(LATER), Event::FallIll);
        }
    }

    /// What becomes of a packet that reaches a node, if the node is ill and the sender its client.
    pub(super) fn fate(&mut self, at: usize, word: &Word) -> Option<Fate> {
        let ill = *self.ill.get(&at).filter(|_| self.now < self.heal)?;
        let Party::Client(client) = word.from else { return None };
        if ill == Ill::Busy {
            let busy = (self.now.0 / BUSY.0).is_multiple_of(2);
            self.counts.busy += u64::from(busy);
            return busy.then_some(Fate::Refused(Refusal::Busy));
        }
        let guard = self.nodes[at].id;
        let next = self.checks.next_hop(word.packet, &guard)?;
        let fate = match ill {
            Ill::Mute if self.dice.hostile.coin() => Fate::Refused(Refusal::Unreadable),
            Ill::Steers if self.index.get(&next).is_some_and(|next| next.is_multiple_of(2)) => return None,
            Ill::Mute | Ill::Steers | Ill::Busy => Fate::Left,
        };
        *if ill == Ill::Mute { &mut self.counts.ignored } else { &mut self.counts.steered } += 1;
        self.checks.meddled(word.packet, at);
        self.checks.guarding.ignored(client, guard);
        Some(fate)
    }
}
