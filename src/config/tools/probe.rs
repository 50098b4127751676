//! Settings and arguments of `probe`: its checks.
use crate::config::keys::{Key, Kind, SANDBOX, key};
use crate::config::programs::{self, Argument, ArgumentContent};
use crate::config::sandbox;
use crate::config::values::{is_this_machine, url};
use crate::config::walk::{Item, Section};
use crate::domain::{
    DiskMetric, HttpMethod, ProbeCheck, ProbeSettings, ProbeTarget, ProbeType, TextOrSecret, ToolKind,
    WebCheck,
};
use std::path::Path;

pub(in crate::config) const KEYS: &[Key] =
    &[key("type", Kind::Word(&[ToolKind::Probe.as_str()]), "the built-in tool"), ARGS[0]];
const ARGS: &[Key] =
    &[key("checks", Kind::Tables(CHECK), "what every call checks; without it, callers name the checks")];
pub(in crate::config) const CHECK: &[Key] = &[
    key("type", Kind::Word(ProbeType::WORDS), "what is checked"),
    key("name", Kind::Text, "key of the incident; default: derived from what is checked"),
    key("warn", Kind::Number, "a warning from this value on"),
    key("crit", Kind::Number, "critical from this value on"),
    key("clear", Kind::Number, "good again from this value on; default: that of warn"),
    key("for", Kind::Duration, "how long it must be bad before it counts; default 0"),
    key("timeout", Kind::Duration, "of this check; default {}s")
        .with(&[ProbeCheck::TIMEOUT.as_secs().unsigned_abs()]),
    key("path", Kind::Text, "disk: a path on the file system"),
    key("metric", Kind::Word(DiskMetric::WORDS), "disk: what is measured, in percent; default used"),
    key(
        "mounted",
        Kind::Flag,
        "disk: true: something must be mounted there, false: nothing need be; default: as it was, or as /etc/fstab says",
    ),
    key("url", Kind::Text, "http: what is fetched"),
    key("method", Kind::Word(HttpMethod::WORDS), "http: default GET"),
    key("headers", Kind::Texts2, "http: sent along; with a secret among them, redirects are not followed"),
    key("status", Kind::Any, "http: a status or a list"),
    key("contains", Kind::Text, "http: the body has this text"),
    key("not_contains", Kind::Text, "http: the body does not have this text"),
    key("tls_days", Kind::Whole, "http: a warning when the certificate is good for fewer days"),
    key("host", Kind::Text, "tcp: host"),
    key("port", Kind::Whole, "tcp: port"),
    key(
        "process",
        Kind::Text,
        "process: its name or its script's; with a blank or slash: a part of the command line",
    ),
    key("min", Kind::Whole, "process: at least this many"),
    key("unit", Kind::Text, "systemd: the unit"),
    key("user", Kind::Flag, "systemd: of the user's manager"),
    key("command", Kind::Command, "command: exit 0 is good, 1 a warning, else critical"),
    key("sandbox", Kind::FlagOr(SANDBOX), "command: a sandbox around it; default false"),
];

/// Keys of every check.
const COMMON_KEYS: &[&str] = &["type", "name", "for", "timeout"];
/// Keys of a check whose value is a number.
const THRESHOLD_KEYS: &[&str] = &["warn", "crit", "clear"];

/// Parses a table; `None` if it does not fix what is checked.
pub(in crate::config) fn settings(section: &Section<'_>) -> Option<ProbeSettings> {
    match section.get("checks") {
        Some(list) => Some(checks(list).unwrap_or_default()),
        // If the key is misspelled here, calls without `checks` are not reported.
        None => section.misspelled.contains(&"checks").then(ProbeSettings::default),
    }
}

/// Parses the arguments of a call.
pub(in crate::config) fn args(item: Item<'_>) -> Option<ProbeSettings> {
    let section = item.section(ARGS)?;
    let Some(list) = section.get("checks") else {
        if section.misspelled.contains(&"checks") {
            return None;
        }
        return item.refuse_with(
            "`probe` needs `checks`".into(),
            "checks = [{ type = \"disk\", path = \"/\" }]".into(),
        );
    };
    checks(list)
}

fn checks(list: Item<'_>) -> Option<ProbeSettings> {
    let items = list.items()?;
    if items.is_empty() {
        return list.refuse("`checks` is empty".into());
    }
    Some(ProbeSettings { checks: items.into_iter().filter_map(check).collect() })
}

fn check(item: Item<'_>) -> Option<ProbeCheck> {
    let section = item.section(CHECK)?;
    let Some(kind) = section.get("type") else {
        return section.missing(
            &["type"],
            "a check needs `type`".into(),
            Some(format!("one of {}", ProbeType::WORDS.join(", "))),
        );
    };
    let kind: ProbeType = kind.word()?;
    for name in section.table.keys() {
        let text = name.get_ref().as_ref();
        let bounds = if kind.has_value() { THRESHOLD_KEYS } else { &[] };
        let is_known =
            [COMMON_KEYS, bounds].concat().contains(&text) || kind.keys().any(|(key, _)| key == text);
        if !is_known && CHECK.iter().any(|key| key.name == text) {
            let message = format!("`{text}` is not for a check of type \"{kind}\"");
            item.file.error(Some(name.span()), message, None);
        }
    }
    let [warn, crit, clear] = thresholds(&section);
    Some(ProbeCheck {
        name: section.text("name").map(str::to_owned),
        warn,
        crit,
        clear,
        hold_for: section.duration("for"),
        timeout: section.positive("timeout"),
        target: target(item, &section, kind)?,
    })
}

