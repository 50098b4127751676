//! The checks of a probe: from JSON to what is written, and from there to what is to be done, with all defaults. The same
//! defaults hold for a configured probe and for one that is called by hand.
use super::level::Thresholds;
use crate::domain::{
    DiskMetric, HttpMethod, ProbeCheck, ProbeTarget, ProbeType, Sandbox, TextOrSecret, WebCheck,
};
use jiff::SignedDuration;
use reqwest::header::HeaderName;
use reqwest::{Method, Url};
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One check, complete.
#[derive(Debug)]
pub(super) struct Check {
    /// Unique in the probe; the key of its finding.
    pub(super) name: String,
    pub(super) kind: ProbeType,
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
        metric: DiskMetric,
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
        sandbox: Option<Arc<Sandbox>>,
    },
}

/// What is asked over HTTP, and what the answer must be.
#[derive(Debug)]
pub(super) struct Web {
    pub(super) url: Url,
    pub(super) method: Method,
    pub(super) headers: Vec<(HeaderName, TextOrSecret)>,
    /// Which are right; `None`: 200 to 399.
    pub(super) status: Option<Vec<u16>>,
    pub(super) contains: Option<String>,
    pub(super) not_contains: Option<String>,
    /// Days for which its certificate must still be good.
    pub(super) tls_days: Option<u64>,
}

impl What {
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
            Self::Command { argv, .. } => format!("`{}`", first_word(argv)),
        }
    }

    /// The name of a check that has none of its own.
    fn default_name(&self, kind: ProbeType) -> String {
        match self {
            Self::Disk { path, metric: DiskMetric::Used, .. } => format!("disk:{}", path.display()),
            Self::Disk { path, metric: DiskMetric::Inodes, .. } => format!("disk:{}:inodes", path.display()),
            Self::Memory | Self::Load => kind.to_string(),
            Self::Command { argv, .. } => format!("command:{}", first_word(argv)),
            _ => format!("{kind}:{}", self.subject()),
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

/// JSON Schema of the arguments of a tool whose callers say what is checked.
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
                    "type": {"type": "string", "enum": ProbeType::WORDS},
                    "name": {"type": "string", "description": "Name of the problem; default: the type and what is checked."},
                    "warn": {"type": "number", "description": "From here on it is a warning. disk, memory: percent used; load: 1-minute load per core; http, tcp: milliseconds; process: how many."},
                    "crit": {"type": "number", "description": "From here on it is critical."},
                    "clear": {"type": "number", "description": "A problem ends only when the value is no longer above this; default: warn."},
                    "for": duration("How long it must be bad before it is an incident: seconds, or a text such as 5m."),
                    "timeout": duration(&format!("Longest time of the check; default {} seconds.", ProbeCheck::TIMEOUT.as_secs())),
                    "path": {"type": "string", "description": "disk: a folder on the file system."},
                    "metric": {"type": "string", "enum": DiskMetric::WORDS, "description": format!("disk: what is counted; default {}.", ProbeTarget::METRIC)},
                    "mounted": {"type": "boolean", "description": "disk: true: something must be mounted at the path; false: nothing need be. Left out: what was mounted there once, or stands in /etc/fstab, must be."},
                    "host": {"type": "string", "description": "tcp: name or address."},
                    "port": {"type": "integer", "minimum": 1, "maximum": 65535, "description": "tcp: port."},
                    "process": {"type": "string", "description": "process: name of the program or of its script; with a blank or a slash in it: a part of the whole command line."},
                    "min": {"type": "integer", "minimum": 0, "description": format!("process: how many there must be; default {}.", ProbeTarget::MIN)},
                    "unit": {"type": "string", "description": "systemd: name of the unit."},
                    "user": {"type": "boolean", "description": "systemd: a unit of the user's own manager."},
                    "command": {
                        "type": ["string", "array"], "minItems": 1, "items": {"type": "string"},
                        "description": "command: a list runs directly, a text by /bin/sh. Exit status 0 is good, 1 a warning, all else critical.",
                    },
                    "sandbox": {"type": "object", "description": "command: the walls around it; an empty one gives it the system's programs alone."},
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
        "method": {"type": "string", "enum": HttpMethod::WORDS, "description": format!("http: default {}.", WebCheck::METHOD)},
        "headers": {"type": "object", "description": "http: sent along; values are texts or references to secrets."},
        "contains": {"type": "string", "description": "http: a text that the first 1 MiB of the answer must have."},
        "not_contains": {"type": "string", "description": "http: a text that the first 1 MiB of the answer must not have."},
        "tls_days": {"type": "integer", "minimum": 1, "description": "http: a warning when the certificate is good for fewer days."},
    })
}

