//! Masks the secrets of a configuration before any of it is shown: literal secrets in place of a reference,
//! and whatever looks like a secret. The latter is found in the text alone, so that it also works for a file
//! that is not TOML.
//!
//! An error next to a secret shows the secret's line, and errors are kept in the event log. So this is done
//! once, for the whole file, for all readers.
use super::diagnostic::Diagnostic;
use regex_lite::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// Replacement of a secret in a message.
const HIDDEN: &str = "***";

/// Maximum length of a webhook's name; a longer value may be a secret.
const MAX_WEBHOOK_NAME_BYTES: usize = 32;

/// Secrets shorter than this are not replaced in messages, since they may be ordinary words.
const MIN_SECRET_BYTES: usize = 6;

/// A name that suggests a secret, its separator, and the value: a string of one or several lines (also an
/// unterminated one), or an unquoted value.
static NAMED_SECRET: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r#"(?i)(?:api[_-]?key|access[_-]?key|private[_-]?key|passw(?:or)?d|passphrase|\bpass|secret|token|authorization|cookie|bearer|webhook)[\w-]*(?:["']?\s*[=:]\s*\[?\s*|[ \t]+)("""(?:[^"]|"[^"]|""[^"])*"{0,3}|'''(?:[^']|'[^']|''[^'])*'{0,3}|"(?:[^"\\\n]|\\.)*"?|'[^'\n]*'?)"#,
    )
});
static UNQUOTED_SECRET: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r#"(?i)(?:api[_-]?key|access[_-]?key|private[_-]?key|passw(?:or)?d|passphrase|secret|token|authorization|cookie|bearer)[\w-]*["']?[ \t]*[=:][ \t]*(?:(?:bearer|basic|token)[ \t]+)?([^\s,\]\[{}"'&\d][^\s,\]\[{}"'&]*|\d[\d_.]*[^\s,\]\[{}"'&\d_.][^\s,\]\[{}"'&]*)"#,
    )
});
/// The password in a URL.
static URL_PASSWORD: LazyLock<Regex> = LazyLock::new(|| regex(r#"://[^\s/"'@:]*:([^\s"'@/]+)@"#));
/// Tokens that are recognized by their format.
static TOKEN_FORMATS: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"((?:\bsk-|\bsk_live_|\brk_live_|\bgh[pousr]_|\bgithub_pat_|\bglpat-|\bxox[abeoprs]-|\bAKIA|\bAIza|\bhf_|\bgsk_|\bxai-|\bya29\.|\beyJ)[\w.-]{6,}|hooks\.slack\.com/services/[\w/]+)",
    )
});

fn regex(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is right")
}

/// Returns the text with its secrets masked, each byte at its position, and removes them from the messages of
/// `diagnostics`. `secrets` are values that were refused. Empty if there is nothing to show.
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
        if secret.len() >= MIN_SECRET_BYTES {
            for one in diagnostics.iter_mut() {
                hide(&mut one.message, secret);
                one.hint.iter_mut().for_each(|hint| hide(hint, secret));
            }
        }
    }
    shown
}

/// Returns the ranges that look like a secret.
pub(super) fn secrets_in(text: &str) -> Vec<Range<usize>> {
    let named = NAMED_SECRET
        .captures_iter(text)
        .filter(|found| !found.get(0).is_some_and(|all| names_a_webhook(all.as_str())));
    let mut secrets: Vec<_> = named.filter_map(|found| found.get(1)).map(|found| found.range()).collect();
    for pattern in [&UNQUOTED_SECRET, &URL_PASSWORD, &TOKEN_FORMATS] {
        secrets
            .extend(pattern.captures_iter(text).filter_map(|found| found.get(1)).map(|found| found.range()));
    }
    secrets.sort_by_key(|span| span.start);
    secrets
}

/// Returns the byte position of the first thing in a text that looks like a secret.
pub fn secret_at(text: &str) -> Option<usize> {
    secrets_in(text).into_iter().find(|span| !span.is_empty()).map(|span| span.start)
}

/// Returns the text with everything masked that looks like a secret, each byte at its position.
pub fn mask_secrets(text: &str) -> String {
    without(text, &secrets_in(text))
}

/// Masks `secrets`, which are sorted by their start.
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

/// Returns whether this is `webhook = "deploy"`, or `webhooks = "127.0.0.1:9470"`. Addresses of other
/// services' webhooks are secrets; the name of one of our webhooks, or where they are received, is not.
fn names_a_webhook(assignment: &str) -> bool {
    let Some((name, value)) = assignment.split_once('=') else { return false };
    let value = value.trim().trim_matches(['"', '\'']);
    let is_plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:[]".contains(&byte));
    matches!(name.trim(), "webhook" | "webhooks") && value.len() <= MAX_WEBHOOK_NAME_BYTES && is_plain
}

fn hide(text: &mut String, secret: &str) {
    if text.contains(secret) {
        *text = text.replace(secret, HIDDEN);
    }
}

/// Returns a meaningless character of the same number of bytes. Quotes and line ends are kept.
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
