//! The guard of what changes anything at the HTTP door, and what is behind it.
//!
//! Whoever changes something shows the token that is in the data folder, which only the node's own user can read. A
//! page of somebody else in the operator's browser has no token; and should one ever get it, it still does not come
//! through: by `Host` it is told that its name was made to lead here (DNS rebinding), by `Origin` that it is another
//! page.
//!
//! - [`Guard`]: checks requests
//! - [`Admin`]: what a program on this machine needs to ask

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderMap, HeaderName, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::put,
};
use data_encoding::HEXLOWER;
use serde_json::json;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::host::{self, Name};
use crate::{config::LogControl, keystore::Draft};

/// The file of the token, in the data folder.
pub const FILE: &str = "admin-token";
/// The longest file and the longest body that is read, in bytes.
const MAX: usize = 4_096;

/// Lets through who may change something.
#[derive(Clone)]
pub struct Guard(Arc<Within>);

struct Within {
    token: Zeroizing<String>,
    /// Where the door listens.
    address: SocketAddr,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("address", &self.0.address).finish_non_exhaustive()
    }
}

/// What a program on this machine needs to change something.
pub struct Admin {
    /// Where to ask.
    pub address: SocketAddr,
    /// What to show, as `Authorization: Bearer`.
    pub token: Zeroizing<String>,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Admin {
    /// Of the node that runs, or ran last, in a data folder.
    ///
    /// # Errors
    ///
    /// When none did, or its file cannot be read.
    pub fn of(data: &Path) -> io::Result<Self> {
        let text = Zeroizing::new(fs::read_to_string(data.join(FILE))?);
        let mut lines = text.lines();
        let token = lines.next().map(|token| Zeroizing::new(token.to_owned()));
        let address = lines.next().and_then(|address| address.parse().ok());
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("{FILE} is damaged"));
        let (token, address) = token.zip(address).ok_or_else(damaged)?;
        Ok(Self { address, token })
    }
}

impl Guard {
    /// A guard of a door that listens at `address`, with a new token, which is put into the data folder: its first
    /// line, and where to show it.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn open(data: &Path, address: SocketAddr) -> io::Result<Self> {
        let mut random = Zeroizing::new([0; 32]);
        getrandom::fill(random.as_mut()).map_err(io::Error::other)?;
        let token = Zeroizing::new(HEXLOWER.encode(random.as_ref()));
        // Who listens everywhere is asked from here.
        let near = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
        };
        let near = SocketAddr::new(near, address.port());
        let text = Zeroizing::new(format!("{}\n{near}\n", token.as_str()));
        Draft::write(data, FILE, text.as_bytes())?.replace(&data.join(FILE))?;
        Ok(Self(Arc::new(Within { token, address })))
    }

    /// Puts the guard before all that a router serves.
    pub fn protect<S: Clone + Send + Sync + 'static>(&self, router: Router<S>) -> Router<S> {
        router.route_layer(middleware::from_fn_with_state(self.clone(), guard))
    }

    /// Refuses, at a door of loopback, who asks anything by a name that others may have made to lead here.
    pub fn shield<S: Clone + Send + Sync + 'static>(&self, router: Router<S>) -> Router<S> {
        host::shield(router, self.0.address.ip())
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = only(headers, header::HOST).ok_or(Refusal::Host)?;
        if !self.is_here(host) {
            return Err(Refusal::Host);
        }
        // A browser says from which page; other programs say nothing.
        if headers.contains_key(header::ORIGIN) {
            let origin = only(headers, header::ORIGIN).and_then(|origin| origin.strip_prefix("http://"));
            if origin != Some(host) {
                return Err(Refusal::Origin);
            }
        }
        let shown = only(headers, header::AUTHORIZATION).and_then(|shown| shown.strip_prefix("Bearer "));
        let shown = shown.ok_or(Refusal::Token)?;
        if bool::from(shown.as_bytes().ct_eq(self.0.token.as_bytes())) { Ok(()) } else { Err(Refusal::Token) }
    }

    /// Whether a `Host` means this door: by an address, since nobody else can make that lead here, or as localhost.
    fn is_here(&self, host: &str) -> bool {
        let listens = self.0.address.ip();
        match Name::of(host) {
            Some(Name::Localhost) => true,
            Some(Name::Ip(ip)) => ip.is_loopback() || listens.is_unspecified() || ip == listens,
            None => false,
        }
    }
}

