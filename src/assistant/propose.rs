//! The tools to propose agents (`--may propose`). A person accepts proposals elsewhere.
use super::reach::{CallTrouble, FleetPaths, Reach};
use super::said::ToolAnswer;
use crate::config::{self, Context, Loaded, mask_secrets, table_of};
use crate::domain::assistant::{ProposeAgentCall, ReadAgentCall};
use crate::domain::{LengthUnit, shortened};
use crate::proposal::{
    JudgedProposal, NewProposal, Proposal, ProposalBook, ProposalError, Proposer, UnfitProposal, judge,
};
use serde_json::json;
use std::fmt::Write as _;

/// Maximum number of configuration errors per answer.
const MAX_ERROR_COUNT: usize = 10;

pub(super) fn read_agent<R: Reach>(reach: &R, call: ReadAgentCall) -> Result<ToolAnswer, CallTrouble> {
    let (_, loaded, _) = configuration(reach)?;
    let is_known = loaded.fleet.agents.iter().any(|agent| agent.id.as_str() == call.agent);
    match table_of(&loaded.text, &call.agent) {
        Some(table) => {
            let table = mask_secrets(&table);
            Ok(ToolAnswer::others(table.clone(), json!({"agent": call.agent, "toml": table})))
        }
        None if is_known => Err(CallTrouble::new(
            format!("agent `{}` does not stand in a table [agents.…] of its own", call.agent),
            "a person has to look at the file",
        )),
        None => Err(CallTrouble::new(
            format!("there is no agent `{}`", call.agent),
            "`list_agents` has their names",
        )),
    }
}

pub(super) fn propose_agent<R: Reach>(
    reach: &R,
    proposer: Proposer,
    call: ProposeAgentCall,
) -> Result<ToolAnswer, CallTrouble> {
    let (place, loaded, context) = configuration(reach)?;
    if place.is_of_agent {
        return Err(CallTrouble::new(
            "a program that an agent runs can't propose agents",
            "proposals are for assistants that people talk to",
        ));
    }
    let judged = judge(&loaded, &call.toml, &context).map_err(|unfit| trouble(&unfit))?;
    let why = call.why.as_deref().map(str::trim).filter(|why| !why.is_empty());
    let what = NewProposal {
        agent: judged.amended.agent.clone(),
        toml: judged.amended.after.clone(),
        why: why.map(|why| {
            let why = mask_secrets(why);
            shortened(&why, LengthUnit::Chars, ProposeAgentCall::MAX_WHY_CHARS).into_owned()
        }),
        by: proposer,
        config: loaded.fleet.path.clone(),
        instead_of: judged.amended.before.as_deref().map(NewProposal::mark_of),
    };
    let kept =
        ProposalBook::of(&place.state_dir).add(what, crate::clock::wall()).map_err(|error| match error {
            ProposalError::Full => {
                let list = reach.command(&["proposals"]);
                CallTrouble::new(
                    error.to_string(),
                    format!("a person has to decide about some of them first: {list}"),
                )
            }
            other => CallTrouble { what: other.to_string(), hint: None },
        })?;
    Ok(proposal_answer(&kept, &judged, &reach.command(&["accept", &kept.id])))
}

/// Loads the current configuration.
fn configuration<R: Reach>(reach: &R) -> Result<(FleetPaths, Loaded, Context<'static>), CallTrouble> {
    let place = reach.place()?;
    let context = Context::system(crate::clock::wall()).of_state(&place.state_dir);
    let loaded = config::load(&place.config, &context).map_err(|rejected| {
        let check = reach.command(&["check"]);
        let why = match rejected.is_unreadable() {
            true => rejected.diagnostics.first().map(|one| one.message.clone()).unwrap_or_default(),
            false => format!("{} is not valid as it is", rejected.path.display()),
        };
        CallTrouble::new(why, format!("a person has to repair that first: {check}"))
    })?;
    Ok((place, loaded, context))
}

fn trouble(unfit: &UnfitProposal) -> CallTrouble {
    let mut what = unfit.to_string();
    if let UnfitProposal::Rejected { errors } = unfit {
        for error in errors.iter().take(MAX_ERROR_COUNT) {
            let _ = write!(what, "\n\n{error}");
        }
        let rest = errors.len().saturating_sub(MAX_ERROR_COUNT);
        if rest > 0 {
            let _ = write!(what, "\n\nand {rest} more");
        }
        what += "\n\nLines are those of the configuration as it would be.";
    }
    CallTrouble::new(what, unfit.hint())
}

fn proposal_answer(kept: &Proposal, judged: &JudgedProposal, accept: &str) -> ToolAnswer {
    let id = &kept.id;
    let change = if judged.amended.before.is_some() { "be changed" } else { "be new" };
    let list = |title: &str, lines: &[String], sign: &str| match lines {
        [] => format!("{title}: nothing\n"),
        lines => {
            let lines: String = lines.iter().map(|line| format!("{sign}{line}\n")).collect();
            format!("{title}:\n{lines}")
        }
    };
    let text = format!(
        "Proposal {id}: agent `{}` would {change}. Nothing has changed: a person decides by {}. They look at it, and accept it, with\n\
         {accept}\n\nThe difference:\n{}\n{}\n{}",
        kept.what.agent,
        kept.expires_at().strftime("%Y-%m-%d"),
        judged.diff,
        list("Rights that it would add", &judged.rights, "+ "),
        list("What `check` would say of it", &judged.warnings, ""),
    );
    let data = json!({
        "id": id, "agent": kept.what.agent, "is_new": judged.amended.before.is_none(), "expires_at": kept.expires_at(),
        "accept": accept, "diff": judged.diff, "rights": judged.rights, "warnings": judged.warnings,
    });
    ToolAnswer::own(text, data)
}
