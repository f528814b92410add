//! How others reach the node, as `/status` shows it.

use serde::Serialize;
use session_protocols::NodeId;

use crate::reach::{self, Reached};

#[derive(Serialize)]
pub(super) struct Reachability {
    /// What the last round of dials back of each address came to.
    dialled_back: Vec<DialledBack>,
    /// Which node of the network came in over a transport last.
    reached: Vec<Inbound>,
    /// How many nodes in contact may be asked to dial, by the kind of their address.
    servers: Servers,
    /// The router that is asked to lead ports here.
    upnp: Upnp,
}

#[derive(Serialize)]
struct Servers {
    ip4: usize,
    ip6: usize,
}

#[derive(Serialize)]
struct Upnp {
    state: &'static str,
    /// Since when it is so.
    at: u64,
    /// From where it leads ports here.
    addresses: Vec<String>,
}

#[derive(Serialize)]
struct DialledBack {
    address: String,
    transport: &'static str,
    /// Whether one of those who tried came through.
    ok: bool,
    /// That one, or the last who did not, when it said so, and why it did not.
    by: NodeId,
    at: u64,
    /// When the first of them was asked.
    begun: u64,
    age_s: u64,
    why: Option<String>,
    /// What everybody said who tried, the last one last.
    said: Vec<Said>,
}

#[derive(Serialize)]
struct Said {
    by: NodeId,
    at: u64,
    why: Option<String>,
}

#[derive(Serialize)]
struct Inbound {
    transport: &'static str,
    by: NodeId,
    at: u64,
}

impl From<&Reached> for Reachability {
    fn from(reached: &Reached) -> Self {
        let now = crate::now();
        let dialled_back = reached.verdicts.iter().filter_map(|(address, verdict)| {
            let word = verdict.word()?;
            let said = verdict.said.iter();
            Some(DialledBack {
                address: address.to_string(),
                transport: reach::transport(address.transport),
                ok: verdict.reached,
                by: word.by,
                at: word.at.as_millis(),
                begun: verdict.begun.as_millis(),
                age_s: now.since(verdict.at).as_millis() / 1_000,
                why: word.why.clone(),
                said: said
                    .map(|one| Said { by: one.by, at: one.at.as_millis(), why: one.why.clone() })
                    .collect(),
            })
        });
        let came = reached.dialled.iter().map(|(transport, (by, at))| Inbound {
            transport: reach::transport(*transport),
            by: *by,
            at: at.as_millis(),
        });
        let gateway = &reached.gateway;
        let upnp = Upnp {
            state: gateway.state.as_str(),
            at: gateway.since.as_millis(),
            addresses: gateway.leads.iter().map(ToString::to_string).collect(),
        };
        let reach::Servers { ip4, ip6 } = reached.servers;
        let servers = Servers { ip4, ip6 };
        Self { dialled_back: dialled_back.collect(), reached: came.collect(), servers, upnp }
    }
}
