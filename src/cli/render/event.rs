//! `tail`: one line per event.
use super::screen::{Screen, Tone, millis};
use super::words::{cut, cut_to, plain, result_words, usd, wrap};
use crate::client::StoredEvent;
use crate::domain::{AgentId, Event, EventType, RunId, nearest};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// Least columns for what an event says, beside when and to whom.
const LEAST_GIST: usize = 20;

/// The line, with its end. An event of a newer daemon is shown as far as it can be understood.
pub(in crate::cli) fn event_line(stored: &StoredEvent, screen: &Screen) -> String {
    #[derive(Deserialize)]
    struct Any {
        ts: Timestamp,
        #[serde(rename = "type")]
        kind: String,
        #[serde(default)]
        agent_id: Option<AgentId>,
        #[serde(default)]
        run_id: Option<RunId>,
        #[serde(default)]
        payload: Value,
    }
    match stored.decode() {
        Ok(event) => line(&event, screen),
        Err(_) => match serde_json::from_str::<Any>(&stored.text) {
            Ok(any) => {
                let gist = cut(&any.payload.to_string());
                assemble(
                    any.ts,
                    any.agent_id.as_ref(),
                    &any.kind,
                    Tone::Plain,
                    any.run_id.as_ref(),
                    &gist,
                    screen,
                )
            }
            Err(_) => format!("{}\n", cut(&stored.text)),
        },
    }
}

/// The types of events that a person means by a type, by the word that `tail` shows for it, or by a
/// pattern of types. An error holds the nearest word, if one is near.
pub(in crate::cli) fn event_types(text: &str) -> Result<Vec<String>, Option<&'static str>> {
    let text = text.trim();
    if text.contains(['*', '?']) {
        let some = EventType::ALL.iter().any(|kind| crate::domain::glob(text, kind.as_str()));
        return if some { Ok(vec![text.to_owned()]) } else { Err(None) };
    }
    if let Some(kind) = EventType::parse(text) {
        return Ok(vec![kind.as_str().to_owned()]);
    }
    let short = text.replace(['_', '-'], " ").to_lowercase();
    let mut found: Vec<String> = EventType::ALL
        .iter()
        .filter(|kind| kind_word(**kind).0 == short)
        .map(|kind| kind.as_str().to_owned())
        .collect();
    if ENDS.contains(&short.as_str()) {
        found.push(EventType::TaskError.as_str().to_owned());
    }
    if !found.is_empty() {
        found.dedup();
        return Ok(found);
    }
    let words = EventType::ALL.iter().map(|kind| kind.as_str());
    Err(nearest(text, words.chain(EventType::ALL.iter().map(|kind| kind_word(*kind).0)).chain(ENDS)))
}

/// How an attempt may end that did not work.
const ENDS: [&str; 4] = ["failed", "timed out", "interrupted", "unverified"];

/// What happened, without when and to whom.
pub(in crate::cli) fn event_words(event: &Event) -> String {
    format!("{} {}", word(event).0, gist(event)).trim_end().to_owned()
}

/// The line of an event that is understood.
pub(super) fn line(event: &Event, screen: &Screen) -> String {
    let (word, tone) = word(event);
    assemble(event.ts, event.agent_id.as_ref(), word, tone, event.run_id.as_ref(), &gist(event), screen)
}

