//! `[notify.…]` tables of type "email": sender, recipients and server.
use super::walk::{Item, Section};
use crate::domain::{EmailSpec, SmtpTls};

/// Maximum length of an address (RFC 5321, 4.5.3.1.3, with RFC 3696's erratum 1690).
const MAX_ADDRESS_BYTES: usize = 254;

/// Parses the settings of mail. `to`, `from` and `smtp` have been required already.
pub(super) fn email(
    section: &Section<'_>,
    to: Option<Item<'_>>,
    from: Option<Item<'_>>,
    smtp: Option<Item<'_>>,
) -> Option<EmailSpec> {
    let to = to.and_then(recipients);
    let from = from.and_then(address);
    let server = smtp.and_then(server);
    let login = login(section);
    let (host, port) = server?;
    let local = is_local(&host);
    let tls = match section.word("tls") {
        Some(SmtpTls::None) if !local => {
            return section.get("tls")?.refuse_with(
                format!("mail to `{host}` must be encrypted: anybody on the way could read it"),
                "use \"starttls\" or \"implicit\", or a server on this machine".into(),
            );
        }
        Some(tls) => tls,
        None if port == Some(465) => SmtpTls::Implicit,
        None if local => SmtpTls::None,
        None => SmtpTls::StartTls,
    };
    let usual = match tls {
        SmtpTls::Implicit => 465,
        SmtpTls::StartTls => 587,
        SmtpTls::None => 25,
    };
    Some(EmailSpec { to: to?, from: from?, host, port: port.unwrap_or(usual), tls, login })
}

fn recipients(item: Item<'_>) -> Option<Vec<String>> {
    if item.value.get_ref().as_array().is_none() {
        return address(item).map(|one| vec![one]);
    }
    let items = item.items()?;
    if items.is_empty() {
        return item.refuse("`to` is empty".into());
    }
    // All of them, so that all errors are found.
    let found: Vec<Option<String>> = items.into_iter().map(address).collect();
    found.into_iter().collect()
}

/// Parses an address that can't be mistaken for anything else wherever it is used.
fn address(item: Item<'_>) -> Option<String> {
    let text = item.text()?;
    let hint = || "such as \"ops@example.org\", without a name and without brackets".to_owned();
    let odd = |c: char| !c.is_ascii_graphic() || "<>()[]\\,;:\"".contains(c);
    let whole = text.rsplit_once('@').is_some_and(|(name, host)| {
        !name.is_empty() && !name.contains('@') && !host.is_empty() && !host.starts_with(['.', '-'])
    });
    if !whole || text.len() > MAX_ADDRESS_BYTES || text.contains(odd) {
        return item.refuse_with(format!("{text:?} is not an address of a mailbox"), hint());
    }
    Some(text.to_owned())
}

fn server(item: Item<'_>) -> Option<(String, Option<u16>)> {
    let text = item.text()?;
    let bad = || {
        item.refuse_with(
            format!("{text:?} names no mail server"),
            "such as \"smtp.example.org\" or \"localhost:25\"".into(),
        )
    };
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').unwrap_or("?"))),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let ip = host.parse::<std::net::IpAddr>().is_ok();
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if host.is_empty() || !(ip || host.chars().all(named)) {
        return bad();
    }
    match port.map(str::parse::<u16>) {
        None => Some((host.to_owned(), None)),
        Some(Ok(port)) if port > 0 => Some((host.to_owned(), Some(port))),
        Some(_) => bad(),
    }
}

fn is_local(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn login(section: &Section<'_>) -> Option<(crate::domain::TextOrSecret, crate::domain::SecretRef)> {
    let (username, password) = (section.get("username"), section.get("password"));
    match (username, password) {
        (Some(username), Some(password)) => Some((username.text_or_secret()?, password.secret()?)),
        (Some(alone), None) | (None, Some(alone)) => {
            alone.refuse("`username` and `password` belong together".into())
        }
        (None, None) => None,
    }
}
