//! `bgagent proposals`: lists agents that assistants have proposed and that wait for a person; or shows one in full.
use super::prelude::*;
use crate::cli::args::ProposalsArgs;
use crate::cli::render::plain_lines;
use crate::config::{self, Context, Loaded, shell_word, table_of};
use crate::proposal::{
    JudgedProposal, NewProposal, Proposal, ProposalBook, ProposalError, Proposer, UnfitProposal, judge,
};
use crate::protocol::{Code, RpcError};
use serde_json::{Value, json};

/// Maximum length of a text in a cell of the list.
const MAX_GIST_CHARS: usize = 80;

pub(in crate::cli) fn run(app: &mut App, args: &ProposalsArgs) -> Result<Outcome, Failure> {
    let now = app.screen.now;
    let book = ProposalBook::of(&app.paths()?.state_dir);
    if let Some(id) = &args.id {
        let found = FoundProposal::look(app, &book, id)?;
        if app.json {
            app.print_json(&found.to_json())?;
        } else {
            let text = found.shown(&app.screen);
            app.print(&text)?;
        }
        return Ok(Outcome::Done);
    }
    let (waiting, damaged) = book.waiting(now).map_err(failure)?;
    for error in damaged {
        app.note(&format!("warning: {error}"));
    }
    if waiting.is_empty() && !app.json {
        app.note("no proposals wait");
        return Ok(Outcome::Done);
    }
    app.answer(&waiting, |waiting, screen| list(waiting, screen))?;
    if !app.json {
        app.note("hint: `bgagent accept ID` shows one, and asks; `bgagent reject ID` drops it");
    }
    Ok(Outcome::Done)
}

fn list(waiting: &[Proposal], screen: &Screen) -> String {
    let mut table = Table::new()
        .column("ID")
        .shrinking("AGENT", 10)
        .column("IS")
        .column("MADE")
        .shrinking("BY", 8)
        .shrinking("WHY", 12);
    for one in waiting {
        let why: String =
            plain(one.what.why.as_deref().unwrap_or_default()).chars().take(MAX_GIST_CHARS).collect();
        table.row(vec![
            one.id.as_str().into(),
            Cell::toned(Tone::Strong, plain(&one.what.agent)),
            if one.what.instead_of.is_some() { "a change" } else { "new" }.into(),
            screen.relative(one.at).into(),
            proposer_text(&one.what.by).into(),
            why.into(),
        ]);
    }
    table.render(screen)
}

/// Returns the proposer as it identifies itself: `claude-code 2.1.0`.
fn proposer_text(proposer: &Proposer) -> String {
    match plain(format!("{} {}", proposer.name, proposer.version).trim()) {
        text if text.is_empty() => "unknown".into(),
        text => text,
    }
}

/// Converts an error of the proposals' folder into a failure.
pub(super) fn failure(error: ProposalError) -> Failure {
    match error {
        ProposalError::Io { path, cause } => Failure::Io { doing: "use", path, cause },
        ProposalError::NoId(_) => Failure::usage_hint(error.to_string(), "`bgagent proposals` lists them"),
        ProposalError::Damaged { ref path, .. } => {
            let hint = format!("look at it, and remove it: rm {}", shell_word(path));
            Failure::Negative { what: error.to_string(), hint }
        }
        ProposalError::Gone(_) | ProposalError::Full => Failure::Negative {
            what: error.to_string(),
            hint: "`bgagent proposals` lists those that wait".into(),
        },
    }
}

/// The action on proposals that is reserved for people.
pub(super) const DECIDE: &str = "decide about proposals";

/// Refuses an action that a program run by an agent may not take: `decide about …`.
pub(super) fn refuse_agents(app: &mut App, what: &str) -> Result<(), Failure> {
    if !super::mcp::is_of_agent(app.paths()?) {
        return Ok(());
    }
    let error = RpcError::new(Code::Refused, format!("a program that an agent runs can't {what}"))
        .hint("a person does, in a terminal of their own");
    Err(error.into())
}

/// A proposal, judged against the current configuration.
pub(super) struct FoundProposal {
    pub(super) proposal: Proposal,
    pub(super) current: Loaded,
    pub(super) judged: JudgedProposal,
}

