//! Files one after another, as POSIX's `ustar` has them: a block of head, the content, zeros up to a whole block.

/// Bytes of a block.
const BLOCK: usize = 512;
/// Where the checksum stands in a head, and how it is counted itself.
const CHECKSUM: usize = 148;
const UNKNOWN: &str = "        ";

/// Adds a file, readable by its owner only; its name has at most 100 bytes.
pub(super) fn add(archive: &mut Vec<u8>, name: &str, content: &[u8], time: u64) {
    archive.extend(head(name, content.len(), time));
    archive.extend(content);
    pad(archive);
}

/// Ends the archive.
pub(super) fn end(archive: &mut Vec<u8>) {
    archive.extend([0_u8; 2 * BLOCK]);
}

fn pad(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(BLOCK), 0);
}

fn head(name: &str, length: usize, time: u64) -> Vec<u8> {
    let mut head = Vec::with_capacity(BLOCK);
    let (length, time) = (format!("{length:011o}"), format!("{time:011o}"));
    let fields = [
        (name, 100),
        ("0000600", 8),
        ("0000000", 8),
        ("0000000", 8),
        (length.as_str(), 12),
        (time.as_str(), 12),
        (UNKNOWN, 8),
        // A file, that is no link.
        ("0", 1),
        ("", 100),
        ("ustar", 6),
        ("00", 2),
    ];
    for (text, width) in fields {
        head.extend(text.bytes().chain(core::iter::repeat(0_u8)).take(width));
    }
    pad(&mut head);
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    let sum = format!("{sum:06o}\0 ");
    head.iter_mut().skip(CHECKSUM).zip(sum.bytes()).for_each(|(to, from)| *to = from);
    head
}
