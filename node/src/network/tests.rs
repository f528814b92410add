use super::*;

#[test]
fn an_address_says_where_with_or_without_who() {
    let peer = PeerId::random();
    for text in ["/ip4/127.0.1.1/udp/22021/quic-v1", "/ip6/::1/tcp/22021"] {
        let bare: Multiaddr = text.parse().unwrap();
        let whole: Multiaddr = format!("{text}/p2p/{peer}").parse().unwrap();
        assert_eq!(
            [endpoint(&bare), endpoint(&whole)].map(Option::unwrap).map(|one| one.to_string()),
            [text; 2]
        );
    }
    assert_eq!(endpoint(&"/dns4/example.org/tcp/1".parse().unwrap()), None);
}

#[test]
fn the_last_words_about_a_node_are_owed_and_no_others() {
    let mut dialling = Dialling::new("test".parse().unwrap(), true);
    let nodes = [1, 2].map(|seed| KeyPair::from_seed(&[seed; 32]).node_id());
    for _ in 0..1_000 {
        for node in nodes {
            dialling.owe(node, [Job::Disconnected(node), Job::Connected(node)]);
        }
    }
    dialling.owe(nodes[0], [Job::Disconnected(nodes[0])]);
    let said: Vec<_> = dialling.owed.iter().map(|job| format!("{job:?}")).collect();
    let words = [Job::Disconnected(nodes[1]), Job::Connected(nodes[1]), Job::Disconnected(nodes[0])];
    assert_eq!(said, words.map(|job| format!("{job:?}")));
}
