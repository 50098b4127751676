//! The checks of a probe: from JSON to what is to be done, with all defaults. The same defaults hold
//! for a configured probe and for one that is called by hand.
use super::level::Thresholds;
use crate::domain::TextOrSecret;
use jiff::SignedDuration;
use reqwest::header::HeaderName;
use reqwest::{Method, Url};
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

/// One check, complete.
#[derive(Debug)]
pub(super) struct Check {
    /// Unique in the probe; the key of its finding.
    pub(super) name: String,
    pub(super) what: What,
    pub(super) thresholds: Thresholds,
    /// How long it must be bad before that is an incident.
    pub(super) hold_for: SignedDuration,
    pub(super) timeout: Duration,
}

/// What is checked.
#[derive(Debug)]
pub(super) enum What {
    Disk {
        path: PathBuf,
        metric: Metric,
        /// Whether something must be mounted there; `None`: as it was before.
        mounted: Option<bool>,
    },
    Memory,
    Load,
    Http(Box<Web>),
    Tcp {
        host: String,
        port: u16,
    },
    Process {
        name: String,
        min: u64,
    },
    Systemd {
        unit: String,
        user: bool,
    },
    Command {
        argv: Vec<String>,
    },
}

/// What is asked over HTTP, and what the answer must be.
#[derive(Debug)]
pub(super) struct Web {
    pub(super) url: Url,
    pub(super) method: Method,
    pub(super) headers: Vec<(HeaderName, TextOrSecret)>,
    pub(super) status: Statuses,
    pub(super) contains: Option<String>,
    pub(super) not_contains: Option<String>,
    /// Days for which its certificate must still be good.
    pub(super) tls_days: Option<u64>,
}

/// What of a disk is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Metric {
    Used,
    Inodes,
}

/// Which HTTP statuses are right.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Statuses {
    /// 200 to 399.
    Usual,
    /// These.
    Of(Vec<u16>),
}

impl What {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Disk { .. } => "disk",
            Self::Memory => "memory",
            Self::Load => "load",
            Self::Http(_) => "http",
            Self::Tcp { .. } => "tcp",
            Self::Process { .. } => "process",
            Self::Systemd { .. } => "systemd",
            Self::Command { .. } => "command",
        }
    }

    /// What a title is about.
    pub(super) fn subject(&self) -> String {
        match self {
            Self::Disk { path, .. } => path.display().to_string(),
            Self::Memory => "memory".into(),
            Self::Load => "load".into(),
            Self::Http(web) => shown(&web.url),
            Self::Tcp { host, port } => host_and_port(host, *port),
            Self::Process { name, .. } => name.clone(),
            Self::Systemd { unit, .. } => unit.clone(),
            Self::Command { argv } => format!("`{}`", first_word(argv)),
        }
    }

    /// The name of a check that has none of its own.
    fn default_name(&self) -> String {
        match self {
            Self::Disk { path, metric: Metric::Used, .. } => format!("disk:{}", path.display()),
            Self::Disk { path, metric: Metric::Inodes, .. } => format!("disk:{}:inodes", path.display()),
            Self::Memory | Self::Load => self.kind().into(),
            Self::Command { argv } => format!("command:{}", first_word(argv)),
            _ => format!("{}:{}", self.kind(), self.subject()),
        }
    }
}

/// An address without what may be secret in it: user, password, query.
pub(super) fn shown(url: &Url) -> String {
    format!("{}{}", crate::net::origin(url), url.path())
}

pub(super) fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// `check.sh` of `["./check.sh", "--fast"]` as it is typed, and the first word of a shell's script.
fn first_word(argv: &[String]) -> &str {
    match argv {
        [shell, flag, script] if shell == "/bin/sh" && flag == "-c" => {
            script.split_whitespace().next().unwrap_or(shell)
        }
        [first, ..] => first,
        [] => "",
    }
}

