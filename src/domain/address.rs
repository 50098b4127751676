//! Addresses in the configuration that stay allowed whatever a run has read.
use url::Url;

/// Returns whether an entry of `sinks` is an address rather than a tool.
pub fn is_address(text: &str) -> bool {
    let starts =
        |scheme: &str| text.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme));
    starts("http://") || starts("https://")
}

/// An address in `sinks`: complete, or with a trailing `*` that matches any continuation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressPattern {
    url: Url,
    is_open: bool,
}

impl AddressPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// The message says what is wrong: no host, a `*` that is not at the end or is in the host, a login, a
    /// fragment.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (body, is_open) = text.strip_suffix('*').map_or((text, false), |body| (body, true));
        if body.contains('*') {
            return Err("a `*` may only be the end of an address".into());
        }
        let behind_scheme = body.split_once("://").map_or("", |(_, rest)| rest);
        if is_open && !behind_scheme.contains('/') {
            return Err(format!("a `*` may not stand in the host: write \"{body}/*\""));
        }
        let url = Url::parse(body).map_err(|error| error.to_string())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("it must begin with https:// or http://".into());
        }
        if has_login(&url) {
            return Err("an address has no login: name the host alone".into());
        }
        if url.fragment().is_some() {
            return Err("what stands behind `#` is never sent: leave it out".into());
        }
        Ok(Self { url, is_open })
    }

    /// Returns whether the pattern matches this address.
    pub fn fits(&self, text: &str) -> bool {
        let Ok(url) = Url::parse(text) else { return false };
        let same_host = self.url.scheme() == url.scheme()
            && self.url.host() == url.host()
            && self.url.port_or_known_default() == url.port_or_known_default();
        let (own, other) = (behind_host(&self.url), behind_host(&url));
        let fits = match other.strip_prefix(&own) {
            Some(rest) if self.is_open => self.is_whole_host() || !may_leave_prefix(path_of(&url, rest)),
            rest => rest == Some(""),
        };
        same_host && !has_login(&url) && fits
    }

    /// Returns whether the pattern covers the whole host, so that no path can leave it.
    fn is_whole_host(&self) -> bool {
        self.url.path() == "/" && self.url.query().is_none()
    }
}

/// Returns the part of `rest`, which follows a pattern, that still belongs to the path.
fn path_of<'t>(url: &Url, rest: &'t str) -> &'t str {
    match url.query() {
        Some(query) if rest.len() > query.len() => &rest[..rest.len() - query.len() - 1],
        Some(_) => "",
        None => rest,
    }
}

/// Returns whether a server could interpret this end of a path as leading out of its prefix. Some decode `%`
/// sequences, before or after they look for `..`, and more than once; to others what follows a `;` is not part of a
/// name.
fn may_leave_prefix(path: &str) -> bool {
    /// `%0` and `%1` begin the control characters.
    const DECODED_SEQUENCES: [&str; 8] = ["%2f", "%5c", "%2e", "%25", "%3b", "%0", "%1", "%7f"];
    let lower = path.to_ascii_lowercase();
    path.contains([';', '\\']) || DECODED_SEQUENCES.iter().any(|word| lower.contains(word))
}

