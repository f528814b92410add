//! The rule of rewards as `chain/README.md` has it, over the chain's own events and the times of its blocks.
//!
//! Nothing here is the ledger's but how events are laid out: what it divides is held against this.

use std::collections::BTreeMap;

use alloy::{
    primitives::{Address, B256},
    rpc::client::RpcClient,
    rpc::types::{Block, Log},
    sol_types::SolEvent,
};
use serde_json::json;
use session_chain::{network::Settlement, settlement::contracts::events};

/// Units of one network's rewards, by account.
type Totals = BTreeMap<Address, u128>;

/// What the chain tells of rewards.
pub(crate) struct Rule {
    genesis: u64,
    length: u64,
    nodes: Vec<Node>,
    /// What the pool released, by epoch.
    released: BTreeMap<u64, u128>,
    /// Whose checkpoints were accepted in an epoch, in order.
    submitters: BTreeMap<u64, Vec<Address>>,
    /// From which epoch on a submitter is credited how much.
    credit: BTreeMap<u64, u128>,
    /// From which epoch on a node earns how many seconds after it is active.
    active_for: BTreeMap<u64, u64>,
    /// Where in the chain, as block and transaction, the checkpoint of which epoch was accepted.
    accepted: BTreeMap<(u64, u64), u64>,
}

/// One registration.
struct Node {
    id: u64,
    key: B256,
    fee: u16,
    /// Beneficiary and amount of each share, the operator's first.
    shares: Vec<(Address, u128)>,
    /// The epoch at whose border the next map names it.
    known: u64,
    /// When its service ends, if its exit was requested.
    unlocks: Option<u64>,
}

impl Rule {
    /// Reads all that the contracts have ever told.
    pub(crate) async fn read(rpc: &RpcClient, settlement: &Settlement) -> Self {
        let contracts = &settlement.contracts;
        let filter = json!([{
            "address": [contracts.staking, contracts.checkpoints, contracts.pool],
            "fromBlock": "0x0",
            "toBlock": "latest",
        }]);
        let logs: Vec<Log> = rpc.request("eth_getLogs", filter).await.unwrap();
        let mut rule = Self {
            genesis: settlement.genesis,
            length: settlement.epoch.get(),
            nodes: Vec::new(),
            released: BTreeMap::new(),
            submitters: BTreeMap::new(),
            credit: BTreeMap::new(),
            active_for: BTreeMap::new(),
            accepted: BTreeMap::new(),
        };
        for log in &logs {
            rule.event(rpc, log).await;
        }
        rule
    }

    async fn event(&mut self, rpc: &RpcClient, log: &Log) {
        let (block, place) = (log.block_number.unwrap(), log.transaction_index.unwrap());
        let epoch = self.epoch(rpc, block).await.expect("the block of a log is there");
        match *log.topic0().unwrap() {
            events::Registered::SIGNATURE_HASH => {
                let told = decoded::<events::Registered>(log);
                let share = |it: &events::Share| (it.beneficiary, it.amount.to());
                self.nodes.push(Node {
                    id: told.id,
                    key: told.ed25519Key,
                    fee: told.fee,
                    shares: told.shares.iter().map(share).collect(),
                    // What a border's own block registers waits for the next border: the block after it tells.
                    known: self.epoch(rpc, block + 1).await.unwrap_or(u64::MAX),
                    unlocks: None,
                });
            }
            events::ExitRequested::SIGNATURE_HASH => {
                let told = decoded::<events::ExitRequested>(log);
                let node = self.nodes.iter_mut().find(|node| node.id == told.id).unwrap();
                node.unlocks = Some(told.unlocksAt);
            }
            events::Released::SIGNATURE_HASH => {
                let told = decoded::<events::Released>(log);
                *self.released.entry(epoch).or_default() += told.amount.to::<u128>();
            }
            events::Accepted::SIGNATURE_HASH => {
                let told = decoded::<events::Accepted>(log);
                self.submitters.entry(epoch).or_default().push(told.submitter);
                self.accepted.insert((block, place), told.epoch);
            }
            events::ParameterChanged::SIGNATURE_HASH => {
                let told = decoded::<events::ParameterChanged>(log);
                if told.name == B256::right_padding_from(b"submitterReward") {
                    self.credit.insert(epoch, told.value.to());
                } else if told.name == B256::right_padding_from(b"activeFor") {
                    self.active_for.insert(epoch, told.value.to());
                }
            }
            events::BeneficiaryChanged::SIGNATURE_HASH | events::ShareHandedOver::SIGNATURE_HASH => {
                panic!("the rule here does not know of shares that change hands")
            }
            // A stake that is paid back was served for before.
            _ => {}
        }
    }

