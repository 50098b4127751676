//! `[notify.…]`: where messages for people go.
use super::email::email;
use super::sandbox;
use super::walk::{Item, Section};
use crate::config::values::{check_program, cwd, url, warn_if_unencrypted};
use crate::domain::template::places;
use crate::domain::*;
use std::collections::BTreeMap;

/// Default maximum number of messages to a target per minute.
const DEFAULT_MESSAGES_PER_MINUTE: u32 = 10;

/// The placeholders of a webhook's `body`.
const PLACEHOLDERS: &[&str] = &[
    "title",
    "subject",
    "text",
    "body",
    "severity",
    "state",
    "about",
    "agent",
    "key",
    "run",
    "at",
    "priority",
    "idempotency_key",
];

pub(super) fn notify(section: &Section<'_>) -> Option<NotifyTarget> {
    let Some(item) = section.get("type") else {
        return section.missing(
            &["type"],
            "a [notify.…] table needs `type`".into(),
            Some(format!("one of {}", NotifyType::WORDS.join(", "))),
        );
    };
    without_effect(section, item.text().unwrap_or_default());
    let needs = |key: &'static str| {
        let found = section.own(key);
        if found.is_none() {
            section.missing::<()>(&[key], format!("this `type` needs `{key}`"), None);
        }
        section.get(key)
    };
    let kind = match item.word()? {
        NotifyType::Webhook => webhook(section, needs("url"))?,
        NotifyType::Command => {
            let before = section.file.errors();
            let (argv, env) = (needs("command")?.command()?, section.env());
            let (cwd, default_cwd) = cwd(section);
            if section.file.errors() == before {
                check_program(section, &argv, Some(&cwd), &env);
            }
            NotifyTargetKind::Command(CommandSpec {
                argv,
                env,
                cwd,
                default_cwd,
                stdin: None,
                sandbox: sandbox::setting(section).if_asked(),
            })
        }
        NotifyType::File => {
            let item = needs("path")?;
            NotifyTargetKind::File(section.file.expand(item.text()?, item.span()))
        }
        NotifyType::Desktop => NotifyTargetKind::Desktop,
        NotifyType::Email => {
            NotifyTargetKind::Email(email(section, needs("to"), needs("from"), needs("smtp"))?)
        }
        kind => NotifyTargetKind::Service(service(section, ServicePreset::of(kind)?, &needs)?),
    };
    let per_minute = section.whole("per_minute", 1).map(|most| u32::try_from(most).unwrap_or(u32::MAX));
    let usual = (!matches!(kind, NotifyTargetKind::File(_))).then_some(DEFAULT_MESSAGES_PER_MINUTE);
    Some(NotifyTarget { kind, per_minute: per_minute.or(usual), quiet: quiet(section) })
}

/// Warns of keys of another type.
fn without_effect(section: &Section<'_>, own: &str) {
    const OF_TYPES: &[(NotifyType, &[&str])] = &[
        (NotifyType::Webhook, &["url", "headers", "secret", "body"]),
        (NotifyType::Command, &["command", "env", "cwd", "sandbox"]),
        (NotifyType::Email, &["to", "from", "smtp", "tls", "username", "password"]),
        (NotifyType::File, &["path"]),
    ];
    let of_services = SERVICES.iter().flat_map(|preset| {
        let keys = preset.needs.iter().chain(preset.takes);
        keys.map(|key| (preset.kind, *key))
    });
    let of_others = OF_TYPES.iter().flat_map(|(kind, keys)| keys.iter().map(|key| (*kind, *key)));
    let all: Vec<(NotifyType, &str)> = of_others.chain(of_services).collect();
    let takes = |key: &str| all.iter().any(|(kind, name)| kind.as_str() == own && *name == key);
    let mut seen: Vec<&str> = Vec::new();
    for (_, key) in &all {
        if takes(key) || seen.contains(key) {
            continue;
        }
        seen.push(key);
        let Some(item) = section.own(key) else { continue };
        let kinds: Vec<String> =
            all.iter().filter(|(_, name)| name == key).map(|(kind, _)| format!("\"{kind}\"")).collect();
        let message = format!("`{key}` has no effect: it is for type = {}", kinds.join(", "));
        section.file.warn(item.span(), message, None);
    }
}

