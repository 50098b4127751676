//! Names of tables as people write them: `orders`, `sales.orders`, `"my schema"."my.table"`.

/// Returns what a name may mean, the likeliest first: as a list of schema and table, or of the table alone.
/// Other programs fold unquoted names to lower case, so that reading comes last.
pub(super) fn readings(text: &str) -> Vec<Vec<String>> {
    let mut all: Vec<Vec<String>> = Vec::new();
    let parts = parts(text).filter(|parts| parts.len() <= 3).unwrap_or_default();
    let plain = parts.iter().map(|part| part.text.clone()).collect::<Vec<_>>();
    let small = parts.iter().map(|part| match part.quoted {
        true => part.text.clone(),
        false => part.text.to_lowercase(),
    });
    // The dots and quotes may be part of the table's name.
    for reading in [plain, vec![text.to_owned()], small.collect()] {
        if !reading.is_empty() && !all.contains(&reading) {
            all.push(reading);
        }
    }
    all
}

/// A part of a dotted name.
#[derive(Debug, PartialEq)]
struct Part {
    text: String,
    quoted: bool,
}

/// Splits a dotted name into its parts; `None` if it is not written like one.
fn parts(text: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let part;
        (part, rest) = match rest.chars().next()? {
            '[' => quoted(rest, ']')?,
            quote @ ('"' | '`') => quoted(rest, quote)?,
            _ => {
                let end = rest.find('.').unwrap_or(rest.len());
                (Part { text: rest[..end].to_owned(), quoted: false }, &rest[end..])
            }
        };
        if part.text.is_empty() {
            return None;
        }
        parts.push(part);
        match rest.strip_prefix('.') {
            Some(more) => rest = more,
            None => return rest.is_empty().then_some(parts),
        }
    }
}

/// Parses a quoted part, and returns the rest of the text. A doubled quote stands for itself.
fn quoted(text: &str, close: char) -> Option<(Part, &str)> {
    let mut name = String::new();
    let mut rest = &text[1..];
    loop {
        let end = rest.find(close)?;
        name.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix(close) {
            Some(more) => {
                name.push(close);
                rest = more;
            }
            None => return Some((Part { text: name, quoted: true }, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    //! Tests of names.
    use super::*;

    #[test]
    fn names_are_read_as_people_write_them() {
        for (text, wanted) in [
            ("orders", &[&["orders"][..]][..]),
            ("Orders", &[&["Orders"], &["orders"]]),
            ("sales.orders", &[&["sales", "orders"], &["sales.orders"]]),
            ("Sales.Orders", &[&["Sales", "Orders"], &["Sales.Orders"], &["sales", "orders"]]),
            ("\"Sales\".orders", &[&["Sales", "orders"], &["\"Sales\".orders"]]),
            ("\"a.b\".\"c\"\"d\"", &[&["a.b", "c\"d"], &["\"a.b\".\"c\"\"d\""]]),
            ("shop.sales.orders", &[&["shop", "sales", "orders"], &["shop.sales.orders"]]),
            ("[my table]", &[&["my table"], &["[my table]"]]),
            ("`x`", &[&["x"], &["`x`"]]),
            ("a..b", &[&["a..b"]]),
            ("\"a", &[&["\"a"]]),
            ("\"a\"b", &[&["\"a\"b"]]),
            (".", &[&["."]]),
        ] {
            assert_eq!(readings(text), wanted, "{text}");
        }
    }
}
