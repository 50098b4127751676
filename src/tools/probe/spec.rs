//! The checks of a probe, ready to run: with unique names, and with defaults filled in. The same defaults
//! apply to a configured probe and to one that is called by hand.
use super::level::Thresholds;
use crate::domain::{DiskMetric, HttpMethod, ProbeCheck, ProbeTarget, WebCheck};
use jiff::SignedDuration;
use reqwest::Url;
use reqwest::header::HeaderName;
use std::collections::HashSet;
use std::time::Duration;

/// One check, complete.
#[derive(Debug)]
pub(super) struct Check {
    /// Unique in the probe; the key of its finding.
    pub(super) name: String,
    /// What its titles are about.
    pub(super) subject: String,
    pub(super) target: ProbeTarget,
    pub(super) thresholds: Thresholds,
    /// How long it must be bad before that becomes an incident.
    pub(super) hold_for: SignedDuration,
    pub(super) timeout: Duration,
}

/// Completes the checks with defaults and unique names.
///
/// # Errors
/// A sentence that names the invalid check, and why it is invalid.
pub(super) fn complete(written: &[ProbeCheck]) -> Result<Vec<Check>, String> {
    let mut taken = HashSet::new();
    let mut checks = Vec::with_capacity(written.len());
    for (at, check) in written.iter().enumerate() {
        let mut check = Check::of(check).map_err(|error| format!("`checks[{at}]`: {error}"))?;
        let base = check.name.clone();
        let mut count = 1;
        while !taken.insert(check.name.clone()) {
            count += 1;
            check.name = format!("{base}#{count}");
        }
        checks.push(check);
    }
    Ok(checks)
}

impl Check {
    fn of(written: &ProbeCheck) -> Result<Self, String> {
        let ProbeCheck { name, warn, crit, clear, hold_for, timeout, target } = written;
        if let ProbeTarget::Http(web) = target {
            can_be_asked(web)?;
        }
        let subject = subject(target)?;
        let name = name.clone().filter(|name| !name.is_empty());
        Ok(Self {
            name: name.unwrap_or_else(|| default_name(target, &subject)),
            subject,
            target: target.clone(),
            thresholds: Thresholds::new(*warn, *crit, *clear, target.kind().thresholds())?,
            hold_for: hold_for.unwrap_or(SignedDuration::ZERO),
            timeout: timeout.unwrap_or(ProbeCheck::TIMEOUT).unsigned_abs(),
        })
    }
}

/// Returns what a title is about.
fn subject(target: &ProbeTarget) -> Result<String, String> {
    Ok(match target {
        ProbeTarget::Disk { path, .. } => path.display().to_string(),
        ProbeTarget::Memory => "memory".into(),
        ProbeTarget::Load => "load".into(),
        ProbeTarget::Http(web) => shown(&address(&web.url)?),
        ProbeTarget::Tcp { host, port } => host_and_port(bare(host), *port),
        ProbeTarget::Process { name, .. } => name.clone(),
        ProbeTarget::Systemd { unit, .. } => unit.clone(),
        ProbeTarget::Command { argv, .. } => format!("`{}`", first_word(argv)),
    })
}

/// Returns the name of a check that has none of its own.
fn default_name(target: &ProbeTarget, subject: &str) -> String {
    let kind = target.kind();
    match target {
        ProbeTarget::Disk { metric: Some(DiskMetric::Inodes), .. } => format!("{kind}:{subject}:inodes"),
        ProbeTarget::Memory | ProbeTarget::Load => kind.to_string(),
        ProbeTarget::Command { argv, .. } => format!("{kind}:{}", first_word(argv)),
        _ => format!("{kind}:{subject}"),
    }
}

/// Formats an address without parts that may be secret: user, password, query.
pub(super) fn shown(url: &Url) -> String {
    format!("{}{}", crate::net::origin(url), url.path())
}

/// Returns a host as used for connecting: an IPv6 address without its brackets.
pub(super) fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

pub(super) fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Returns `check.sh` for `["./check.sh", "--fast"]` as it is typed, and the first word of a shell's script.
fn first_word(argv: &[String]) -> &str {
    match argv {
        [shell, flag, script] if shell == "/bin/sh" && flag == "-c" => {
            script.split_whitespace().next().unwrap_or(shell)
        }
        [first, ..] => first,
        [] => "",
    }
}

/// Checks that a request can be made from the settings.
fn can_be_asked(web: &WebCheck) -> Result<(), String> {
    let url = address(&web.url)?;
    if let Some(name) = web.headers.keys().find(|name| name.parse::<HeaderName>().is_err()) {
        return Err(format!("`{name}` can't name a header"));
    }
    let texts = [("contains", &web.contains), ("not_contains", &web.not_contains)];
    if let (Some(HttpMethod::Head), Some((key, _))) =
        (web.method, texts.iter().find(|(_, text)| text.is_some()))
    {
        return Err(format!("an answer to HEAD has no body, so `{key}` can't be judged"));
    }
    if web.tls_days.is_some() && url.scheme() != "https" {
        return Err("`tls_days` needs an https:// address".into());
    }
    Ok(())
}

/// Parses the address of a check.
pub(super) fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("`url` is not an address: {error}"))?;
    if matches!(url.scheme(), "http" | "https") {
        Ok(url)
    } else {
        Err("`url` must begin with http:// or https://".into())
    }
}
