//! What the file of a machine says of that machine, where the agents come from the configuration of a fleet.
use crate::domain::{Fleet, SecretRef};
use std::collections::BTreeSet;

/// Tables that are of the machine.
const TABLES: &[&str] = &["daemon", "store", "events", "memory", "telemetry"];

/// The part of a file that is of its machine. What it says goes before what was applied.
pub struct OwnPart {
    fleet: Fleet,
    given: BTreeSet<String>,
}

impl OwnPart {
    /// Of a file, with the names of what it has.
    pub(super) fn of(fleet: Fleet, given: BTreeSet<String>) -> Self {
        Self { fleet, given }
    }

    /// Tables of the file that are not of the machine, and so are not in force.
    pub(super) fn idle(&self) -> Vec<&str> {
        let tables = self.given.iter().map(String::as_str).filter(|name| !name.contains('.'));
        tables.filter(|name| !TABLES.contains(name)).collect()
    }

    /// Where records are, and what the node is, is only known here. The rest is said here or was applied.
    pub(super) fn overlay(&self, fleet: &mut Fleet) {
        let (own, to) = (&self.fleet, &mut fleet.daemon);
        let says = |key: &str| self.given.contains(key);
        to.node.clone_from(&own.daemon.node);
        to.reload = own.daemon.reload;
        if says("daemon.max_parallel_runs") {
            to.max_parallel_runs = own.daemon.max_parallel_runs;
        }
        if says("daemon.shutdown_grace") {
            to.shutdown_grace = own.daemon.shutdown_grace;
        }
        if says("daemon.ping") {
            to.ping.clone_from(&own.daemon.ping);
        }
        if says("daemon.webhooks") {
            to.webhooks = own.daemon.webhooks;
        }
        fleet.store.clone_from(&own.store);
        if says("events") {
            fleet.redis.clone_from(&own.redis);
        }
        if says("memory") {
            fleet.memory.clone_from(&own.memory);
        }
        if says("telemetry") {
            fleet.telemetry.clone_from(&own.telemetry);
        }
    }

    /// Those of the file are used, too.
    pub(super) fn add_secrets(&self, secrets: &mut Vec<SecretRef>) {
        for secret in &self.fleet.secrets {
            if !secrets.contains(secret) {
                secrets.push(secret.clone());
            }
        }
    }
}
