//! Verifies the origin of a delivery: the signatures of Standard Webhooks (standardwebhooks.com,
//! 1.0) and of GitHub. Pure: headers, bytes and the time are passed in.
use crate::domain::HookScheme;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use sha2::Sha256;

/// Prefix of a base64-encoded secret of Standard Webhooks.
const SECRET_PREFIX: &str = "whsec_";
/// Maximum difference between the time of a Standard Webhooks delivery and ours.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);
/// Maximum length of a delivery id, in bytes.
const MAX_ID_BYTES: usize = 256;
/// Maximum number of signatures checked per delivery: a sender that rotates its key sends two.
const MAX_SIGNATURES: usize = 8;

/// A verified delivery, according to its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signed {
    /// The sender's id: the same when it is repeated.
    pub(super) id: String,
    /// The type of the event, if the headers name it.
    pub(super) event: Option<String>,
}

/// Why a delivery is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unsigned {
    /// A header is missing or malformed.
    #[error("the header `{0}` is missing or malformed")]
    Header(&'static str),
    /// It was sent too long ago, or by a clock that is ahead.
    #[error("the time of the delivery is more than 5 minutes from now")]
    Time,
    /// It is not signed with the secret.
    #[error("the signature does not fit")]
    Signature,
    /// The configured secret is invalid.
    #[error("the secret is empty, or begins with whsec_ and what follows is not base64")]
    Secret,
}

/// Verifies a delivery. `header` returns the value of a header by name.
pub(super) fn check<'h>(
    scheme: HookScheme,
    secret: &str,
    header: impl Fn(&'static str) -> Option<&'h str>,
    body: &[u8],
    now: Timestamp,
) -> Result<Signed, Unsigned> {
    let wanted = |name: &'static str| header(name).map(str::trim).ok_or(Unsigned::Header(name));
    match scheme {
        HookScheme::Standard => {
            let id = id_of(wanted(STANDARD_ID)?, STANDARD_ID)?;
            // the separating dots are signed as well: with a dot in the id, another id could be forged
            if id.contains('.') {
                return Err(Unsigned::Header(STANDARD_ID));
            }
            let sent = wanted(STANDARD_TIME)?;
            let at = sent.parse().ok().and_then(|secs| Timestamp::from_second(secs).ok());
            let at = at.filter(|_| sent.bytes().all(|byte| byte.is_ascii_digit()));
            let at = at.ok_or(Unsigned::Header(STANDARD_TIME))?;
            let signatures = wanted(STANDARD_SIGNATURE)?;
            let mut mac = mac_of(&key_of(secret)?)?;
            for part in [id.as_bytes(), b".", sent.as_bytes(), b".", body] {
                mac.update(part);
            }
            let given = signatures.split_whitespace().filter_map(|one| one.strip_prefix("v1,"));
            let given = given.take(MAX_SIGNATURES).filter_map(|one| STANDARD.decode(one).ok());
            fits_one(&mac, given)?;
            if now.duration_since(at).abs() > TOLERANCE {
                return Err(Unsigned::Time);
            }
            Ok(Signed { id, event: None })
        }
        HookScheme::Github => {
            let given = wanted(GITHUB_SIGNATURE)?;
            let given =
                given.strip_prefix("sha256=").and_then(bytes_of).ok_or(Unsigned::Header(GITHUB_SIGNATURE))?;
            let mut mac = mac_of(secret.as_bytes())?;
            mac.update(body);
            fits_one(&mac, std::iter::once(given))?;
            let event = header(GITHUB_EVENT).map(|event| event.chars().take(MAX_ID_BYTES).collect());
            Ok(Signed { id: id_of(wanted(GITHUB_ID)?, GITHUB_ID)?, event })
        }
    }
}

const STANDARD_ID: &str = "webhook-id";
const STANDARD_TIME: &str = "webhook-timestamp";
const STANDARD_SIGNATURE: &str = "webhook-signature";
const GITHUB_ID: &str = "x-github-delivery";
const GITHUB_EVENT: &str = "x-github-event";
const GITHUB_SIGNATURE: &str = "x-hub-signature-256";

fn id_of(id: &str, name: &'static str) -> Result<String, Unsigned> {
    let is_id = !id.is_empty() && id.len() <= MAX_ID_BYTES && id.bytes().all(|byte| byte.is_ascii_graphic());
    if is_id { Ok(id.to_owned()) } else { Err(Unsigned::Header(name)) }
}

/// Decodes the secret, as for deliveries that the daemon sends itself: without the base64 prefix,
/// it is the key verbatim.
fn key_of(secret: &str) -> Result<Vec<u8>, Unsigned> {
    let secret = secret.trim();
    match secret.strip_prefix(SECRET_PREFIX) {
        Some(text) => STANDARD.decode(text).map_err(|_| Unsigned::Secret),
        None => Ok(secret.as_bytes().to_vec()),
    }
}

fn mac_of(key: &[u8]) -> Result<Hmac<Sha256>, Unsigned> {
    // anyone could sign with an empty key
    if key.is_empty() {
        return Err(Unsigned::Secret);
    }
    Hmac::<Sha256>::new_from_slice(key).map_err(|_| Unsigned::Secret)
}