async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// The one value of a header; none where there are several.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Why somebody may not change anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the Host is none of this door: ask by its address, or as localhost")]
    Host,
    #[error("the request comes from another page")]
    Origin,
    #[error("the token that {FILE} holds is needed: Authorization: Bearer TOKEN")]
    Token,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code) = match self {
            Self::Host => (StatusCode::FORBIDDEN, "host"),
            Self::Origin => (StatusCode::FORBIDDEN, "origin"),
            Self::Token => (StatusCode::UNAUTHORIZED, "token"),
        };
        let mut response = refused(status, code, &self.to_string());
        if self == Self::Token {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        response
    }
}

fn refused(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({ "error": { "code": code, "message": message } }))).into_response()
}

/// What is behind the guard.
pub(crate) fn routes(guard: Guard, log: Option<LogControl>) -> Router {
    let Some(log) = log else { return Router::new() };
    let router = Router::new().route("/log", put(set_log)).layer(DefaultBodyLimit::max(MAX)).with_state(log);
    guard.protect(router)
}

/// `PUT /log`: logs what a filter lets through, until the node stops.
async fn set_log(State(log): State<LogControl>, filter: String) -> Response {
    let filter = filter.trim();
    match log.set(filter) {
        Ok(()) => {
            tracing::info!(filter, "what is logged was changed");
            Json(json!({ "filter": filter })).into_response()
        }
        Err(why) => refused(StatusCode::BAD_REQUEST, "filter", &why),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::PermissionsExt,
        sync::{Arc, Mutex},
    };

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// A door with a guard, and what was logged by the end.
    struct House {
        data: tempfile::TempDir,
        address: SocketAddr,
        filter: Arc<Mutex<String>>,
    }

    impl House {
        async fn open() -> Self {
            let data = tempfile::tempdir().unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let filter = Arc::new(Mutex::new("at first".to_owned()));
            let set = Arc::clone(&filter);
            let log = LogControl::new(move |text| {
                if text == "wrong" {
                    return Err("that is none".to_owned());
                }
                *set.lock().unwrap() = text.to_owned();
                Ok(())
            });
            let guard = Guard::open(data.path(), address).unwrap();
            let router = routes(guard, Some(log)).route("/open", axum::routing::get(|| async { "open" }));
            tokio::spawn(async move { axum::serve(listener, router).await });
            Self { data, address, filter }
        }

        /// The answer to a request with these lines in its head.
        async fn ask(&self, what: &str, head: &[&str], body: &str) -> String {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            let head: String = head.iter().map(|line| format!("{line}\r\n")).collect();
            let length = body.len();
            let request = format!(
                "{what} HTTP/1.1\r\n{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer).await;
            answer
        }

        async fn put(&self, head: &[&str], body: &str) -> (u16, String) {
            let answer = self.ask("PUT /log", head, body).await;
            (answer[9..12].parse().unwrap(), answer)
        }

        fn filter(&self) -> String {
            self.filter.lock().unwrap().clone()
        }
    }

    #[tokio::test]
    async fn only_who_has_the_token_and_comes_from_here_changes_anything() {
        let house = House::open().await;
        let admin = Admin::of(house.data.path()).unwrap();
        assert_eq!((admin.address, admin.token.len()), (house.address, 64));
        let mode = fs::metadata(house.data.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let host = format!("Host: {}", house.address);
        let token = format!("Authorization: Bearer {}", admin.token.as_str());
        let wrong = format!("Authorization: Bearer {}", "0".repeat(64));
        let cut = &token[..token.len() - 1];
        let same = format!("Origin: http://{}", house.address);
        let secure = format!("Origin: https://{}", house.address);
        let before = format!("Origin: http://{}.evil.example", house.address);
        let port = format!("Origin: http://127.0.0.1:{}", house.address.port().wrapping_add(1));
        for (head, status, code) in [
            (&[&*host][..], 401, "token"),
            (&[&*host, &wrong], 401, "token"),
            (&[&*host, cut], 401, "token"),
            (&[&*host, "Authorization: Bearer "], 401, "token"),
            (&[&*host, &token, &token], 401, "token"),
            (&[&*host, &token.replace("Bearer", "Basic")], 401, "token"),
            (&["Host: evil.example", &token], 403, "host"),
            (&["Host: localhost.evil.example", &token], 403, "host"),
            (&["Host: 127.0.0.1.evil.example", &token], 403, "host"),
            (&["Host: 203.0.113.7", &token], 403, "host"),
            (&["Host: localhost:x", &token], 403, "host"),
            (&["Host: [::1", &token], 403, "host"),
            (&["Host: ", &token], 403, "host"),
            (&[&*host, &host, &token], 403, "host"),
            (&[&*host, "Origin: http://evil.example", &token], 403, "origin"),
            (&[&*host, "Origin: null", &token], 403, "origin"),
            (&[&*host, &secure, &token], 403, "origin"),
            (&[&*host, &before, &token], 403, "origin"),
            (&[&*host, &port, &token], 403, "origin"),
            (&[&*host, &same, &same, &token], 403, "origin"),
        ] {
            let (found, answer) = house.put(head, "debug").await;
            // What hyper itself refuses comes no further either.
            assert!(found == status || found == 400, "{head:?}: {answer}");
            assert!(found == 400 || answer.contains(&format!(r#""code":"{code}""#)), "{head:?}: {answer}");
            assert_eq!(house.filter(), "at first", "{head:?}");
        }
        for head in [
            &[&*host, &token][..],
            &[&*host, &same, &token],
            &["Host: localhost", &token],
            &["Host: LOCALHOST:8080", "Origin: http://LOCALHOST:8080", &token],
            &["Host: [::1]:8080", &token],
            &["Host: 127.0.0.1", &token],
        ] {
            let filter = format!("session=debug,{}", head.len());
            let (status, answer) = house.put(head, &format!("{filter}\n")).await;
            assert!(status == 200 && answer.contains(&filter), "{head:?}: {answer}");
            assert_eq!(house.filter(), filter);
        }
        let (status, answer) = house.put(&[&host, &token], "wrong").await;
        assert!(status == 400 && answer.contains("that is none"), "{answer}");
        assert_eq!(house.put(&[&host, &token], &"x".repeat(MAX + 1)).await.0, 413);
        // What is open stays so.
        assert!(house.ask("GET /open", &["Host: evil.example"], "").await.contains("200 OK"));
    }

    #[test]
    fn who_listens_everywhere_is_asked_from_here_by_any_address() {
        let data = tempfile::tempdir().unwrap();
        let first = Guard::open(data.path(), "0.0.0.0:5".parse().unwrap()).unwrap();
        let admin = Admin::of(data.path()).unwrap();
        assert_eq!(admin.address, "127.0.0.1:5".parse().unwrap());
        assert!(first.is_here("203.0.113.7:5") && !first.is_here("evil.example"));
        let second = Guard::open(data.path(), "[::]:5".parse().unwrap()).unwrap();
        let other = Admin::of(data.path()).unwrap();
        assert_eq!(other.address, "[::1]:5".parse().unwrap());
        assert_ne!(admin.token, other.token, "a token ends with its process");
        assert!(second.is_here("[2001:db8::1]"));
        fs::write(data.path().join(FILE), "x").unwrap();
        assert_eq!(Admin::of(data.path()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
