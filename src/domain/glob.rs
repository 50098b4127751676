//! Patterns for names, as in a shell.

/// Does a name match a pattern with `*` (any text) and `?` (one character of ASCII)?
pub fn glob(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == b'?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, name, matches) in [
            ("news", "news", true),
            ("news-*", "news-eu", true),
            ("news-*", "news", false),
            ("*", "", true),
            ("*-eu", "a-b-eu", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b", "xaybz", false),
        ] {
            assert_eq!(glob(pattern, name), matches, "{pattern} {name}");
        }
    }
}
