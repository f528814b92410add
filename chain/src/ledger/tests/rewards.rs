//! Rewards beside a plain model of the rule, over random histories.

use super::*;

/// The rule as it is written, over plain numbers: who earned how much of one epoch's reward.
///
/// `nodes` are fee, and beneficiary and amount of each share; returns what is carried on.
fn model(
    totals: &mut BTreeMap<Address, u128>,
    mut pot: u128,
    credit: u128,
    submitters: &[Address],
    nodes: &[(u16, Vec<(Address, u128)>)],
) -> u128 {
    for submitter in submitters {
        let paid = credit.min(pot);
        *totals.entry(*submitter).or_default() += paid;
        pot -= paid;
    }
    let Some(each) = pot.checked_div(nodes.len() as u128) else { return pot };
    for (fee, shares) in nodes {
        let kept = each * u128::from(*fee) / 10_000;
        let stake: u128 = shares.iter().map(|(_, amount)| amount).sum();
        let mut paid = 0;
        for (beneficiary, amount) in &shares[1..] {
            let part = (each - kept) * amount / stake;
            *totals.entry(*beneficiary).or_default() += part;
            paid += part;
        }
        *totals.entry(shares[0].0).or_default() += each - paid;
        pot -= each;
    }
    pot
}

fn with_shares(id: u64, number: u32, fee: u16, amounts: &[u64]) -> Input {
    let mut registration = registration(id, number);
    registration.fee = fee;
    let share = |(at, amount): (u32, &u64)| {
        let contributor = if at == 0 { registration.operator } else { account(100 + (number + at) % 40) };
        let beneficiary = if at % 3 == 2 { account(7) } else { contributor };
        Share { contributor, beneficiary, amount: Amount(u128::from(*amount)) }
    };
    registration.shares = (0..).zip(amounts).map(share).collect();
    Input::Register(Box::new(registration))
}

#[test]
fn an_epochs_reward_goes_to_those_who_were_active_long_enough() {
    let mut chain = Chain::new(Ledger::new(parameters()));
    chain.border();
    // A fee of a tenth; the operator holds a quarter.
    chain.block(vec![with_shares(1, 1, 1_000, &[25, 75])]);
    chain.border();
    let (operator, contributor) = (account(1), account(102));
    let earn = |chain: &mut Chain, amount| {
        chain.block(vec![Input::Release { amount: Amount(amount) }]);
        chain.border();
        let rewards = chain.ledger.rewards();
        [rewards.total(&operator), rewards.total(&contributor), rewards.carried()].map(|amount| amount.0)
    };
    assert_eq!(earn(&mut chain, 1_000), [0, 0, 1_000], "active for one epoch, and two are asked for");
    assert_eq!(earn(&mut chain, 0), [325, 675, 0], "what nobody earned was carried");
    assert_eq!(earn(&mut chain, 1), [326, 675, 0], "what rounding leaves is the operator's");
    chain.block(vec![Input::Decommission { node: node(1) }]);
    assert_eq!(earn(&mut chain, 1_000), [326, 675, 1_000]);
    assert_eq!(chain.ledger.rewards().released(), Amount(2_001));
}

#[test]
fn submitters_are_credited_first_as_far_as_it_reaches() {
    let mut chain = Chain::new(Ledger::new(parameters()));
    let accept = |epoch| Input::Accept { epoch, submitter: account(5), digest: B256::ZERO };
    chain.block(vec![Input::ChangeCredit { credit: Amount(30) }, Input::Release { amount: Amount(100) }]);
    chain.block(vec![accept(0), accept(1)]);
    chain.border();
    assert_eq!(chain.ledger.rewards().total(&account(5)), Amount(60));
    chain.block(vec![accept(2), accept(3)]);
    chain.border();
    assert_eq!(chain.ledger.rewards().total(&account(5)), Amount(100));
    assert_eq!(
        (chain.ledger.accepted(), chain.ledger.rewards().carried()),
        (Some((3, B256::ZERO)), Amount(0))
    );
}

