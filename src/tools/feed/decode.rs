//! The bytes of a feed as text, whatever encoding they are really in.
//!
//! The encoding declared by a server or a file is often wrong, so it only decides if the bytes are ambiguous.
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use std::borrow::Cow;

/// Decodes the text. `header` is the value of `Content-Type`.
pub(super) fn text<'b>(bytes: &'b [u8], header: &str) -> Cow<'b, str> {
    // `decode` removes a byte order mark, and uses its encoding.
    encoding(bytes, header).decode(bytes).0
}

fn encoding(bytes: &[u8], header: &str) -> &'static Encoding {
    if let Some(utf16) = without_mark(bytes) {
        return utf16;
    }
    let found = |label: Option<String>| Encoding::for_label(label?.as_bytes());
    let declared = declared(found(charset(header)), found(prolog(bytes)), bytes);
    let mut declared = declared.into_iter().flatten();
    if is_utf8(bytes) {
        // Plain ASCII bytes may still be another encoding, such as ISO-2022-JP.
        let odd = declared.find(|encoding| !encoding.is_ascii_compatible());
        return odd.filter(|odd| bytes.is_ascii() && *odd != UTF_16LE && *odd != UTF_16BE).unwrap_or(UTF_8);
    }
    // It is neither UTF-8, nor UTF-16, which begins with other bytes, whatever is declared.
    declared
        .find(|encoding| *encoding != UTF_8 && *encoding != UTF_16LE && *encoding != UTF_16BE)
        .unwrap_or(WINDOWS_1252)
}

type Declared = Option<&'static Encoding>;

/// Orders the declared encodings by precedence. The server's comes first (RFC 7303, 3), unless it is a common
/// default of misconfigured servers, or the bytes are invalid in it.
fn declared(header: Declared, prolog: Declared, bytes: &[u8]) -> [Declared; 2] {
    let fits = |encoding: &'static Encoding| !encoding.decode_without_bom_handling(bytes).1;
    match (header, prolog) {
        (Some(server), Some(file)) if server != file => {
            let doubtful = server == WINDOWS_1252 || !fits(server);
            if doubtful && fits(file) { [prolog, header] } else { [header, prolog] }
        }
        _ => [header, prolog],
    }
}

/// Detects UTF-16 without a byte order mark: its first character is `<` or `{`.
fn without_mark(bytes: &[u8]) -> Option<&'static Encoding> {
    match bytes {
        [b'<' | b'{', 0, ..] => Some(UTF_16LE),
        [0, b'<' | b'{', ..] => Some(UTF_16BE),
        _ => None,
    }
}

/// Returns whether the bytes are UTF-8, possibly cut within a character, or with a few bad bytes among
/// thousands of good ones.
fn is_utf8(bytes: &[u8]) -> bool {
    let (mut rest, mut bad, mut good) = (bytes, 0_usize, 0_usize);
    loop {
        match std::str::from_utf8(rest) {
            Ok(text) => {
                good += beyond_ascii(text);
                break;
            }
            Err(error) => {
                let (text, after) = rest.split_at(error.valid_up_to());
                good += std::str::from_utf8(text).map_or(0, beyond_ascii);
                let Some(skip) = error.error_len() else { break };
                bad += 1;
                rest = &after[skip..];
            }
        }
        if bad > 64 {
            break;
        }
    }
    bad == 0 || good > bad * 10
}

fn beyond_ascii(text: &str) -> usize {
    text.bytes().filter(|byte| *byte >= 0xC0).count()
}

/// Extracts `utf-8` from `text/xml; charset="utf-8"`.
fn charset(header: &str) -> Option<String> {
    label_after(header, "charset=")
}

/// Extracts the encoding of `<?xml … encoding="…"?>`.
fn prolog(bytes: &[u8]) -> Option<String> {
    let start: String = bytes.iter().take(200).map(|byte| char::from(*byte)).collect();
    let inside = start.split_once("<?xml")?.1.split_once("?>")?.0.replace([' ', '\t', '\n', '\r'], "");
    label_after(&inside, "encoding=")
}

