//! The recovery phrase: an account's seed as thirteen English words.
//!
//! Twelve words carry the sixteen bytes, the thirteenth is a checksum. The first three letters of
//! a word tell it from every other word of the list.

use zeroize::Zeroizing;

/// How many words a phrase has.
pub const WORDS: usize = 13;

/// How many letters of a word count.
const PREFIX: usize = 3;

/// How many words carry the seed; the last one repeats one of them.
const CARRIERS: usize = 12;

/// The words, one a line, in the order that gives each its number.
const LIST: &str = include_str!("words.txt");

/// How many words the list has.
const BASE: u64 = 1_626;

/// A text is not a recovery phrase.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PhraseError {
    /// There are more or fewer words than thirteen.
    #[error("a recovery phrase has {WORDS} words, this has {found}")]
    Count {
        /// How many words there are.
        found: usize,
    },
    /// A word is not in the list.
    #[error("word {place} of the recovery phrase, \"{word}\", is not in the list")]
    Word {
        /// Which word, counted from 1.
        place: usize,
        /// The word as it was written.
        word: String,
    },
    /// Three words stand for a number that no seed holds.
    #[error("words {first} to {last} of the recovery phrase do not belong together", last = .first + 2)]
    Group {
        /// The first of the three, counted from 1.
        first: usize,
    },
    /// The thirteenth word does not fit the others.
    #[error("the last word of the recovery phrase does not fit the others; one of the words is wrong")]
    Checksum,
}

/// Writes a seed as its thirteen words.
pub fn encode(seed: &[u8; 16]) -> Zeroizing<String> {
    let mut numbers = Zeroizing::new([0; CARRIERS]);
    for (group, bytes) in numbers.chunks_exact_mut(3).zip(seed.as_chunks().0) {
        let x = u64::from(u32::from_le_bytes(*bytes));
        let mut last = 0;
        for (number, digit) in group.iter_mut().zip([x, x / BASE, x / (BASE * BASE)]) {
            last = (digit + last) % BASE;
            *number = last;
        }
    }
    let checksum = numbers[checksum(&numbers)];
    // Room for the longest words, so that no copy of the phrase stays behind in a smaller buffer.
    let mut phrase = Zeroizing::new(String::with_capacity(WORDS * 16));
    for number in numbers.iter().chain([&checksum]) {
        if !phrase.is_empty() {
            phrase.push(' ');
        }
        phrase.push_str(word(*number));
    }
    phrase
}

/// Reads a seed from its thirteen words.
///
/// Case does not count, any white space separates, and of each word the first three letters do.
///
/// # Errors
/// When the number of words, a word, or the checksum is wrong.
pub fn decode(phrase: &str) -> Result<Zeroizing<[u8; 16]>, PhraseError> {
    let found = phrase.split_whitespace().count();
    if found != WORDS {
        return Err(PhraseError::Count { found });
    }
    let mut numbers = Zeroizing::new([0; WORDS]);
    for (at, (number, word)) in numbers.iter_mut().zip(phrase.split_whitespace()).enumerate() {
        *number =
            number_of(word).ok_or_else(|| PhraseError::Word { place: at + 1, word: word.to_owned() })?;
    }
    let mut seed = Zeroizing::new([0; 16]);
    for (at, (bytes, group)) in seed.as_chunks_mut().0.iter_mut().zip(numbers.as_chunks().0).enumerate() {
        let [first, second, third] = *group;
        let x =
            first + BASE * ((second + BASE - first) % BASE) + BASE * BASE * ((third + BASE - second) % BASE);
        *bytes = u32::try_from(x).map_err(|_| PhraseError::Group { first: 3 * at + 1 })?.to_le_bytes();
    }
    let [carriers @ .., last] = &*numbers;
    if carriers[checksum(carriers)] == *last { Ok(seed) } else { Err(PhraseError::Checksum) }
}

/// Which of the twelve words comes again as the thirteenth.
fn checksum(numbers: &[u64; CARRIERS]) -> usize {
    let mut crc = crc32fast::Hasher::new();
    for number in numbers {
        crc.update(prefix(word(*number)).as_bytes());
    }
    crc.finalize() as usize % CARRIERS
}

/// The word with this number.
fn word(number: u64) -> &'static str {
    usize::try_from(number).ok().and_then(|number| LIST.lines().nth(number)).unwrap_or_default()
}

