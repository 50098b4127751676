//! Why commands can't be sent at the moment, and whether that is temporary. Errors of Redis are identified by their codes,
//! which are at the beginning, or inside the text if a script of an older server encountered them.
use crate::domain::RedisSection;
use crate::secret;
use std::io;
use std::time::Duration;

/// Why commands can't be sent at the moment, described for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Hitch {
    /// What is wrong, and what a person can do about it.
    pub what: String,
    /// Permanent until a person fixes something.
    pub stays: bool,
    /// A timeout: fewer data should be requested at once.
    pub is_late: bool,
}

impl Hitch {
    /// Creates a temporary problem: the next attempt may succeed.
    pub fn passing(what: impl Into<String>) -> Self {
        Self { what: what.into(), stays: false, is_late: false }
    }

    /// Creates a permanent problem: a person has to fix something.
    pub fn staying(what: impl Into<String>) -> Self {
        Self { what: what.into(), stays: true, is_late: false }
    }

    /// Creates a timeout.
    pub fn late(patience: Duration) -> Self {
        Self {
            is_late: true,
            ..Self::passing(format!("it gave no answer within {} s", patience.as_secs_f32()))
        }
    }

    fn advised(what: String, stays: bool) -> Self {
        Self { what, stays, is_late: false }
    }

    /// Creates a problem for an unexpected answer.
    pub fn unknown_answer() -> Self {
        Self::passing("the server's answer is not understood")
    }

    /// Creates the problem for a server's error. `section`: the configuration table of the server.
    pub fn said(error: &str, section: RedisSection) -> Self {
        let shown = cleaned(error, MAX_SHOWN_CHARS);
        match ADVICE.iter().find(|(code, ..)| has_code(error, code)) {
            Some((_, stays, advice)) => {
                Self::advised(format!("Redis says \"{shown}\": {}", fill_advice(advice, section)), *stays)
            }
            None => Self::passing(format!("Redis says \"{shown}\"")),
        }
    }

    /// Creates the problem for a server's error at login. The error may contain the password in any form: nothing of it is
    /// shown but a known code.
    pub fn said_to_login(error: &str, section: RedisSection) -> Self {
        let known = LOGIN_ADVICE.iter().chain(ADVICE).find(|(code, ..)| has_code(error, code));
        match known {
            Some((code, stays, advice)) => {
                let advice = fill_advice(advice, section);
                Self::advised(format!("Redis refuses the login ({code}): {advice}"), *stays)
            }
            None => Self::passing(fill_advice(
                "Redis refuses the login with an error that is not one that is known (not shown, since it may repeat the password): check `username` and `password` of {section}",
                section,
            )),
        }
    }

    /// Creates the problem for a broken connection, or an invalid reply.
    pub fn broke(error: &io::Error, tls: bool) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData => Self::passing(format!(
                "what answers there does not speak Redis's protocol ({error}): check the port, and {}",
                if tls { "whether it is rediss:// there" } else { "whether it is to be rediss://, with TLS" }
            )),
            io::ErrorKind::UnexpectedEof => Self::passing("the server closed the connection"),
            _ => Self::passing(format!("the connection broke: {error}")),
        }
    }
}

/// Inserts the names of this table into an advice.
fn fill_advice(advice: &str, section: RedisSection) -> String {
    advice.replace("{section}", section.header()).replace("{name}", section.name_key())
}

/// Maximum characters that are shown of a server's error.
const MAX_SHOWN_CHARS: usize = 160;

/// Sanitizes a server's message: without secrets and control characters, and truncated to `most` characters. Secrets are
/// redacted first, since a truncated one is not found, and again after separators between their parts were removed.
pub fn cleaned(said: &str, most: usize) -> String {
    let visible: String = secret::redact(said).chars().filter(|c| !c.is_control()).collect();
    let mut clean = secret::redact(&visible).into_owned();
    if let Some((end, _)) = clean.char_indices().nth(most) {
        clean.truncate(end);
    }
    clean
}

/// Errors with a different meaning at login.
const LOGIN_ADVICE: &[(&str, bool, &str)] = &[
    (
        "ERR unknown command",
        true,
        "it does not know AUTH: either it is not Redis, or the command was renamed there (rename-command)",
    ),
    (
        "ERR wrong number of arguments",
        true,
        "it knows passwords without names only, as Redis did before 6: remove `username` from {section}",
    ),
    (
        "ERR syntax error",
        true,
        "it knows passwords without names only, as Redis did before 6: remove `username` from {section}",
    ),
];

