//! Takes out of a configuration what nobody is to see before any of it is shown: secrets that stand
//! where a reference to one belongs, and what looks like a secret. The latter is found in the text
//! alone, so that it also works for a file that is no TOML.
//!
//! A mistake beside a secret shows the secret's line, and errors are kept in the event log. So this
//! is done once, for the whole file, whoever shows it.
use super::diagnostic::Diagnostic;
use regex_lite::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// What is shown of a secret in a message.
const HIDDEN: &str = "***";

/// Of a webhook: what is longer may be a secret.
const LONGEST_NAME: usize = 32;

/// Shorter ones are words that messages have of themselves.
const LEAST_IN_MESSAGES: usize = 6;

/// A name that a secret has, what stands between it and its value, and the value: a string of one or
/// several lines (also one that has no end), or what stands there without quotes.
static NAMED: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r#"(?i)(?:api[_-]?key|access[_-]?key|private[_-]?key|passw(?:or)?d|passphrase|\bpass|secret|token|authorization|cookie|bearer|webhook)[\w-]*(?:["']?\s*[=:]\s*\[?\s*|[ \t]+)("""(?:[^"]|"[^"]|""[^"])*"{0,3}|'''(?:[^']|'[^']|''[^'])*'{0,3}|"(?:[^"\\\n]|\\.)*"?|'[^'\n]*'?)"#,
    )
});
static BARE: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r#"(?i)(?:api[_-]?key|access[_-]?key|private[_-]?key|passw(?:or)?d|passphrase|secret|token|authorization|cookie|bearer)[\w-]*["']?[ \t]*[=:][ \t]*(?:(?:bearer|basic|token)[ \t]+)?([^\s,\]\[{}"'&\d][^\s,\]\[{}"'&]*|\d[\d_.]*[^\s,\]\[{}"'&\d_.][^\s,\]\[{}"'&]*)"#,
    )
});
/// The password of an address.
static IN_ADDRESS: LazyLock<Regex> = LazyLock::new(|| regex(r#"://[^\s/"'@:]*:([^\s"'@/]+)@"#));
/// Tokens that are known by their form.
static FORMS: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"((?:\bsk-|\bsk_live_|\brk_live_|\bgh[pousr]_|\bgithub_pat_|\bglpat-|\bxox[abeoprs]-|\bAKIA|\bAIza|\bhf_|\bgsk_|\bxai-|\bya29\.|\beyJ)[\w.-]{6,}|hooks\.slack\.com/services/[\w/]+)",
    )
});

fn regex(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is right")
}

/// The text without its secrets, each byte in its place, and the messages of `diagnostics` without
/// them. `secrets` are values that were refused. Empty where there is nothing to show.
pub(super) fn conceal(text: &str, mut secrets: Vec<Range<usize>>, diagnostics: &mut [Diagnostic]) -> String {
    if diagnostics.is_empty() {
        return String::new();
    }
    secrets.extend(secrets_in(text));
    secrets.sort_by_key(|span| span.start);
    let shown = without(text, &secrets);
    for span in secrets {
        let Some(secret) = text.get(span) else { continue };
        let secret = secret.trim_matches(['"', '\'', '\n']);
        if secret.len() >= LEAST_IN_MESSAGES {
            for one in diagnostics.iter_mut() {
                hide(&mut one.message, secret);
                one.hint.iter_mut().for_each(|hint| hide(hint, secret));
            }
        }
    }
    shown
}

/// Where something stands that looks like a secret.
pub(super) fn secrets_in(text: &str) -> Vec<Range<usize>> {
    let named = NAMED
        .captures_iter(text)
        .filter(|found| !found.get(0).is_some_and(|all| names_a_webhook(all.as_str())));
    let mut secrets: Vec<_> = named.filter_map(|found| found.get(1)).map(|found| found.range()).collect();
    for pattern in [&BARE, &IN_ADDRESS, &FORMS] {
        secrets
            .extend(pattern.captures_iter(text).filter_map(|found| found.get(1)).map(|found| found.range()));
    }
    secrets.sort_by_key(|span| span.start);
    secrets
}

/// Where in a text the first thing begins that looks like a secret, in bytes.
pub fn secret_at(text: &str) -> Option<usize> {
    secrets_in(text).into_iter().find(|span| !span.is_empty()).map(|span| span.start)
}

/// The text without what looks like a secret, each byte in its place.
pub fn concealed(text: &str) -> String {
    without(text, &secrets_in(text))
}

