//! What must hold once everything has healed and come to rest.

use std::collections::BTreeMap;

use session_protocols::{
    AccountId, MessageHash, Time,
    answer::Body,
    mailbox,
    record::Record,
    store::{Fingerprint, Store},
};

use super::{Checks, MARGIN, Node, Violation, broken};
use crate::disk::View;

type Items = BTreeMap<(AccountId, MessageHash), ([u8; 32], u64)>;

impl Checks {
    /// Checks every honest member of every swarm.
    pub(crate) fn finale(&self, nodes: &[Node], start: Time, now: Time) -> Result<(), Violation> {
        let acts = &self.maps.acts;
        for (at, node) in nodes.iter().enumerate().filter(|(_, node)| !node.hostile) {
            let members = node.swarm.map_or(&[][..], |swarm| acts.members(swarm));
            let fellow = |one: &&Node| one.id != node.id && members.contains(&one.id) && !one.hostile;
            at_rest(at, node, nodes.iter().filter(fellow).count())?;
            self.readable(at, node, start, now)?;
            self.rights_stand(at, node)?;
            let foreign = |(account, _): &&(AccountId, MessageHash)| acts.swarm_of(account) != node.swarm;
            if let Some((account, hash)) = items(at, node, now)?.keys().find(foreign) {
                let detail = format!("node {at} holds {hash} of {account}");
                return broken("what others keep is forgotten after healing", detail);
            }
        }
        for members in acts.swarms.values() {
            let mut honest =
                nodes.iter().enumerate().filter(|(_, node)| members.contains(&node.id) && !node.hostile);
            let Some((first, model)) = honest.next() else { continue };
            let model = items(first, model, now)?;
            for (at, node) in honest {
                equal(first, &model, at, &items(at, node, now)?, nodes)?;
            }
        }
        Ok(())
    }

    /// What was acknowledged is there, and what was deleted is not.
    fn readable(&self, at: usize, node: &Node, start: Time, now: Time) -> Result<(), Violation> {
        let Some(store) = node.disk.store() else { return Ok(()) };
        let local = node.clock(now);
        for (drawer, hashes) in &self.drawers {
            if node.swarm.is_none() || self.maps.acts.swarm_of(&drawer.0) != node.swarm {
                continue;
            }
            let page = mailbox::page(&View(store), local, &drawer.0, drawer.1, None, usize::MAX, usize::MAX);
            let Ok(Body::Messages { messages, more: false, .. }) = page else {
                return broken("a store reads what it wrote", format!("node {at}: {page:?}"));
            };
            self.served(at, node, *drawer, &messages)?;
            let read: BTreeMap<_, _> = messages.iter().map(|message| (message.hash, message)).collect();
            for hash in hashes {
                let Some(fate) = self.fates.get(hash) else { continue };
                let record = store.record(&drawer.0, hash).ok().flatten();
                if !read.contains_key(hash) && fate.kept_since(now, local.as_millis() + MARGIN) {
                    let detail = format!("node {at} lacks {hash}: {record:?}, {fate:?}");
                    return broken("an acknowledged message is readable after healing", detail);
                }
                let gone = fate.gone(local.as_millis(), MARGIN, start.as_millis());
                if let Some(why) = gone.filter(|_| read.contains_key(hash)) {
                    let detail = format!("node {at} serves {hash}, but {why}: {record:?}, {fate:?}");
                    return broken("what is gone stays gone after healing", detail);
                }
            }
        }
        Ok(())
    }
}

fn at_rest(at: usize, node: &Node, honest: usize) -> Result<(), Violation> {
    let Some(member) = &node.member else {
        return broken("every node returns", format!("node {at} is down"));
    };
    if member.handing_over() {
        let left = node.disk.store().map(|store| foreign(store, node)).unwrap_or_default();
        return broken("every handover ends after healing", format!("node {at} hands over {left:?}"));
    }
    if node.swarm.is_some() && (!member.ready() || member.current() < honest) {
        let detail = format!("node {at} is caught up with {} of {honest} honest members", member.current());
        return broken("every member catches up after healing", detail);
    }
    if member.waiting() > 0 {
        return broken("no write waits for ever", format!("{} wait at node {at}", member.waiting()));
    }
    Ok(())
}

/// What a member holds that others keep by the map that acts.
fn foreign(store: &dyn Store, node: &Node) -> Vec<(MessageHash, Option<Record>)> {
    let mut left = Vec::new();
    for (bucket, _) in store.fingerprints() {
        let _ = store.bucket(bucket, &mut |item| {
            if !node.maps.acts.members_of(&item.account).contains(&node.id) {
                left.push((item.hash, store.record(&item.account, &item.hash).ok().flatten()));
            }
        });
    }
    left
}

/// What a member holds that does not end soon; its sums are checked on the way.
fn items(at: usize, node: &Node, now: Time) -> Result<Items, Violation> {
    const CHECK: &str = "a store's sums are those of its records";
    let mut items = Items::new();
    let Some(store) = node.disk.store() else { return Ok(items) };
    let mut records = BTreeMap::<AccountId, u64>::new();
    for (bucket, print) in store.fingerprints() {
        let mut sum = Fingerprint::default();
        let walked = store.bucket(bucket, &mut |item| {
            sum.add(&item.id);
            *records.entry(item.account).or_default() += 1;
            items.insert((item.account, item.hash), (item.id, item.until));
        });
        if walked.is_err() || sum != print {
            return broken(CHECK, format!("node {at}, bucket {}: {sum:?}, kept {print:?}", bucket.0));
        }
    }
    for (account, count) in records {
        let usage = store.usage(&account).unwrap_or_default();
        if usage.records != count {
            return broken(CHECK, format!("node {at}, {account}: {count} records, kept {usage:?}"));
        }
    }
    for ((account, hash), (id, until)) in &items {
        let record: Option<Record> = store.record(account, hash).ok().flatten();
        if record.is_none_or(|record| record.id(account, hash) != *id || record.until() != *until) {
            return broken(CHECK, format!("node {at}, {hash}: {record:?}"));
        }
    }
    // The same moment for all, whatever their clocks say.
    let soon = now.as_millis() + MARGIN;
    items.retain(|_, (_, until)| *until > soon);
    Ok(items)
}

fn equal(first: usize, model: &Items, at: usize, items: &Items, nodes: &[Node]) -> Result<(), Violation> {
    let differs = |one: &Items, other: &Items| {
        one.iter().find(|(key, value)| other.get(*key) != Some(value)).map(|(key, _)| *key)
    };
    let Some((account, hash)) = differs(model, items).or_else(|| differs(items, model)) else {
        return Ok(());
    };
    let look =
        |node: usize| nodes[node].disk.store().and_then(|store| store.record(&account, &hash).ok().flatten());
    let detail = format!("{hash} of {account}: node {first} {:?}, node {at} {:?}", look(first), look(at));
    broken("members are equal after healing", detail)
}
