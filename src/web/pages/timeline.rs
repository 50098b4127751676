//! The ledger as a picture: a strip of slots for each agent, and the slots of one of them as a table.
use super::agents::AgentPageOf;
use super::fleet::{Away, WholeFleet, away, strips};
use crate::overview::standings;
use crate::protocol::*;
use crate::web::frame::{Frame, Page, PageError, html};
use crate::web::html::{Moment, When, class_of, class_of_run, encoded, line, span};
use crate::web::state::Web;
use crate::web::strip::{Strip, WIDTH};
use askama::Template;
use axum::extract::{Path, Query, State};
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;

/// Ranges of the timeline: the name, and the number of hours.
const RANGES: [(&str, i64); 4] = [("1h", 1), ("6h", 6), ("24h", 24), ("7d", 168)];
/// Records per page of the table.
const PAGE_ROWS: u64 = 500;

#[derive(Template)]
#[template(path = "timeline.html")]
struct TimelinePage {
    frame: Frame,
    rows: Vec<TimelineRow>,
    range: &'static str,
    ranges: Vec<(&'static str, String, bool)>,
    /// Position of each time, in 1000ths and in per cent, and its label.
    axis: Vec<(String, String, String)>,
    /// Left and width of each period without a daemon, out of 1000.
    away: Vec<(String, String)>,
    /// Text about these periods.
    away_words: String,
    by_name: bool,
    trouble: bool,
    query: String,
    count: usize,
    pages: Vec<(usize, String, bool)>,
    from: String,
    to: String,
}

struct TimelineRow {
    id: String,
    class: &'static str,
    mark: &'static str,
    schedule: String,
    strip: Strip,
    href: String,
}

/// Parses the requested range, which ends now or at `end`.
fn range(
    query: &HashMap<String, String>,
    now: Timestamp,
) -> Result<(&'static str, (Timestamp, Timestamp)), PageError> {
    let wanted = query.get("range").map_or("1h", String::as_str);
    let (word, hours) = RANGES
        .into_iter()
        .find(|(word, _)| *word == wanted)
        .ok_or_else(|| PageError::bad(format!("`range` is 1h, 6h, 24h or 7d, not {}", line(wanted))))?;
    let to = match query.get("end").filter(|end| !end.is_empty()) {
        Some(end) => {
            end.parse::<Timestamp>().map_err(|_| PageError::bad("`end` must be an RFC 3339 time"))?.min(now)
        }
        None => now,
    };
    let from = to
        .checked_sub(SignedDuration::from_hours(hours))
        .map_err(|_| PageError::bad("`end` is too early"))?;
    Ok((word, (from, to)))
}

pub(in crate::web) async fn timeline(
    State(web): State<Web>,
    Query(query): Query<HashMap<String, String>>,
) -> Page {
    let moment = Moment::new();
    let (range, (from, to)) = range(&query, moment.now)?;
    let (frame, _) = Frame::of(&web, "timeline", "Timeline").await?;
    let fleet = WholeFleet::of(&web.pool).await?;
    let standings = standings(&fleet.agents, &fleet.incidents, &fleet.approvals, moment.now);
    let search = query.get("q").cloned().unwrap_or_default();
    let by_name = query.get("order").is_some_and(|order| order == "name");
    let trouble = query.get("trouble").is_some_and(|yes| yes == "1");
    let page = query.get("page").and_then(|page| page.parse().ok()).unwrap_or(0);
    let of = AgentPageOf::of(&fleet, &standings, (&search, by_name, trouble), page);
    let ids = of.rows.iter().map(|(agent, _)| agent.agent_id.to_string()).collect();
    let (strips, away) = tokio::join!(strips(&web.pool, ids, (from, to), moment.now), away(&web.pool, from));
    let mut strips = strips?;
    let address = |range: &str, page: usize| {
        let order = if by_name { "name" } else { "need" };
        let trouble = u8::from(trouble);
        format!("/timeline?range={range}&order={order}&trouble={trouble}&q={}&page={page}", encoded(&search))
    };
    let scale = WIDTH / to.duration_since(from).as_secs_f64().max(1.0);
    let x = |at: Timestamp| (at.duration_since(from).as_secs_f64() * scale).clamp(0.0, WIDTH);
    let page = TimelinePage {
        rows: of
            .rows
            .iter()
            .map(|(agent, one)| TimelineRow {
                id: agent.agent_id.to_string(),
                class: class_of(one.rank),
                mark: one.rank.mark().symbol,
                schedule: moment.schedule(&agent.schedule),
                strip: strips.remove(agent.agent_id.as_str()).unwrap_or_default(),
                href: format!("/timeline/{}?range={range}", agent.agent_id),
            })
            .collect(),
        ranges: RANGES.map(|(word, _)| (word, address(word, 0), word == range)).to_vec(),
        axis: axis(&moment, (from, to)),
        away: away
            .iter()
            .filter(|one| one.since < to)
            .map(|one| {
                let (left, right) = (x(one.since), x(one.until));
                (format!("{left:.1}"), format!("{:.1}", (right - left).max(2.0)))
            })
            .collect(),
        away_words: away_words(away.iter().filter(|one| one.since < to), &moment),
        count: of.count,
        pages: of.pages(|n| address(range, n)),
        range,
        by_name,
        trouble,
        query: line(&search),
        from: moment.when(from).local,
        to: moment.when(to).local,
        frame,
    };
    Ok(html(&page))
}

/// Formats `no daemon ran: 10:01:30 for 5s, 10:07:02 for 3s` in one line, however many periods there were.
fn away_words<'a>(away: impl Iterator<Item = &'a Away>, moment: &Moment) -> String {
    const MAX_NAMED_COUNT: usize = 3;
    let all: Vec<String> = away
        .map(|one| {
            let long = crate::domain::human_duration(one.until.duration_since(one.since));
            format!("{} for {long}", moment.when(one.since).local)
        })
        .collect();
    let (older, newest) = all.split_at(all.len().saturating_sub(MAX_NAMED_COUNT));
    match (newest.is_empty(), older.len()) {
        (true, _) => String::new(),
        (false, 0) => format!("no daemon ran: {}", newest.join(", ")),
        (false, more) => format!("no daemon ran: {}, and {more} times before", newest.join(", ")),
    }
}