/// `secrets` by their beginnings.
fn without(text: &str, secrets: &[Range<usize>]) -> String {
    let mut shown = String::with_capacity(text.len());
    for span in secrets {
        let start = text.floor_char_boundary(span.start.min(text.len())).max(shown.len());
        let end = text.ceil_char_boundary(span.end.min(text.len()));
        if start < end {
            shown.push_str(&text[shown.len()..start]);
            shown.extend(text[start..end].chars().map(masked));
        }
    }
    shown.push_str(&text[shown.len()..]);
    shown
}

/// Is it `webhook = "deploy"`, or `webhooks = "127.0.0.1:9470"`? Addresses of webhooks of others are secrets; the name of one of
/// ours is none, nor where they are taken.
fn names_a_webhook(assignment: &str) -> bool {
    let Some((name, value)) = assignment.split_once('=') else { return false };
    let value = value.trim().trim_matches(['"', '\'']);
    let is_plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:[]".contains(&byte));
    matches!(name.trim(), "webhook" | "webhooks") && value.len() <= LONGEST_NAME && is_plain
}

fn hide(text: &mut String, secret: &str) {
    if text.contains(secret) {
        *text = text.replace(secret, HIDDEN);
    }
}

/// A character of as many bytes, that says nothing. Quotes and ends of lines stay.
fn masked(c: char) -> char {
    match (c, c.len_utf8()) {
        ('"' | '\'' | '\n' | '\r', _) => c,
        (_, 1) => '*',
        (_, 2) => '·',
        (_, 3) => '•',
        _ => '🔒',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let mut one = [Diagnostic::of_file(text.to_owned(), None)];
        let shown = conceal(text, Vec::new(), &mut one);
        assert_eq!(shown.len(), text.len());
        assert_eq!(shown.chars().count(), text.chars().count());
        shown
    }

    #[test]
    fn what_looks_like_a_secret_is_not_shown() {
        for text in [
            "api_key = \"HIDE\"",
            "api_key = 'HIDE'",
            "api_key = HIDE",
            "api_key = 12HIDE",
            "api_key \"HIDE\"",
            "api_key: \"HIDE\"",
            "api_key = \"HIDE",
            "api_key = [\"HIDE\"]",
            "API_KEY=HIDE",
            "password = \"\"\"\nHIDE\nHIDE\n\"\"\"",
            "password = '''HIDE",
            "m = { provider = \"openai\", api_key = \"HIDE\" }",
            "headers = { Authorization = \"Bearer HIDE\" }",
            "headers = { \"X-Api-Key\" = \"HIDE\" }",
            "env = { GITHUB_TOKEN = \"HIDE\" }",
            "secret_access_key = \"HIDE\"",
            "pass = \"HIDE\"",
            "url = \"postgres://me:HIDE@host/db\"",
            "url = \"postgres://host/db?password=HIDE&x=1\"",
            "command = \"curl -H 'Authorization: HIDE' x\"",
            "command = \"curl -H 'Authorization: Bearer HIDE' x\"",
            "x = \"sk-HIDEHIDE\"",
            "x = \"ghp_HIDEHIDE\"",
            "url = \"https://hooks.slack.com/services/HIDE/HIDE\"",
            "# api_key = \"HIDE\"",
            "password = \"🙂äHIDE\"",
            "webhook = \"https://chat.example/HIDE\"",
            "webhook_token = \"HIDE\"",
            "webhook = \"HIDE456789012345678901234567890123\"",
        ] {
            assert!(!shown(text).contains("HIDE"), "{text}: {}", shown(text));
        }
    }

    #[test]
    fn everything_else_is_shown() {
        for text in [
            "max_output_tokens = 2048",
            "total_tokens_limit = 100_000",
            "tokens_per_day = 5",
            "api_key = { env = \"OPENAI_API_KEY\" }",
            "password = { command = [\"pass\", \"show\", \"x\"] }",
            "url = \"https://example.org:8080/a@b\"",
            "interval = \"5m\"",
            "key = \"orders\"",
            "on = { webhook = \"deploy\" }",
            "webhooks = \"127.0.0.1:9470\"",
        ] {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn messages_lose_what_was_hidden() {
        let text = "api_key = \"correct horse\"";
        let mut one =
            [Diagnostic::of_file("`correct horse` is wrong".into(), Some("not correct horse".into()))];
        let refused = 10..text.len();
        conceal(text, Vec::from([refused]), &mut one);
        assert_eq!((one[0].message.as_str(), one[0].hint.as_deref()), ("`***` is wrong", Some("not ***")));
    }
}
