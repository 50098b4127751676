//! The skills of a run: read when its attempt begins, and only used as they were when the configuration was read and a person
//! trusted them. A model reads them by a tool that it gets for that; an agent program finds copies in its home.
use super::broken::Break;
use super::report::Shared;
use crate::domain::{
    Effect, ErrorKind, Fleet, Outward, READ_SKILL, SKILL_FILE, SkillHead, SkillSpec, ToolDef, ToolOffer,
    human_bytes, shell_word,
};
use crate::skill_folder::{SkillFile, SkillFolder};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most of a file that a model is given.
const MOST_SHOWN: usize = 64 << 10;

/// One of them.
#[derive(Debug)]
struct Skill {
    spec: Arc<SkillSpec>,
    files: BTreeMap<String, SkillFile>,
}

/// Those of an attempt.
#[derive(Debug, Default)]
pub(super) struct Skills(Vec<Skill>);

/// Copies of skills for the home of a program.
#[derive(Debug, Default)]
pub(super) struct SkillCopies {
    /// By their paths there.
    pub(super) files: Vec<(String, SkillFile)>,
    /// What each skill is, and where its `SKILL.md` is there.
    pub(super) places: Vec<(SkillHead, String)>,
}

impl Skills {
    /// Reads them.
    ///
    /// # Errors
    /// One of them is not what a person has trusted, or can't be read.
    pub(super) async fn read(specs: &[Arc<SkillSpec>], shared: &Shared) -> Result<Self, Break> {
        let (specs, fleet) = (specs.to_vec(), shared.fleet.clone());
        if specs.is_empty() {
            return Ok(Self::default());
        }
        let reading = tokio::task::spawn_blocking(move || {
            specs.into_iter().map(|spec| read(spec, &fleet)).collect::<Result<_, _>>().map(Self)
        });
        let read = reading.await.unwrap_or_else(|error| Err(error.to_string()));
        read.map_err(|why| Break::failed(ErrorKind::Config, why))
    }

    /// What a model may call to read them; `None`: there are none.
    pub(super) fn offer(&self) -> Option<ToolOffer> {
        if self.0.is_empty() {
            return None;
        }
        let names: Vec<&str> = self.0.iter().map(|skill| skill.spec.head.name.as_str()).collect();
        let all: String = self
            .0
            .iter()
            .map(|skill| format!("\n- {}: {}", skill.spec.head.name, skill.spec.head.description))
            .collect();
        let description = format!(
            "Reads a skill: how something is done here. If the task is one of these, read the skill before anything else, and do \
             as it says.{all}"
        );
        let schema = json!({
            "type": "object",
            "properties": {
                "name": { "type": "string", "enum": names, "description": "which skill" },
                "file": {
                    "type": "string",
                    "description": format!("a file of it that it refers to, by its path there; default {SKILL_FILE}"),
                },
            },
            "required": ["name"],
            "additionalProperties": false,
        });
        Some(ToolOffer {
            def: ToolDef { name: READ_SKILL.to_owned(), description, schema },
            effect: Effect::Read,
            reads_when: None,
            untrusted: false,
            private: false,
            outward: Outward::Nothing,
            server: None,
        })
    }

    /// The answer to a call of that tool.
    ///
    /// # Errors
    /// What is to be asked instead.
    pub(super) fn answer(&self, args: &Value) -> Result<String, String> {
        let text = |key: &str| args.get(key).and_then(Value::as_str);
        let name = text("name").unwrap_or_default();
        let Some(skill) = self.0.iter().find(|skill| skill.spec.head.name == name) else {
            let names: Vec<&str> = self.0.iter().map(|skill| skill.spec.head.name.as_str()).collect();
            return Err(format!("there is no skill `{name}`; there are: {}", names.join(", ")));
        };
        let path = text("file").unwrap_or(SKILL_FILE);
        let path = path.strip_prefix("./").unwrap_or(path);
        let Some(file) = skill.files.get(path) else {
            let paths: Vec<&str> = skill.files.keys().map(String::as_str).collect();
            return Err(format!("the skill `{name}` has no file `{path}`; it has: {}", paths.join(", ")));
        };
        let size = file.bytes.len();
        let Ok(text) = std::str::from_utf8(&file.bytes) else {
            return Err(format!("`{path}` of the skill `{name}` is not text ({})", human_bytes(size as u64)));
        };
        if size <= MOST_SHOWN {
            return Ok(text.to_owned());
        }
        let shown = text.floor_char_boundary(MOST_SHOWN);
        Ok(format!("{}\n… (of {} in all)", &text[..shown], human_bytes(size as u64)))
    }

