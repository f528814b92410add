//! Pages for people, as this program serves them.

use axum::{
    http::header,
    response::{Html, IntoResponse, Response},
};

/// A page that asks nobody but its own server, and is framed by nobody.
#[must_use]
pub fn page(markup: &'static str) -> Response {
    let policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
                  img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, Html(markup)).into_response()
}