impl FoundProposal {
    /// Reads a proposal and judges it against the current configuration.
    ///
    /// There is no proposal of this id; it is for another configuration; the configuration or the agent's table has
    /// changed since; or it no longer fits.
    pub(super) fn look(app: &mut App, book: &ProposalBook, id: &str) -> Result<Self, Failure> {
        let proposal = book.get(id, app.screen.now).map_err(failure)?;
        let path = match app.global.config.clone() {
            Some(path) => path,
            None => proposal.what.config.clone(),
        };
        let context = Context::system(app.screen.now).of_state(&app.paths()?.state_dir);
        let current = config::load(&path, &context)
            .map_err(|rejected| Failure::rejected(&rejected, app.stderr_color))?;
        let drop = format!("`bgagent reject {id}` drops it");
        if current.fleet.path != proposal.what.config {
            return Err(Failure::Conflict {
                what: format!(
                    "proposal {id} is for {}, and not for {}",
                    proposal.what.config.display(),
                    current.fleet.path.display()
                ),
                hint: drop,
            });
        }
        let agent = plain(&proposal.what.agent);
        let table = table_of(&current.text, &proposal.what.agent);
        if table.as_deref().map(NewProposal::mark_of) != proposal.what.instead_of {
            return Err(Failure::Conflict {
                what: match table {
                    Some(table) if table == proposal.what.toml => {
                        format!("agent `{agent}` already is as proposal {id} wants it")
                    }
                    Some(_) => {
                        format!("the table of agent `{agent}` has changed since proposal {id} was made")
                    }
                    None => format!("the table of agent `{agent}` is gone since proposal {id} was made"),
                },
                hint: format!("have it proposed again; {drop}"),
            });
        }
        let judged =
            judge(&current, &proposal.what.toml, &context).map_err(|unfit| unfit_failure(id, &unfit))?;
        Ok(Self { proposal, current, judged })
    }

    /// Formats the proposal for a person: who proposes what, what it would change, and which rights it would grant.
    pub(super) fn shown(&self, screen: &Screen) -> String {
        let what = &self.proposal.what;
        let change = if what.instead_of.is_some() { "changes" } else { "adds" };
        let head = format!(
            "Proposal {} {change} agent {} in {}",
            self.proposal.id,
            plain(&what.agent),
            plain(&what.config.display().to_string())
        );
        let mut text = format!("{}\n", screen.paint(Tone::Strong, &head));
        text += &format!(
            "  made {} by {} (its own account)\n",
            screen.relative(self.proposal.at),
            proposer_text(&what.by)
        );
        if let Some(why) = &what.why {
            text += &format!("{}\n", screen.fold(&format!("  because, in its words: {}", plain(why))));
        }
        text.push('\n');
        for line in self.judged.diff.lines() {
            let tone = match line.chars().next() {
                Some('+') => Tone::Good,
                Some('-') => Tone::Bad,
                _ => Tone::Plain,
            };
            text += &format!("{}\n", screen.paint(tone, &plain_lines(line)));
        }
        text += &match &self.judged.rights[..] {
            [] => "\nIt adds no rights.\n".to_owned(),
            rights => {
                let lines = rights
                    .iter()
                    .map(|line| format!("  {}\n", screen.paint(Tone::Warn, &format!("+ {}", plain(line)))));
                format!("\nIt may then, as you:\n{}", lines.collect::<String>())
            }
        };
        for warning in &self.judged.warnings {
            text += &format!("\n{}\n", plain_lines(warning));
        }
        text
    }

    /// Returns the proposal as JSON.
    pub(super) fn to_json(&self) -> Value {
        let mut view = json!(self.proposal);
        view["expires_at"] = json!(self.proposal.expires_at());
        view["diff"] = json!(self.judged.diff);
        view["rights"] = json!(self.judged.rights);
        view["warnings"] = json!(self.judged.warnings);
        view
    }
}

fn unfit_failure(id: &str, unfit: &UnfitProposal) -> Failure {
    let mut what = format!("proposal {id} no longer fits: {unfit}");
    if let UnfitProposal::Rejected { errors } = unfit {
        what = format!("{what}\n{}", errors.join("\n"));
    }
    Failure::Conflict { what, hint: format!("have it proposed again; `bgagent reject {id}` drops it") }
}