fn has_login(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn behind_host(url: &Url) -> String {
    let query = url.query().map(|query| format!("?{query}"));
    format!("{}{}", url.path(), query.unwrap_or_default())
}

/// Returns the complete addresses in a text of the configuration. Those with a placeholder are left out.
pub fn addresses_in(text: &str) -> Vec<String> {
    let is_border = |c: char| c.is_whitespace() || "\"'`<>()[]".contains(c);
    let words = text.split(is_border).map(|word| word.trim_end_matches(['.', ',', ';', ':', '!', '?']));
    words.filter(|word| is_address(word) && !word.contains(['{', '}'])).map(str::to_owned).collect()
}

/// Returns whether the configuration contains this complete address.
pub fn is_named(named: &[String], address: &str) -> bool {
    named.iter().any(|one| AddressPattern::parse(one).is_ok_and(|one| !one.is_open && one.fits(address)))
}

/// Returns the pattern for the whole host of an address, as an entry of `sinks`. `None`: there is no host.
pub fn host_pattern(address: &str) -> Option<String> {
    let url = Url::parse(address).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    url.has_host().then(|| format!("{}/*", url.origin().ascii_serialization()))
}

#[cfg(test)]
mod tests {
    //! Tests of what an address in the configuration stands for.
    use super::*;

    #[test]
    fn an_address_means_itself_and_with_a_star_what_begins_like_it() {
        let cases = [
            ("https://a.example/x", "https://a.example/x", true),
            ("https://a.example/x", "HTTPS://A.example:443/x#part", true),
            ("https://a.example/x", "https://a.example/x?d=secret", false),
            ("https://a.example/x", "https://a.example/x/y", false),
            ("https://a.example/x", "http://a.example/x", false),
            ("https://a.example/*", "https://a.example/x?d=1", true),
            ("https://a.example/*", "https://a.example.evil.example/x", false),
            ("https://a.example/*", "https://a.example:8443/x", false),
            ("https://a.example/*", "https://user:word@a.example/x", false),
            ("https://a.example/*", "https://a.example@evil.example/x", false),
            ("https://a.example/in/*", "https://a.example/in/%2e%2e/out", false),
            ("https://a.example/in/*", "https://a.example/in/../out", false),
            ("https://a.example/?q=*", "https://a.example/?q=x&d=1", true),
            ("https://a.example/in/*", "https://a.example/in/%2E%2E%2Fout", false),
            ("https://a.example/in/*", "https://a.example/in/..%2fout", false),
            ("https://a.example/in/*", "https://a.example/in/..%5cout", false),
            ("https://a.example/in/*", "https://a.example/in/%252e%252e/out", false),
            ("https://a.example/in/*", "https://a.example/in/..;/out", false),
            ("https://a.example/in/*", "https://a.example/in/..%3B/out", false),
            ("https://a.example/in/*", "https://a.example/in/a%00b", false),
            ("https://a.example/in/*", "https://a.example/in/a%20b/%C3%A9", true),
            ("https://a.example/in/*", "https://a.example/in/x?d=..%2fout;%252e", true),
            ("https://a.example/in?q=*", "https://a.example/in?q=a%2fb;c", true),
            ("https://a.example/*", "https://a.example/x;y/%2e%2e%2f", true),
            ("https://a.example/in/%2f*", "https://a.example/in/%2fx", true),
            ("https://a.example/in", "https://a.example/in", true),
            ("https://a.example/*", "no address", false),
        ];
        for (pattern, address, fits) in cases {
            assert_eq!(AddressPattern::parse(pattern).unwrap().fits(address), fits, "{pattern} {address}");
        }
        for wrong in [
            "https://",
            "https://*",
            "https://a*",
            "https://*.example/",
            "https://a/*/b",
            "ftp://a/",
            "https://u@a/",
        ] {
            assert!(AddressPattern::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn whole_addresses_of_a_text_are_named() {
        let text =
            "Read https://a.example/status, then <http://b.example/x?y=1>. Not https://c.example/{event.id}.";
        let named = addresses_in(text);
        assert_eq!(named, ["https://a.example/status", "http://b.example/x?y=1"]);
        assert!(
            is_named(&named, "https://a.example/status") && is_named(&named, "http://b.example/x?y=1#top")
        );
        assert!(!is_named(&named, "https://a.example/status?d=1") && !is_named(&named, "https://c.example/"));
        assert!(!is_named(&["https://a.example/*".to_owned()], "https://a.example/x"), "a star is for sinks");
    }

    #[test]
    fn the_whole_host_is_what_would_allow_an_address() {
        assert_eq!(host_pattern("https://A.example/x?d=1").as_deref(), Some("https://a.example/*"));
        assert_eq!(host_pattern("http://u:p@127.0.0.1:80/").as_deref(), Some("http://127.0.0.1/*"));
        assert_eq!(host_pattern("http://[::1]:8080/").as_deref(), Some("http://[::1]:8080/*"));
        assert_eq!((host_pattern("x"), host_pattern("file:///etc/passwd")), (None, None));
    }
}
