//! A registration whose program was killed is gone on with by several programs of its account, and paid once.

use std::process::Stdio;

use serde_json::{Value, json};

use super::dies_on_the_way;
use crate::{
    person::Person,
    support::{Place, ended},
};

const REGISTER: [&str; 5] = ["name", "register", "pier", "--yes", "--json"];

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_was_killed_is_gone_on_with_by_all_devices_and_paid_once() {
    let place = Place::new();
    place.data(&["testnet", "up", "--nodes", "4"]);
    let alice = Person::new(&place, "alice");
    alice.data(&["wallet", "faucet"]);
    // The program dies when its commitment is on its way, and in no block.
    dies_on_the_way(&alice, &REGISTER).await;
    assert_eq!(alice.data(&["name", "list"])["begun"], json!(["pier"]));

    // Twice from there on, and by another device, which knows nothing of it.
    let phrase = alice.data(&["account", "export", "alice"])["phrase"].as_str().unwrap().to_owned();
    let (id, address) = (alice.id.clone(), alice.address.clone());
    let tablet = Person { place: &place, home: place.path().join("tablet"), id, address };
    tablet.data(&["account", "restore", "--name", "alice", &phrase]);
    let programs = [&alice, &alice, &tablet].map(|device| {
        let mut command = place.command(&device.with(&REGISTER));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    });
    let ran = programs.map(|child| ended(child, "`session name register`"));
    let told = ran.map(|ran| {
        assert_eq!(ran.code, 0, "{} {}", ran.out, ran.err);
        ran.json()["data"].clone()
    });
    // One of them paid, and the others say that there was nothing to do.
    let (paid, late): (Vec<&Value>, Vec<&Value>) = told.iter().partition(|told| told["fee"] == "10");
    assert_eq!((paid.len(), late.len()), (1, 2), "{told:?}");
    assert!(paid[0]["transaction"].is_string(), "{told:?}");
    alice.has("990");
    for device in [&alice, &tablet] {
        let list = device.data(&["name", "list"]);
        assert_eq!((&list["names"][0]["name"], &list["begun"]), (&json!("pier"), &json!([])), "{list}");
        for late in &late {
            assert_eq!((&late["name"], &late["transaction"]), (&json!("pier"), &Value::Null), "{late}");
            assert_eq!(late["expires"], list["names"][0]["expires"], "{late}");
        }
    }
    what_looks_like_a_contact_is_told_before_it_is_registered(&place, &alice);
}

fn what_looks_like_a_contact_is_told_before_it_is_registered(place: &Place, alice: &Person<'_>) {
    alice.data(&["contact", "add", "mole", &alice.id]);
    let ran = place.run(&alice.with(&["name", "register", "m0le"]));
    assert_eq!(ran.code, 4, "{}", ran.err);
    assert!(ran.err.contains("m0le looks like mole, which you know, and is another"), "{}", ran.err);
}
