//! Minimal parsing of a PostgreSQL statement: its first word, and where `:name` is a placeholder. The server
//! supports only `$1`. Literals, comments, casts and slices are left as they are.
use serde_json::{Map, Value};

/// Replaces `:name` by `$n`. The values are returned in the order of their numbers.
pub(super) fn numbered(text: &str, values: &Map<String, Value>) -> Result<(String, Vec<Value>), String> {
    let mut out = String::with_capacity(text.len());
    let mut used: Vec<&str> = Vec::new();
    let mut slices = 0usize;
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(length) = skipped(rest) {
            out.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        let first = rest.chars().next().unwrap_or_default();
        match first {
            '[' => slices += 1,
            ']' => slices = slices.saturating_sub(1),
            ':' if rest.starts_with("::") || rest.starts_with(":=") => {
                out.push_str(&rest[..2]);
                rest = &rest[2..];
                continue;
            }
            ':' => {
                let name = word(&rest[1..]);
                match values.get_key_value(name) {
                    Some((key, _)) => {
                        let at = used.iter().position(|known| known == key).unwrap_or_else(|| {
                            used.push(key);
                            used.len() - 1
                        });
                        out.push_str(&format!("${}", at + 1));
                        rest = &rest[1 + name.len()..];
                        continue;
                    }
                    None if !name.is_empty() && slices == 0 => return Err(format!("`{name}` is missing")),
                    None => {}
                }
            }
            _ => {}
        }
        // A word is copied as a whole, so that the `e` of `name'` does not begin a literal with escapes.
        let length = word(rest).len().max(first.len_utf8());
        let prefixes_text = matches!(word(rest), "e" | "E") && rest[1..].starts_with('\'');
        let length = if prefixes_text { escaped_text(rest) } else { length };
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    if let Some(extra) = values.keys().find(|key| !used.contains(&key.as_str())) {
        return Err(format!("the statement has no parameter `:{extra}`"));
    }
    Ok((out, used.into_iter().map(|name| values[name].clone()).collect()))
}

/// Returns a statement without its terminator and whatever follows it: literals, comments and names may
/// contain any `;`.
pub(super) fn without_end(text: &str) -> &str {
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if first == ';' {
            return &text[..at];
        }
        at += match skipped(rest) {
            Some(length) => length,
            None if matches!(word(rest), "e" | "E") && rest[1..].starts_with('\'') => escaped_text(rest),
            None => word(rest).len().max(first.len_utf8()),
        };
    }
    text
}

/// Returns the first word of a statement, in lower case.
pub(super) fn first_word(text: &str) -> String {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
        match comment(rest) {
            Some(length) => rest = &rest[length..],
            None => return word(rest).to_ascii_lowercase(),
        }
    }
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// Returns the length of the literal or comment that begins here, if one does.
fn skipped(rest: &str) -> Option<usize> {
    match rest.as_bytes()[0] {
        quote @ (b'\'' | b'"') => {
            let end = rest[1..].find(char::from(quote));
            Some(end.map_or(rest.len(), |at| at + 2))
        }
        b'$' => {
            let tag = word(&rest[1..]);
            let starts_with_digit = tag.starts_with(|c: char| c.is_ascii_digit());
            if starts_with_digit || !rest[1 + tag.len()..].starts_with('$') {
                return None;
            }
            let fence = &rest[..tag.len() + 2];
            let end = rest[fence.len()..].find(fence);
            Some(end.map_or(rest.len(), |at| at + 2 * fence.len()))
        }
        _ => comment(rest),
    }
}

/// Returns the length of the comment that begins here, if one does. Block comments can be nested.
fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("--") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (0usize, 0);
    let bytes = rest.as_bytes();
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => {
                (depth, at) = (depth - 1, at + 2);
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => at += 1,
        }
    }
    Some(rest.len())
}

/// Returns the length of `e'…'`, where a backslash escapes a quote.
fn escaped_text(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 2;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'\'' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    //! Tests of statements.
    use super::*;
    use serde_json::json;

    #[test]
    fn names_become_numbers() {
        for (text, names, becomes) in [
            ("SELECT :a, :b, :a", "a b", "SELECT $1, $2, $1"),
            ("SELECT ':a', \":a\", :a", "a", "SELECT ':a', \":a\", $1"),
            ("SELECT 'it''s :a' || :a", "a", "SELECT 'it''s :a' || $1"),
            ("SELECT e'\\' :a' || :a", "a", "SELECT e'\\' :a' || $1"),
            ("SELECT name':a' , :a", "a", "SELECT name':a' , $1"),
            ("SELECT :a::int, x[1:2], x[lo:hi], x[:a]", "a", "SELECT $1::int, x[1:2], x[lo:hi], x[$1]"),
            ("SELECT $$ :a $$, $t$ :a $$ $t$, :a", "a", "SELECT $$ :a $$, $t$ :a $$ $t$, $1"),
            ("SELECT 1 -- :a\n, :a", "a", "SELECT 1 -- :a\n, $1"),
            ("SELECT /* :a /* :a */ :a */ :a", "a", "SELECT /* :a /* :a */ :a */ $1"),
            ("SELECT f(x := :a), 'ü:a', :a", "a", "SELECT f(x := $1), 'ü:a', $1"),
        ] {
            let values = names.split(' ').map(|name| (name.to_owned(), json!(name))).collect();
            let (found, _) = numbered(text, &values).unwrap();
            assert_eq!(found, becomes);
        }
        let values = Map::from_iter([("a".to_owned(), json!(1))]);
        assert_eq!(numbered("SELECT :a, :b", &values).unwrap_err(), "`b` is missing");
        assert_eq!(numbered("SELECT 1", &values).unwrap_err(), "the statement has no parameter `:a`");
        for text in ["", "'", "\"", "$a$", "/*", "/* /* */", "e'\\", "e'ü", ":", "$", "ü:ü", "--"] {
            let _ = numbered(text, &Map::new());
            first_word(text);
        }
    }

    #[test]
    fn a_statement_ends_where_it_ends() {
        for (text, wanted) in [
            ("SELECT 1", "SELECT 1"),
            ("SELECT 1; -- the end; x", "SELECT 1"),
            (
                "SELECT ';', e'\\';', \";\", $$;$$, $a$;$a$ -- ;\n, 1 /* ; */ ;; ",
                "SELECT ';', e'\\';', \";\", $$;$$, $a$;$a$ -- ;\n, 1 /* ; */ ",
            ),
            ("SELECT 'ü;' -- x", "SELECT 'ü;' -- x"),
            (";", ""),
            ("", ""),
        ] {
            assert_eq!(without_end(text), wanted, "{text}");
        }
        for text in ["'", "\"", "$a$", "/*", "e'\\", "e'ü", "$", "ü;"] {
            without_end(text);
        }
    }

    #[test]
    fn the_first_word_is_found() {
        for (text, word) in [
            ("select 1", "select"),
            (" \n(( SELECT", "select"),
            ("/* a /* b */ */ -- c\nWith x", "with"),
            ("COPY t TO PROGRAM 'x'", "copy"),
            ("", ""),
            (";", ""),
        ] {
            assert_eq!(first_word(text), word, "{text}");
        }
    }
}
