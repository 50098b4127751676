//! A daemon as one of several that share their records.
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// `[daemon] node`, `labels` and `leads`: what a daemon is among those that share its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSpec {
    /// Its name; `None`: that of its machine.
    pub name: Option<NodeName>,
    /// What people and agents choose nodes by.
    pub labels: BTreeMap<String, String>,
    /// It may take the lead.
    pub leads: bool,
}

impl NodeSpec {
    /// Labels of a node, at the most.
    pub const MOST_LABELS: usize = 32;
    /// Longest text of a label, in bytes.
    pub const LONGEST_LABEL: usize = 128;
}

impl Default for NodeSpec {
    fn default() -> Self {
        Self { name: None, labels: BTreeMap::new(), leads: true }
    }
}

/// The name of a node: letters, digits, `-`, `_` and `.`, beginning with a letter or a digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(String);

/// Why a text is no [`NodeName`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} can't name a node: letters, digits, `-`, `_` and `.`, at most 63 of them, and a letter or a digit first"
)]
pub struct InvalidNodeName {
    text: String,
}

impl NodeName {
    /// Longest name, in bytes.
    pub const LONGEST: usize = 63;

    /// The name of a machine, as a name of a node: what can't stand there becomes `-`.
    pub fn of_host(host: &str) -> Self {
        let can_stand = |c: char| if is_part(c) { c } else { '-' };
        let name: String = host.chars().map(can_stand).collect();
        let name = name.trim_start_matches(['-', '_', '.']);
        // its characters take a byte each
        let name = &name[..name.len().min(Self::LONGEST)];
        Self(if name.is_empty() { "node".to_owned() } else { name.to_owned() })
    }

    /// The same with a suffix that tells it from others of the name.
    pub fn apart(&self, suffix: &str) -> Self {
        let room = Self::LONGEST.saturating_sub(suffix.len() + 1);
        Self(format!("{}-{suffix}", &self.0[..self.0.len().min(room)]))
    }

    /// As a text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

impl FromStr for NodeName {
    type Err = InvalidNodeName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if begins && text.chars().all(is_part) && text.len() <= Self::LONGEST {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidNodeName { text: text.to_owned() })
        }
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_checked_and_that_of_a_machine_is_made_fit() {
        for good in ["gpu-7", "a", "7", "db_1.example.org"] {
            assert_eq!(good.parse::<NodeName>().unwrap().as_str(), good);
        }
        let long = "n".repeat(64);
        for bad in ["", "-a", ".a", "a b", "ä", "a/b", long.as_str()] {
            assert!(bad.parse::<NodeName>().is_err(), "{bad}");
        }
        assert_eq!(NodeName::of_host("Gärtner's mac").as_str(), "G-rtner-s-mac");
        assert_eq!(NodeName::of_host("").as_str(), "node");
        assert_eq!(NodeName::of_host(&long).as_str().len(), 63);
        let apart = NodeName::of_host(&long).apart("5a7e11");
        assert!(apart.as_str().len() == 63 && apart.as_str().ends_with("n-5a7e11"), "{apart}");
    }
}
