//! Requests within requests, at another node, and too many of them.

use session_protocols::request::Condition;

use super::*;

pub(super) fn several() -> Vec<Case> {
    let then = |call, by| Some(Box::new((call, by)));
    let stores = || Call::Batch(vec![(store(0, "a"), Nobody), (Call::Info, Nobody)]);
    vec![
        case(
            "each request of a batch has its own answer",
            Kind::Person,
            vec![
                (
                    Call::Batch(vec![
                        (store(0, "a"), Nobody),
                        (store(2, "b"), Stranger),
                        (Call::Info, Nobody),
                    ]),
                    Nobody,
                    Want::Several(vec![Stored, Code(401), Want::Info]),
                ),
                (
                    Call::Batch(vec![(retrieve(0), Owner), (retrieve(2), Owner), (Call::Swarm, Nobody)]),
                    Nobody,
                    Want::Several(vec![Texts(&["a"]), Texts(&[]), Want::Swarm]),
                ),
            ],
        ),
        case(
            "a sequence ends at the first that fails",
            Kind::Person,
            vec![
                (
                    Call::Sequence(vec![
                        (store(0, "a"), Nobody),
                        (retrieve(0), Owner),
                        (delete(&[(0, "a")]), Owner),
                    ]),
                    Nobody,
                    Want::Several(vec![Stored, Texts(&["a"]), Changed(vec![(0, "a")])]),
                ),
                (
                    Call::Sequence(vec![
                        (store(0, "b"), Nobody),
                        (retrieve(0), Nobody),
                        (store(0, "c"), Nobody),
                    ]),
                    Nobody,
                    Want::Several(vec![Stored, Code(401)]),
                ),
                (retrieve(0), Owner, Texts(&["b"])),
            ],
        ),
        case(
            "several are 1 to 20, and no deeper",
            Kind::Person,
            vec![
                (Call::Batch(vec![]), Nobody, Code(400)),
                (Call::Sequence(vec![(Call::Info, Nobody); 21]), Nobody, Code(400)),
                (Call::Batch(vec![(Call::Info, Nobody); 20]), Nobody, Want::Several(vec![Want::Info; 20])),
                deeper(Call::Batch(vec![(Call::Info, Nobody)])),
                deeper(Call::Sequence(vec![(Call::Info, Nobody)])),
                deeper(nested(1, Call::Info)),
            ],
        ),
        case(
            "what is refused among several changes nothing, and holds up nothing beside it",
            Kind::Person,
            vec![
                (store(2, "a"), Owner, Stored),
                (
                    Call::Batch(vec![
                        (delete(&[(2, "a")]), Stranger),
                        (store(2, "b"), Owner),
                        (store(2, "c"), Nobody),
                        (Call::DeleteIn { drawer: None, before: None }, Stranger),
                    ]),
                    Nobody,
                    Want::Several(vec![Code(401), Stored, Code(401), Code(401)]),
                ),
                (retrieve(2), Owner, Texts(&["a", "b"])),
                (
                    Call::Sequence(vec![(delete(&[(2, "a")]), Stranger), (store(2, "c"), Owner)]),
                    Nobody,
                    Want::Several(vec![Code(401)]),
                ),
                (
                    Call::If {
                        when: rules([1, 0]),
                        then: then(delete(&[(2, "a")]), Stranger),
                        otherwise: then(store(2, "c"), Owner),
                    },
                    Nobody,
                    Want::Chosen(true, Some(Box::new(Code(401)))),
                ),
                (retrieve(2), Owner, Texts(&["a", "b"])),
            ],
        ),
        case(
            "conditions within each other, four deep natively and deeper at the JSON door",
            Kind::Person,
            vec![
                (nested(4, stores()), Nobody, chosen(4, Want::Several(vec![Stored, Want::Info]))),
                (nested(5, Call::Info), Nobody, Want::Each(Box::new([Code(400), chosen(5, Want::Info)]))),
            ],
        ),
        case("each condition, met and not", Kind::Person, conditions()),
        case(
            "one thing or another",
            Kind::Person,
            vec![
                (
                    Call::If {
                        when: rules([19, 2]),
                        then: then(store(0, "a"), Nobody),
                        otherwise: then(Call::Info, Nobody),
                    },
                    Nobody,
                    Want::Chosen(true, Some(Box::new(Stored))),
                ),
                (
                    Call::If {
                        when: rules([99, 0]),
                        then: then(store(0, "b"), Nobody),
                        otherwise: then(retrieve(0), Owner),
                    },
                    Nobody,
                    Want::Chosen(false, Some(Box::new(Texts(&["a"])))),
                ),
                (
                    Call::If { when: rules([99, 0]), then: then(Call::Info, Nobody), otherwise: None },
                    Nobody,
                    Want::Chosen(false, None),
                ),
                (
                    Call::If {
                        when: rules([1, 0]),
                        then: then(Call::Batch(vec![(Call::Info, Nobody), (retrieve(0), Stranger)]), Nobody),
                        otherwise: None,
                    },
                    Nobody,
                    Want::Chosen(true, Some(Box::new(Want::Several(vec![Want::Info, Code(401)])))),
                ),
            ],
        ),
    ]
}

/// Several within several: natively nothing of it is done, in JSON all but that.
fn deeper(inner: Call) -> (Call, By, Want) {
    let outer = Call::Batch(vec![(inner, Nobody), (Call::Info, Nobody)]);
    (outer, Nobody, Want::Each(Box::new([Code(400), Want::Several(vec![Code(400), Want::Info])])))
}