/// The number of the word that begins as this one does.
fn number_of(word: &str) -> Option<u64> {
    let wanted = word.get(..PREFIX)?;
    (0..)
        .zip(LIST.lines())
        .find(|(_, word)| prefix(word).eq_ignore_ascii_case(wanted))
        .map(|(number, _)| number)
}

/// The letters of a listed word that count.
fn prefix(word: &str) -> &str {
    word.get(..PREFIX).unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn thirteen(word: &str) -> String {
        [word; 13].join(" ")
    }

    #[test]
    fn the_published_vectors_hold() {
        for (word, x) in [("session", 0x04dc_u32), ("love", 0x0337)] {
            let seed: [u8; 16] = [x.to_le_bytes(); 4].concat().try_into().unwrap();
            assert_eq!(*decode(&thirteen(word)).unwrap(), seed);
            assert_eq!(*encode(&seed), thirteen(word));
        }
    }

    #[test]
    fn a_seed_of_many_bytes_has_its_words() {
        // Reckoned apart from this code, by the published rule, because the vectors repeat one word.
        let seed = core::array::from_fn(|at| u8::try_from(at * 0x11).unwrap());
        let phrase = "python costume hamburger heels amnesty lukewarm antics \
                      value picked roped sowed southern amnesty";
        assert_eq!(*encode(&seed), phrase);
        assert_eq!(*decode(phrase).unwrap(), seed);
    }

    #[test]
    fn the_list_is_whole_and_three_letters_tell_its_words_apart() {
        let words: Vec<_> = LIST.lines().collect();
        assert_eq!(words.len() as u64, BASE);
        let prefixes: std::collections::BTreeSet<_> = words.iter().map(|word| &word[..PREFIX]).collect();
        assert_eq!(prefixes.len(), words.len());
    }

    #[test]
    fn prefixes_case_and_white_space_do_not_matter() {
        let seed = decode(&thirteen("love")).unwrap();
        assert_eq!(decode(&format!("\n LOV\t\t{}\r\n", ["Love"; 12].join("\u{3000}"))), Ok(seed));
    }

    #[test]
    fn errors_name_what_is_wrong() {
        assert_eq!(decode(""), Err(PhraseError::Count { found: 0 }));
        assert_eq!(decode(&["love"; 14].join(" ")), Err(PhraseError::Count { found: 14 }));
        for wrong in ["lo", "xyzzy", "\u{5d0}\u{5d1}\u{5d2}", "l\u{f6}we"] {
            let phrase = thirteen("love").replacen("love", wrong, 2).replacen(wrong, "love", 1);
            let error = decode(&phrase).unwrap_err();
            assert_eq!(error, PhraseError::Word { place: 2, word: wrong.to_owned() });
            assert_eq!(
                error.to_string(),
                format!("word 2 of the recovery phrase, \"{wrong}\", is not in the list")
            );
        }
        let phrase = format!("{} session", ["love"; 12].join(" "));
        assert_eq!(decode(&phrase), Err(PhraseError::Checksum));
    }

    #[test]
    fn words_that_stand_for_no_seed_are_refused() {
        // The digits of the greatest number three words can hold, which is more than 32 bits.
        let group = [BASE - 1, BASE - 2, BASE - 3].map(word).join(" ");
        let phrase = format!("{} {group} {}", ["love"; 6].join(" "), ["love"; 4].join(" "));
        let error = decode(&phrase).unwrap_err();
        assert_eq!(error, PhraseError::Group { first: 7 });
        assert_eq!(error.to_string(), "words 7 to 9 of the recovery phrase do not belong together");
    }

    proptest! {
        #[test]
        fn every_seed_comes_back(seed: [u8; 16]) {
            let phrase = encode(&seed);
            prop_assert_eq!(phrase.split_whitespace().count(), WORDS);
            prop_assert_eq!(*decode(&phrase).unwrap(), seed);
            let short: Vec<_> = phrase.split_whitespace().map(|word| word[..PREFIX].to_uppercase()).collect();
            prop_assert_eq!(*decode(&short.join("  ")).unwrap(), seed);
        }

        #[test]
        fn any_text_is_read_without_a_panic(text: String, words in proptest::collection::vec("\\PC{1,4}", 13)) {
            let _ = decode(&text);
            let _ = decode(&words.join(" "));
        }
    }
}