fn webhook(section: &Section<'_>, item: Option<Item<'_>>) -> Option<NotifyTargetKind> {
    let headers = section.headers();
    let address = item.and_then(address);
    if let Some(item) = item.filter(|_| address.is_some()) {
        warn_if_unencrypted(item, headers.values().any(TextOrSecret::is_secret));
    }
    // Continue after an error, so that all errors are found.
    let secret = section.get("secret").map(|item| item.secret());
    let body = section.get("body").map(body);
    Some(NotifyTargetKind::Webhook(WebhookSpec {
        url: address?,
        headers,
        secret: secret.map_or(Some(None), |secret| secret.map(Some))?,
        body: body.map_or(Some(None), |body| body.map(Some))?,
    }))
}

/// Parses an address; a literal one is validated.
fn address(item: Item<'_>) -> Option<TextOrSecret> {
    let address = item.text_or_secret()?;
    if let TextOrSecret::Text(_) = address {
        url(item)?;
    }
    Some(address)
}

/// Parses JSON, or any other text, with placeholders.
fn body(item: Item<'_>) -> Option<String> {
    let text = item.text()?;
    let looks_like_json = text.trim_start().starts_with(['{', '[']) && text.trim_end().ends_with(['}', ']']);
    match serde_json::from_str::<serde_json::Value>(text) {
        // A text that is just one placeholder begins with a brace as well.
        Err(error) if looks_like_json && text.contains('"') => {
            let hint = "placeholders must be inside quotes: '{\"summary\": \"{title}\", \"severity\": \"{severity}\"}'";
            return item.refuse_with(format!("`body` is not valid JSON: {error}"), hint.into());
        }
        _ => {}
    }
    for place in places(text).filter(|place| !PLACEHOLDERS.contains(place)) {
        let hint = match nearest(place, PLACEHOLDERS.iter().copied()) {
            Some(near) => format!("did you mean `{{{near}}}`?"),
            None => format!("there are {}", PLACEHOLDERS.join(", ")),
        };
        item.refuse_with::<()>(format!("unknown placeholder `{{{place}}}`: nothing fills it"), hint);
    }
    Some(text.to_owned())
}

fn service<'a>(
    section: &Section<'a>,
    preset: &'static ServicePreset,
    needs: &impl Fn(&'static str) -> Option<Item<'a>>,
) -> Option<ServiceSpec> {
    let mut keys = BTreeMap::new();
    let mut whole = true;
    let optional = preset.takes.iter().map(|key| (*key, section.get(key)));
    let needed = preset.needs.iter().map(|key| (*key, needs(key)));
    for (key, item) in needed.chain(optional) {
        let Some(item) = item else {
            whole &= preset.takes.contains(&key);
            continue;
        };
        match value(key, item) {
            Some(value) => drop(keys.insert(key, value)),
            None => whole = false,
        }
    }
    if let Some(item) = section.get("url") {
        warn_if_unencrypted(item, keys.contains_key("token"));
    }
    whole.then_some(ServiceSpec { kind: preset.kind, keys })
}

fn value(key: &str, item: Item<'_>) -> Option<EnvValue> {
    match key {
        "url" => address(item),
        "token" => item.secret().map(TextOrSecret::Secret),
        // Groups have negative numbers.
        "chat" if item.value.get_ref().is_integer() => Some(TextOrSecret::Text(item.json().to_string())),
        _ => {
            let value = item.text_or_secret()?;
            if matches!(&value, TextOrSecret::Text(text) if text.trim().is_empty()) {
                return item.refuse(format!("`{key}` is empty"));
            }
            Some(value)
        }
    }
}

fn quiet(section: &Section<'_>) -> Option<QuietHours> {
    let item = section.get("quiet")?;
    let text = item.text()?;
    let hint = "two times of the day, such as \"22:00-07:00\"".to_owned();
    QuietHours::parse(text)
        .or_else(|| item.refuse_with(format!("`{text}` is not a range of quiet hours"), hint))
}
