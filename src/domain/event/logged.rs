//! An event in the engine, and in its form in the log and on the wire.
use super::kind::EventType;
use super::payload::{EventRef, JoinedRun, Payload};
use crate::domain::described::described;
use crate::domain::ids::{AgentId, RunId, Seq};
use crate::domain::run::RunStatus;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One event, with a type and fields that this release knows.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its number. 0 until it is stored.
    pub seq: Seq,
    pub ts: Timestamp,
    /// The agent that it is about, if any.
    pub agent_id: Option<AgentId>,
    /// The run that it is about, if any.
    pub run_id: Option<RunId>,
    /// The session that it is about, if any.
    pub session_id: Option<String>,
    pub payload: Payload,
}

impl Event {
    /// Returns its kind.
    pub fn kind(&self) -> EventType {
        self.payload.kind()
    }

    /// Returns whether it reports a finding of a run that had read data from outside.
    pub fn is_untrusted_report(&self) -> bool {
        match &self.payload {
            Payload::IncidentOpened(opened) => opened.untrusted,
            Payload::IncidentResolved(resolved) => resolved.untrusted,
            _ => false,
        }
    }

    /// Returns the run whose end it reports, and the agent of that run.
    pub fn ended_run(&self) -> Option<(&AgentId, JoinedRun)> {
        let (status, result, error) = match &self.payload {
            Payload::TaskCompleted(done) => (RunStatus::Completed, done.result.clone(), None),
            Payload::TaskError(ended) | Payload::TaskCancelled(ended) if !ended.will_retry => {
                (ended.end.as_ref()?.status, None, Some(ended.error.clone()))
            }
            _ => return None,
        };
        let run = JoinedRun { run_id: self.run_id?, status, finished_at: self.ts, result, error };
        Some((self.agent_id.as_ref()?, run))
    }

    /// Returns a reference for readers of the log.
    pub fn reference(&self) -> EventRef {
        let (agent_id, run_id) = (self.agent_id.clone(), self.run_id);
        let arrived = match &self.payload {
            Payload::FileArrived(file) => Some(file.path.clone()),
            Payload::WebhookReceived(delivery) => Some(delivery.webhook.clone()),
            Payload::McpEventReceived(one) => Some(format!("{} {}", one.server, one.event)),
            _ => None,
        };
        EventRef { seq: self.seq, kind: self.kind(), agent_id, run_id, arrived }
    }

    /// Returns its form in the log.
    pub fn logged(&self) -> LoggedEvent {
        LoggedEvent {
            seq: self.seq,
            ts: self.ts,
            kind: self.kind().as_str().to_owned(),
            agent_id: self.agent_id.clone(),
            run_id: self.run_id,
            session_id: self.session_id.clone(),
            payload: self.payload.to_json(),
        }
    }
}

described! {
    /// One fact in the append-only log, as it is stored and sent.
    ///
    /// Its type is a text and its payload any JSON: rows that an older release has stored go out with the bytes that
    /// they have, and events of a newer daemon, of types and with fields that this release does not know, are followed
    /// and shown. [`Self::event`] is the way from here to the types.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct LoggedEvent {
        /// Its place in the one order that all readers see, from 1, without gaps: the cursor of those who follow.
        #[serde(default)]
        pub seq: Seq,
        /// When it happened, to the microsecond.
        pub ts: Timestamp,
        /// What kind of event it is.
        #[serde(rename = "type")]
        pub kind: String,
        /// Whose it is, if it is about one agent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub agent_id: Option<AgentId>,
        /// Of which run it is, if it is about one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub run_id: Option<RunId>,
        /// Of which session it is, if a model carries out the run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub session_id: Option<String>,
        /// What happened; its fields depend on the type.
        pub payload: Value,
    }
}

impl LoggedEvent {
    /// Returns its kind, if this release knows it.
    pub fn known(&self) -> Option<EventType> {
        EventType::parse(&self.kind)
    }

    /// Returns the event, if this release knows its type and its payload has the fields of that type. Unknown
    /// fields are left out.
    pub fn event(&self) -> Option<Event> {
        Some(Event {
            seq: self.seq,
            ts: self.ts,
            agent_id: self.agent_id.clone(),
            run_id: self.run_id,
            session_id: self.session_id.clone(),
            payload: Payload::from_json(self.known()?, &self.payload).ok()?,
        })
    }
}
