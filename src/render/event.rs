//! `tail`: one line per event.
use super::screen::{Screen, Tone, millis};
use super::words::{bytes, cut, cut_to, plain, result_words, usd, wrap};
use crate::client::StoredEvent;
use crate::domain::{
    AgentId, AttemptEnded, Event, EventType, LoggedEvent, Payload, RunId, RunStatus, Usage, counted, nearest,
    params_in_words,
};
use jiff::Timestamp;

/// Minimum columns for the content of an event, beside time and agent.
const MIN_GIST_COLUMNS: usize = 20;

/// Formats an event as a line. What this release does not know of a newer daemon's event is shown as far as possible.
pub(crate) fn event_line(stored: &StoredEvent, screen: &Screen) -> String {
    match stored.decode() {
        Ok(logged) => logged_line(&logged, screen),
        Err(_) => format!("{}\n", cut(&stored.text)),
    }
}

/// Formats a logged event: in words if this release knows its type, else with its raw payload.
pub(crate) fn logged_line(logged: &LoggedEvent, screen: &Screen) -> String {
    let (event, known) = (logged.event(), logged.known().map(kind_word));
    let (word, tone) = event.as_ref().map(word).or(known).unwrap_or((&logged.kind, Tone::Plain));
    let gist = event.as_ref().map_or_else(|| cut(&logged.payload.to_string()), gist);
    assemble(logged.ts, logged.agent_id.as_ref(), word, tone, logged.run_id.as_ref(), &gist, screen)
}

/// Returns the event types that a text denotes: a type, the word that `tail` shows for it, or a pattern of types. An
/// error holds the most similar word, if any.
pub(crate) fn event_types(text: &str) -> Result<Vec<String>, Option<&'static str>> {
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
    if FAILED_ENDS.contains(&short.as_str()) {
        found.push(EventType::TaskError.as_str().to_owned());
    }
    if !found.is_empty() {
        found.dedup();
        return Ok(found);
    }
    let words = EventType::ALL.iter().map(|kind| kind.as_str());
    Err(nearest(text, words.chain(EventType::ALL.iter().map(|kind| kind_word(*kind).0)).chain(FAILED_ENDS)))
}

/// The ways in which an attempt can end in failure.
const FAILED_ENDS: [&str; 4] = ["failed", "timed out", "interrupted", "unverified"];

/// Describes an event, without time and agent.
pub(crate) fn event_words(event: &Event) -> String {
    format!("{} {}", word(event).0, gist(event)).trim_end().to_owned()
}

