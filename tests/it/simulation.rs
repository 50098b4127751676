//! Simulated years of a fleet, in seconds: mixed schedules, policies and locks; and sleep, clocks
//! that jump, crashes before and after a commit, storage that stalls, commands and reloads, chosen
//! from a seed. One checker says what must hold of all of them, from a reference of its own: which
//! slots there are follows from commands and configurations, not from the engine.
//!
//! `BGAGENT_SIM_SEED=n` runs one seed, `BGAGENT_SIM_CASES=n` as many, `BGAGENT_SIM_DAYS=n` as long.
mod chains;
mod checks;
mod faults;
mod fleet;
mod model;
mod nodes;
mod outside;
mod runners;
mod spans;
mod world;

use world::{Simulated, simulate};

/// Deliberate defects of everything around the engine. The checker must see each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// The store takes two claims of one slot, and restore gets an old high-water mark.
    ClaimsNotUnique,
    /// Restore gets an old high-water mark.
    StaleRow,
    /// A crash in the middle of a commit leaves its first half.
    HalfCommitted,
    /// A verdict is stored twice.
    VerdictTwice,
    /// A verdict is not stored.
    VerdictLost,
    /// That a run found all well is not stored.
    WellLost,
    /// The end of a run is not stored.
    EndLost,
    /// The row of an agent is not stored.
    RowLost,
    /// A counter of an agent's row is wrong.
    WrongCount,
    /// An attempt is started twice.
    StartTwice,
    /// An attempt is not started.
    StartLost,
    /// A runner never hears that it may go on.
    GoLost,
    /// Actions are done before the commit, and then it fails.
    ActsBeforeCommit,
    /// A run in flight is restored as one that never began.
    ProcessForgotten,
    /// The loop does not wake when a slot is due.
    Oversleeps,
    /// What ends while the daemon goes down starts no agent that waits for it.
    DeafGoingDown,
    /// Why an event started nothing is not stored.
    EventPassedLost,
    /// The store forgets what has arrived.
    ArrivedForgotten,
    /// The store forgets how far the events of a server were read.
    CursorLost,
    /// A sender hears that its delivery was taken before that is durable.
    AnswersEarly,
    /// A new life hears nothing of ends of runs that an agent waits for.
    JoinForgotten,
    /// The store forgets how far a backfill has come.
    BackfillStands,
    /// The ledger does not say what it knows of slots ahead, after the clock was set back.
    LooksNowhere,
    /// Verdicts of slots ahead that are taken back stay in the store.
    TakenBackLost,
    /// The store forgets that the clock was set back.
    FloorLost,
    /// Retention, led by a clock that was ahead, has removed what the ledger knew of slots ahead.
    PrunedAhead,
}

const DEFECTS: [Defect; 26] = [
    Defect::ClaimsNotUnique,
    Defect::StaleRow,
    Defect::HalfCommitted,
    Defect::VerdictTwice,
    Defect::VerdictLost,
    Defect::WellLost,
    Defect::EndLost,
    Defect::RowLost,
    Defect::WrongCount,
    Defect::StartTwice,
    Defect::StartLost,
    Defect::GoLost,
    Defect::ActsBeforeCommit,
    Defect::ProcessForgotten,
    Defect::Oversleeps,
    Defect::DeafGoingDown,
    Defect::EventPassedLost,
    Defect::ArrivedForgotten,
    Defect::CursorLost,
    Defect::AnswersEarly,
    Defect::JoinForgotten,
    Defect::BackfillStands,
    Defect::LooksNowhere,
    Defect::TakenBackLost,
    Defect::FloorLost,
    Defect::PrunedAhead,
];

fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

#[test]
fn years_of_a_fleet_account_for_every_slot() {
    let days = asked("BGAGENT_SIM_DAYS").unwrap_or(16) as i64;
    let seeds = match asked("BGAGENT_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + asked("BGAGENT_SIM_CASES").unwrap_or(12),
    };
    let mut sum = Simulated::default();
    for seed in seeds.clone() {
        let one = simulate(seed, days, None).unwrap_or_else(|wrong| {
            panic!("{wrong}\nonce more: BGAGENT_SIM_SEED={seed} BGAGENT_SIM_DAYS={days}");
        });
        sum.agent_years += one.agent_years;
        sum.slots += one.slots;
        sum.compared += one.compared;
        sum.claims += one.claims;
        sum.quiet += one.quiet;
        sum.bodies += one.bodies;
        sum.events += one.events;
        sum.lives += one.lives;
        sum.crashes += one.crashes;
    }
    println!(
        "simulated {:.1} agent-years, {} slots ({} against the reference), {} claims ({} left no record), {} bodies, {} events, {} lives, {} crashes",
        sum.agent_years,
        sum.slots,
        sum.compared,
        sum.claims,
        sum.quiet,
        sum.bodies,
        sum.events,
        sum.lives,
        sum.crashes
    );
    assert!(
        seeds.end - seeds.start < 12 || (sum.crashes > 100 && sum.compared > 10_000 && sum.quiet > 1000),
        "the simulation is too tame"
    );
}

#[test]
fn the_same_seed_gives_the_same_history() {
    assert_eq!(simulate(7, 20, None).unwrap(), simulate(7, 20, None).unwrap());
}

#[test]
fn every_broken_twin_is_caught() {
    let mut missed = Vec::new();
    for defect in DEFECTS {
        match (1..=40).find_map(|seed| simulate(seed, 20, Some(defect)).err()) {
            Some(wrong) => println!("{defect:?}: {}", wrong.chars().take(160).collect::<String>()),
            None => missed.push(defect),
        }
    }
    println!("caught {} of {} broken twins", DEFECTS.len() - missed.len(), DEFECTS.len());
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
