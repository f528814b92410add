//! What answers while there is no service.

use std::future;

use futures::{FutureExt, future::BoxFuture};
use session_protocols::door::Reply;

use super::{Call, Service};

/// Says that the node is not ready, whatever is asked.
pub(crate) struct Unready;

impl Service for Unready {
    fn answer(&self, _: Call) -> BoxFuture<'static, Reply> {
        future::ready(Reply::text(503, "Snode not ready")).boxed()
    }
}
