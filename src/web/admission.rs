//! Admission to the page: by the name in `Host`, a one-time link, a cookie, and the origin of a request.
//!
//! A page on loopback can be reached by every site that is open in the browser, so the address alone grants nothing.
//! Cookies don't distinguish ports (RFC 6265, section 8.5): the page has a host name of its own, so that no other
//! server on loopback receives its cookie.
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;

/// How long a link is valid.
const LINK_LIFETIME: Duration = Duration::from_secs(120);

/// Content security policy of the page: only its own resources.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types bgagent";

/// The secrets of one start of the page.
pub(super) struct Admission {
    name: String,
    port: u16,
    /// The required value of the cookie.
    cookie: String,
    /// The required token of each form.
    pub(super) form: String,
    /// The latest link, until it is used.
    link: Mutex<Option<(String, Instant)>>,
}

impl Admission {
    pub(super) fn new(port: u16) -> Self {
        Self {
            name: format!("bgagent-{}.localhost", &secret()[..6]),
            port,
            cookie: secret(),
            form: secret(),
            link: Mutex::new(None),
        }
    }

    /// Creates a link, under the page's host name and under the IP address, and invalidates the one before.
    pub(super) fn new_link(&self) -> (String, String) {
        let token = secret();
        let urls = (
            format!("http://{}:{}/open?t={token}", self.name, self.port),
            format!("http://127.0.0.1:{}/open?t={token}", self.port),
        );
        *self.link.lock().expect("no holder panics") = Some((token, Instant::now()));
        urls
    }

    /// Redeems a link.
    fn redeem_link(&self, token: &str) -> bool {
        let mut link = self.link.lock().expect("no holder panics");
        let fits = link.as_ref().is_some_and(|(known, made)| {
            made.elapsed() < LINK_LIFETIME && bool::from(known.as_bytes().ct_eq(token.as_bytes()))
        });
        if fits {
            *link = None;
        }
        fits
    }

    /// Returns whether it is one of the page's three host names.
    fn is_own_host(&self, host: &str) -> bool {
        let Some((name, port)) = host.rsplit_once(':') else { return false };
        port == self.port.to_string() && (name == self.name || name == "127.0.0.1" || name == "localhost")
    }

    fn is_own_origin(&self, origin: &str) -> bool {
        origin
            .strip_prefix("http://")
            .is_some_and(|host| self.is_own_host(host.split('/').next().unwrap_or("")))
    }

    /// Returns whether the request has our cookie.
    fn has_cookie(&self, headers: &HeaderMap) -> bool {
        let names = ["__Host-bgagent".to_owned(), self.plain_cookie()];
        let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        all.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('=')).any(
            |(name, value)| {
                names.iter().any(|known| known == name)
                    && bool::from(value.as_bytes().ct_eq(self.cookie.as_bytes()))
            },
        )
    }

    /// For browsers that accept no `Secure` cookie over plain HTTP.
    fn plain_cookie(&self) -> String {
        format!("bgagent-{}", self.port)
    }

    /// Returns whether the request comes from the page itself or from user navigation.
    fn is_from_here(&self, headers: &HeaderMap) -> bool {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        match text("sec-fetch-site") {
            Some(site) => site == "same-origin" || site == "none",
            // an old browser, or a program: then the origin that it states must be ours
            None => {
                [text("origin"), text("referer")].into_iter().flatten().all(|from| self.is_own_origin(from))
            }
        }
    }

    /// Returns whether a request that changes something states its origin: ours by name, or, if an extension or a
    /// setting of the browser hides the name, by a header that no page can set (Fetch Metadata, section 2).
    fn states_own_origin(&self, headers: &HeaderMap) -> bool {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        match text("origin") {
            None | Some("null") => text("sec-fetch-site") == Some("same-origin"),
            Some(origin) => self.is_own_origin(origin),
        }
    }

    /// Returns the status with which a request is refused, if it is.
    pub(super) fn refuses(&self, method: &Method, path: &str, headers: &HeaderMap) -> Option<StatusCode> {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        // prevents DNS rebinding: any other name that resolves to us is refused
        if !text(header::HOST).is_some_and(|host| self.is_own_host(host)) {
            return Some(StatusCode::MISDIRECTED_REQUEST);
        }
        if ![Method::GET, Method::HEAD, Method::POST].contains(method) {
            return Some(StatusCode::METHOD_NOT_ALLOWED);
        }
        if path == "/open" {
            return None;
        }
        if !self.has_cookie(headers) {
            return Some(StatusCode::UNAUTHORIZED);
        }
        let comes_from_here =
            self.is_from_here(headers) && (*method != Method::POST || self.states_own_origin(headers));
        (!comes_from_here).then_some(StatusCode::FORBIDDEN)
    }

    /// Answers a link with the cookie and a page that leads on. A redirect would not work: browsers don't send a strict
    /// cookie when the navigation began on another site.
    pub(super) fn open(&self, query: &str) -> Response {
        let token = query.split('&').find_map(|pair| pair.strip_prefix("t=")).unwrap_or_default();
        if !self.redeem_link(token) {
            return refused(StatusCode::UNAUTHORIZED);
        }
        let page = "<!doctype html><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"0;url=/\"><title>bgagent</title>\
                    <p><a href=\"/\">To the page</a></p>";
        let mut response =
            (StatusCode::OK, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response();
        let rest = format!("{}; Path=/; HttpOnly; SameSite=Strict", self.cookie);
        for cookie in [format!("__Host-bgagent={rest}; Secure"), format!("{}={rest}", self.plain_cookie())] {
            if let Ok(value) = HeaderValue::from_str(&cookie) {
                response.headers_mut().append(header::SET_COOKIE, value);
            }
        }
        response
    }
}

