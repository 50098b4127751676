//! Judges what a proposal would do to a configuration: whether it fits, which rights it adds, what `check` reports, and
//! the diff.
use crate::config::{
    Amended, Context, Diagnostic, Loaded, NotAmended, Rejected, amend, mask_secrets, parse, render, secret_at,
};
use crate::domain::{Rights, is_invisible, is_misleading};
use similar::TextDiff;
use std::path::Path;

/// Maximum length of the table in bytes.
pub const MAX_TABLE_BYTES: usize = 16 << 10;

/// A proposal that fits.
#[derive(Debug)]
pub struct JudgedProposal {
    /// The text of the changed configuration.
    pub amended: Amended,
    /// The changed configuration, parsed.
    pub loaded: Loaded,
    /// Rights that the configuration does not have now.
    pub rights: Vec<String>,
    /// Warnings of `check` that it does not report now, rendered.
    pub warnings: Vec<String>,
    /// The diff of the agent's table, in lines with `-`, `+` and a space; anything that looks like a secret is redacted.
    pub diff: String,
}

/// Why a proposal does not fit.
#[derive(Debug, thiserror::Error)]
pub enum UnfitProposal {
    /// It is too long.
    #[error("it has {0} bytes, and {MAX_TABLE_BYTES} are the most")]
    TooLong(usize),
    /// It has characters that disguise its text.
    #[error("line {line} has the character U+{character:04X}, which is not shown as it is")]
    Misleads {
        /// Line number, from 1.
        line: usize,
        character: u32,
    },
    /// It contains a secret.
    #[error("line {0} has what looks like a secret")]
    Secret(usize),
    /// It can't be inserted into the file.
    #[error(transparent)]
    NotAmended(#[from] NotAmended),
    /// It changes nothing.
    #[error("agent `{0}` is like that already")]
    Same(String),
    /// The configuration would not be valid.
    #[error("with it the configuration would not be valid")]
    Rejected {
        /// The errors, rendered.
        errors: Vec<String>,
    },
}

/// Judges a table against the current configuration.
///
/// # Errors
/// The table does not fit.
pub fn judge(current: &Loaded, table: &str, context: &Context<'_>) -> Result<JudgedProposal, UnfitProposal> {
    if table.len() > MAX_TABLE_BYTES {
        return Err(UnfitProposal::TooLong(table.len()));
    }
    let line_of = |at: usize| table[..at].matches('\n').count() + 1;
    let acts =
        |c: char| is_misleading(c) || is_invisible(c) || (c.is_control() && !matches!(c, '\n' | '\t' | '\r'));
    if let Some((at, c)) = table.char_indices().find(|(_, c)| acts(*c)) {
        return Err(UnfitProposal::Misleads { line: line_of(at), character: c.into() });
    }
    // also a redacted one: it would overwrite the secret that it stands for
    if let Some(at) = secret_at(table) {
        return Err(UnfitProposal::Secret(line_of(table.floor_char_boundary(at))));
    }
    let amended = amend(&current.text, table)?;
    if amended.before.as_deref() == Some(&amended.after) {
        return Err(UnfitProposal::Same(amended.agent));
    }
    let path = &current.fleet.path;
    let loaded = parse(amended.text.clone(), path, context).map_err(|rejected| {
        let errors = rejected.diagnostics.iter().filter(|one| one.is_error);
        UnfitProposal::Rejected { errors: errors.map(|one| shown_of(one, &rejected.shown, path)).collect() }
    })?;
    let rights = Rights::of(&loaded.fleet).beyond(&Rights::of(&current.fleet));
    let rights = rights.iter().map(|line| mask_secrets(line)).collect();
    let is_known = |one: &&Diagnostic| {
        !current.warnings.iter().any(|old| (&old.key, &old.message) == (&one.key, &one.message))
    };
    let warnings = loaded.warnings.iter().filter(is_known);
    let warnings = warnings.map(|one| shown_of(one, &loaded.shown, path)).collect();
    let before = mask_secrets(amended.before.as_deref().unwrap_or_default());
    let diff = difference(&before, &amended.after);
    Ok(JudgedProposal { amended, loaded, rights, warnings, diff })
}

fn shown_of(one: &Diagnostic, shown: &str, path: &Path) -> String {
    render(std::slice::from_ref(one), shown, path, false).trim_end().to_owned()
}

/// Returns all lines of both texts, each with its sign.
fn difference(before: &str, after: &str) -> String {
    let diff = TextDiff::from_lines(before, after);
    let lines =
        diff.iter_all_changes().map(|change| format!("{}{}\n", change.tag(), change.value().trim_end()));
    lines.collect()
}

impl UnfitProposal {
    /// Returns what to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "say it shorter: a long text belongs in a file that the agent reads",
            Self::Misleads { .. } => "leave such characters out",
            Self::Secret(_) => {
                "write where the secret is found instead: { env = \"NAME\" }, { file = \"PATH\" } or { command = [\"…\"] }; an agent whose \
                 table has a secret in plain text is changed by a person"
            }
            Self::NotAmended(NotAmended::NotToml { .. }) => "send one table of TOML, with its keys",
            Self::NotAmended(NotAmended::NotOneAgent(_)) => {
                "a proposal is [agents.NAME] with its keys and the tables below it, and nothing else; models, tools and servers are \
                 for a person to write"
            }
            Self::NotAmended(_) => "a person has to edit the file by hand",
            Self::Same(_) => "there is nothing to propose",
            Self::Rejected { .. } => "repair what the errors say, and propose it again",
        }
    }
}