/// Verifies in constant time.
fn fits_one(mac: &Hmac<Sha256>, given: impl Iterator<Item = Vec<u8>>) -> Result<(), Unsigned> {
    let mut given = given;
    if given.any(|one| mac.clone().verify_slice(&one).is_ok()) { Ok(()) } else { Err(Unsigned::Signature) }
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    if !hex.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = hex.as_bytes().chunks_exact(2);
    pairs.map(|pair| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()).collect()
}

#[cfg(test)]
mod tests {
    //! With what the specifications give as examples.
    use super::*;
    use std::collections::BTreeMap;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(secs).unwrap()
    }

    fn checked(
        scheme: HookScheme,
        secret: &str,
        headers: &[(&'static str, &str)],
        body: &str,
        now: i64,
    ) -> Result<Signed, Unsigned> {
        let headers: BTreeMap<&str, &str> = headers.iter().copied().collect();
        check(scheme, secret, |name| headers.get(name).copied(), body.as_bytes(), at(now))
    }

    /// The example of the specification of the Standard Webhooks.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BODY: &str = r#"{"event_type":"ping"}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const SENT: &str = "1614265330";

    fn standard(id: &str, sent: &str, signature: &str, now: i64) -> Result<Signed, Unsigned> {
        let headers = [("webhook-id", id), ("webhook-timestamp", sent), ("webhook-signature", signature)];
        checked(HookScheme::Standard, SECRET, &headers, r#"{"test": 2432232314}"#, now)
    }

    #[test]
    fn an_empty_key_signs_nothing() {
        let headers = [
            ("webhook-id", "m"),
            ("webhook-timestamp", "1"),
            ("webhook-signature", "v1,AAAA"),
            ("x-hub-signature-256", "sha256=00"),
            ("x-github-delivery", "d"),
        ];
        for (scheme, secret) in
            [(HookScheme::Standard, "whsec_"), (HookScheme::Standard, " "), (HookScheme::Github, "")]
        {
            assert_eq!(checked(scheme, secret, &headers, "{}", 1), Err(Unsigned::Secret), "{secret:?}");
        }
    }

    #[test]
    fn standard_webhooks() {
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let now = 1_614_265_330;
        let signed = Ok(Signed { id: id.into(), event: None });
        assert_eq!(standard(id, SENT, SIGNATURE, now), signed);
        let several = format!("v1,AAAA v1a,zzz nonsense {SIGNATURE}");
        assert_eq!(standard(id, SENT, &several, now + 300), signed);
        assert_eq!(standard(id, SENT, SIGNATURE, now - 300), signed);
        assert_eq!(standard(id, SENT, SIGNATURE, now + 301), Err(Unsigned::Time));
        assert_eq!(standard(id, SENT, SIGNATURE, now - 301), Err(Unsigned::Time));
        for wrong in ["v1,AAAA", "v1,", "", "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="] {
            assert_eq!(standard(id, SENT, wrong, now), Err(Unsigned::Signature), "{wrong}");
        }
        assert_eq!(standard("msg_other", SENT, SIGNATURE, now), Err(Unsigned::Signature));
        assert_eq!(standard(id, "1614265331", SIGNATURE, now), Err(Unsigned::Signature));
        for (id, sent, name) in [
            ("", SENT, STANDARD_ID),
            ("a.b", SENT, STANDARD_ID),
            ("a b", SENT, STANDARD_ID),
            (id, "-1", STANDARD_TIME),
        ] {
            assert_eq!(standard(id, sent, SIGNATURE, now), Err(Unsigned::Header(name)), "{id} {sent}");
        }
    }

    #[test]
    fn a_secret_that_is_not_marked_is_the_key_and_one_that_is_must_be_base64() {
        let headers = [("webhook-id", "a"), ("webhook-timestamp", SENT), ("webhook-signature", "v1,AAAA")];
        let of = |secret| checked(HookScheme::Standard, secret, &headers, BODY, 1_614_265_330);
        assert_eq!(of("whsec_!"), Err(Unsigned::Secret));
        assert_eq!(of("plain"), Err(Unsigned::Signature));
    }

    /// The example of GitHub's documentation.
    #[test]
    fn github() {
        let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let headers = [
            ("x-hub-signature-256", signature),
            ("x-github-delivery", "72d3162e"),
            ("x-github-event", "push"),
        ];
        let of = |headers: &[(&'static str, &str)], body: &str| {
            checked(HookScheme::Github, "It's a Secret to Everybody", headers, body, 0)
        };
        let signed = Signed { id: "72d3162e".into(), event: Some("push".into()) };
        assert_eq!(of(&headers, "Hello, World!"), Ok(signed));
        assert_eq!(of(&headers, "Hello, World?"), Err(Unsigned::Signature));
        assert_eq!(of(&headers[..1], "Hello, World!"), Err(Unsigned::Header("x-github-delivery")));
        assert_eq!(of(&headers[1..], "Hello, World!"), Err(Unsigned::Header("x-hub-signature-256")));
        for odd in ["sha1=75", "sha256=7", "sha256=zz", "757107"] {
            let headers = [("x-hub-signature-256", odd), headers[1]];
            assert_eq!(of(&headers, "x"), Err(Unsigned::Header("x-hub-signature-256")), "{odd}");
        }
    }
}
