//! Only returns the exit code, after checking whether this process is to be a keeper.
use bgagent::cli::Origin;
use std::process::ExitCode;

/// Returns memory to the system after a large configuration was read; the system's own allocator never does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

// The state of the git checkout at compile time. This file is compiled with each change of the library, on its own.
#[cfg(checkout)]
git_testament::git_testament!(TESTAMENT);

fn main() -> ExitCode {
    bgagent::child::trampoline::enter_if_asked();
    bgagent::child::keep_memory_closed();
    bgagent::cli::main(std::env::args_os(), &origin())
}

/// Returns what this program was built from: for a package, its own metadata; for a checkout, what git reports.
fn origin() -> Origin {
    let told = Origin {
        commit: option_env!("BGAGENT_COMMIT").filter(|hash| !hash.is_empty()),
        date: option_env!("SOURCE_DATE_EPOCH").and_then(Origin::day_of),
        is_modified: option_env!("BGAGENT_MODIFIED").is_some(),
    };
    if told.commit.is_some() { told } else { checkout().unwrap_or(told) }
}

#[cfg(checkout)]
fn checkout() -> Option<Origin> {
    use git_testament::CommitKind::{FromTag, NoTags};
    use git_testament::GitModification::Untracked;
    let (NoTags(hash, day) | FromTag(_, hash, day, _)) = TESTAMENT.commit else { return None };
    let is_modified = TESTAMENT.modifications.iter().any(|one| !matches!(one, Untracked(_)));
    Some(Origin { commit: Some(hash), date: Some(day.to_owned()), is_modified })
}

#[cfg(not(checkout))]
fn checkout() -> Option<Origin> {
    None
}
