//! A daemon as one of several that share their records.
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// `[daemon] node`, `labels` and `leads`: the role of a daemon among those that share its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSpec {
    /// Its name; `None`: that of its machine.
    pub name: Option<NodeName>,
    /// Labels by which people and agents select nodes.
    pub labels: Labels,
    /// It may become the leader.
    pub leads: bool,
}

impl NodeSpec {
    /// Maximum number of labels of a node.
    pub const MAX_LABELS: usize = 32;
    /// Maximum length of a label, in bytes.
    pub const MAX_LABEL_BYTES: usize = 128;
}

/// Labels by name.
pub type Labels = BTreeMap<String, String>;

/// `where` of an agent: labels that a node must have to run it; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeWanted(Labels);

impl NodeWanted {
    /// Returns the requirement; `None` without labels.
    pub fn of(labels: Labels) -> Option<Self> {
        (!labels.is_empty()).then_some(Self(labels))
    }

    /// Returns whether a node with these labels meets the requirement.
    pub fn fits(&self, labels: &Labels) -> bool {
        self.0.iter().all(|(name, value)| labels.get(name) == Some(value))
    }

    /// Returns the required labels.
    pub fn labels(&self) -> &Labels {
        &self.0
    }
}

/// Formats as `gpu=h100, site=fra`.
impl fmt::Display for NodeWanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&labels_in_words(&self.0))
    }
}

/// Formats labels as `gpu=h100, site=fra`; without any: `no labels`.
pub fn labels_in_words(labels: &Labels) -> String {
    let each: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if each.is_empty() { "no labels".to_owned() } else { each.join(", ") }
}

/// A worker node that runs what the leader places on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveNode {
    pub name: Arc<str>,
    /// One session of the node: what was placed in another one no longer runs there.
    pub session: Arc<str>,
    pub labels: Labels,
    /// Runs that it takes at a time.
    pub places: usize,
    /// Something new may be placed there. False: it goes down, or is lost and was not heard to the end yet.
    pub takes: bool,
}

/// Where the newest attempt of a run was placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedAt {
    pub node: Arc<str>,
    /// The node's session that is running the attempt. `None`: no longer running.
    pub session: Option<Arc<str>>,
}

impl Default for NodeSpec {
    fn default() -> Self {
        Self { name: None, labels: BTreeMap::new(), leads: true }
    }
}

/// The name of a node: letters, digits, `-`, `_` and `.`, beginning with a letter or a digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(String);

/// A text that is not a valid [`NodeName`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} can't name a node: letters, digits, `-`, `_` and `.`, at most 63 of them, and a letter or a digit first"
)]
pub struct InvalidNodeName {
    text: String,
}

impl NodeName {
    /// Maximum length of a name, in bytes.
    pub const LONGEST: usize = 63;

    /// Returns the host name as a node name: invalid characters become `-`.
    pub fn of_host(host: &str) -> Self {
        let can_stand = |c: char| if is_part(c) { c } else { '-' };
        let name: String = host.chars().map(can_stand).collect();
        let name = name.trim_start_matches(['-', '_', '.']);
        // all characters are ASCII
        let name = &name[..name.len().min(Self::LONGEST)];
        Self(if name.is_empty() { "node".to_owned() } else { name.to_owned() })
    }

    /// Returns the name with a suffix, to distinguish it from equal names.
    pub fn apart(&self, suffix: &str) -> Self {
        let room = Self::LONGEST.saturating_sub(suffix.len() + 1);
        Self(format!("{}-{suffix}", &self.0[..self.0.len().min(room)]))
    }

    /// Returns the name as text.
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
    fn a_node_fits_that_has_all_labels() {
        let labels = |all: &[(&str, &str)]| -> Labels {
            all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        assert_eq!(NodeWanted::of(labels(&[])), None);
        let wanted = NodeWanted::of(labels(&[("site", "fra"), ("gpu", "h100")])).unwrap();
        assert_eq!(wanted.to_string(), "gpu=h100, site=fra");
        for (has, fits) in [
            (labels(&[("gpu", "h100"), ("site", "fra"), ("disk", "big")]), true),
            (labels(&[("gpu", "h100")]), false),
            (labels(&[("gpu", "H100"), ("site", "fra")]), false),
            (labels(&[]), false),
        ] {
            assert_eq!(wanted.fits(&has), fits, "{has:?}");
        }
        assert_eq!(labels_in_words(&labels(&[])), "no labels");
    }

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