/// Describes the content of an event, without time, agent and type; if this release does not know it, its payload.
pub(crate) fn event_gist(logged: &LoggedEvent) -> String {
    logged.event().as_ref().map_or_else(|| cut(&logged.payload.to_string()), gist)
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
    // output to a file or pipe has the date, since it may be read later
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
    // on a terminal, one event is one line
    let before = local.strftime(form).to_string().len() + name_width.max(14) + word_width.max(11) + 8 + 8;
    let line = match screen.width {
        None => format!("{time}  {name}{pad}  {word}  {run}  {gist}"),
        Some(width) if width >= before + MIN_GIST_COLUMNS => {
            format!("{time}  {name}{pad}  {word}  {run}  {}", cut_to(gist, width - before))
        }
        // or several, if a single line has no room
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

/// Returns the word for the type.
fn word(event: &Event) -> (&'static str, Tone) {
    let status = match &event.payload {
        Payload::TaskError(AttemptEnded { end: Some(end), .. }) => Some(end.status),
        _ => None,
    };
    match status {
        Some(RunStatus::Cancelled) => ("cancelled", Tone::Warn), // as releases up to 0.1 recorded it
        Some(RunStatus::TimedOut) => ("timed out", Tone::Bad),
        Some(RunStatus::Interrupted) => ("interrupted", Tone::Bad),
        Some(RunStatus::Unverified) => ("unverified", Tone::Bad),
        _ => kind_word(event.kind()),
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
        E::AgentsJoined => ("joined", Tone::Plain),
        E::FileArrived => ("arrived", Tone::Plain),
        E::WebhookReceived => ("webhook", Tone::Plain),
        E::McpEventReceived => ("event", Tone::Plain),
        E::McpEventsSkipped => ("left out", Tone::Warn),
        E::SlotsTakenBack => ("taken back", Tone::Warn),
        E::BackfillBegan => ("backfill", Tone::Plain),
        E::BackfillEnded => ("backfill", Tone::Plain),
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
        E::SandboxDenied => ("denied", Tone::Warn),
        E::WorkspaceRemoved => ("work removed", Tone::Warn),
        E::AgentLate => ("late", Tone::Bad),
        E::TaskSlow => ("slow", Tone::Warn),
        E::ConfigApplied => ("config", Tone::Good),
        E::ConfigRejected => ("config", Tone::Bad),
        E::NotificationSent => ("told", Tone::Dim),
        E::NotificationFailed => ("not told", Tone::Warn),
        E::DaemonStarted => ("daemon up", Tone::Good),
        E::DaemonStopping => ("daemon ends", Tone::Warn),
    }
}

/// Describes the payload in one line.
pub(super) fn gist(event: &Event) -> String {
    use Payload as P;
    let at = event.ts;
    let parts = match &event.payload {
        P::TaskStarted(it) => vec![
            non_empty(it.trigger.as_str()),
            non_empty(&params_in_words(&it.params)),
            attempt_text(it.attempt),
            Some(format!("no. {}", it.run_count)),
        ],
        P::TaskCompleted(it) => {
            vec![Some(millis(it.duration_ms)), dollars(&it.usage), it.result.as_deref().map(result_words)]
        }
        P::TaskError(it) => vec![
            it.kind.map(|kind| kind.to_string()),
            non_empty(&it.error).filter(|error| error != "cancelled"),
            exit_code(it),
            it.will_retry.then(|| "will retry".to_owned()),
            it.end.as_ref().map(|end| millis(end.duration_ms)),
        ],
        P::TaskCancelled(it) => vec![
            // the word before it says that already
            non_empty(it.error.trim().trim_start_matches("cancelled").trim_start_matches([':', ' '])),
            it.will_retry.then(|| "will retry".to_owned()),
            it.end.as_ref().map(|end| millis(end.duration_ms)),
        ],
        P::BackfillBegan(it) => vec![
            Some(format!("of {}", counted(it.count, "slot"))),
            Some(format!("from {:.0} to {:.0}", it.first, it.last)),
            it.max_usd.map(|max| format!("at most {}", usd(max))),
            non_empty(&params_in_words(&it.params)),
        ],
        P::BackfillEnded(it) => vec![
            Some(format!("over: {} of {}", it.started, counted(it.count, "slot"))),
            (it.usd > 0.0).then(|| usd(it.usd)),
            it.cause.as_deref().and_then(non_empty),
        ],
        P::TaskRetrying(it) => vec![Some(format!("attempt {}", it.attempt)), until("", it.retry_at, at)],
        P::TaskResumed(it) => vec![Some("from its journal".to_owned()), attempt_text(it.attempt)],
        P::TaskOutput(it) => {
            let stderr = it.stderr.as_deref().and_then(non_empty);
            vec![it.text.as_deref().and_then(non_empty), stderr.map(|text| format!("stderr: {text}"))]
        }
        P::AgentStatus(it) => vec![
            Some(format!("{} -> {}", it.previous, it.status)),
            it.reason.as_deref().and_then(non_empty),
            it.resume_at.and_then(|resumes| until("resumes", resumes, at)),
        ],
        P::SlotSkipped(it) => vec![
            non_empty(it.verdict.as_str()),
            (it.count > 1).then(|| format!("{} slots", it.count)),
            non_empty(&it.cause),
        ],
        P::AgentsJoined(it) => {
            it.after.iter().map(|(of, run)| non_empty(&format!("{of} {}", run.status))).collect()
        }
        P::WebhookReceived(it) => {
            vec![non_empty(&it.webhook), it.event.as_deref().and_then(non_empty), non_empty(&it.delivery)]
        }
        P::McpEventReceived(it) => vec![non_empty(&it.server), non_empty(&it.event), non_empty(&it.id)],
        P::McpEventsSkipped(it) => vec![non_empty(&it.server), non_empty(&it.event), non_empty(&it.why)],
        P::FileArrived(it) => vec![non_empty(&it.path), Some(bytes(it.size))],
        P::SlotsTakenBack(it) => vec![
            Some(format!("{} verdicts of slots ahead of now", it.count)),
            until("from", it.from, at),
            until("to", it.to, at),
            Some("the clock was set back".to_owned()),
        ],
        P::UserMessage(it) | P::FinalAnswer(it) => vec![non_empty(&it.text)],
        P::AgentThought(it) | P::AgentMessage(it) => vec![non_empty(&it.text)],
        P::ModelRequest(it) => {
            vec![non_empty(&it.model), Some(format!("at most {} tokens", it.tokens_at_most))]
        }
        P::ModelResponse(it) => vec![
            non_empty(&it.model),
            non_empty(it.finish.as_str()),
            it.error.as_deref().and_then(non_empty),
            tokens(&it.usage),
            dollars(&it.usage),
            i64::try_from(it.duration_ms).ok().map(millis),
        ],
        P::ToolCallStarted(it) => vec![Some(call(&it.tool, &it.args))],
        P::ToolCallResult(it) => {
            vec![non_empty(&it.tool), i64::try_from(it.duration_ms).ok().map(millis), non_empty(&it.result)]
        }
        P::ToolCallError(it) => vec![Some(call(&it.tool, &it.args)), non_empty(&it.error)],
        P::ApprovalRequested(it) => {
            let id = plain(&it.approval_id);
            vec![Some(call(&it.tool, &it.args)), Some(format!("bgagent approve {id} | bgagent deny {id}"))]
        }
        P::ApprovalDecided(it) => vec![
            non_empty(if it.approved { "approved" } else { "denied" }),
            non_empty(&it.tool),
            it.by.as_deref().map(|by| format!("by {}", plain(by))),
            it.reason.as_deref().and_then(non_empty),
        ],
        P::BudgetWarning(it) | P::BudgetExhausted(it) => vec![non_empty(&it.text)],
        P::CircuitOpened(it) => vec![
            Some("opened".to_owned()),
            Some(format!("{} failures in a row", it.failures)),
            until("tries again", it.until, at),
        ],
        P::CircuitClosed(it) => vec![Some("closed".to_owned()), non_empty(&it.reason)],
        P::IncidentOpened(it) => {
            vec![non_empty(it.severity.as_str()), non_empty(&it.key), non_empty(&it.title)]
        }
        P::IncidentResolved(it) => {
            vec![non_empty(it.severity.as_str()), non_empty(&it.key), non_empty(&it.title)]
        }
        P::IncidentDiagnosed(it) => {
            vec![non_empty(&it.key), non_empty(it.by.as_str()), it.finding.as_deref().and_then(non_empty)]
        }
        P::McpPinChanged(it) => vec![
            non_empty(&format!("{}/{}", it.server, it.tool)),
            Some("its description changed; see `bgagent mcp list`".to_owned()),
        ],
        P::SandboxDenied(it) => {
            vec![
                non_empty(&format!("{} to {}", it.program, it.host)),
                non_empty(&it.table),
                non_empty(&it.reason),
            ]
        }
        P::WorkspaceRemoved(it) => vec![
            non_empty(&format!("{} in {}", bytes(it.bytes), it.folder)),
            Some(format!("the folders of runs took more than {}", bytes(it.bound))),
        ],
        P::AgentLate(it) => vec![
            it.last_success
                .and_then(|last| until("last success", at, last))
                .map(|text| text.replace(" in ", " ") + " ago"),
        ],
        P::TaskSlow(it) => vec![Some(format!("longer than {}", millis(it.slow_after_secs * 1000)))],
        P::ConfigApplied(it) => vec![
            names(&it.added, "+"),
            names(&it.changed, "~"),
            names(&it.removed, "-"),
            Some(match it.revision {
                Some(revision) => format!("applied, revision {revision}"),
                None => "applied".to_owned(),
            }),
        ],
        P::ConfigRejected(it) => {
            vec![Some("rejected".to_owned()), it.errors.first().map(|error| plain(error))]
        }
        P::NotificationSent(it) => vec![non_empty(&it.target)],
        P::NotificationFailed(it) => vec![non_empty(&it.target), non_empty(&it.error)],
        P::DaemonStarted(it) => vec![non_empty(&it.version), Some(format!("pid {}", it.pid))],
        P::DaemonStopping(it) => vec![non_empty(&it.reason)],
    };
    let gist = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
    cut(&gist)
}

/// Returns a text without control sequences, unless it is empty.
fn non_empty(text: &str) -> Option<String> {
    Some(plain(text.trim())).filter(|text| !text.is_empty())
}

fn attempt_text(attempt: u32) -> Option<String> {
    (attempt > 1).then(|| format!("attempt {attempt}"))
}

fn dollars(usage: &Usage) -> Option<String> {
    (usage.usd > 0.0).then(|| usd(usage.usd))
}

/// Returns the exit code of an end that says nothing else.
fn exit_code(ended: &AttemptEnded) -> Option<String> {
    let code = ended.end.as_ref()?.exit_code?;
    ended.error.trim().is_empty().then(|| format!("exit {code}"))
}

/// Formats a call: `tool {"a":1}`.
fn call(tool: &str, args: &str) -> String {
    match args.trim() {
        "" | "{}" => plain(tool),
        args => format!("{} {}", plain(tool), plain(args)),
    }
}

/// Formats token counts: `812 in, 40 out`.
fn tokens(usage: &Usage) -> Option<String> {
    (usage.tokens() > 0).then(|| format!("{} in, {} out", usage.input_tokens, usage.output_tokens))
}

/// Formats a delay: `tries again in 5m`.
fn until(word: &str, instant: Timestamp, from: Timestamp) -> Option<String> {
    let delay = i64::try_from(instant.duration_since(from).as_millis()).ok()?;
    Some(format!("{word} in {}", millis(delay)).trim_start().to_owned())
}

/// Formats names with a sign: `+a +b`.
fn names(agents: &[AgentId], sign: &str) -> Option<String> {
    let names: Vec<String> = agents.iter().map(|agent| format!("{sign}{agent}")).collect();
    (!names.is_empty()).then(|| names.join(" "))
}