const BOUNDS: [&str; 3] = ["warn", "crit", "clear"];

/// Reads arguments that fit [`schema`]. The error names the check and what would be right.
pub(super) fn read(args: &Value) -> Result<Vec<ProbeCheck>, String> {
    let list = args.get("checks").and_then(Value::as_array).ok_or("`checks` is missing")?;
    let read = |(at, value): (usize, &Value)| {
        let map = value.as_object().ok_or_else(|| format!("`checks[{at}]` must be an object"))?;
        read_one(map).map_err(|error| format!("`checks[{at}]`: {error}"))
    };
    list.iter().enumerate().map(read).collect()
}

/// The checks with all that is not said of them, each with a name of its own.
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
        let (kind, what) = (target.kind(), What::of(target)?);
        Ok(Self {
            name: name.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| what.default_name(kind)),
            thresholds: Thresholds::new(*warn, *crit, *clear, kind.thresholds())?,
            kind,
            what,
            hold_for: hold_for.unwrap_or(SignedDuration::ZERO),
            timeout: timeout.unwrap_or(ProbeCheck::TIMEOUT).unsigned_abs(),
        })
    }
}

fn read_one(map: &Map<String, Value>) -> Result<ProbeCheck, String> {
    let word = text(map, "type").unwrap_or_default();
    let kind = ProbeType::parse(word).ok_or_else(|| format!("there is no type `{word}`"))?;
    for key in map.keys().map(String::as_str) {
        let known = matches!(key, "type" | "name" | "for" | "timeout") || kind.keys().contains(&key);
        if !(known || kind.has_value() && BOUNDS.contains(&key)) {
            let why = if BOUNDS.contains(&key) { ": there is no number to compare" } else { "" };
            return Err(format!("a check of type `{kind}` can't have `{key}`{why}"));
        }
    }
    let number = |key: &str| map.get(key).and_then(Value::as_f64);
    let span = |key: &str| match map.get(key) {
        Some(value) => duration(value).map(Some).ok_or_else(|| not_a_duration(key, value)),
        None => Ok(None),
    };
    let target = read_target(map, kind)?;
    let timeout = span("timeout")?;
    if let (Some(value), false) = (map.get("timeout"), timeout.is_none_or(|span| span.is_positive())) {
        return Err(not_a_duration("timeout", value));
    }
    Ok(ProbeCheck {
        name: text(map, "name").map(str::to_owned),
        warn: number("warn"),
        crit: number("crit"),
        clear: number("clear"),
        hold_for: span("for")?,
        timeout,
        target,
    })
}

fn read_target(map: &Map<String, Value>, kind: ProbeType) -> Result<ProbeTarget, String> {
    let need = |key: &str| {
        text(map, key)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
            .ok_or_else(|| format!("a check of type `{kind}` needs `{key}`"))
    };
    let flag = |key: &str| map.get(key).and_then(Value::as_bool);
    Ok(match kind {
        ProbeType::Disk => ProbeTarget::Disk {
            path: need("path")?.into(),
            metric: text(map, "metric").and_then(DiskMetric::parse),
            mounted: flag("mounted"),
        },
        ProbeType::Memory => ProbeTarget::Memory,
        ProbeType::Load => ProbeTarget::Load,
        ProbeType::Http => ProbeTarget::Http(Box::new(read_web(map, need("url")?)?)),
        ProbeType::Tcp => {
            let port = whole(map, "port").and_then(|port| u16::try_from(port).ok());
            let host = need("host")?;
            ProbeTarget::Tcp { host, port: port.ok_or("a check of type `tcp` needs `port`")? }
        }
        ProbeType::Process => ProbeTarget::Process { name: need("process")?, min: whole(map, "min") },
        ProbeType::Systemd => ProbeTarget::Systemd { unit: need("unit")?, user: flag("user") },
        ProbeType::Command => ProbeTarget::Command {
            argv: argv(map.get("command")).ok_or("a check of type `command` needs `command`")?,
            sandbox: map
                .get("sandbox")
                .map(|value| {
                    serde_json::from_value(value.clone()).map_err(|error| format!("`sandbox`: {error}"))
                })
                .transpose()?,
        },
    })
}