/// Errors that a person can fix: code, whether they are permanent, advice.
const ADVICE: &[(&str, bool, &str)] = &[
    ("LOADING", false, "it reads its data after a start; this passes"),
    ("BUSY", false, "another client's script keeps it busy; this passes when the script ends"),
    ("READONLY", false, "this is a replica; `url` must lead to the primary"),
    ("MASTERDOWN", false, "this is a replica without its primary; the address must lead to the primary"),
    ("NOREPLICAS", false, "too few replicas are connected (min-replicas-to-write)"),
    ("MISCONF", false, "it can't save to its disk and refuses to write (stop-writes-on-bgsave-error)"),
    (
        "OOM",
        false,
        "its memory is used up: raise maxmemory there, or let less be kept (`maxlen` of [events.redis])",
    ),
    ("MOVED", true, "this is a Redis Cluster, whose scripts reach one key: name a Redis without it"),
    ("ASK", true, "this is a Redis Cluster, whose scripts reach one key: name a Redis without it"),
    ("CROSSSLOT", true, "this is a Redis Cluster, whose scripts reach one key: name a Redis without it"),
    ("CLUSTERDOWN", true, "this is a Redis Cluster, whose scripts reach one key: name a Redis without it"),
    ("WRONGPASS", true, "check `username` and `password` of {section}"),
    ("NOAUTH", true, "it wants a password: set `password` in {section}"),
    ("ERR AUTH", true, "it has no password: remove `password` from {section}, or set one there"),
    ("ERR Client sent AUTH", true, "it has no password: remove `password` from {section}"),
    ("ERR invalid password", true, "check `password` of {section}"),
    (
        "NOPERM",
        true,
        "its ACL does not allow this user to do that; docs/REDIS.md lists the permissions needed",
    ),
    (
        SCRIPT_DENIED,
        true,
        "its ACL does not allow this user to do that; docs/REDIS.md lists the permissions needed",
    ),
    (
        "DENIED",
        true,
        "it accepts connections from its own machine only (protected-mode): set a password there, and here",
    ),
    ("WRONGTYPE", true, "other data has that name: choose another `{name}` in {section}"),
    (
        "ERR unknown command",
        true,
        "scripts and streams are needed: Redis 5 or later, with none of their commands renamed or taken away",
    ),
    ("ERR DB index", true, "it has no database of this number: check the end of `url`"),
    ("ERR invalid DB index", true, "it has no database of this number: check the end of `url`"),
];

/// How a script of Redis 7 reports a missing permission of its user: for a command, or a key. Preceded by `ERR`.
const SCRIPT_DENIED: &str = "The user executing the script can't";

/// Returns whether the error has this code, at its beginning or as encountered by a script (`-CODE` in Redis 6 and before).
fn has_code(error: &str, code: &str) -> bool {
    let begins = |text: &str| {
        text.strip_prefix(code).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
    };
    begins(error)
        || (code == SCRIPT_DENIED && error.contains(code))
        || error.match_indices(": -").any(|(at, sign)| begins(&error[at + sign.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_passes_or_stays() {
        let cases = [
            ("LOADING Redis is loading the dataset in memory", false, "after a start"),
            ("READONLY You can't write against a read only replica.", false, "the primary"),
            (
                "OOM command not allowed when used memory > 'maxmemory'. script: 0a, on @user_script:3.",
                false,
                "maxlen",
            ),
            (
                "ERR Error running script (call to f_0a): @user_script:31: -OOM command not allowed when",
                false,
                "maxlen",
            ),
            ("MOVED 3999 127.0.0.1:6381", true, "Cluster"),
            ("CROSSSLOT Keys in request don't hash to the same slot", true, "Cluster"),
            ("WRONGPASS invalid username-password pair or user is disabled.", true, "`password`"),
            ("NOPERM User x has no permissions to run the 'evalsha' command", true, "docs/REDIS.md"),
            (
                "ERR The user executing the script can't run this command or subcommand script: 0a, on @user_script:3.",
                true,
                "docs/REDIS.md",
            ),
            (
                "ERR The user executing the script can't access at least one of the keys mentioned in the command \
                 arguments script: 0a, on @user_script:3.",
                true,
                "docs/REDIS.md",
            ),
            ("WRONGTYPE Operation against a key holding the wrong kind of value", true, "another `stream`"),
            ("ERR unknown command 'EVALSHA'", true, "Redis 5"),
            ("ERR unknown command 'SCRIPT'", true, "renamed"),
            ("ERR max number of clients reached", false, "max number"),
            ("ASKING for it", false, "Redis says"),
        ];
        for (said, stays, advice) in cases {
            let hitch = Hitch::said(said, RedisSection::Events);
            assert_eq!(hitch.stays, stays, "{hitch}");
            assert!(hitch.what.contains(advice), "{hitch}");
        }
        let advice = Hitch::said("WRONGTYPE Operation against a key", RedisSection::Memory);
        assert!(advice.what.ends_with("choose another `prefix` in [memory.redis]"), "{advice}");
        let long = Hitch::said(&format!("ERR \x1b[31m{}", "x".repeat(5000)), RedisSection::Events);
        assert!(long.what.len() < 300 && !long.what.contains('\x1b'), "{long}");
    }

    #[test]
    fn of_what_is_said_to_a_login_only_a_known_code_is_shown() {
        let cases = [
            (
                "ERR unknown command 'AUTH', with args beginning with: 'hunter2-and-more' ",
                true,
                "rename-command",
            ),
            ("ERR wrong number of arguments for 'auth' command", true, "remove `username`"),
            ("WRONGPASS hunter2-and-more is wrong", true, "check `username`"),
            (
                "ERR AUTH <password> called without any password configured: hunter2-and-more",
                true,
                "has no password",
            ),
            ("hunter2-and-more", false, "not one that is known"),
            ("LOADING hunter2-and-more", false, "after a start"),
        ];
        for (said, stays, advice) in cases {
            let hitch = Hitch::said_to_login(said, RedisSection::Events);
            assert!(hitch.stays == stays && hitch.what.contains(advice), "{hitch}");
            assert!(!hitch.what.contains("hunter2"), "{hitch}");
        }
    }

    #[test]
    fn a_connection_that_breaks_passes() {
        for tls in [false, true] {
            let odd = io::Error::new(io::ErrorKind::InvalidData, "a line");
            assert!(Hitch::broke(&odd, tls).what.contains("rediss://"));
            assert!(!Hitch::broke(&io::ErrorKind::UnexpectedEof.into(), tls).stays);
        }
    }
}
