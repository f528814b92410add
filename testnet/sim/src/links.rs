//! The network between the nodes: connections, distances, losses and partitions.

use std::collections::BTreeMap;

use session_protocols::{Span, Time};

use super::{
    queue::{Event, Trouble, Word},
    world::World,
};

/// The connections between nodes that have to do with each other, and what separates them.
#[derive(Debug, Default)]
pub(super) struct Links {
    all: BTreeMap<(usize, usize), Link>,
    /// For each partition, on which side a node is.
    cuts: BTreeMap<u64, Vec<bool>>,
    next_cut: u64,
    /// When the last word of one node to another arrives.
    last: BTreeMap<(usize, usize), Time>,
}

#[derive(Debug, Default)]
struct Link {
    up: bool,
    /// Counts connections.
    epoch: u32,
    /// An attempt is under way.
    dialling: bool,
}

const fn pair(a: usize, b: usize) -> (usize, usize) {
    if a < b { (a, b) } else { (b, a) }
}

impl World {
    /// The connection between two nodes, if there is one.
    pub(super) fn connection(&self, a: usize, b: usize) -> Option<u32> {
        self.links.all.get(&pair(a, b)).filter(|link| link.up).map(|link| link.epoch)
    }

    pub(super) fn separated(&self, a: usize, b: usize) -> bool {
        self.links.cuts.values().any(|side| side[a] != side[b])
    }

    /// The way between two nodes, once.
    fn delay(&mut self) -> Span {
        let Self { dice, faults, counts, .. } = self;
        let way = dice.net.span(faults.delay_min, faults.delay_max);
        let strays = dice.net.chance(faults.stray);
        let stray = if strays { dice.net.span(Span(0), Span::secs(3)) } else { Span(0) };
        let way = Span(way.0 + stray.0);
        counts.strayed += u64::from(strays);
        counts.longest_way_ms = counts.longest_way_ms.max(way.as_millis());
        way
    }

    /// Whether something that is said between clients and nodes is lost on its way.
    pub(super) fn client_drops(&mut self) -> bool {
        let dropped = self.dice.net.chance(self.faults.loss / 2);
        self.counts.dropped += u64::from(dropped);
        dropped
    }

    /// The way between a client and a node, once.
    pub(super) fn client_delay(&mut self) -> Span {
        self.delay()
    }

    /// Sends bytes from one node to another: they arrive once, twice or never.
    pub(super) fn send(&mut self, word: Word) {
        self.counts.messages += 1;
        let separated = self.separated(word.from, word.to);
        let dropped = !separated && self.dice.net.chance(self.faults.loss);
        self.counts.dropped += u64::from(dropped);
        if separated || dropped {
            self.counts.lost += 1;
            return;
        }
        if self.dice.net.chance(self.faults.duplication) {
            self.counts.duplicated += 1;
            let at = self.now.after(self.delay());
            self.queue.push(at, Event::Word(word.clone()));
        }
        let at = self.now.after(self.delay());
        let last = self.links.last.entry((word.from, word.to)).or_default();
        self.counts.overtaken += u64::from(at < *last);
        *last = at.max(*last);
        self.queue.push(at, Event::Word(word));
    }

    /// A node looks for its fellows.
    pub(super) fn dial_all(&mut self, node: usize) {
        for fellow in self.nodes[node].fellows.clone() {
            self.dial_later(node, fellow, Span::millis(5), Span::millis(500));
        }
    }

    pub(super) fn dial_later(&mut self, a: usize, b: usize, soonest: Span, latest: Span) {
        let (a, b) = pair(a, b);
        let link = self.links.all.entry((a, b)).or_default();
        if !link.up && !link.dialling {
            link.dialling = true;
            let wait = self.dice.net.span(soonest, latest);
            self.queue.push(self.now.after(wait), Event::Dial { a, b });
        }
    }

    pub(super) fn dial(&mut self, a: usize, b: usize) {
        let alive = self.nodes[a].up() && self.nodes[b].up();
        let separated = self.separated(a, b);
        let Some(link) = self.links.all.get_mut(&(a, b)) else { return };
        link.dialling = false;
        if link.up || !alive {
            // Who starts dials.
            return;
        }
        if separated {
            self.dial_later(a, b, Span::millis(500), Span::secs(3));
            return;
        }
        link.up = true;
        link.epoch += 1;
        let epoch = link.epoch;
        for (node, peer) in [(a, b), (b, a)] {
            let at = self.now.after(self.delay());
            let boot = self.nodes[node].boot;
            self.queue.push(at, Event::Contact { node, boot, peer, epoch, up: true });
        }
    }

    /// A node is gone: the others notice, at once or when nothing comes any more.
    pub(super) fn break_links(&mut self, node: usize) {
        let fast = self.dice.net.coin();
        let latest = if fast { Span::millis(50) } else { Span::secs(12) };
        for ((a, b), link) in &mut self.links.all {
            if node != *a && node != *b {
                continue;
            }
            let peer = if node == *a { *b } else { *a };
            if std::mem::take(&mut link.up) {
                let epoch = link.epoch;
                let at = self.now.after(self.dice.net.span(Span::millis(1), latest));
                let boot = self.nodes[peer].boot;
                self.queue.push(at, Event::Contact { node: peer, boot, peer: node, epoch, up: false });
            }
        }
    }

    /// Nothing comes through between two nodes: their connection ends at both ends.
    pub(super) fn sever(&mut self, a: usize, b: usize, epoch: u32) {
        if self.connection(a, b) != Some(epoch) || !self.separated(a, b) {
            return;
        }
        if let Some(link) = self.links.all.get_mut(&pair(a, b)) {
            link.up = false;
        }
        for (node, peer) in [(a, b), (b, a)] {
            let at = self.now.after(self.dice.net.span(Span::millis(1), Span::secs(3)));
            let boot = self.nodes[node].boot;
            self.queue.push(at, Event::Contact { node, boot, peer, epoch, up: false });
        }
        self.dial_later(a, b, Span::millis(500), Span::secs(3));
    }

    /// The network falls apart: into halves, or one node from the rest.
    pub(super) fn partition(&mut self) {
        self.counts.partitions += 1;
        let count = self.nodes.len();
        let alone = self.dice.trouble.chance(400);
        let lonely = self.dice.trouble.index(count);
        let share = self.dice.trouble.between(150, 500) as u32;
        let side: Vec<bool> = (0..count)
            .map(|node| if alone { node == lonely } else { self.dice.trouble.chance(share) })
            .collect();
        self.links.next_cut += 1;
        let cut = self.links.next_cut;
        self.links.cuts.insert(cut, side);
        let links: Vec<_> = self
            .links
            .all
            .iter()
            .filter(|(_, link)| link.up)
            .map(|(pair, link)| (*pair, link.epoch))
            .collect();
        for ((a, b), epoch) in links {
            if self.separated(a, b) {
                let notice = self.dice.net.span(Span::secs(4), Span::secs(12));
                self.queue.push(self.now.after(notice), Event::Sever { a, b, epoch });
            }
        }
        let lasts = self.dice.trouble.span(Span::secs(2), Span::secs(70));
        self.queue.push(self.now.after(lasts), Event::Trouble(Trouble::Mend(cut)));
    }

    pub(super) fn mend(&mut self, cut: u64) {
        self.links.cuts.remove(&cut);
    }

    pub(super) fn mend_all(&mut self) {
        self.links.cuts.clear();
    }
}
