//! Skills: a folder with a `SKILL.md`, whose front matter says what the skill is for and whose body says how it is done, as many
//! agents read it (agentskills.io). A model learns name and description, and reads the body when it needs it.
use std::fmt;
use std::path::PathBuf;

/// The file that makes a folder a skill.
pub const SKILL_FILE: &str = "SKILL.md";
/// Longest name, in characters.
const LONGEST_NAME: usize = 64;
/// Longest description, in characters.
const LONGEST_DESCRIPTION: usize = 1024;

/// What the front matter of a skill says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkillHead {
    /// Lower-case letters, digits and hyphens.
    pub name: String,
    /// What it is for and when it is of use, in one line.
    pub description: String,
}

/// A skill of an agent, as it was when the configuration was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkillSpec {
    /// What it says of itself.
    pub head: SkillHead,
    /// Its folder.
    pub folder: PathBuf,
    /// SHA-256 of all that is in it, in hex: with anything else there it is not used.
    pub digest: String,
}

/// The tool by which a model reads its skills.
pub const READ_SKILL: &str = "skill";

/// Why a text is no `SKILL.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoSkill {
    /// It has no front matter.
    NoFrontMatter,
    /// The front matter lacks this key, or has nothing there.
    Missing(&'static str),
    /// The name can't be one.
    Name(String),
    /// The description is longer than this many characters.
    TooLong(usize),
}

impl fmt::Display for NoSkill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFrontMatter => f.write_str(
                "it does not begin with front matter: a line `---`, `name: …`, `description: …`, and a line `---`",
            ),
            Self::Missing(key) => write!(f, "its front matter has no `{key}`"),
            Self::Name(name) => write!(
                f,
                "`{name}` can't be the name of a skill: up to {LONGEST_NAME} lower-case letters, digits and hyphens"
            ),
            Self::TooLong(most) => write!(f, "its `description` is longer than {most} characters"),
        }
    }
}

impl SkillHead {
    /// Reads a `SKILL.md`. Of the front matter, which is YAML, the two keys are read that each skill has: as plain or quoted
    /// text, or as a block (`|`, `>`); all else is passed over.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, NoSkill> {
        let matter = front_matter(text).ok_or(NoSkill::NoFrontMatter)?;
        let value = |key: &'static str| {
            value_of(&matter, key).filter(|value| !value.is_empty()).ok_or(NoSkill::Missing(key))
        };
        let (name, description) = (value("name")?, value("description")?);
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.chars().count() > LONGEST_NAME || !name.chars().all(fits) || name.starts_with('-') {
            return Err(NoSkill::Name(name.chars().take(LONGEST_NAME).collect()));
        }
        if description.chars().count() > LONGEST_DESCRIPTION {
            return Err(NoSkill::TooLong(LONGEST_DESCRIPTION));
        }
        Ok(Self { name, description })
    }
}

/// The lines between the first two lines `---`.
fn front_matter(text: &str) -> Option<Vec<&str>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines();
    if lines.next()?.trim_end() != "---" {
        return None;
    }
    let mut matter = Vec::new();
    for line in lines {
        if line.trim_end() == "---" {
            return Some(matter);
        }
        matter.push(line);
    }
    None
}

/// The value of a key at the top of the front matter, in one line.
fn value_of(matter: &[&str], key: &str) -> Option<String> {
    let at = matter
        .iter()
        .position(|line| line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with(':')))?;
    let first = matter[at].split_once(':')?.1.trim();
    // what is indented goes on with the value
    let more =
        matter[at + 1..].iter().take_while(|line| line.trim().is_empty() || line.starts_with([' ', '\t']));
    let more = more.map(|line| line.trim()).filter(|line| !line.is_empty());
    let is_block = matches!(first.trim_end_matches(['+', '-']), "|" | ">");
    let words = (!is_block && !first.is_empty()).then_some(first).into_iter().chain(more);
    let joined = words.collect::<Vec<_>>().join(" ");
    Some(if is_block { joined } else { unquoted(&joined) })
}

/// A YAML scalar without its quotes, or without the comment behind it.
fn unquoted(text: &str) -> String {
    let quoted = |quote: char| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    if let Some(text) = quoted('"') {
        return text.replace("\\\"", "\"").replace("\\\\", "\\");
    }
    if let Some(text) = quoted('\'') {
        return text.replace("''", "'");
    }
    text.split(" #").next().unwrap_or_default().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    //! Tests of front matter.
    use super::*;

    fn head(text: &str) -> Result<(String, String), String> {
        SkillHead::parse(text).map(|head| (head.name, head.description)).map_err(|why| why.to_string())
    }

    #[test]
    fn name_and_description_are_read_however_they_are_written() {
        for matter in [
            "name: triage\ndescription: Sorts issues: by age.",
            "description: \"Sorts issues: by age.\"\nname: 'triage'",
            "license: MIT\nname: triage # its folder\ndescription: >-\n  Sorts issues:\n  by age.\nmetadata:\n  name: other",
            "name: triage\ndescription: |\n  Sorts issues:\n\n  by age.",
            "name : triage\ndescription: Sorts issues:\n  by age.\nallowed-tools: Read",
        ] {
            let text = format!("---\n{matter}\n---\n\n# How\n");
            assert_eq!(head(&text), Ok(("triage".into(), "Sorts issues: by age.".into())), "{matter}");
            assert!(head(&text.replace('\n', "\r\n")).is_ok(), "{matter}");
        }
    }

    #[test]
    fn what_is_no_skill_says_why() {
        let with = |matter: &str| head(&format!("---\n{matter}\n---\n")).unwrap_err();
        assert!(head("# Triage\n").unwrap_err().contains("does not begin with front matter"));
        assert!(head("---\nname: x\n").unwrap_err().contains("does not begin with front matter"));
        assert_eq!(with("name: x"), "its front matter has no `description`");
        assert_eq!(with("name:\ndescription: d"), "its front matter has no `name`");
        assert!(with("name: ../up\ndescription: d").contains("`../up` can't be the name"));
        assert!(with(&format!("name: {}\ndescription: d", "a".repeat(65))).contains("can't be the name"));
        assert!(with(&format!("name: x\ndescription: {}", "d".repeat(1025))).contains("1024"));
    }
}