/// JSON Schema of the tool's arguments.
pub(in crate::tools) fn schema() -> Value {
    let duration =
        |description: &str| json!({"type": ["number", "string"], "minimum": 0, "description": description});
    let mut schema = json!({
        "type": "object",
        "required": ["checks"],
        "additionalProperties": false,
        "properties": {"checks": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["type"],
                "additionalProperties": false,
                "properties": {
                    "type": {"type": "string", "enum": TYPES.map(|(kind, _)| kind)},
                    "name": {"type": "string", "description": "Name of the problem; default: the type and what is checked."},
                    "warn": {"type": "number", "description": "From here on it is a warning. disk, memory: percent used; load: 1-minute load per core; http, tcp: milliseconds; process: how many."},
                    "crit": {"type": "number", "description": "From here on it is critical."},
                    "clear": {"type": "number", "description": "A problem ends only when the value is no longer above this; default: warn."},
                    "for": duration("How long it must be bad before it is an incident: seconds, or a text such as 5m."),
                    "timeout": duration("Longest time of the check; default 10 seconds."),
                    "path": {"type": "string", "description": "disk: a folder on the file system."},
                    "metric": {"type": "string", "enum": ["used", "inodes"], "description": "disk: what is counted; default used."},
                    "mounted": {"type": "boolean", "description": "disk: true: something must be mounted at the path; false: nothing need be. Left out: what was mounted there once, or stands in /etc/fstab, must be."},
                    "host": {"type": "string", "description": "tcp: name or address."},
                    "port": {"type": "integer", "minimum": 1, "maximum": 65535, "description": "tcp: port."},
                    "process": {"type": "string", "description": "process: name of the program or of its script; with a blank or a slash in it: a part of the whole command line."},
                    "min": {"type": "integer", "minimum": 0, "description": "process: how many there must be; default 1."},
                    "unit": {"type": "string", "description": "systemd: name of the unit."},
                    "user": {"type": "boolean", "description": "systemd: a unit of the user's own manager."},
                    "command": {
                        "type": ["string", "array"], "minItems": 1, "items": {"type": "string"},
                        "description": "command: a list runs directly, a text by /bin/sh. Exit status 0 is good, 1 a warning, all else critical.",
                    },
                },
            },
        }},
    });
    if let (Some(properties), Value::Object(web)) =
        (schema["properties"]["checks"]["items"]["properties"].as_object_mut(), web_schema())
    {
        properties.extend(web);
    }
    schema
}

fn web_schema() -> Value {
    json!({
        "url": {"type": "string", "description": "http: what is fetched."},
        "status": {
            "type": ["integer", "array"], "minimum": 100, "maximum": 599, "minItems": 1,
            "items": {"type": "integer", "minimum": 100, "maximum": 599},
            "description": "http: the right status, or several; default 200 to 399.",
        },
        "method": {"type": "string", "enum": METHODS, "description": "http: default GET."},
        "headers": {"type": "object", "description": "http: sent along; values are texts or references to secrets."},
        "contains": {"type": "string", "description": "http: a text that the first 1 MiB of the answer must have."},
        "not_contains": {"type": "string", "description": "http: a text that the first 1 MiB of the answer must not have."},
        "tls_days": {"type": "integer", "minimum": 1, "description": "http: a warning when the certificate is good for fewer days."},
    })
}

/// What may be asked over HTTP.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

const BOUNDS: [&str; 3] = ["warn", "crit", "clear"];

/// Each type with the keys of its own; those of [`BOUNDS`] are for all but the last two.
const TYPES: [(&str, &[&str]); 8] = [
    ("disk", &["path", "metric", "mounted"]),
    ("memory", &[]),
    ("load", &[]),
    ("http", &["url", "method", "headers", "status", "contains", "not_contains", "tls_days"]),
    ("tcp", &["host", "port"]),
    ("process", &["process", "min"]),
    ("systemd", &["unit", "user"]),
    ("command", &["command"]),
];

