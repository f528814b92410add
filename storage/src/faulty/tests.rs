use super::*;

fn bytes(disk: &FaultyDisk) -> Vec<u8> {
    disk.image().remove("a").unwrap_or_default()
}

#[test]
fn a_power_loss_takes_what_was_not_synced_and_nothing_else() {
    let disk = FaultyDisk::new();
    let file = disk.open("a").unwrap();
    file.set_len(4).unwrap();
    file.write(0, b"safe").unwrap();
    file.sync_data().unwrap();
    file.write(0, b"lost").unwrap();
    file.set_len(8).unwrap();
    file.write(4, b"more").unwrap();
    assert_eq!(bytes(&disk.survivor(Loss::Everything)), b"safe");
    assert_eq!(bytes(&disk.survivor(Loss::Nothing)), b"lostmore");
    let mut found = std::collections::BTreeSet::new();
    for seed in 0..64 {
        found.insert(bytes(&disk.survivor(Loss::Tail(seed))));
    }
    let prefixes = [&b"lost"[..], b"lost\0\0\0\0", b"lostmore", b"safe"];
    assert_eq!(found.into_iter().collect::<Vec<_>>(), prefixes);
    let some = bytes(&disk.survivor(Loss::Scattered(3)));
    assert_eq!(some, bytes(&disk.survivor(Loss::Scattered(3))));
}

#[test]
fn power_that_goes_at_the_next_sync_takes_all_that_was_written() {
    let disk = FaultyDisk::new();
    let file = disk.open("a").unwrap();
    file.write(0, b"safe").unwrap();
    file.sync_data().unwrap();
    disk.fail_next_sync(Fault::PowerLoss);
    file.write(0, b"lost").unwrap();
    file.write(4, b"more").unwrap();
    assert_eq!(bytes(&disk), b"lostmore");
    assert!(file.sync_data().is_err() && file.write(0, b"late").is_err());
    assert_eq!(bytes(&disk.survivor(Loss::Everything)), b"safe");
}

#[test]
fn cut_bytes_come_back_when_the_cut_is_lost() {
    let disk = FaultyDisk::from_image([("a".to_owned(), b"abcdef".to_vec())].into());
    let file = disk.open("a").unwrap();
    file.set_len(2).unwrap();
    file.set_len(4).unwrap();
    assert_eq!(bytes(&disk), b"ab\0\0");
    assert_eq!(bytes(&disk.survivor(Loss::Everything)), b"abcdef");
}

#[test]
fn a_full_disk_says_so_and_changes_nothing() {
    let disk = FaultyDisk::new();
    disk.set_capacity(Some(4));
    let file = disk.open("a").unwrap();
    file.set_len(4).unwrap();
    assert_eq!(file.set_len(5).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.write(3, b"xy").unwrap_err().kind(), io::ErrorKind::StorageFull);
    file.write(0, b"abcd").unwrap();
    assert_eq!(bytes(&disk), b"abcd");
}

#[test]
fn the_named_operation_fails() {
    let disk = FaultyDisk::new();
    disk.fail(1, Fault::Error);
    disk.fail(2, Fault::Half);
    disk.fail(4, Fault::PowerLoss);
    let file = disk.open("a").unwrap();
    file.set_len(4).unwrap();
    assert!(file.write(0, b"none").is_err());
    assert!(file.write(0, b"half").is_err());
    assert_eq!(bytes(&disk), b"ha\0\0");
    file.sync_data().unwrap();
    assert!(file.sync_data().is_err() && file.write(0, b"x").is_err() && disk.open("b").is_err());
}

#[test]
fn one_bit_is_turned() {
    let disk = FaultyDisk::from_image([("a".to_owned(), vec![0; 8]), ("b".to_owned(), vec![0; 8])].into());
    disk.flip(1).unwrap();
    let ones: u32 = disk.image().values().flatten().map(|byte| byte.count_ones()).sum();
    assert_eq!(ones, 1);
}
