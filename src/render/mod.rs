//! Formats views as text. Pure: the properties of the screen and the time are passed in as a [`Screen`], so that every
//! layout can be tested.
mod agent;
mod approvals;
mod backfill;
mod daemon;
mod event;
mod fleet;
mod nodes;
mod run;
mod screen;
mod standings;
mod table;
mod transcript;
mod words;

pub(super) use agent::agent_detail;
pub(super) use approvals::{approval_list, effect_words};
pub(super) use backfill::backfill_plan;
pub(super) use daemon::{
    daemon_view, delivery_words, refused_deliveries, unheld_limit, untrusted_server, unused_skill, unwatched,
};
pub(super) use event::{event_gist, event_line, event_types, event_words, logged_line};
pub(super) use fleet::{agent_list, sandbox_lines, summary};
pub(super) use nodes::node_list;
pub(super) use run::{
    cut_result, error_words, found_level, left_out, outcome_line, output, run_detail, run_list, took,
};
pub(super) use screen::{Screen, Tone, millis, status_word, terminal_width};
pub(super) use standings::{needs_line, standing_list, tone_of};
pub(super) use table::{Cell, Table};
pub(super) use words::{
    bytes, cut_to, fold, left, limit_line, plain, plain_json, plain_lines, result_text, result_words, usd,
    wrap,
};

#[cfg(test)]
mod tests;