/// Each condition where it holds, and where it does not; and both together.
fn conditions() -> Vec<(Call, By, Want)> {
    use Condition::{HeightAtLeast, HeightBefore, RulesAtLeast, RulesBefore, VersionAtLeast, VersionBefore};
    let met = [
        RulesAtLeast([22, 0]),
        RulesBefore([22, 1]),
        VersionAtLeast([0, 0, 1]),
        VersionBefore([1_000, 0, 0]),
        HeightAtLeast(0),
        HeightBefore(1),
    ];
    let unmet = [
        RulesAtLeast([22, 1]),
        RulesBefore([22, 0]),
        VersionAtLeast([1_000, 0, 0]),
        VersionBefore([0, 0, 1]),
        HeightAtLeast(1),
        HeightBefore(0),
    ];
    let one_of_all = [&met[1..], &unmet[..1]].concat();
    let row = |when: Vec<Condition>, holds: bool| {
        let info = || Some(Box::new((Call::Info, Nobody)));
        let swarm = Some(Box::new((Call::Swarm, Nobody)));
        let chosen = if holds { Want::Swarm } else { Want::Info };
        let call = Call::If { when, then: swarm, otherwise: info() };
        (call, Nobody, Want::Chosen(holds, Some(Box::new(chosen))))
    };
    let each = |all: &[Condition], holds| all.iter().map(|one| row(vec![one.clone()], holds)).collect();
    let rows: [Vec<_>; 3] =
        [each(&met, true), each(&unmet, false), vec![row(met.to_vec(), true), row(one_of_all, false)]];
    rows.concat()
}

/// Whoever asks a node that does not keep the account is told who does.
pub(super) fn elsewhere() -> Vec<Case> {
    let elsewhere = |call: Call| Call::Elsewhere(Box::new(call));
    let batch = |calls: &[(Call, By)]| elsewhere(Call::Batch(calls.to_vec()));
    let delete_all = || Call::DeleteIn { drawer: None, before: None };
    let store = || store(0, "a");
    vec![case(
        "another swarm's node names the right one",
        Kind::Person,
        vec![
            (elsewhere(store()), Nobody, Code(421)),
            (elsewhere(retrieve(0)), Owner, Code(421)),
            (elsewhere(delete(&[(0, "a")])), Owner, Code(421)),
            (elsewhere(delete_all()), Owner, Code(421)),
            (elsewhere(Call::DeleteIn { drawer: Some(0), before: Some(0) }), Owner, Code(421)),
            (
                elsewhere(Call::Expire { messages: vec![(0, "a")], ends: vec![HOUR], only: None }),
                Owner,
                Code(421),
            ),
            (elsewhere(Call::ExpireIn { drawer: None, end: HOUR }), Owner, Code(421)),
            (elsewhere(expiries(None)), Owner, Code(421)),
            (elsewhere(Call::Revoke { rights: vec![READ], undo: false }), Owner, Code(421)),
            (elsewhere(Call::Revoke { rights: vec![READ], undo: true }), Owner, Code(421)),
            (elsewhere(Call::Revoked), Owner, Code(421)),
            (elsewhere(Call::Monitor { at: (0, "a") }), Owner, Codes(421, 400)),
            (elsewhere(Call::Swarm), Nobody, Want::Swarm),
            (elsewhere(Call::Info), Nobody, Want::Info),
            // Clients of the JSON door look for it in the whole answer.
            (
                batch(&[(store(), Nobody), (retrieve(0), Owner)]),
                Nobody,
                Want::Each(Box::new([Want::Several(vec![Code(421), Code(421)]), Code(421)])),
            ),
            (
                batch(&[(store(), Nobody), (Call::Info, Nobody)]),
                Nobody,
                Want::Several(vec![Code(421), Want::Info]),
            ),
            // What is not signed well is not told.
            (elsewhere(retrieve(0)), Stranger, Code(401)),
            (retrieve(0), Owner, Texts(&[])),
        ],
    )]
}

/// More than an account may ask, or fill.
pub(super) fn too_much() -> Vec<Case> {
    let [one, two, three, four] =
        ["1", "2", "3", "4"].map(|text| -> &'static str { text.repeat(76_800).leak() });
    let leak = |texts: [&'static str; 3]| -> &'static [&'static str] { texts.to_vec().leak() };
    vec![
        case(
            "an owner asks so often and no more, and strangers are not held up by it",
            Kind::Group,
            vec![(Call::Often(Box::new(Call::Revoked)), Owner, Code(429)), (store(0, "a"), Nobody, Stored)],
        ),
        case(
            "a full mailbox takes nothing more, and a deletion makes room",
            Kind::Person,
            vec![
                (store(2, one), Owner, Stored),
                (store(2, two), Owner, Stored),
                (store(2, three), Owner, Stored),
                (store(2, four), Owner, Codes(507, 500)),
                (store(0, four), Nobody, Codes(507, 500)),
                (retrieve(2), Owner, Texts(leak([one, two, three]))),
                (delete(&[(2, one)]), Owner, Changed(vec![(2, one)])),
                (store(2, four), Owner, Stored),
                (retrieve(2), Owner, Texts(leak([two, three, four]))),
            ],
        ),
    ]
}

/// That the node's rules are at least of a version.
fn rules(version: [u64; 2]) -> Vec<Condition> {
    vec![Condition::RulesAtLeast(version)]
}

/// As many conditions within each other, all of which hold, and a request within those.
fn nested(deep: usize, innermost: Call) -> Call {
    (0..deep).fold(innermost, |inner, _| Call::If {
        when: rules([1, 0]),
        then: Some(Box::new((inner, Nobody))),
        otherwise: None,
    })
}

/// What comes of them.
fn chosen(deep: usize, innermost: Want) -> Want {
    (0..deep).fold(innermost, |inner, _| Want::Chosen(true, Some(Box::new(inner))))
}