/// Converts a rejected configuration, so that callers that only have a valid one can report it.
impl From<Box<Rejected>> for UnfitProposal {
    fn from(rejected: Box<Rejected>) -> Self {
        let errors = rejected.diagnostics.iter().filter(|one| one.is_error);
        Self::Rejected { errors: errors.map(|one| shown_of(one, &rejected.shown, &rejected.path)).collect() }
    }
}

#[cfg(test)]
mod tests {
    //! Tests of proposals against a configuration.
    use super::*;

    const FILE: &str =
        "[agents.a]\ninterval = \"1h\"\ncommand = [\"df\"]\nenv = { TOKEN = \"hide-me-please\" }\n";

    fn judged(table: &str) -> Result<JudgedProposal, UnfitProposal> {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let context = Context::system(now);
        let current = parse(FILE.to_owned(), Path::new("/c/agents.toml"), &context).unwrap();
        judge(&current, table, &context)
    }

    #[test]
    fn what_would_change_is_told_and_secrets_are_not() {
        let judged = judged("[agents.a]\ninterval = \"2h\"\ncommand = [\"df\", \"-h\"]\n").unwrap();
        insta::assert_snapshot!(judged.diff, @r#"
         [agents.a]
        -interval = "1h"
        -command = ["df"]
        -env = { TOKEN = "**************" }
        +interval = "2h"
        +command = ["df", "-h"]
        "#);
        assert_eq!(judged.rights, ["agent a runs df -h in /c"]);
        assert!(judged.warnings.is_empty(), "{:?}", judged.warnings);
        assert_eq!(judged.loaded.fleet.agents.len(), 1);
    }

    #[test]
    fn a_secret_of_the_defaults_is_not_told_as_a_right() {
        let context = Context::system(jiff::Timestamp::UNIX_EPOCH);
        let file = "[defaults]\nenv = { API_TOKEN = \"s3cret-of-ours\" }\n";
        let current = parse(file.to_owned(), Path::new("/c/agents.toml"), &context).unwrap();
        let judged = judge(&current, "[agents.x]\ncommand = [\"true\"]\n", &context).unwrap();
        let told = judged.rights.join("\n");
        assert!(told.contains("agent x runs true") && !told.contains("s3cret"), "{told}");
    }

    #[test]
    fn what_does_not_fit_says_why_and_what_to_do() {
        let long = format!("[agents.b]\n# {}\n", "x".repeat(MAX_TABLE_BYTES));
        for (table, says) in [
            (long.as_str(), "16384 are the most"),
            ("[agents.b]\n# \u{202e}\n", "line 2 has the character U+202E"),
            ("[agents.b]\nquery = \"?\u{e0101}\"\n", "line 2 has the character U+E0101"),
            ("[agents.b]\n# \u{1b}[2J\n", "line 2 has the character U+001B"),
            (
                "[agents.b]\ncommand = \"true\"\nenv = { API_KEY = \"abcdefgh\" }\n",
                "line 3 has what looks like a secret",
            ),
            // what `read_agent` returned, proposed unchanged
            (mask_secrets(FILE).as_str(), "line 4 has what looks like a secret"),
            ("[agents.b]\n[models.m]\n", "`models` stands beside it"),
            (FILE.lines().take(3).collect::<Vec<_>>().join("\n").as_str(), ""),
            ("[agents.b]\nintervall = 5\ncommand = \"true\"\n", "would not be valid"),
        ] {
            match judged(table) {
                Ok(_) => assert_eq!(says, "", "{table}"),
                Err(unfit) => {
                    assert!(unfit.to_string().contains(says) && !says.is_empty(), "{table}: {unfit}");
                    assert!(!unfit.hint().is_empty());
                }
            }
        }
        let Err(UnfitProposal::Rejected { errors }) =
            judged("[agents.b]\nintervall = 5\ncommand = \"true\"\n")
        else {
            panic!("it is valid")
        };
        assert!(errors[0].contains("intervall") && !errors[0].contains("hide-me"), "{errors:?}");
    }
}
