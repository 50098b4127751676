//! `remember` and `recall`: notes that an agent keeps between its runs, by key. Notes of runs that had read
//! data from outside are stored separately and marked: they replace no others, and an agent that reads one
//! has read data from outside.
use super::contract::{Call, ToolOutput};
use crate::domain::{
    AgentId, Entry, Fact, MemoryChange, MemoryStore, Note, RecallArgs, RememberArgs, ToolError,
};
use crate::store::{Store, StoreError};
use serde_json::{Value, json};

/// Maximum number of notes of one agent.
const MAX_NOTES: usize = 1000;

pub(super) async fn remember(call: Call) -> Result<ToolOutput, ToolError> {
    let (store, agent) = store_and_agent(&call)?;
    let RememberArgs { key, text } = call.arguments()?;
    if key.trim().is_empty() || key.len() > RememberArgs::LONGEST_KEY_BYTES {
        let most = RememberArgs::LONGEST_KEY_BYTES;
        return Err(ToolError::Arguments(format!("`key` must have 1 to {most} bytes")));
    }
    if text.len() > RememberArgs::LONGEST_TEXT_BYTES {
        return Err(ToolError::Arguments(format!(
            "`text` has {} bytes, and {} are the most: keep less, or several notes",
            text.len(),
            RememberArgs::LONGEST_TEXT_BYTES
        )));
    }
    let known = notes(&call, &store, &agent, None).await?;
    let untrusted = call.context.untrusted;
    let mut alike = known.iter().filter(|note| note.untrusted == untrusted);
    if !text.is_empty() && alike.clone().count() >= MAX_NOTES && alike.all(|note| note.key != key) {
        return Err(ToolError::Failed(format!("there are {MAX_NOTES} notes already: remove some first")));
    }
    let kept = !text.is_empty();
    let stays = untrusted && known.iter().any(|note| !note.untrusted && note.key == key);
    let kept_in = if call.context.memory.is_some() { MemoryStore::Redis } else { MemoryStore::Database };
    let change = MemoryChange::Note { agent, key: key.clone(), text, untrusted, store: kept_in };
    let entry = Entry { at: crate::clock::wall(), fact: Fact::Remembered(Box::new(change)) };
    store.commit(vec![entry]).await.map_err(failed)?;
    let mut result = json!({"key": key, "kept": kept});
    if stays {
        result["note"] =
            "a note of this key stays that was kept by a run which had read nothing from outside: \
                          `recall` gives it beside yours"
                .into();
    }
    Ok(ToolOutput::of(result))
}

pub(super) async fn recall(call: Call) -> Result<ToolOutput, ToolError> {
    let (store, agent) = store_and_agent(&call)?;
    let RecallArgs { key } = call.arguments()?;
    let notes = notes(&call, &store, &agent, key).await?;
    let untrusted = notes.iter().any(|note| note.untrusted);
    let notes: Vec<Value> = notes
        .into_iter()
        .map(|note| {
            let mut one = json!({"key": note.key, "text": note.text, "at": note.at.to_string()});
            if note.untrusted {
                one["untrusted"] = true.into();
            }
            one
        })
        .collect();
    Ok(ToolOutput { untrusted, ..ToolOutput::of(json!({"wake": !notes.is_empty(), "notes": notes})) })
}

/// Reads the agent's notes, wherever they are stored; with `key`, only that one.
async fn notes(
    call: &Call,
    store: &Store,
    agent: &AgentId,
    key: Option<String>,
) -> Result<Vec<Note>, ToolError> {
    if let Some(memory) = &call.context.memory {
        let notes = memory.notes(agent, key.as_deref()).await;
        return notes.map_err(|error| ToolError::Failed(error.to_string()));
    }
    let agent = agent.clone();
    store.read(move |reader| reader.notes(&agent, key.as_deref())).await.map_err(failed)
}

fn store_and_agent(call: &Call) -> Result<(Store, AgentId), ToolError> {
    match (&call.context.store, &call.context.agent) {
        (Some(store), Some(agent)) => Ok((store.clone(), agent.clone())),
        _ => Err(ToolError::Failed(format!(
            "tool `{}` keeps notes of an agent: only a run of one can call it; `bgagent memory AGENT` shows them",
            call.tool
        ))),
    }
}

fn failed(error: StoreError) -> ToolError {
    ToolError::Failed(error.to_string())
}