fn target(item: Item<'_>, section: &Section<'_>, kind: ProbeType) -> Option<ProbeTarget> {
    let needs = |name: &'static str| {
        let found = section.get(name);
        if found.is_none() {
            section.missing::<()>(&[name], format!("a check of type \"{kind}\" needs `{name}`"), None);
        }
        found
    };
    let text = |name: &'static str| {
        let item = needs(name)?;
        match item.text()? {
            "" => item.refuse(format!("`{name}` is empty")),
            text => Some(text.to_owned()),
        }
    };
    Some(match kind {
        ProbeType::Disk => {
            let path = needs("path")?;
            ProbeTarget::Disk {
                path: item.file.expand(path.text()?, path.span()),
                metric: section.word::<DiskMetric>("metric"),
                mounted: section.flag("mounted"),
            }
        }
        ProbeType::Http => ProbeTarget::Http(Box::new(web(section, url(needs("url")?)?)?)),
        ProbeType::Tcp => {
            let (host, port) = (text("host")?, needs("port")?);
            match u16::try_from(port.whole(1)?) {
                Ok(number) => ProbeTarget::Tcp { host, port: number },
                Err(_) => return port.refuse("a port is a number from 1 to 65535".into()),
            }
        }
        ProbeType::Process => ProbeTarget::Process { name: text("process")?, min: section.whole("min", 0) },
        ProbeType::Systemd => ProbeTarget::Systemd { unit: text("unit")?, user: section.flag("user") },
        ProbeType::Command => {
            let command = needs("command")?;
            let argv = command.command()?;
            if runs_placeholder(command, &argv) {
                return command.refuse_with(
                    "what an event or a gate says would be run as a program here".into(),
                    "hand it over as an argument: command = [\"./check.sh\", \"{event.payload.title}\"]"
                        .into(),
                );
            }
            ProbeTarget::Command { argv, sandbox: sandbox::setting(section).if_asked() }
        }
        ProbeType::Memory => ProbeTarget::Memory,
        ProbeType::Load => ProbeTarget::Load,
    })
}

/// Returns whether a placeholder would be run: as the program itself, or as part of what an interpreter or a
/// launcher runs.
fn runs_placeholder(item: Item<'_>, argv: &[String]) -> bool {
    let holds = |text: &str| {
        let has_placeholder = text.contains("{event") || text.contains("{gate");
        if has_placeholder { ArgumentContent::Anything } else { ArgumentContent::Text }
    };
    let words: Vec<Argument<'_>> = argv.iter().map(|text| (text.as_str(), holds(text))).collect();
    let real = argv.first().and_then(|program| (item.file.context.real)(Path::new(program)).ok());
    programs::first_run_argument(&words, real.as_deref().and_then(Path::to_str)).is_some()
}

/// Parses how an address is requested, and what its answer must be.
fn web(section: &Section<'_>, address: String) -> Option<WebCheck> {
    let is_plain = !address.to_ascii_lowercase().starts_with("https://");
    let method = section.word::<HttpMethod>("method");
    let text = |key: &'static str| {
        let (text, item) = (section.text(key)?, section.get(key)?);
        if method == Some(HttpMethod::Head) {
            item.refuse::<()>(format!("an answer to HEAD has no body, so `{key}` can't be judged"));
        }
        Some(text.to_owned())
    };
    let tls_days = section.whole("tls_days", 1);
    if let (Some(_), Some(item), true) = (tls_days, section.get("tls_days"), is_plain) {
        item.refuse::<()>("`tls_days` needs an https:// address".into());
    }
    let headers = section.headers();
    let has_secret = headers.values().any(TextOrSecret::is_secret);
    if has_secret
        && is_plain
        && !address.contains('{')
        && !is_this_machine(&address)
        && let Some(item) = section.get("url")
    {
        item.refuse_with::<()>(
            "a secret among the `headers` would go over plain HTTP, and everybody on the way could read it"
                .into(),
            "write https://, or ask without the secret".into(),
        );
    }
    Some(WebCheck {
        url: address,
        method,
        headers,
        contains: text("contains"),
        not_contains: text("not_contains"),
        tls_days,
        status: match section.get("status") {
            Some(status) => Some(statuses(status)?),
            None => None,
        },
    })
}

/// Parses a status, or a list of statuses.
fn statuses(item: Item<'_>) -> Option<Vec<u16>> {
    let one = |item: Item<'_>| {
        let code = u16::try_from(item.whole(100)?).ok().filter(|code| *code <= 599);
        code.or_else(|| item.refuse("a status is a number from 100 to 599".into()))
    };
    match item.value.get_ref().as_array() {
        Some(_) => item.items()?.into_iter().map(one).collect(),
        None => Some(vec![one(item)?]),
    }
}

/// Parses `warn`, `crit` and `clear`.
fn thresholds(section: &Section<'_>) -> [Option<f64>; 3] {
    let [warn, crit, clear] = ["warn", "crit", "clear"].map(|name| section.number(name));
    if let (Some(warn), Some(crit), Some(item)) = (warn, crit, section.get("crit"))
        && crit < warn
    {
        item.refuse_with::<()>(
            "`crit` must not be below `warn`".into(),
            "`warn` is reached first, then `crit`".into(),
        );
    }
    if let (Some(warn), Some(clear), Some(item)) = (warn, clear, section.get("clear"))
        && clear > warn
    {
        item.refuse_with::<()>(
            "`clear` must not be above `warn`".into(),
            "a problem ends when the value falls to `clear`".into(),
        );
    }
    [warn, crit, clear]
}
