//! Names with `*` (any text) and `?` (any character).

/// Does it have wildcards at all?
pub(super) fn is_glob(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Does the whole name match?
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // where to go on if the rest does not match: behind the last `*`, one character further
    let mut back: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                back = Some((p + 1, n + 1));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match back {
                Some((after, from)) => {
                    back = Some((after, from + 1));
                    (p, n) = (after, from);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let table = [
            ("news", "news", true),
            ("news", "new", false),
            ("news-*", "news-eu", true),
            ("news-*", "news", false),
            ("*", "", true),
            ("*-eu", "news-us-eu", true),
            ("n?ws", "news", true),
            ("n?ws", "nws", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("**", "x", true),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