#[test]
fn shares_change_hands_and_beneficiaries() {
    let mut chain = Chain::new(Ledger::new(parameters()));
    chain.block(vec![with_shares(1, 1, 0, &[25, 75])]);
    let id = StakeId(1);
    let (operator, contributor) = (account(1), account(102));
    let change = |contributor, beneficiary| Input::ChangeBeneficiary { id, contributor, beneficiary };
    let hand = |from, to| Input::HandOver { id, from, to };
    assert_eq!(chain.block(vec![change(operator, account(60)), hand(contributor, account(61))]), []);
    let shares = &chain.ledger.node(&node(1)).unwrap().shares;
    let people: Vec<_> = shares.iter().map(|share| (share.contributor, share.beneficiary)).collect();
    assert_eq!(people, [(operator, account(60)), (account(61), account(61))]);
    for input in [change(contributor, operator), hand(contributor, account(62)), hand(account(61), operator)]
    {
        let refused = Event::Refused { input: input.clone(), reason: Refusal::Share };
        assert_eq!(chain.block(vec![input]), [refused]);
    }
    assert_eq!(chain.block(vec![hand(operator, account(62))]), []);
    let member = chain.ledger.node(&node(1)).unwrap();
    let share = member.shares[0];
    let whose = [share.contributor, share.beneficiary, Address::from(*member.operator.as_bytes())];
    assert_eq!(whose, [account(62); 3]);
}

#[test]
fn how_long_a_node_waits_for_its_first_reward_can_change() {
    let mut chain = Chain::new(Ledger::new(parameters()));
    chain.border();
    chain.block(vec![with_shares(1, 1, 0, &[25]), Input::ChangeActiveFor { seconds: 0 }]);
    chain.block(vec![Input::Release { amount: Amount(10) }]);
    chain.border();
    assert_eq!(chain.ledger.rewards().total(&account(1)), Amount(0), "active from this border on");
    chain.border();
    assert_eq!(chain.ledger.rewards().total(&account(1)), Amount(10));
}

#[test]
fn more_than_could_be_is_refused() {
    let mut chain = Chain::new(Ledger::new(parameters()));
    let most = Input::Release { amount: Amount(u128::MAX) };
    assert_eq!(chain.block(vec![most.clone()]), []);
    let refused = Event::Refused { input: most.clone(), reason: Refusal::Amount };
    assert_eq!(chain.block(vec![most]), [refused]);
    chain.block(vec![with_shares(1, 1, 9_999, &[u64::MAX; 10])]);
    for _ in 0..4 {
        chain.border();
    }
    let paid: u128 = chain.ledger.rewards().totals().map(|(_, total)| total.0).sum();
    assert_eq!((paid, chain.ledger.rewards().carried()), (u128::MAX, Amount(0)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn rewards_are_those_of_the_model(
        nodes in proptest::collection::vec(
            (0..=10_000_u16, proptest::collection::vec(1..40_000_000_000_000_u64, 1..10)), 0..12),
        epochs in proptest::collection::vec((0..1_000_000_000_000_u128, 0..3_usize, 0..200_u128), 1..12),
    ) {
        let mut chain = Chain::new(Ledger::new(Parameters { active_for: 0, ..parameters() }));
        let inputs = (1..).zip(&nodes).map(|(number, (fee, amounts))| with_shares(number.into(), number, *fee, amounts));
        chain.block(inputs.collect());
        chain.border();
        // In order of the nodes' ids, as nothing else is common to both.
        let plain: Vec<(u16, Vec<(Address, u128)>)> = chain.ledger.nodes().map(|(_, member)| {
            (member.fee, member.shares.iter().map(|share| (share.beneficiary, share.amount.0)).collect())
        }).collect();
        let (mut totals, mut pot) = (BTreeMap::new(), 0);
        for (released, accepted, credit) in epochs {
            let submitters = vec![account(3); accepted];
            let accept = |submitter: &Address| Input::Accept { epoch: 0, submitter: *submitter, digest: B256::ZERO };
            let mut inputs = vec![Input::Release { amount: Amount(released) }, Input::ChangeCredit { credit: Amount(credit) }];
            inputs.extend(submitters.iter().map(accept));
            chain.block(inputs);
            chain.border();
            pot = model(&mut totals, pot + released, credit, &submitters, &plain);
            totals.retain(|_, total| *total > 0);
            let told: BTreeMap<_, _> = chain.ledger.rewards().totals().map(|(account, total)| (*account, total.0)).collect();
            prop_assert_eq!(&told, &totals);
            prop_assert_eq!(chain.ledger.rewards().carried(), Amount(pot));
            let sum: u128 = told.values().sum();
            prop_assert_eq!(sum + pot, chain.ledger.rewards().released().0, "nothing is made or lost");
        }
    }
}