/// Reads arguments that fit [`schema`]. The error names the check and what would be right.
pub(super) fn read(args: &Value) -> Result<Vec<Check>, String> {
    let list = args.get("checks").and_then(Value::as_array).ok_or("`checks` is missing")?;
    let mut taken = HashSet::new();
    let mut checks = Vec::with_capacity(list.len());
    for (at, value) in list.iter().enumerate() {
        let map = value.as_object().ok_or_else(|| format!("`checks[{at}]` must be an object"))?;
        let mut check = read_one(map).map_err(|error| format!("`checks[{at}]`: {error}"))?;
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

fn read_one(map: &Map<String, Value>) -> Result<Check, String> {
    let kind = text(map, "type").unwrap_or_default();
    let (kind, own) = TYPES
        .into_iter()
        .find(|(known, _)| *known == kind)
        .ok_or_else(|| format!("there is no type `{kind}`"))?;
    let has_bounds = !matches!(kind, "systemd" | "command");
    for key in map.keys().map(String::as_str) {
        let known = matches!(key, "type" | "name" | "for" | "timeout") || own.contains(&key);
        if !(known || has_bounds && BOUNDS.contains(&key)) {
            let why = if BOUNDS.contains(&key) { ": there is no number to compare" } else { "" };
            return Err(format!("a check of type `{kind}` can't have `{key}`{why}"));
        }
    }
    let need = |key: &str| {
        text(map, key)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
            .ok_or_else(|| format!("a check of type `{kind}` needs `{key}`"))
    };
    let (what, defaults) = match kind {
        "disk" => {
            let metric = if text(map, "metric") == Some("inodes") { Metric::Inodes } else { Metric::Used };
            let mounted = map.get("mounted").and_then(Value::as_bool);
            (What::Disk { path: need("path")?.into(), metric, mounted }, Some((80.0, 90.0)))
        }
        "memory" => (What::Memory, Some((85.0, 95.0))),
        "load" => (What::Load, Some((2.0, 4.0))),
        "http" => (What::Http(Box::new(web(map, &need("url")?)?)), None),
        "tcp" => {
            let port = whole(map, "port").and_then(|port| u16::try_from(port).ok());
            let host = need("host")?;
            let host =
                host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host).to_owned();
            (What::Tcp { host, port: port.ok_or("a check of type `tcp` needs `port`")? }, None)
        }
        "process" => (What::Process { name: need("process")?, min: whole(map, "min").unwrap_or(1) }, None),
        "systemd" => {
            let user = map.get("user").and_then(Value::as_bool).unwrap_or(false);
            (What::Systemd { unit: need("unit")?, user }, None)
        }
        _ => (
            What::Command {
                argv: argv(map.get("command")).ok_or("a check of type `command` needs `command`")?,
            },
            None,
        ),
    };
    let number = |key: &str| map.get(key).and_then(Value::as_f64);
    let timeout = match map.get("timeout") {
        Some(value) => duration(value)
            .filter(|span| span.is_positive())
            .ok_or_else(|| not_a_duration("timeout", value))?,
        None => SignedDuration::from_secs(10),
    };
    let hold_for = match map.get("for") {
        Some(value) => duration(value).ok_or_else(|| not_a_duration("for", value))?,
        None => SignedDuration::ZERO,
    };
    Ok(Check {
        name: text(map, "name")
            .filter(|name| !name.is_empty())
            .map_or_else(|| what.default_name(), str::to_owned),
        what,
        thresholds: Thresholds::new(number("warn"), number("crit"), number("clear"), defaults)?,
        hold_for,
        timeout: timeout.unsigned_abs(),
    })
}

fn web(map: &Map<String, Value>, url: &str) -> Result<Web, String> {
    let mut headers = Vec::new();
    for (name, value) in map.get("headers").and_then(Value::as_object).into_iter().flatten() {
        let header = name.parse().map_err(|_| format!("`{name}` can't name a header"))?;
        let value = TextOrSecret::from_json(value)
            .ok_or_else(|| format!("the header `{name}` must be a text or a reference to a secret"))?;
        headers.push((header, value));
    }
    let method: Method = text(map, "method").unwrap_or("GET").parse().map_err(|_| "no such `method`")?;
    let wants_body = ["contains", "not_contains"].into_iter().find(|key| map.contains_key(*key));
    if let (&Method::HEAD, Some(key)) = (&method, wants_body) {
        return Err(format!("an answer to HEAD has no body, so `{key}` can't be judged"));
    }
    let url = address(url)?;
    let tls_days = whole(map, "tls_days");
    if tls_days.is_some() && url.scheme() != "https" {
        return Err("`tls_days` needs an https:// address".into());
    }
    let owned = |key: &str| text(map, key).filter(|text| !text.is_empty()).map(str::to_owned);
    Ok(Web {
        url,
        method,
        headers,
        status: statuses(map.get("status")),
        contains: owned("contains"),
        not_contains: owned("not_contains"),
        tls_days,
    })
}

fn text<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    map.get(key).and_then(Value::as_str)
}

/// The validator lets 5.0 pass for 5.
fn whole(map: &Map<String, Value>, key: &str) -> Option<u64> {
    map.get(key).and_then(|value| value.as_u64().or_else(|| value.as_f64().map(|number| number as u64)))
}

fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("`url` is not an address: {error}"))?;
    if matches!(url.scheme(), "http" | "https") {
        Ok(url)
    } else {
        Err("`url` must begin with http:// or https://".into())
    }
}

fn statuses(value: Option<&Value>) -> Statuses {
    let one = |value: &Value| value.as_f64().map(|number| number as u16);
    match value {
        None => Statuses::Usual,
        Some(Value::Array(list)) => Statuses::Of(list.iter().filter_map(one).collect()),
        Some(value) => Statuses::Of(one(value).into_iter().collect()),
    }
}

fn argv(value: Option<&Value>) -> Option<Vec<String>> {
    let argv = match value? {
        Value::String(script) if !script.trim().is_empty() => {
            vec!["/bin/sh".into(), "-c".into(), script.clone()]
        }
        Value::Array(list) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => return None,
    };
    argv.first().is_some_and(|first: &String| !first.is_empty()).then_some(argv)
}

fn not_a_duration(key: &str, value: &Value) -> String {
    format!(
        "`{key}` must be a number of seconds or a text such as \"90s\", \"5m\", \"1h30m\", \"7d\", not {value}"
    )
}

/// Seconds, or numbers with units, the largest first: `1h30m`.
fn duration(value: &Value) -> Option<SignedDuration> {
    if let Some(secs) = value.as_f64() {
        return SignedDuration::try_from_secs_f64(secs).ok().filter(|span| !span.is_negative());
    }
    const UNITS: [(&str, i64); 6] =
        [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    let mut rest = value.as_str()?.trim();
    let mut total: i64 = 0;
    let mut from = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|at| *at > 0)?;
        let (number, after) = rest.split_at(digits);
        let (unit, after) =
            after.split_at(after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len()));
        let at = UNITS.iter().skip(from).position(|(name, _)| *name == unit)? + from;
        total = number.parse::<i64>().ok()?.checked_mul(UNITS[at].1)?.checked_add(total)?;
        from = at + 1;
        rest = after;
    }
    value.as_str().is_some_and(|text| !text.trim().is_empty()).then(|| SignedDuration::from_millis(total))
}
