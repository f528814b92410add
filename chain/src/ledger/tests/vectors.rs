//! The ledger beside the contracts: both read the same vectors.

use alloy::primitives::{Bytes, hex, keccak256};
use serde_json::Value;

use super::{
    super::{checkpoint, merkle, registration},
    *,
};
use crate::bls::BlsSignature;

fn vectors(name: &str) -> Value {
    let path = format!("{}/contracts/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The numbers of one column.
fn column(table: &Value, name: &str) -> Vec<u128> {
    table[name].as_array().unwrap().iter().map(number).collect()
}

fn number(value: &Value) -> u128 {
    value.as_str().map_or_else(|| value.as_u64().unwrap().into(), |text| text.parse().unwrap())
}

fn bytes<const LEN: usize>(value: &Value) -> [u8; LEN] {
    hex::decode_to_array(value.as_str().unwrap()).unwrap()
}

fn address(value: &Value) -> Address {
    value.as_str().unwrap().parse().unwrap()
}

fn word(value: &Value) -> B256 {
    bytes(value).into()
}

/// A node with these shares, each with a beneficiary of its own.
fn member(fee: u16, amounts: &[u128]) -> Member {
    let mut member = Member::new(StakeId(1), account(1).into(), prefix(1), 0);
    let share = |(at, amount): (u32, &u128)| {
        let [contributor, beneficiary] = [account(at), account(at)];
        Share { contributor, beneficiary, amount: Amount(*amount) }
    };
    (member.fee, member.shares) = (fee, (1_000..).zip(amounts).map(share).collect());
    member
}

#[test]
fn an_epochs_reward_is_divided_as_the_formulas_say() {
    let table = &vectors("formulas")["division"];
    let rows = column(table, "reward").len();
    assert!(rows >= 20);
    for row in 0..rows {
        let of = |name| column(table, name)[row];
        let (submitters, nodes) = (of("submitters") as usize, of("nodes") as usize);
        let mut rewards = Rewards { credit: Amount(of("each")), ..Rewards::default() };
        rewards.release(Amount(of("reward"))).unwrap();
        rewards.submitters = vec![account(5); submitters];
        let node = member(0, &[1]);
        rewards.divide(std::iter::repeat_n(&node, nodes));
        let paid = rewards.total(&account(5)).0;
        let all = rewards.total(&account(1_000)).0;
        assert_eq!(
            (paid, all, rewards.carried().0),
            (of("toSubmitters"), of("perNode") * nodes as u128, of("carried")),
            "row {row}"
        );
    }
}

#[test]
fn a_nodes_part_is_split_as_the_formulas_say() {
    let vectors = vectors("formulas");
    let splits = vectors["splits"].as_array().unwrap();
    assert!(splits.len() >= 20);
    for split in splits {
        let (amounts, parts) = (column(split, "amounts"), column(split, "parts"));
        let mut rewards = Rewards::default();
        rewards.release(Amount(number(&split["share"]))).unwrap();
        let node = member(number(&split["fee"]) as u16, &amounts);
        rewards.divide(std::iter::once(&node));
        let paid: Vec<_> = (1_000..).take(parts.len()).map(|at| rewards.total(&account(at)).0).collect();
        assert_eq!(paid, parts, "{split}");
    }
}

#[test]
fn roots_and_proofs_are_those_of_the_contracts() {
    let vectors = vectors("formulas");
    for tree in vectors["trees"].as_array().unwrap() {
        let accounts = tree["accounts"].as_array().unwrap().iter().map(address);
        let totals: BTreeMap<Address, Amount> =
            accounts.zip(column(tree, "totals")).map(|(account, total)| (account, Amount(total))).collect();
        let built = checkpoint::rewards_tree(totals.iter());
        assert_eq!(built.root(), word(&tree["rewardsRoot"]));
        for (account, total) in &totals {
            let leaf = checkpoint::reward_leaf(*account, *total);
            assert!(merkle::proves(built.root(), leaf, &built.proof(leaf).unwrap()));
        }
    }
}

#[test]
fn keys_and_signatures_are_those_of_the_contracts() {
    let vectors = vectors("signatures");
    let domain = Domain {
        chain: number(&vectors["chainId"]) as u64,
        staking: address(&vectors["staking"]),
        checkpoints: address(&vectors["checkpoints"]),
    };
    let all = vectors["possessions"].as_array().unwrap().iter().chain([&vectors["laterPossession"]]);
    assert_eq!(all.clone().last().unwrap()["registrations"], 1);
    for possession in all {
        let registrations = number(&possession["registrations"]) as u64;
        let (operator, key) = (address(&possession["operator"]), BlsKey(bytes(&possession["key"])));
        let message = domain.possession(operator, &key, registrations);
        assert_eq!(message, possession["message"].as_str().unwrap().parse::<Bytes>().unwrap());
        let proof = BlsSignature::compress(&bytes(&possession["proof"])).unwrap();
        assert!(key.is_valid() && proof.verify(&[key], &message));
        assert_eq!(proof.uncompressed(), Ok(bytes(&possession["proof"])));
    }
}

#[test]
fn digest_and_rolling_hash_are_those_of_the_contracts() {
    let vectors = vectors("signatures");
    let (log, given) = (&vectors["log"], &vectors["checkpoint"]);
    let mut logged: Vec<u8> = log["topics"].as_array().unwrap().iter().flat_map(bytes::<32>).collect();
    logged.extend(log["data"].as_str().unwrap().parse::<Bytes>().unwrap());
    let rolled = keccak256([word(&log["hashBefore"]), keccak256(logged)].concat());
    assert_eq!(rolled, word(&log["hashAfter"]));
    let domain = Domain {
        chain: number(&vectors["chainId"]) as u64,
        staking: address(&vectors["staking"]),
        checkpoints: address(&vectors["checkpoints"]),
    };
    let cursor = |name: &str| Cursor {
        number: number(&given[format!("{name}Number")]) as u64,
        hash: word(&given[format!("{name}Hash")]),
    };
    let border = Border {
        epoch: number(&given["epoch"]) as u64,
        height: 0,
        hash: word(&given["borderBlockHash"]),
        cursors: Cursors {
            staking: cursor("staking"),
            checkpoints: cursor("checkpoints"),
            pool: cursor("pool"),
            names: cursor("names"),
        },
    };
    let roots = Roots {
        rewards: word(&given["rewardsRoot"]),
        states: word(&given["statesRoot"]),
        swarms: word(&given["swarmsRoot"]),
        directory: word(&given["directoryRoot"]),
        names: word(&given["namesRoot"]),
    };
    let checkpoint = Checkpoint::new(&domain, border, word(&given["previousDigest"]), roots);
    assert_eq!(checkpoint.digest, word(&given["digest"]));
}

#[test]
fn a_state_leaf_is_that_of_the_contracts() {
    let encoded: [u8; 96] = {
        let mut words = [0; 96];
        (words[31], words[63], words[94], words[95]) = (7, 4, 1, 0x2c);
        words
    };
    let leaf = checkpoint::state_leaf(StakeId(7), Standing::Released, 300);
    assert_eq!(leaf, keccak256(keccak256(encoded)));
    assert_eq!(registration::prefix_bytes(prefix(5)), [4, 0, 0, 5, 0, 0, 0]);
}

/// `Staking` asks for 6, or 4 and three zeros at the end.
#[test]
fn every_prefix_that_the_contract_takes_is_read() {
    for byte in [0, 1, 0xff] {
        for word in [[6, byte, byte, byte, byte, byte, byte], [4, byte, byte, byte, 0, 0, 0]] {
            assert_eq!(registration::prefix_from(word).map(registration::prefix_bytes), Some(word));
        }
    }
    assert_eq!(registration::prefix_from([4, 1, 2, 3, 0, 0, 1]), None);
    assert_eq!(registration::prefix_from([5, 1, 2, 3, 0, 0, 0]), None);
}