fn label_after(text: &str, key: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let rest = lower.split_once(key)?.1.trim_start_matches(['"', '\'', ' ']);
    let label: String =
        rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_:.".contains(*c)).collect();
    (!label.is_empty()).then_some(label)
}

#[cfg(test)]
mod tests {
    //! Tests of encodings, declared and real.
    use super::*;

    #[test]
    fn the_bytes_decide_before_what_is_said_of_them() {
        let utf16 = |text: &str, big: bool| -> Vec<u8> {
            text.encode_utf16()
                .flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() })
                .collect()
        };
        let with = |start: &[u8], rest: Vec<u8>| [start, &rest].concat();
        let latin = b"<?xml version='1.0' encoding='%'?>caf\xe9 \x80".to_vec();
        let says = |what: &str| -> Vec<u8> {
            let at = latin.iter().position(|byte| *byte == b'%').unwrap();
            [&latin[..at], what.as_bytes(), &latin[at + 1..]].concat()
        };
        let cases: Vec<(Vec<u8>, &str, &str)> = vec![
            ("<a>é</a>".into(), "", "<a>é</a>"),
            ("<a>é</a>".into(), "text/xml; charset=iso-8859-1", "<a>é</a>"),
            (with(b"\xef\xbb\xbf", "<é>".into()), "text/xml; charset=windows-1252", "<é>"),
            (with(b"\xff\xfe", utf16("<é>", false)), "", "<é>"),
            (with(b"\xfe\xff", utf16("<é>", true)), "text/xml; charset=utf-8", "<é>"),
            (utf16("<é>", false), "", "<é>"),
            (utf16("<é>", true), "", "<é>"),
            (says("utf-8"), "", "<?xml version='1.0' encoding='utf-8'?>café €"),
            (says("utf-16"), "", "<?xml version='1.0' encoding='utf-16'?>café €"),
            (
                says("iso-8859-1"),
                "text/xml; charset=UTF-8",
                "<?xml version='1.0' encoding='iso-8859-1'?>café €",
            ),
            (says("windows-1251"), "", "<?xml version='1.0' encoding='windows-1251'?>cafй Ђ"),
            (b"<a>\xca\xec\xf2</a>".to_vec(), "text/xml; charset=\"koi8-r\"", "<a>йЛР</a>"),
            (
                b"<?xml version='1.0' encoding='utf-16'?><a>x</a>".to_vec(),
                "",
                "<?xml version='1.0' encoding='utf-16'?><a>x</a>",
            ),
            (
                says("windows-1251"),
                "text/xml; charset=ISO-8859-1",
                "<?xml version='1.0' encoding='windows-1251'?>cafй Ђ",
            ),
            (
                says("windows-1251"),
                "text/xml; charset=us-ascii",
                "<?xml version='1.0' encoding='windows-1251'?>cafй Ђ",
            ),
            (
                says("windows-1251"),
                "text/xml; charset=euc-jp",
                "<?xml version='1.0' encoding='windows-1251'?>cafй Ђ",
            ),
            (
                says("iso-8859-1"),
                "text/xml; charset=windows-1251",
                "<?xml version='1.0' encoding='iso-8859-1'?>cafй Ђ",
            ),
            (b"<a>\x1b$B$\"\x1b(B</a>".to_vec(), "text/xml; charset=iso-2022-jp", "<a>あ</a>"),
            (b"<a>\xe9</a>".to_vec(), "text/xml; charset=nonsense", "<a>é</a>"),
        ];
        for (bytes, header, wanted) in cases {
            assert_eq!(text(&bytes, header), wanted, "{header}");
        }
    }

    #[test]
    fn one_bad_byte_does_not_spoil_a_text() {
        let mut bytes = "<p>größer </p>".repeat(100).into_bytes();
        bytes[700] = 0xff;
        let found = text(&bytes, "");
        assert!(found.contains("größer") && found.contains('\u{fffd}'));
        // Cut within a character.
        assert!(text("<é".as_bytes().split_last().unwrap().1, "").starts_with('<'));
    }
}
