//! Whom a request was meant for: a page of somebody else whose name was made to lead to this machine (DNS rebinding)
//! reads what is open here otherwise, since to the browser it is that page's own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::{
    Router,
    extract::Request,
    http::{HeaderValue, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};

use super::admin::Refusal;

/// A name that nobody else can make lead here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Localhost,
    Ip(IpAddr),
}

impl Name {
    /// What a `Host` says, whatever the port: the door may be reached through a tunnel. None of any other name.
    pub(super) fn of(host: &str) -> Option<Self> {
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => (name, Some(port)),
            Some(_) | None => (host, None),
        };
        if port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return None;
        }
        if name.eq_ignore_ascii_case("localhost") {
            return Some(Self::Localhost);
        }
        let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let ip = match inner {
            Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::from),
            None => name.parse::<Ipv4Addr>().ok().map(IpAddr::from),
        };
        ip.map(Self::Ip)
    }
}

/// Refuses other names at a door of loopback. Whoever lets a door listen elsewhere may have given it a name.
pub(super) fn shield<S: Clone + Send + Sync + 'static>(router: Router<S>, listens: IpAddr) -> Router<S> {
    if listens.is_loopback() { router.layer(middleware::from_fn(check)) } else { router }
}

async fn check(request: Request, next: Next) -> Response {
    let may = |host: &HeaderValue| host.to_str().is_ok_and(|host| Name::of(host).is_some());
    // What is no browser need not say one.
    let all = request.headers().get_all(header::HOST).iter().all(may);
    if all { next.run(request).await } else { Refusal::Host.into_response() }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// The code of the answer to somebody who says `head`, at a door that is told to listen there.
    async fn ask(listens: &str, head: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let router = Router::new().route("/", get(|| async { "open" }));
        let router = shield(router, listens.parse().unwrap());
        let door = tokio::spawn(async move { axum::serve(listener, router).await });
        stream.write_all(format!("GET / HTTP/1.0\r\n{head}\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        door.abort();
        answer.split(' ').nth(1).unwrap().to_owned()
    }

    #[tokio::test]
    async fn a_name_that_was_made_to_lead_to_loopback_reads_nothing() {
        for host in ["localhost", "LocalHost:5", "127.0.0.1:22080", "[::1]:5", "203.0.113.7"] {
            assert_eq!(ask("127.0.0.1", &format!("Host: {host}\r\n")).await, "200", "{host}");
        }
        assert_eq!(ask("::1", "").await, "200", "what is no browser need not say it");
        for host in ["evil.example", "evil.example:22080", "127.0.0.1.evil.example", "localhost.", "[::1", ""]
        {
            let code = ask("127.0.0.1", &format!("Host: {host}\r\n")).await;
            assert!(code == "403" || code == "400", "{host}: {code}");
        }
        assert_eq!(ask("::1", "Host: evil.example\r\n").await, "403");
        let two = "Host: localhost\r\nHost: evil.example\r\n";
        assert_ne!(ask("127.0.0.1", two).await, "200");
        // There it may have a name.
        for listens in ["0.0.0.0", "192.168.1.2", "::"] {
            assert_eq!(ask(listens, "Host: node-7.example\r\n").await, "200", "{listens}");
        }
    }
}
