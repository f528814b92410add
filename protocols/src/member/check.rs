//! What needs no state of a member and runs on any thread: signatures, times, shapes.

use core::{fmt, ops::Range};

use crate::{
    NetworkName, NodeId, Time,
    answer::{Code, Failure, Receipt, Subject},
    identity::{Claim, verify_all},
    record::Mutation,
    request::{Door, Request},
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
    /// To a batch of mutations: a receipt for each, or why there is none.
    Receipts(Vec<Result<Receipt, Failure>>),
    /// To a fetch: the sound ones, and how many ids were dealt with.
    Fetched(Vec<Mutation>, u32),
    /// To anything else.
    Other(SwarmAnswer),
}

/// Something that is known once its signatures are checked, together with those of others if one likes.
pub struct Open<T> {
    claims: Vec<Claim>,
    close: Close<T>,
}

/// Makes something of verdicts.
type Close<T> = Box<dyn FnOnce(&[bool]) -> T + Send>;

impl<T: 'static> Open<T> {
    fn new(claims: Vec<Claim>, close: impl FnOnce(&[bool]) -> T + Send + 'static) -> Self {
        Self { claims, close: Box::new(close) }
    }

    fn then<U>(self, next: impl FnOnce(T) -> U + Send + 'static) -> Open<U> {
        let Self { claims, close } = self;
        Open { claims, close: Box::new(move |verdicts| next(close(verdicts))) }
    }

    /// The signatures, and what is to be done with their verdicts: one for each in their order, as
    /// [`verify_all`] gives them. One that is missing counts as bad.
    pub fn apart(self) -> (Vec<Claim>, impl FnOnce(&[bool]) -> T + Send) {
        (self.claims, self.close)
    }

    /// Checks them here.
    pub fn check(self) -> T {
        (self.close)(&verify_all(&self.claims))
    }
}

impl<T> fmt::Debug for Open<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").field("claims", &self.claims.len()).finish_non_exhaustive()
    }
}

/// Checks all that needs no state in a client's request.
///
/// # Errors
///
/// The code to refuse with.
pub fn check_request(network: &NetworkName, now: Time, request: &Request, door: Door) -> Result<(), Code> {
    request.verify(network, now, door)
}

/// Checks the signatures in another member's question, as [`open_ask`].
pub fn check_ask(network: &NetworkName, now: Time, request: SwarmRequest) -> CheckedAsk {
    open_ask(network, now, request).check()
}

/// Checks the signatures in another member's answer, as [`open_answer`].
pub fn check_answer(
    network: &NetworkName,
    now: Time,
    from: NodeId,
    asked: (&SwarmRequest, &[Subject]),
    answer: SwarmAnswer,
) -> CheckedAnswer {
    open_answer(network, now, from, asked, answer).check()
}

/// Checks all but the signatures in another member's question.
pub fn open_ask(network: &NetworkName, now: Time, request: SwarmRequest) -> Open<CheckedAsk> {
    let checked = match request.ask {
        Ask::Replicate { mutations, json } if mutations.len() <= MAX_BATCH => {
            open_mutations(network, now, mutations).then(|mutations| Checked::Replicate(mutations, json))
        }
        Ask::Replicate { .. } => Open::new(Vec::new(), |_| Checked::Replicate(Vec::new(), Vec::new())),
        ask @ (Ask::Behind
        | Ask::Fingerprints
        | Ask::Reconcile { .. }
        | Ask::Fetch { .. }
        | Ask::Held { .. }) => Open::new(Vec::new(), |_| Checked::Other(ask)),
    };
    let SwarmRequest { map_version, newest, arc, .. } = request;
    checked.then(move |ask| CheckedAsk { map_version, newest: newest.unwrap_or(map_version), arc, ask })
}

/// Checks all but the signatures in another member's answer to a question about those subjects: in what it did for a
/// client of the JSON door, what it tells that client too.
pub fn open_answer(
    network: &NetworkName,
    now: Time,
    from: NodeId,
    (request, subjects): (&SwarmRequest, &[Subject]),
    answer: SwarmAnswer,
) -> Open<CheckedAnswer> {
    match answer {
        SwarmAnswer::Replicated { results } if results.len() == subjects.len() => {
            let mut claims = Vec::new();
            let mut open = |place, result, subject| {
                let (done, signature, told) = match result {
                    Replicated::Done { done, signature, told } => (done, signature, told),
                    Replicated::Refused { code } => return Err(Failure::Refused { code }),
                };
                let (start, mut receipt) =
                    (claims.len(), Receipt { node: from, done, signature, told: None });
                if let Some(mutation) = of_json(&request.ask, place) {
                    let told = told.ok_or(Failure::Unsound)?;
                    claims.push(told.claim(&from, mutation));
                    receipt.told = Some(*told);
                }
                claims.push(receipt.claim(network, request.map_version, subject));
                Ok((receipt, start..claims.len()))
            };
            let each = (0_u32..).zip(results).zip(subjects);
            let opened: Vec<_> =
                each.map(|((place, result), subject)| open(place, result, subject)).collect();
            Open::new(claims, |verdicts| {
                let close = |(receipt, its)| {
                    if sound(verdicts, its) { Ok(receipt) } else { Err(Failure::Unsound) }
                };
                CheckedAnswer::Receipts(opened.into_iter().map(|one| one.and_then(close)).collect())
            })
        }
        SwarmAnswer::Fetched { mutations, ids } => open_mutations(network, now, mutations)
            .then(move |mutations| CheckedAnswer::Fetched(mutations.into_iter().flatten().collect(), ids)),
        answer @ (SwarmAnswer::Replicated { .. }
        | SwarmAnswer::Noted
        | SwarmAnswer::Fingerprints { .. }
        | SwarmAnswer::Reconcile { .. }
        | SwarmAnswer::Held { .. }
        | SwarmAnswer::Refused { .. }) => Open::new(Vec::new(), |_| CheckedAnswer::Other(answer)),
    }
}

fn open_mutations(
    network: &NetworkName,
    now: Time,
    mutations: Vec<Mutation>,
) -> Open<Vec<Result<Mutation, Code>>> {
    let mut claims = Vec::new();
    let mut open = |mutation: Mutation| -> Result<(Mutation, Range<usize>), Code> {
        let start = claims.len();
        if !crate::mutants::on("skip-verification") {
            claims.append(&mut mutation.claims(network, now)?);
        }
        Ok((mutation, start..claims.len()))
    };
    let opened: Vec<_> = mutations.into_iter().map(&mut open).collect();
    Open::new(claims, |verdicts| {
        let close = |(mutation, its): (Mutation, Range<usize>)| {
            if sound(verdicts, its) { Ok(mutation) } else { Err(Code::Unauthorized) }
        };
        opened.into_iter().map(|one| one.and_then(close)).collect()
    })
}

/// The mutation at a place of a batch, where a client of the JSON door asked for it.
fn of_json(ask: &Ask, place: u32) -> Option<&Mutation> {
    let Ask::Replicate { mutations, json } = ask else { return None };
    let wanted = usize::try_from(place).ok().filter(|_| json.contains(&place))?;
    mutations.get(wanted)
}

/// Whether all of these verdicts are good.
fn sound(verdicts: &[bool], its: Range<usize>) -> bool {
    verdicts.get(its).is_some_and(|verdicts| verdicts.iter().all(|one| *one))
}