    /// What the home of a program gets of them.
    pub(super) fn copies(&self) -> SkillCopies {
        let mut copies = SkillCopies::default();
        for skill in &self.0 {
            let head = &skill.spec.head;
            let folder = format!(".bgagent/skills/{}", head.name);
            let files = skill.files.iter().map(|(path, file)| (format!("{folder}/{path}"), file.clone()));
            copies.files.extend(files);
            copies.places.push((head.clone(), format!("{folder}/{SKILL_FILE}")));
        }
        copies
    }
}

fn read(spec: Arc<SkillSpec>, fleet: &Fleet) -> Result<Skill, String> {
    let (name, shown) = (&spec.head.name, spec.folder.display());
    let trust = format!("look at it, then: bgagent trust {}", shell_word(&fleet.path.display().to_string()));
    if fleet.untrusted_skills.contains(&spec.digest) {
        return Err(format!("the skill `{name}` ({shown}) is not trusted as it is; {trust}"));
    }
    let read = SkillFolder::read(&spec.folder)
        .map_err(|why| format!("the skill `{name}` can't be used: `{shown}` {why}"))?;
    if read.digest() != spec.digest {
        return Err(format!("the skill `{name}` ({shown}) has changed since it was trusted; {trust}"));
    }
    Ok(Skill { spec, files: read.files })
}

#[cfg(test)]
mod tests {
    //! Tests of what a model is told and given.
    use super::*;

    fn skills() -> Skills {
        let head = SkillHead { name: "triage".into(), description: "Sorts issues.".into() };
        let spec = SkillSpec { head, folder: "/s".into(), digest: "d".into() };
        let file = |bytes: &[u8]| SkillFile { bytes: bytes.to_vec(), runs: false };
        let files = [
            ("SKILL.md", file(b"Sort by age.")),
            ("ref/labels.md", file("ä".repeat(40_000).as_bytes())),
            ("logo.png", file(&[0xff, 0xfe])),
        ];
        let files = files.map(|(path, file)| (path.to_owned(), file)).into();
        Skills(vec![Skill { spec: Arc::new(spec), files }])
    }

    #[test]
    fn a_model_is_told_of_names_and_reads_the_rest_when_it_needs_it() {
        assert_eq!(Skills::default().offer(), None);
        let offer = skills().offer().unwrap();
        assert!(offer.def.description.ends_with("\n- triage: Sorts issues."), "{}", offer.def.description);
        assert!(!offer.def.description.contains("Sort by age"));
        assert_eq!(offer.def.schema["properties"]["name"]["enum"], json!(["triage"]));
        let ask = |args: Value| skills().answer(&args);
        assert_eq!(ask(json!({"name": "triage"})).unwrap(), "Sort by age.");
        assert_eq!(ask(json!({"name": "triage", "file": "./SKILL.md"})).unwrap(), "Sort by age.");
        let long = ask(json!({"name": "triage", "file": "ref/labels.md"})).unwrap();
        assert!(long.len() < 66_000 && long.ends_with("(of 78.1 KiB in all)"), "{}", long.len());
        for (args, why) in [
            (json!({"name": "other"}), "there is no skill `other`; there are: triage"),
            (
                json!({"name": "triage", "file": "../../etc/passwd"}),
                "it has: SKILL.md, logo.png, ref/labels.md",
            ),
            (json!({"name": "triage", "file": "logo.png"}), "is not text (2 B)"),
        ] {
            assert!(ask(args).unwrap_err().contains(why), "{why}");
        }
    }

    #[test]
    fn a_program_finds_copies_in_its_home() {
        let SkillCopies { files, places } = skills().copies();
        assert_eq!(places[0].1, ".bgagent/skills/triage/SKILL.md");
        assert!(files.iter().any(|(path, _)| path == ".bgagent/skills/triage/ref/labels.md"));
    }
}