fn assemble(
    ts: Timestamp,
    agent: Option<&AgentId>,
    word: &str,
    tone: Tone,
    run: Option<&RunId>,
    gist: &str,
    screen: &Screen,
) -> String {
    let local = ts.to_zoned(screen.zone.clone());
    let today = screen.now.to_zoned(screen.zone.clone()).date();
    // a file or a pipe outlives the day
    let form = if screen.width.is_some() && local.date() == today { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
    let time = screen.paint(Tone::Dim, &local.strftime(form).to_string());
    let name = agent.map_or("-", AgentId::as_str);
    let name_width = name.len();
    let pad = " ".repeat(14_usize.saturating_sub(name.len()));
    let name = agent.map_or_else(|| screen.paint(Tone::Dim, "-"), |agent| screen.agent(agent));
    let word_width = word.chars().count();
    let word = screen.paint(tone, &format!("{:<11}", plain(word)));
    let run = run.map_or_else(|| " ".repeat(8), RunId::short);
    let run = screen.paint(Tone::Dim, &run);
    // one event is one line of the terminal
    let before = local.strftime(form).to_string().len() + name_width.max(14) + word_width.max(11) + 8 + 8;
    let line = match screen.width {
        None => format!("{time}  {name}{pad}  {word}  {run}  {gist}"),
        Some(width) if width >= before + LEAST_GIST => {
            format!("{time}  {name}{pad}  {word}  {run}  {}", cut_to(gist, width - before))
        }
        // or a few, where a line has no room for it
        Some(width) => {
            let mut text = time;
            let mut used = local.strftime(form).to_string().len();
            for (part, wide) in [(name, name_width), (word, word_width), (run, 8)] {
                let fits = used + 1 + wide <= width;
                used = if fits { used + 1 } else { 2 } + wide;
                text += if fits { " " } else { "\n  " };
                text += part.trim_end();
            }
            let gist = wrap(gist, width.saturating_sub(2));
            gist.iter().filter(|line| !line.is_empty()).fold(text, |text, line| text + "\n  " + line)
        }
    };
    line.trim_end().to_owned() + "\n"
}

/// The type in a word.
fn word(event: &Event) -> (&'static str, Tone) {
    match event.payload["status"].as_str().filter(|_| event.kind == EventType::TaskError) {
        Some("cancelled") => ("cancelled", Tone::Warn), // as releases up to 0.1 told it
        Some("timed_out") => ("timed out", Tone::Bad),
        Some("interrupted") => ("interrupted", Tone::Bad),
        Some("unverified") => ("unverified", Tone::Bad),
        _ => kind_word(event.kind),
    }
}

fn kind_word(kind: EventType) -> (&'static str, Tone) {
    use EventType as E;
    match kind {
        E::TaskStarted => ("started", Tone::Busy),
        E::TaskCompleted => ("completed", Tone::Good),
        E::TaskError => ("failed", Tone::Bad),
        E::TaskCancelled => ("cancelled", Tone::Warn),
        E::AgentStatus => ("status", Tone::Warn),
        E::UserMessage => ("asked", Tone::Plain),
        E::AgentThought => ("thought", Tone::Dim),
        E::AgentMessage => ("said", Tone::Plain),
        E::ToolCallStarted => ("tool", Tone::Plain),
        E::ToolCallResult => ("tool ok", Tone::Plain),
        E::ToolCallError => ("tool failed", Tone::Warn),
        E::FinalAnswer => ("answer", Tone::Good),
        E::ModelRequest => ("request", Tone::Dim),
        E::ModelResponse => ("response", Tone::Dim),
        E::SlotSkipped => ("skipped", Tone::Warn),
        E::SlotsTakenBack => ("taken back", Tone::Warn),
        E::TaskRetrying => ("retrying", Tone::Warn),
        E::TaskResumed => ("goes on", Tone::Busy),
        E::TaskOutput => ("output", Tone::Plain),
        E::BudgetWarning => ("budget", Tone::Warn),
        E::BudgetExhausted => ("no budget", Tone::Bad),
        E::CircuitOpened => ("circuit", Tone::Bad),
        E::CircuitClosed => ("circuit", Tone::Good),
        E::IncidentOpened => ("incident", Tone::Bad),
        E::IncidentResolved => ("resolved", Tone::Good),
        E::IncidentDiagnosed => ("finding", Tone::Plain),
        E::ApprovalRequested => ("approve?", Tone::Warn),
        E::ApprovalDecided => ("approval", Tone::Plain),
        E::McpPinChanged => ("mcp changed", Tone::Bad),
        E::ConfigApplied => ("config", Tone::Good),
        E::ConfigRejected => ("config", Tone::Bad),
        E::NotificationSent => ("told", Tone::Dim),
        E::NotificationFailed => ("not told", Tone::Warn),
        E::DaemonStarted => ("daemon up", Tone::Good),
        E::DaemonStopping => ("daemon ends", Tone::Warn),
    }
}

/// What is worth knowing of the payload, in one line.
pub(super) fn gist(event: &Event) -> String {
    use EventType as E;
    let p = Payload(&event.payload);
    let parts = match event.kind {
        E::TaskStarted => vec![
            p.text("trigger"),
            p.number("attempt").filter(|n| *n > 1).map(|n| format!("attempt {n}")),
            p.number("run_count").map(|n| format!("no. {n}")),
        ],
        E::TaskCompleted => vec![
            p.number("duration_ms").map(millis),
            p.0["usage"]["usd"].as_f64().filter(|sum| *sum > 0.0).map(usd),
            p.0["result"].as_str().map(result_words),
        ],
        E::TaskError => vec![
            p.text("kind"),
            p.text("error").filter(|error| error != "cancelled"),
            p.number("exit_code").map(|code| format!("exit {code}")).filter(|_| p.text("error").is_none()),
            p.0["will_retry"].as_bool().filter(|retry| *retry).map(|_| "will retry".to_owned()),
            p.number("duration_ms").map(millis),
        ],
        E::TaskCancelled => vec![
            // the word before it says that already
            p.text("error")
                .map(|error| error.trim_start_matches("cancelled").trim_start_matches([':', ' ']).to_owned()),
            p.0["will_retry"].as_bool().filter(|retry| *retry).map(|_| "will retry".to_owned()),
            p.number("duration_ms").map(millis),
        ],
        E::TaskRetrying => {
            vec![p.number("attempt").map(|n| format!("attempt {n}")), p.time("", "retry_at", event.ts)]
        }
        E::AgentStatus => vec![
            Some(format!(
                "{} -> {}",
                p.text("previous").unwrap_or_default(),
                p.text("status").unwrap_or_default()
            )),
            p.text("reason"),
            p.time("resumes", "resume_at", event.ts),
        ],
        E::SlotSkipped => vec![
            p.text("verdict"),
            p.number("count").filter(|n| *n > 1).map(|n| format!("{n} slots")),
            p.text("cause"),
        ],
        E::SlotsTakenBack => vec![
            p.number("count").map(|n| format!("{n} verdicts of slots ahead of now")),
            p.time("from", "from", event.ts),
            p.time("to", "to", event.ts),
            Some("the clock was set back".to_owned()),
        ],
        E::TaskOutput => vec![p.text("text"), p.text("stderr").map(|text| format!("stderr: {text}"))],
        E::CircuitOpened => vec![
            Some("opened".to_owned()),
            p.number("failures").map(|n| format!("{n} failures in a row")),
            p.time("tries again", "until", event.ts),
        ],
        E::CircuitClosed => vec![Some("closed".to_owned()), p.text("reason")],
        E::IncidentOpened | E::IncidentResolved => vec![p.text("severity"), p.text("key"), p.text("title")],
        E::IncidentDiagnosed => vec![p.text("key"), p.text("by"), p.text("finding")],
        E::ConfigApplied => vec![
            p.names("added", "+"),
            p.names("changed", "~"),
            p.names("removed", "-"),
            Some("applied".to_owned()),
        ],
        E::ConfigRejected => vec![Some("rejected".to_owned()), p.0["errors"][0].as_str().map(plain)],
        E::ModelRequest => {
            vec![p.text("model"), p.number("tokens_at_most").map(|n| format!("at most {n} tokens"))]
        }
        E::ModelResponse => vec![
            p.text("model"),
            p.text("finish"),
            p.text("error"),
            tokens(&p.0["usage"]),
            p.0["usage"]["usd"].as_f64().filter(|sum| *sum > 0.0).map(usd),
            p.number("duration_ms").map(millis),
        ],
        E::ToolCallStarted => vec![p.text("tool").map(|tool| call(&tool, p.text("args")))],
        E::ToolCallResult => {
            vec![p.text("tool"), p.number("duration_ms").map(millis), p.text("result")]
        }
        E::ToolCallError => {
            vec![p.text("tool").map(|tool| call(&tool, p.text("args"))), p.text("error")]
        }
        E::UserMessage | E::AgentThought | E::AgentMessage | E::FinalAnswer => vec![p.text("text")],
        E::BudgetWarning | E::BudgetExhausted => vec![p.text("text")],
        E::ApprovalRequested => vec![
            p.text("tool").map(|tool| call(&tool, p.text("args"))),
            p.text("approval_id").map(|id| format!("bgagent approve {id} | bgagent deny {id}")),
        ],
        E::ApprovalDecided => vec![
            p.0["approved"].as_bool().map(|yes| if yes { "approved" } else { "denied" }.to_owned()),
            p.text("tool"),
            p.text("reason"),
        ],
        E::McpPinChanged => vec![
            p.text("server").map(|server| format!("{server}/{}", p.text("tool").unwrap_or_default())),
            Some("its description changed; see `bgagent mcp list`".to_owned()),
        ],
        E::TaskResumed => vec![
            Some("from its journal".to_owned()),
            p.number("attempt").filter(|n| *n > 1).map(|n| format!("attempt {n}")),
        ],
        E::NotificationSent | E::NotificationFailed => vec![p.text("target"), p.text("error")],
        E::DaemonStarted => vec![p.text("version"), p.number("pid").map(|pid| format!("pid {pid}"))],
        E::DaemonStopping => vec![p.text("reason")],
    };
    let gist = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
    cut(&gist)
}

/// `tool {"a":1}`
fn call(tool: &str, args: Option<String>) -> String {
    match args.as_deref() {
        None | Some("{}") => tool.to_owned(),
        Some(args) => format!("{tool} {args}"),
    }
}

/// `812 in, 40 out`
fn tokens(usage: &Value) -> Option<String> {
    let (sent, received) = (usage["input_tokens"].as_u64()?, usage["output_tokens"].as_u64()?);
    (sent + received > 0).then(|| format!("{sent} in, {received} out"))
}

/// Lenient access: events of another release may lack anything.
struct Payload<'a>(&'a Value);

impl Payload<'_> {
    fn text(&self, key: &str) -> Option<String> {
        match &self.0[key] {
            Value::Null => None,
            Value::String(text) => Some(plain(text.trim())).filter(|text| !text.is_empty()),
            other => Some(plain(&other.to_string())),
        }
    }

    fn number(&self, key: &str) -> Option<i64> {
        self.0[key].as_i64()
    }

    fn time(&self, word: &str, key: &str, from: Timestamp) -> Option<String> {
        let at: Timestamp = self.0[key].as_str()?.parse().ok()?;
        let delay = i64::try_from(at.duration_since(from).as_millis()).ok()?;
        Some(format!("{word} in {}", millis(delay)).trim_start().to_owned())
    }

    fn names(&self, key: &str, sign: &str) -> Option<String> {
        let names = self.0[key].as_array().filter(|names| !names.is_empty())?;
        Some(
            names
                .iter()
                .filter_map(Value::as_str)
                .map(|name| format!("{sign}{}", plain(name)))
                .collect::<Vec<_>>()
                .join(" "),
        )
    }
}
