//! A user's account: a seed, and the keys that grow from it.

use core::fmt;

use session_protocols::{AccountId, KeyPair};
use zeroize::Zeroizing;

use crate::phrase::{self, PhraseError};

/// An account, with its secrets. They are zeroized when it is dropped and never printed.
#[derive(Clone)]
pub struct Account {
    seed: Zeroizing<[u8; 16]>,
    pair: KeyPair,
    id: AccountId,
}

impl Account {
    /// The account that grows from this seed.
    pub fn new(seed: &[u8; 16]) -> Self {
        let mut full = Zeroizing::new([0; 32]);
        full[..16].copy_from_slice(seed);
        let pair = KeyPair::from_seed(&full);
        // From the secret, because a public key might not convert and a secret always does.
        let key = crypto_box::SecretKey::from_bytes(*pair.x25519_secret()).public_key();
        let mut id = [0x05; AccountId::LEN];
        id[1..].copy_from_slice(key.as_bytes());
        Self { seed: Zeroizing::new(*seed), pair, id: AccountId::from_bytes(id) }
    }

    /// A new account, with a seed from the operating system.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut seed = Zeroizing::new([0; 16]);
        getrandom::fill(&mut *seed)?;
        Ok(Self::new(&seed))
    }

    /// The account that a recovery phrase brings back.
    ///
    /// # Errors
    /// When the text is not a recovery phrase.
    pub fn from_phrase(phrase: &str) -> Result<Self, PhraseError> {
        Ok(Self::new(&*phrase::decode(phrase)?))
    }

    /// The id, by which others know the account.
    pub const fn id(&self) -> AccountId {
        self.id
    }

    /// The recovery phrase. It is the whole account: show it to its owner only.
    pub fn phrase(&self) -> Zeroizing<String> {
        phrase::encode(&self.seed)
    }

    /// The seed. Keep it out of logs and messages.
    pub const fn seed(&self) -> &Zeroizing<[u8; 16]> {
        &self.seed
    }

    /// The keys, which sign for the account and open what is sealed for it.
    pub const fn key_pair(&self) -> &KeyPair {
        &self.pair
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_published_vectors_hold() {
        for (word, id) in [
            ("session", "0512742fb4ac033a8a33f5776aa0e7e88f35f7af9f65dee31e57fbc7d6f8664b12"),
            ("love", "053db493811f729da20289e31498b8fe2b28edc90358cd3ec11a6b12ac1b9fb818"),
        ] {
            let phrase = [word; 13].join(" ");
            let account = Account::from_phrase(&phrase).unwrap();
            assert_eq!(account.id().to_string(), id);
            assert_eq!(*account.phrase(), phrase);
        }
    }

    #[test]
    fn no_secret_is_printed() {
        let account = Account::new(&[0xab; 16]);
        assert_eq!(format!("{account:?}"), format!("Account({})", account.id()));
    }

    #[test]
    fn two_new_accounts_differ() {
        assert_ne!(Account::generate().unwrap().id(), Account::generate().unwrap().id());
    }

    proptest! {
        #[test]
        fn the_id_is_the_one_others_derive_from_the_public_key(seed: [u8; 16]) {
            let account = Account::new(&seed);
            prop_assert_eq!(AccountId::of_person(&account.key_pair().public()), Some(account.id()));
            prop_assert_eq!(account.id().key(), session_protocols::identity::to_x25519(&account.key_pair().public()).unwrap());
        }
    }
}
