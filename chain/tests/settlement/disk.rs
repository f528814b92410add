//! Ledgers whose disk is full, or fails, for a while.

use crate::support::{
    Anvil, Chain,
    disk::{Disk, Fault},
    through, until,
};
use session_chain::settlement::{Hold, LiveLedger};
use tempfile::TempDir;

const FAST: [&str; 2] = ["--slots-in-an-epoch", "1"];
/// Seconds.
const EPOCH: u64 = 600;

/// Whether both have followed the chain to its end, and come to the same.
async fn are_the_same(one: &LiveLedger, other: &LiveLedger, chain: &Chain) -> bool {
    through(one, chain).await;
    through(other, chain).await;
    let (one, other) = (one.settled(), other.settled());
    let names = [&one, &other].map(|settled| settled.names.root().expect("an index that was just opened"));
    (one.ledger, one.checkpoint, one.signers, one.behind)
        == (other.ledger, other.checkpoint, other.signers, other.behind)
        && names[0] == names[1]
}

#[tokio::test]
async fn a_ledger_goes_on_by_itself_once_there_is_room_and_nothing_is_lost_or_told_before_it_is_kept() {
    let anvil = Anvil::start(&FAST);
    let chain = Chain::deploy(&anvil).await;
    let dir = TempDir::new().unwrap();
    let well = chain.follow(&dir.path().join("well"), EPOCH, &[anvil.url()]);
    let disk = Disk::default();
    let settlement = chain.follow_at(disk.place(), EPOCH, &[anvil.url()]);
    for fault in [Fault::Full, Fault::Unsynced] {
        chain.release(7).await;
        chain.mine(700, 1).await;
        assert!(are_the_same(&settlement, &well, &chain).await, "{fault:?}");
        let before = settlement.settled();

        disk.set(fault);
        chain.release(5).await;
        // Beyond a border.
        chain.mine(700, 1).await;
        through(&well, &chain).await;
        let unkept = |held: &Option<Hold>| matches!(held, Some(Hold::Unkept { .. }));
        let status = until(&settlement, "it holds", |status| unkept(&status.held)).await;
        assert!(status.stopped.is_none() && !status.is_good() && !status.may_sign(), "{status:?}");
        assert_eq!((status.height, status.epoch), (before.mark.height, before.mark.epoch), "{fault:?}");
        let why = status.held.unwrap();
        let said = "the ledger cannot be kept: cannot use disk/chain.redb: see whether its disk is full";
        assert!(why.to_string().starts_with(said), "{why}");
        assert!(why.remedy().contains("the ledger goes on by itself"), "{}", why.remedy());
        assert_eq!(settlement.settled().mark, before.mark, "{fault:?}");
        assert_eq!(settlement.to_sign(), None);

        disk.set(Fault::None);
        assert!(are_the_same(&settlement, &well, &chain).await, "{fault:?}");
        let status = until(&settlement, "it is well", |status| status.held.is_none()).await;
        assert_eq!((status.stopped, status.endpoints[0].faults), (None, 0), "{fault:?}");
        assert_eq!(settlement.to_sign(), well.to_sign());
        assert!(!before.names.0.is_open() && settlement.settled().names.0.is_open());
    }
    // What passes at once is nobody's trouble.
    disk.set(Fault::Once);
    chain.release(3).await;
    chain.mine(3, 1).await;
    assert!(are_the_same(&settlement, &well, &chain).await);
    assert_eq!(disk.fault(), Fault::None, "it was met");
    assert_eq!(settlement.settled().ledger.rewards().released().0, 2 * (7 + 5) + 3);

    settlement.stop().await;
    let again = chain.follow_at(disk.place(), EPOCH, &[anvil.url()]);
    assert_eq!(again.settled().ledger, well.settled().ledger, "it was kept");
}

#[tokio::test]
async fn a_ledger_whose_disk_is_full_can_be_stopped() {
    let anvil = Anvil::start(&FAST);
    let chain = Chain::deploy(&anvil).await;
    let disk = Disk::default();
    let settlement = chain.follow_at(disk.place(), EPOCH, &[anvil.url()]);
    disk.set(Fault::Full);
    chain.release(7).await;
    chain.mine(3, 1).await;
    until(&settlement, "it holds", |status| matches!(status.held, Some(Hold::Unkept { .. }))).await;
    settlement.stop().await;
}
