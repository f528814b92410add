use super::*;
use crate::{SwarmId, fixture::nodes};

fn map(version: u64, swarms: &[(u64, &[usize])]) -> SwarmMap {
    let all = nodes(12);
    let swarm =
        |(id, members): &(u64, &[usize])| (SwarmId(*id), members.iter().map(|member| all[*member]).collect());
    SwarmMap { version, swarms: swarms.iter().map(swarm).collect() }
}

fn account(place: u64) -> AccountId {
    let mut bytes = [5; 33];
    bytes[1..9].copy_from_slice(&place.to_be_bytes());
    bytes[9..].fill(0);
    AccountId::from_bytes(bytes)
}

/// One swarm is split in two, and one node joins.
fn split() -> Maps {
    let before = map(4, &[(100, &[0, 1, 2, 3]), (1 << 63, &[6, 7])]);
    let after = map(5, &[(100, &[0, 1, 8]), (300, &[2, 3]), (1 << 63, &[6, 7])]);
    Maps { past: None, acts: before, next: Some(after), leaving: BTreeSet::new() }
}

#[test]
fn a_goal_names_who_kept_each_part_and_the_fellows_to_come() {
    let (maps, all) = (split(), nodes(12));
    let [acts, next] = &maps.goals(&all[2])[..] else { panic!("two goals") };
    assert_eq!((acts.version, acts.sources.len(), acts.swarm.needed), (4, 0, 3));
    // The new swarm takes from both of its neighbours.
    assert_eq!((next.version, next.before, next.sources.len()), (5, 4, 2));
    let mut partners: Vec<_> = next.partners(&all[2]).into_keys().collect();
    let mut expected = [0, 1, 3, 6, 7].map(|node| all[node]).to_vec();
    partners.sort();
    expected.sort();
    assert_eq!(partners, expected);
    assert_eq!(next.partners(&all[2])[&all[3]], next.arc, "a fellow is compared with as a whole");
    assert!(next.sources.iter().all(|(part, _)| part.within(next.arc)));
    assert_eq!(maps.goals(&all[9]), [], "a stranger has none");
}

#[test]
fn a_write_wants_a_majority_of_the_old_and_of_the_new() {
    let (maps, all) = (split(), nodes(12));
    let pick = |nodes: &[usize]| Quorum::of(nodes.iter().map(|node| all[*node]).collect());
    assert_eq!(maps.quorums(&account(100)), [pick(&[0, 1, 2, 3]), pick(&[0, 1, 8])]);
    assert_eq!(maps.quorums(&account(300)), [pick(&[0, 1, 2, 3]), pick(&[2, 3])]);
    assert_eq!(maps.quorums(&account(1 << 63)), [pick(&[6, 7])], "a swarm that stays is asked once");
}

#[test]
fn a_node_keeps_by_each_map_what_that_map_says() {
    let (maps, all) = (split(), nodes(12));
    let looks = |node: usize| Outlook::new(all[node], maps.clone());
    assert!(looks(2).keeps(&account(100), 4) && !looks(2).keeps(&account(100), 5));
    assert!(looks(8).keeps(&account(100), 4) && looks(8).keeps(&account(100), 5));
    assert!(!looks(9).knows(&all[9]) && looks(0).knows(&all[7]) && !looks(0).knows(&all[9]));
    // All of them meet: the whole ring is shared by three swarms.
    assert_eq!(looks(6).arc_of(&all[2], 5), looks(2).arc_in(5));
    assert_eq!((looks(6).arc_of(&all[6], 4), looks(6).arc_of(&all[8], 4)), (None, None));
    let steady = Outlook::new(all[0], maps.acts.clone().into());
    assert!(steady.steady() && !looks(0).steady() && !looks(8).steady());
}
