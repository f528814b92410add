//! Borders of epochs: nodes come and go, and the ledger's own rule says who keeps what from then on.

use session_chain::{Block, Border, Input, Ledger, ledger::Cursors};
use session_protocols::{Maps, NodeId, Span, member};

use super::{checks::Violation, dice::Dice, queue::Event, world::World};

/// The shortest and the longest epoch.
const EPOCH: (Span, Span) = (Span::secs(80), Span::secs(130));
/// How much later than others a node may hear of a border.
const LATE: Span = Span::secs(3);
/// The same of those that lag behind the chain, and how many in a thousand do so at a border.
const LAGGING: (Span, u32) = (Span::secs(60), 200);
/// After the healing the last map that is known acts this soon.
const LAST: Span = Span::secs(60);

/// What the maps come from.
#[derive(Debug)]
pub(super) struct Changes {
    ledger: Ledger,
    dice: Dice,
    epoch: Span,
    /// Nodes that are no members for now.
    away: Vec<usize>,
}

impl Changes {
    pub(super) fn new(ledger: Ledger, seed: u64) -> Self {
        let mut dice = Dice::new(seed, "changes");
        let epoch = dice.span(EPOCH.0, EPOCH.1);
        Self { ledger, dice, epoch, away: Vec::new() }
    }

    /// What is said in an epoch: some nodes lose their place, others take it again.
    fn comings_and_goings(&mut self, nodes: &[NodeId]) -> Vec<Input> {
        let few = nodes.len() < 4;
        let most = if few { 0 } else { nodes.len() as u64 / 2 };
        let wanted = self.dice.between(0, most) as usize;
        let mut inputs = Vec::new();
        while self.away.len() > wanted {
            let node = self.away.swap_remove(self.dice.index(self.away.len()));
            inputs.push(Input::Recommission { node: nodes[node] });
        }
        while self.away.len() < wanted {
            let node = self.dice.index(nodes.len());
            if !self.away.contains(&node) {
                self.away.push(node);
                inputs.push(Input::Decommission { node: nodes[node] });
            }
        }
        inputs
    }

    /// Ends the epoch.
    fn cross(&mut self, nodes: &[NodeId]) -> Option<Maps> {
        let inputs = self.comings_and_goings(nodes);
        let (height, time) = (self.ledger.height() + 1, self.ledger.border() - 1);
        self.ledger.apply(&Block { height, time, inputs }).ok()?;
        let hash = self.dice.array::<32>().into();
        let border =
            Border { epoch: self.ledger.epoch(), height: height + 1, hash, cursors: Cursors::default() };
        self.ledger.cross(border, [0; 32].into()).ok()?;
        Some(self.ledger.maps())
    }
}

impl World {
    pub(super) fn border_later(&mut self) {
        let epoch = self.changes.epoch;
        if self.faults.changes {
            let at = self.now.after(epoch);
            let last = self.heal.after(LAST);
            self.queue.push(if at < self.heal { at } else { last }, Event::Border);
        }
    }

    /// An epoch ends.
    pub(super) fn border(&mut self) -> Result<(), Violation> {
        let healed = self.now >= self.heal;
        let mut maps = match (healed, self.maps.next.take()) {
            // The last map that was known acts, and then nothing changes any more.
            (true, Some(next)) => {
                let past = Some(std::mem::replace(&mut self.maps.acts, next));
                Maps { past, next: None, ..self.maps.clone() }
            }
            (true, None) => Maps { past: None, ..self.maps.clone() },
            (false, next) => {
                self.maps.next = next;
                let nodes: Vec<_> = self.nodes.iter().map(|node| node.id).collect();
                self.changes.cross(&nodes).unwrap_or_else(|| self.maps.clone())
            }
        };
        let named = |node: &NodeId| maps.all().any(|map| map.swarm_with(node).is_some());
        let leaving = self.nodes.iter().map(|node| node.id).filter(|node| !named(node));
        maps.leaving = leaving.collect();
        self.counts.borders += 1;
        self.map = maps.acts.clone();
        self.maps = maps;
        self.checks.change(&self.maps, self.now)?;
        for node in 0..self.nodes.len() {
            let lags = !healed && self.dice.trouble.chance(LAGGING.1);
            let late = self.dice.trouble.span(Span(0), if lags { LAGGING.0 } else { LATE });
            self.queue.push(self.now.after(late), Event::Told { node });
        }
        if !healed {
            self.border_later();
        } else if self.maps.past.is_some() {
            self.queue.push(self.now.after(self.changes.epoch), Event::Border);
        }
        Ok(())
    }

    /// A node hears of the maps.
    pub(super) fn told(&mut self, node: usize) {
        self.take_maps(node);
        let maps = self.nodes[node].maps.clone();
        self.feed(node, member::Input::Maps(maps));
        if self.nodes[node].up() {
            self.dial_all(node);
        }
    }

    /// What a node knows of the maps, and whom it has to do with.
    pub(super) fn take_maps(&mut self, node: usize) {
        let host = &mut self.nodes[node];
        if host.maps != self.maps {
            (host.maps, host.told) = (self.maps.clone(), self.now);
        }
        self.checks.goes_by(node, &host.maps);
        host.swarm = self.maps.acts.swarm_with(&host.id);
        let kin = self.maps.kin(&host.id).into_keys().filter(|one| *one != host.id);
        host.fellows = kin.filter_map(|one| self.index.get(&one).copied()).collect();
    }
}
