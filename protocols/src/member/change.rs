//! What a member does as its maps change: whom it hears, and what it hands over.

use super::{CheckedAsk, Exchange, Member, check::Checked};
use crate::{
    Maps, NodeId, Time,
    answer::Code,
    mailbox,
    maps::Outlook,
    replication::{handover, respond::Scope},
    store::{StoreError, Transaction},
    swarm::Ask,
};

impl Member {
    pub(super) fn change(&mut self, now: Time, maps: Maps) {
        if maps.acts.version < self.maps().acts.version || maps == *self.maps() {
            return;
        }
        let me = self.setup.pair.node_id();
        self.swarm = maps.acts.swarm_with(&me);
        self.outlook = Outlook::new(me, maps.clone());
        self.writes.change(self.outlook.kin(), maps.acts.version, maps.newest());
        self.repair.change(now, &maps);
        self.handover.look(now);
        let mine = self.outlook.arc_in(maps.acts.version);
        self.subscriptions.end_others(|account| mine.is_some_and(|arc| arc.holds(account)));
        self.setup.maps = maps;
    }

    /// Whether the store holds what this member keeps under all maps, and nothing else, as far as is known.
    pub(super) fn steady(&self) -> bool {
        self.outlook.steady() && !self.handover.found()
    }

    /// Whether another node is listened to, and what it may compare.
    ///
    /// Who keeps accounts by the map that it names may compare them, as long as that map acts or will: who
    /// has gone on to a later one may have forgotten what it kept. Mutations are taken from whoever is part
    /// of the network, but not from one who does not know a map that this member knows: it would count
    /// a majority without those who must have it too.
    pub(super) fn hear(&self, from: &NodeId, ask: &CheckedAsk) -> Result<Scope, Code> {
        let maps = self.maps();
        let (version, all) = (ask.map_version, self.steady());
        if maps.named(version).is_none() || maps.all().all(|map| self.outlook.arc_in(map.version).is_none()) {
            return Err(Code::WrongSwarm);
        }
        match &ask.ask {
            Checked::Other(Ask::Fingerprints | Ask::Reconcile { .. } | Ask::Fetch { .. }) => {
                let territory = self.outlook.arc_of(from, version).filter(|_| version >= maps.acts.version);
                let territory = territory.ok_or(Code::WrongSwarm)?;
                let arc = ask.arc.unwrap_or(territory);
                if arc.within(territory) { Ok(Scope { arc, all }) } else { Err(Code::WrongSwarm) }
            }
            Checked::Replicate(..) if ask.newest < maps.newest() => Err(Code::NotReady),
            Checked::Replicate(..) | Checked::Other(_) => {
                let known = self.outlook.knows(from);
                if known { Ok(Scope { all, ..Scope::ALL }) } else { Err(Code::WrongSwarm) }
            }
        }
    }

    pub(super) fn drain_handover<T: Transaction>(
        &mut self,
        now: Time,
        store: &mut T,
    ) -> Result<(), StoreError> {
        while let Some(output) = self.handover.poll() {
            match output {
                handover::Output::Ask { question, to, request } => {
                    self.send(Exchange::Handover(question), to, request, Vec::new());
                }
                handover::Output::Purge(_) if self.full => {}
                handover::Output::Purge(records) => {
                    self.mailbox.handle(now, mailbox::Input::Purge { records }, store)?;
                }
            }
        }
        Ok(())
    }
}
