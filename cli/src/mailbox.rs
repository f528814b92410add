//! `session mailbox`: what nodes keep of an account, and for how long.

use data_encoding::HEXLOWER as HEX;
use serde_json::{Value, json};
use session_client::{Changed, Revoked};
use session_protocols::{
    Namespace,
    answer::End,
    request::{Direction, Drawers, Token},
};

use crate::{
    Context, account,
    args::{self, Keep, Only, Written},
    failure::{Exit, Failure},
    network::Access,
    text,
};

const HOUR_MS: u64 = 3_600_000;

pub(crate) async fn run(context: &Context, arguments: args::Mailbox) -> Result<(), Failure> {
    let home = context.home()?;
    let (name, _) = account::choose(&home, arguments.account.as_deref())?;
    let owner = home.account(&name)?;
    if let Keep::Delete { all, before, yes: false, .. } = &arguments.act
        && (*all || before.is_some())
    {
        return Err(Failure::new(
            Exit::Refused,
            "not_confirmed",
            format!("this deletes messages of {name} that are not named, for good"),
            "add --yes if that is meant",
        ));
    }
    let access = Access::open(context).await?;
    let failed = |error| access.failed(error);
    let client = &access.client;
    match arguments.act {
        Keep::Ends { hash } => {
            let named = (!hash.is_empty()).then_some(&hash[..]);
            let found = client.expiries(&owner, named).await.map_err(failed)?;
            let one = |end: &End| json!({ "hash": end.hash.to_string(), "expires": end.expiry });
            let ends: Vec<Value> = found.ends.iter().map(one).collect();
            context.output.data(&json!({ "ends": ends, "more": found.more }), || {
                let rows = found.ends.iter().map(|end| [end.hash.to_string(), text::time(end.expiry)]);
                let rows: Vec<_> = rows.collect();
                let more = if found.more { "there are more\n" } else { "" };
                if rows.is_empty() {
                    "no messages".to_owned()
                } else {
                    text::table(["MESSAGE", "ENDS"], &rows) + more
                }
            })
        }
        Keep::Delete { hash, all, before, namespace, .. } => {
            let changed = match before {
                Some(before) => client.delete_before(&owner, drawers(namespace), before).await,
                None if all => client.delete_all(&owner, drawers(namespace)).await,
                None => client.delete(&owner, &hash).await,
            };
            show(context, "deleted", &changed.map_err(failed)?)
        }
        Keep::Expire { hours, hash, all, namespace, only } => {
            let end = client.now_ms().saturating_add(hours.saturating_mul(HOUR_MS));
            let only = only.map(|only| match only {
                Only::Shorten => Direction::Shorten,
                Only::Extend => Direction::Extend,
            });
            let changed = match all {
                true => client.expire_all(&owner, drawers(namespace), end).await,
                false => client.expire(&owner, &hash, end, only).await,
            };
            show(context, "changed", &changed.map_err(failed)?)
        }
        Keep::Revoke { token } => {
            let revoked = client.revoke(&owner, &tokens(&token)).await.map_err(failed)?;
            show_rights(context, "revoked", &revoked)
        }
        Keep::Unrevoke { token } => {
            let back = client.unrevoke(&owner, &tokens(&token)).await.map_err(failed)?;
            show_rights(context, "given back", &back)
        }
        Keep::Revoked => {
            let revoked = client.revoked(&owner).await.map_err(failed)?;
            let revoked: Vec<String> = revoked.iter().map(|token| HEX.encode(&token.0)).collect();
            context.output.data(&json!({ "tokens": revoked }), || match revoked.as_slice() {
                [] => "no rights are taken away".to_owned(),
                revoked => revoked.join("\n"),
            })
        }
    }
}

fn drawers(namespace: Option<i16>) -> Drawers {
    namespace.map_or(Drawers::All, |namespace| Drawers::One(Namespace(namespace)))
}

fn tokens(tokens: &[Written]) -> Vec<Token> {
    tokens.iter().map(|Written(token)| *token).collect()
}

fn show(context: &Context, done: &str, changed: &Changed) -> Result<(), Failure> {
    let Changed { hashes, stored, swarm } = changed;
    let hashes: Vec<String> = hashes.iter().map(ToString::to_string).collect();
    let data = json!({ "hashes": hashes, "stored": stored, "swarm": swarm });
    context.output.data(&data, || match hashes.len() {
        0 => "nothing to do: no such message is there".to_owned(),
        count => format!("{done}: {count}, durable at {stored} of {swarm} nodes"),
    })
}

fn show_rights(context: &Context, done: &str, revoked: &Revoked) -> Result<(), Failure> {
    let Revoked { tokens, stored, swarm } = revoked;
    let tokens: Vec<String> = tokens.iter().map(|token| HEX.encode(&token.0)).collect();
    let data = json!({ "tokens": tokens, "stored": stored, "swarm": swarm });
    context.output.data(&data, || match tokens.len() {
        0 => "nothing to do: it was so before".to_owned(),
        count => format!("{done}: {count}, durable at {stored} of {swarm} nodes"),
    })
}
