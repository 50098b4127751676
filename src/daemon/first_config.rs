//! The configuration that a daemon starts with, and the one that it leads with.
use super::failure::Failure;
use super::in_force::{self, Unread};
use super::trust::{self, TrustGate};
use crate::config::{self, Context, Loaded, Paths, RejectedFor};
use crate::store::{Store, Where};

/// The file of this machine at the start.
pub(super) async fn read_config(paths: &Paths, trust: &TrustGate) -> Result<Loaded, Failure> {
    let (path, state, trust) = (paths.config.clone(), paths.state_dir.clone(), trust.clone());
    let read = tokio::task::spawn_blocking(move || {
        let loaded = config::load(&path, &Context::system(crate::clock::wall()).of_state(&state))?;
        trust.admit_asked(loaded)
    });
    match read.await.map_err(|error| Failure::Internal(error.to_string()))? {
        Ok(loaded) => Ok(loaded),
        Err(rejected) if rejected.why == RejectedFor::Owner => {
            let one = rejected.diagnostics.into_iter().next();
            let (what, hint) = one.map(|one| (one.message, one.hint)).unwrap_or_default();
            Err(Failure::NotOurs { what, hint })
        }
        Err(rejected) if rejected.why == RejectedFor::Trust => {
            let lines: Vec<&str> = rejected.diagnostics.iter().map(|one| one.message.as_str()).collect();
            let hint = rejected.diagnostics.first().and_then(|one| one.hint.clone());
            let what = format!("{}\n  {}", trust::refusal(&rejected.path), lines.join("\n  "));
            Err(Failure::NotOurs { what, hint })
        }
        Err(rejected) => {
            use std::io::IsTerminal;
            let color = std::io::stderr().is_terminal();
            let text = config::render(&rejected.diagnostics, &rejected.shown, &rejected.path, color);
            Err(Failure::Config(format!("the configuration is invalid\n{}", text.trim_end())))
        }
    }
}

/// What is in force now that this daemon leads: its file, as it is now if it `has_waited`, and what was applied to its fleet.
pub(super) async fn config_of_leader(
    paths: &Paths,
    (trust, has_waited): (&TrustGate, bool),
    loaded: Loaded,
    (store, records): (&Store, &Where),
) -> Result<Loaded, Failure> {
    let newest = if has_waited { newest_config(paths, trust, records).await? } else { None };
    let own = newest.unwrap_or(loaded);
    if own.fleet.store.is_none() {
        left_behind(store).await?;
    }
    match in_force::with_newest(own, &paths.state_dir, store).await {
        Ok(loaded) => {
            if let Some(applied) = loaded.fleet.revision_in_force() {
                let (revision, by) = (applied.revision, &applied.by);
                tracing::info!(revision, by, "the configuration of the fleet comes from the database");
                super::log::log_warnings(&loaded);
            }
            Ok(loaded)
        }
        Err(Unread::Rejected(rejected)) => {
            let text = config::render(&rejected.diagnostics, &rejected.shown, &rejected.path, false);
            let hint = "a node where it is valid may lead; `bgagent apply FILE` there applies another";
            Err(Failure::Config(format!(
                "what was applied to the fleet is invalid on this machine\n{}\n{hint}",
                text.trim_end()
            )))
        }
        Err(Unread::Store(error)) => Err(error.into()),
        Err(Unread::Internal(what)) => Err(Failure::Internal(what)),
    }
}

/// The configuration as it is now, for a daemon that has waited: what it read may be weeks old. `None`: what it read is in
/// force until the file is as it should be.
async fn newest_config(paths: &Paths, trust: &TrustGate, records: &Where) -> Result<Option<Loaded>, Failure> {
    let (of, trust) = (paths.clone(), trust.clone());
    let read = tokio::task::spawn_blocking(move || in_force::own_file(&of, &trust));
    let newest = match read.await.map_err(|error| Failure::Internal(error.to_string()))? {
        Ok(newest) => newest,
        Err(rejected) => {
            let first = rejected.diagnostics.first().map(|one| one.message.as_str()).unwrap_or_default();
            tracing::error!(
                "{} was rejected, what was read before is in force: {first}",
                paths.config.display()
            );
            return Ok(None);
        }
    };
    if newest.fleet.store != records.server {
        let doing = "[store] was changed while this daemon was a standby: start it again".to_owned();
        return Err(Failure::Io { doing, cause: std::io::Error::other("its records are elsewhere now") });
    }
    Ok(Some(newest))
}

/// Records that were moved from a server to a file may have what was applied to the fleet there.
async fn left_behind(store: &Store) -> Result<(), Failure> {
    let applied = store.read(|reader| reader.applied_config()).await?;
    if let Some(applied) = applied.filter(|applied| applied.text.is_some()) {
        tracing::warn!(
            revision = applied.revision,
            "what was applied while the records were on a server is not in force: with records in a file, the configuration is \
             the file"
        );
    }
    Ok(())
}
