//! A certified snapshot as it is kept until another time: its pages, as a stranger would hand them out.
//!
//! Nothing in it is taken on its own word, so that it may lie anywhere.

use serde::{Deserialize, Serialize};

use super::{Certificate, Distrust, Download, DownloadError, Found, Page, Progress, Snapshot};
use crate::codec;

/// The longest snapshot that is kept, in bytes: room for more members than a network file may name.
pub const MAX_KEPT: usize = 32 << 20;
/// The version of what is kept.
const VERSION: u32 = 1;

/// Why what was kept is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeptError {
    /// The bytes are no snapshot, or one of another version.
    #[error("the bytes are no kept snapshot of version {VERSION}")]
    Damaged,
    /// Its pages do not give what was signed.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// It is not to be believed now.
    #[error(transparent)]
    Distrust(#[from] Distrust),
}

#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    pages: Vec<Page>,
}

pub(super) fn encode(snapshot: &Snapshot, certificate: &Certificate) -> Vec<u8> {
    let (mut pages, mut from, mut more) = (Vec::new(), 0_u32, true);
    while more {
        let page = snapshot.page(None, Some(certificate), from);
        from = from.saturating_add(u32::try_from(page.changes.len()).unwrap_or(u32::MAX));
        more = page.more;
        pages.push(page);
    }
    codec::encode(&Kept { version: VERSION, pages })
}

pub(super) fn decode(bytes: &[u8], mut download: Download) -> Result<Found, KeptError> {
    let kept: Kept = codec::decode(bytes, MAX_KEPT).map_err(|_| KeptError::Damaged)?;
    let pages = Some(kept.pages).filter(|_| kept.version == VERSION).ok_or(KeptError::Damaged)?;
    for page in pages {
        match download.take(page)? {
            Progress::More(more) => download = more,
            Progress::Whole(found) => return Ok(found),
        }
    }
    Err(KeptError::Damaged)
}