    /// The epoch that a block lies in; none where there is no such block so far.
    async fn epoch(&self, rpc: &RpcClient, block: u64) -> Option<u64> {
        let number = format!("{block:#x}");
        let block: Option<Block> = rpc.request("eth_getBlockByNumber", (number, false)).await.unwrap();
        Some((block?.header.timestamp - self.genesis) / self.length)
    }

    /// When an epoch ends.
    fn border(&self, epoch: u64) -> u64 {
        self.genesis + (epoch + 1) * self.length
    }

    /// The epoch at whose border a node is active: the next one, but of the first map, which acts at once.
    fn active(&self, node: &Node) -> u64 {
        let first = self.nodes.iter().map(|node| node.known).min();
        if first == Some(node.known) { node.known } else { node.known.saturating_add(1) }
    }

    /// Whether a node has a part in what is divided at the border of an epoch.
    fn earns(&self, node: &Node, epoch: u64) -> bool {
        let active_for = self.active_for.range(..=epoch).next_back().map_or(0, |(_, seconds)| *seconds);
        let active = self.active(node);
        let begun = active < epoch && self.border(active) + active_for <= self.border(epoch);
        // It earns still at the border that ends its service.
        begun && node.unlocks.is_none_or(|unlocks| self.border(epoch) < unlocks + self.length)
    }

    /// The first epoch of which a node earns.
    pub(crate) fn first(&self, key: B256) -> Option<u64> {
        let node = self.nodes.iter().find(|node| node.key == key).filter(|node| node.known < u64::MAX)?;
        (self.active(node)..).find(|epoch| self.earns(node, *epoch))
    }

    /// The epoch of the checkpoint that was the last one for a transaction at this place of the chain.
    pub(crate) fn checkpoint_before(&self, place: (u64, u64)) -> u64 {
        *self.accepted.range(..place).next_back().expect("a checkpoint was accepted before").1
    }

    /// What everybody has earned by the end of an epoch, in 10^-9 SESH.
    pub(crate) fn totals(&self, through: u64) -> Totals {
        let mut totals = Totals::new();
        let mut carried = 0;
        for epoch in 0..=through {
            carried += self.released.get(&epoch).copied().unwrap_or_default();
            carried = self.divide(epoch, carried, &mut totals);
        }
        let released: u128 = self.released.range(..=through).map(|(_, amount)| amount).sum();
        assert_eq!(totals.values().sum::<u128>() + carried, released, "nothing is made or lost");
        totals
    }

    /// Divides what there is at the border of an epoch; what is left of it.
    fn divide(&self, epoch: u64, mut pot: u128, totals: &mut Totals) -> u128 {
        let mut pay = |account: Address, amount: u128| *totals.entry(account).or_default() += amount;
        let credit = self.credit.range(..=epoch).next_back().map_or(0, |(_, amount)| *amount);
        for submitter in self.submitters.get(&epoch).into_iter().flatten() {
            let paid = credit.min(pot);
            pay(*submitter, paid);
            pot -= paid;
        }
        let earners: Vec<&Node> = self.nodes.iter().filter(|node| self.earns(node, epoch)).collect();
        let nodes = earners.len() as u128;
        let Some(each) = pot.checked_div(nodes) else { return pot };
        for Node { fee, shares, .. } in earners {
            let rest = each - each * u128::from(*fee) / 10_000;
            let stake: u128 = shares.iter().map(|(_, amount)| amount).sum();
            let mut of_operator = each;
            for (account, amount) in &shares[1..] {
                let part = rest * amount / stake;
                pay(*account, part);
                of_operator -= part;
            }
            pay(shares[0].0, of_operator);
        }
        pot - each * nodes
    }
}

fn decoded<E: SolEvent>(log: &Log) -> E {
    E::decode_log(&log.inner).unwrap().data
}
