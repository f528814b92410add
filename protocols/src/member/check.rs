//! What needs no state of a member and runs on any thread: signatures, times, shapes.

use crate::{
    NetworkName, NodeId, Time,
    answer::{Code, Receipt, Subject},
    record::Mutation,
    request::{Claim, Door, Request},
    ring::Arc,
    swarm::{Ask, MAX_BATCH, Replicated, SwarmAnswer, SwarmRequest},
};

/// A question between members whose signatures were checked.
#[derive(Clone, Debug)]
pub struct CheckedAsk {
    pub(super) map_version: u64,
    pub(super) newest: u64,
    pub(super) arc: Option<Arc>,
    pub(super) ask: Checked,
}

#[derive(Clone, Debug)]
pub(super) enum Checked {
    /// Each, and the places of those whose clients came through the JSON door.
    Replicate(Vec<Result<Mutation, Code>>, Vec<u32>),
    Other(Ask),
}

/// An answer between members whose signatures were checked.
#[derive(Clone, Debug)]
pub enum CheckedAnswer {
    /// To a batch of mutations: a receipt for each that was done.
    Receipts(Vec<Option<Receipt>>),
    /// To a fetch: the sound ones, and how many ids were dealt with.
    Fetched(Vec<Mutation>, u32),
    /// To anything else.
    Other(SwarmAnswer),
}

/// Checks all that needs no state in a client's request.
///
/// # Errors
///
/// The code to refuse with.
pub fn check_request(network: &NetworkName, now: Time, request: &Request, door: Door) -> Result<(), Code> {
    request.verify(network, now, door)
}

/// Checks the signatures in another member's question.
pub fn check_ask(network: &NetworkName, now: Time, request: SwarmRequest) -> CheckedAsk {
    let ask = match request.ask {
        Ask::Replicate { mutations, json } if mutations.len() <= MAX_BATCH => {
            let check = |mutation| check_mutation(network, now, &mutation).map(|()| mutation);
            Checked::Replicate(mutations.into_iter().map(check).collect(), json)
        }
        Ask::Replicate { .. } => Checked::Replicate(Vec::new(), Vec::new()),
        ask @ (Ask::Behind
        | Ask::Fingerprints
        | Ask::Reconcile { .. }
        | Ask::Fetch { .. }
        | Ask::Held { .. }) => Checked::Other(ask),
    };
    let SwarmRequest { map_version, newest, arc, .. } = request;
    CheckedAsk { map_version, newest: newest.unwrap_or(map_version), arc, ask }
}

/// Checks the signatures in another member's answer to a question about `subjects`, which named this
/// version of the map.
pub fn check_answer(
    network: &NetworkName,
    now: Time,
    map_version: u64,
    from: NodeId,
    subjects: &[Subject],
    answer: SwarmAnswer,
) -> CheckedAnswer {
    match answer {
        SwarmAnswer::Replicated { results } if results.len() == subjects.len() => {
            let receipts = results.into_iter().zip(subjects).map(|(result, subject)| match result {
                Replicated::Done { done, signature, told } => {
                    let told = told.map(|told| *told);
                    let receipt = Receipt { node: from, done, signature, told };
                    receipt.verify(network, map_version, subject).then_some(receipt)
                }
                Replicated::Refused { .. } => None,
            });
            CheckedAnswer::Receipts(receipts.collect())
        }
        SwarmAnswer::Fetched { mutations, ids } => {
            let sound =
                mutations.into_iter().filter(|mutation| check_mutation(network, now, mutation).is_ok());
            CheckedAnswer::Fetched(sound.collect(), ids)
        }
        answer @ (SwarmAnswer::Replicated { .. }
        | SwarmAnswer::Noted
        | SwarmAnswer::Fingerprints { .. }
        | SwarmAnswer::Reconcile { .. }
        | SwarmAnswer::Held { .. }
        | SwarmAnswer::Refused { .. }) => CheckedAnswer::Other(answer),
    }
}

fn check_mutation(network: &NetworkName, now: Time, mutation: &Mutation) -> Result<(), Code> {
    if crate::mutants::on("skip-verification") {
        return Ok(());
    }
    let claims = mutation.claims(network, now)?;
    if claims.iter().all(Claim::holds) { Ok(()) } else { Err(Code::Unauthorized) }
}