/// Returns 256 random bits in hexadecimal digits.
fn secret() -> String {
    format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple())
}

pub(super) fn protect(headers: &mut HeaderMap, is_static: bool) {
    let cache = if is_static { "private, max-age=31536000, immutable" } else { "no-store" };
    for (name, value) in [
        ("content-security-policy", POLICY),
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        // without a referrer, browsers send `Origin: null` with our own forms (Fetch, "append a request `Origin` header")
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("permissions-policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
        ("cache-control", cache),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}

pub(super) fn refused(status: StatusCode) -> Response {
    let text = match status {
        StatusCode::UNAUTHORIZED => {
            "This page opens with the link that `bgagent ui` prints. Each link works once, within two minutes; Enter there prints another one.\n"
        }
        StatusCode::FORBIDDEN => "This came from another site.\n",
        // a request under another name learns nothing
        _ => "",
    };
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

#[cfg(test)]
mod tests {
    //! Tests of admission.
    use super::*;

    fn headers(all: &[(&str, &str)]) -> HeaderMap {
        all.iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn only_our_names_with_our_cookie_from_here_get_in() {
        let admission = Admission::new(4711);
        let host = format!("{}:4711", admission.name);
        let cookie = format!("x=1; __Host-bgagent={}", admission.cookie);
        let plain = format!("bgagent-4711={}", admission.cookie);
        let try_get =
            |all: &[(&str, &str)]| admission.refuses(&Method::GET, "/", &headers(all)).map(|it| it.as_u16());
        for (all, refused) in [
            (vec![("host", host.as_str()), ("cookie", &cookie)], None),
            (vec![("host", "127.0.0.1:4711"), ("cookie", &plain)], None),
            (vec![("host", "localhost:4711"), ("cookie", &cookie), ("sec-fetch-site", "none")], None),
            (vec![("cookie", cookie.as_str())], Some(421)),
            (vec![("host", "evil.example:4711"), ("cookie", &cookie)], Some(421)),
            (vec![("host", "127.0.0.1:4712"), ("cookie", &cookie)], Some(421)),
            (vec![("host", "127.0.0.1"), ("cookie", &cookie)], Some(421)),
            (vec![("host", host.as_str())], Some(401)),
            (vec![("host", host.as_str()), ("cookie", "__Host-bgagent=")], Some(401)),
            (vec![("host", host.as_str()), ("cookie", "bgagent-4711=00")], Some(401)),
            (vec![("host", host.as_str()), ("cookie", &cookie), ("sec-fetch-site", "cross-site")], Some(403)),
            (vec![("host", host.as_str()), ("cookie", &cookie), ("sec-fetch-site", "same-site")], Some(403)),
            (
                vec![("host", host.as_str()), ("cookie", &cookie), ("origin", "http://evil.example")],
                Some(403),
            ),
            (
                vec![("host", host.as_str()), ("cookie", &cookie), ("referer", "http://127.0.0.1:9/x")],
                Some(403),
            ),
        ] {
            assert_eq!(try_get(&all), refused, "{all:?}");
        }
        let origin = format!("http://{host}");
        let post = |all: &[(&str, &str)]| {
            admission.refuses(&Method::POST, "/act", &headers(all)).map(|it| it.as_u16())
        };
        assert_eq!(post(&[("host", &host), ("cookie", &cookie), ("origin", &origin)]), None);
        assert_eq!(
            post(&[("host", &host), ("cookie", &cookie)]),
            Some(403),
            "a post says where it comes from"
        );
        assert_eq!(post(&[("host", &host), ("cookie", &cookie), ("origin", "null")]), Some(403));
        for (origin, site, refused) in [
            (Some("null"), "same-origin", None),
            (None, "same-origin", None),
            (Some(origin.as_str()), "same-origin", None),
            (Some("null"), "cross-site", Some(403)),
            (Some("null"), "same-site", Some(403)),
            (Some("null"), "none", Some(403)),
            (Some("http://evil.example"), "same-origin", Some(403)),
        ] {
            let mut all = vec![("host", host.as_str()), ("cookie", &cookie), ("sec-fetch-site", site)];
            all.extend(origin.map(|origin| ("origin", origin)));
            assert_eq!(post(&all), refused, "{all:?}");
        }
        let options =
            admission.refuses(&Method::OPTIONS, "/", &headers(&[("host", &host), ("cookie", &cookie)]));
        assert_eq!(options, Some(StatusCode::METHOD_NOT_ALLOWED));
    }

    #[test]
    fn a_link_works_once() {
        let admission = Admission::new(1);
        let (first, _) = admission.new_link();
        let (own, plain) = admission.new_link();
        let token = |url: &str| url.split_once("?t=").unwrap().1.to_owned();
        assert_eq!((token(&own), token(&own).len()), (token(&plain), 64));
        assert!(!admission.redeem_link(&token(&first)), "there is a newer one");
        assert!(!admission.redeem_link(""));
        assert!(admission.redeem_link(&token(&own)));
        assert!(!admission.redeem_link(&token(&own)), "it was used");
    }
}
