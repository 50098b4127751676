//! Rows that refer to rows of the same table: determines which can be deleted without leaving dangling
//! references.
use std::collections::{BTreeSet, HashMap};

/// A reference: the key of the referring row, and the position of the row that it refers to.
pub(super) type Reference = (String, usize);

/// Returns positions of rows that must stay: those that rows which stay refer to. `places` maps the keys of
/// the rows to be deleted to their positions.
pub(super) fn referred(places: &HashMap<String, usize>, references: &[Reference]) -> Vec<usize> {
    let mut parents: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut look: Vec<usize> = Vec::new();
    for (child, parent) in references {
        match places.get(child) {
            Some(child) => parents.entry(*child).or_default().push(*parent),
            None => look.push(*parent),
        }
    }
    let mut stay = BTreeSet::new();
    while let Some(at) = look.pop() {
        if stay.insert(at) {
            look.extend(parents.get(&at).into_iter().flatten());
        }
    }
    stay.into_iter().collect()
}

#[cfg(test)]
mod tests {
    //! Tests of references within a table.
    use super::*;

    #[track_caller]
    fn check(keys: &str, references: &[(&str, &str)], wanted: &[usize]) {
        let places: HashMap<String, usize> =
            keys.chars().enumerate().map(|(at, key)| (key.to_string(), at)).collect();
        let references: Vec<Reference> =
            references.iter().map(|(child, parent)| ((*child).to_owned(), places[*parent])).collect();
        assert_eq!(referred(&places, &references), wanted, "{keys} {references:?}");
    }

    #[test]
    fn who_is_referred_to_from_outside_stays_and_whoever_it_refers_to() {
        check("abc", &[], &[]);
        check("abc", &[("b", "a"), ("c", "b")], &[]);
        check("abc", &[("b", "a"), ("c", "b"), ("z", "c")], &[0, 1, 2]);
        check("abc", &[("b", "a"), ("z", "b")], &[0, 1]);
        // Cycles, and rows that refer to themselves.
        check("abc", &[("a", "a"), ("b", "c"), ("c", "b")], &[]);
        check("abc", &[("b", "c"), ("c", "b"), ("z", "b")], &[1, 2]);
    }
}