fn read_web(map: &Map<String, Value>, url: String) -> Result<WebCheck, String> {
    let headers = map.get("headers").and_then(Value::as_object).into_iter().flatten();
    let headers = headers.map(|(name, value)| match TextOrSecret::from_json(value) {
        Some(value) => Ok((name.clone(), value)),
        None => Err(format!("the header `{name}` must be a text or a reference to a secret")),
    });
    let owned = |key: &str| text(map, key).map(str::to_owned);
    let method = text(map, "method").map(|word| HttpMethod::parse(word).ok_or("no such `method`"));
    Ok(WebCheck {
        url,
        method: method.transpose()?,
        headers: headers.collect::<Result<_, _>>()?,
        status: map.get("status").map(statuses),
        contains: owned("contains"),
        not_contains: owned("not_contains"),
        tls_days: whole(map, "tls_days"),
    })
}

impl What {
    fn of(target: &ProbeTarget) -> Result<Self, String> {
        Ok(match target {
            ProbeTarget::Disk { path, metric, mounted } => Self::Disk {
                path: path.clone(),
                metric: metric.unwrap_or(ProbeTarget::METRIC),
                mounted: *mounted,
            },
            ProbeTarget::Memory => Self::Memory,
            ProbeTarget::Load => Self::Load,
            ProbeTarget::Http(web) => Self::Http(Box::new(Web::of(web)?)),
            ProbeTarget::Tcp { host, port } => {
                let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
                Self::Tcp { host: inside.unwrap_or(host).to_owned(), port: *port }
            }
            ProbeTarget::Process { name, min } => {
                Self::Process { name: name.clone(), min: min.unwrap_or(ProbeTarget::MIN) }
            }
            ProbeTarget::Systemd { unit, user } => {
                Self::Systemd { unit: unit.clone(), user: user.unwrap_or(false) }
            }
            ProbeTarget::Command { argv, sandbox } => {
                Self::Command { argv: argv.clone(), sandbox: sandbox.clone() }
            }
        })
    }
}

impl Web {
    fn of(written: &WebCheck) -> Result<Self, String> {
        let WebCheck { url, method, headers, status, contains, not_contains, tls_days } = written;
        let headers = headers.iter().map(|(name, value)| match name.parse() {
            Ok(header) => Ok((header, value.clone())),
            Err(_) => Err(format!("`{name}` can't name a header")),
        });
        let headers = headers.collect::<Result<_, _>>()?;
        let method = method.unwrap_or(WebCheck::METHOD);
        let texts = [("contains", contains), ("not_contains", not_contains)];
        if let (HttpMethod::Head, Some((key, _))) = (method, texts.iter().find(|(_, text)| text.is_some())) {
            return Err(format!("an answer to HEAD has no body, so `{key}` can't be judged"));
        }
        let url = address(url)?;
        if tls_days.is_some() && url.scheme() != "https" {
            return Err("`tls_days` needs an https:// address".into());
        }
        let [contains, not_contains] = texts.map(|(_, text)| text.clone().filter(|text| !text.is_empty()));
        Ok(Self {
            url,
            method: method.as_str().parse::<Method>().map_err(|_| "no such `method`")?,
            headers,
            status: status.clone(),
            contains,
            not_contains,
            tls_days: *tls_days,
        })
    }
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

fn statuses(value: &Value) -> Vec<u16> {
    let one = |value: &Value| value.as_f64().map(|number| number as u16);
    match value {
        Value::Array(list) => list.iter().filter_map(one).collect(),
        value => one(value).into_iter().collect(),
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
