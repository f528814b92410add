//! Pages for people, as this program serves them.

use axum::{
    body::Body,
    http::header,
    response::{Html, IntoResponse, Response},
};

/// A page that asks nobody but its own server, and is framed by nobody.
#[must_use]
pub fn page(markup: impl Into<Body>) -> Response {
    let policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
                  img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    let markup: Body = markup.into();
    (headers, Html(markup)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_framed_by_nobody_whether_it_was_written_or_made() {
        for answer in [page("<p>"), page("<p>".to_owned())] {
            let header = |name: header::HeaderName| answer.headers()[name].to_str().unwrap();
            let policy = header(header::CONTENT_SECURITY_POLICY);
            assert!(policy.starts_with("default-src 'none';") && policy.ends_with("frame-ancestors 'none'"));
            assert_eq!(header(header::X_CONTENT_TYPE_OPTIONS), "nosniff");
            assert_eq!(header(header::CONTENT_TYPE), "text/html; charset=utf-8");
        }
    }
}