/// Returns round times: their position, in 1000ths and in per cent, and their label.
fn axis(moment: &Moment, (from, to): (Timestamp, Timestamp)) -> Vec<(String, String, String)> {
    let secs = to.duration_since(from).as_secs();
    let step = match secs {
        0..=3600 => 600,
        3601..=21_600 => 3600,
        21_601..=86_400 => 4 * 3600,
        _ => 86_400,
    };
    let offset = i64::from(moment.zone().to_offset(from).seconds());
    let first = (from.as_second() + offset).div_euclid(step) * step + step - offset;
    let mut all = Vec::new();
    let mut at = first;
    while at < to.as_second() {
        let share = (at - from.as_second()) as f64 / secs.max(1) as f64 * 1000.0;
        if let Ok(instant) = Timestamp::from_second(at) {
            let zoned = instant.to_zoned(moment.zone());
            let form = if step >= 86_400 { "%a %d" } else { "%H:%M" };
            all.push((
                format!("{share:.0}"),
                format!("{:.2}%", share / 10.0),
                zoned.strftime(form).to_string(),
            ));
        }
        at += step;
    }
    all
}

#[derive(Template)]
#[template(path = "slots.html")]
struct SlotsPage {
    frame: Frame,
    id: String,
    sentence: String,
    asked: String,
    strip: Strip,
    records: Vec<RecordRow>,
    more: bool,
    range: &'static str,
    ranges: Vec<(&'static str, String, bool)>,
    command: String,
}

struct RecordRow {
    class: &'static str,
    mark: &'static str,
    first: When,
    last: Option<String>,
    count: u64,
    verdict: String,
    cause: String,
    run: Option<(String, String)>,
    took: String,
    why: String,
}

pub(in crate::web) async fn slots(
    State(web): State<Web>,
    Path(id): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Page {
    let moment = Moment::new();
    let (range, (from, to)) = range(&query, moment.now)?;
    let at = match query.get("at").map(|at| at.parse::<Timestamp>()) {
        Some(Err(_)) => return Err(PageError::bad("`at` must be an RFC 3339 time")),
        Some(Ok(at)) => Some(at),
        None => None,
    };
    let timezone = moment.zone().iana_name().map(str::to_owned);
    let told = web.pool.call::<ExplainSlot>(ExplainParams { agent_id: id.clone(), at, timezone }).await?;
    let (frame, _) = Frame::of(&web, "timeline", &format!("Slots of {}", line(&id))).await?;
    let params = ListSlotsParams {
        agents: vec![id.clone()],
        from: Some(from),
        to: Some(to),
        limit: Some(PAGE_ROWS + 1),
        newest_first: true,
        ..ListSlotsParams::default()
    };
    let mut records = web.pool.call::<ListSlots>(params).await?;
    let more = records.len() as u64 > PAGE_ROWS;
    records.truncate(PAGE_ROWS as usize);
    let strip =
        strips(&web.pool, vec![id.clone()], (from, to), moment.now).await?.remove(&id).unwrap_or_default();
    let asked = at.map(|at| moment.when(at).local);
    let page = SlotsPage {
        sentence: line(&told.sentence),
        strip,
        records: records.iter().map(|record| record_row(record, &id, range, &moment)).collect(),
        more,
        ranges: RANGES
            .map(|(word, _)| (word, format!("/timeline/{id}?range={word}"), word == range))
            .to_vec(),
        range,
        command: match &asked {
            Some(at) => format!("bgagent why {id} '{at}'"),
            None => format!("bgagent why {id}"),
        },
        asked: asked.unwrap_or_default(),
        id: line(&id),
        frame,
    };
    Ok(html(&page))
}

fn record_row(record: &SlotRecordView, id: &str, range: &str, moment: &Moment) -> RecordRow {
    let word = record.verdict.as_str();
    let (class, mark) = match record.status {
        Some(status) => class_of_run(status),
        None if record.all_well => ("ok", "✓"),
        None if word.starts_with("missed") || word.starts_with("refused") => ("warn", "!"),
        None => ("idle", "·"),
    };
    RecordRow {
        class,
        mark,
        first: moment.when(record.first),
        last: (record.count > 1).then(|| moment.when(record.last).local),
        count: record.count,
        verdict: match record.status {
            Some(status) => crate::render::status_word(status).to_owned(),
            None if record.all_well => "ran, all well".to_owned(),
            None => word.replace('_', " "),
        },
        cause: line(&record.cause),
        run: record.run_id.map(|run| (run.to_string(), run.short())),
        took: record.duration_ms.map(span).unwrap_or_default(),
        why: format!("/timeline/{id}?range={range}&at={}", encoded(&record.first.to_string())),
    }
}
