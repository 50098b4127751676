//! Exit code and nothing else, after the look whether this process is to start and keep another program.
use bgagent::cli::Origin;
use std::process::ExitCode;

/// Gives memory back to the system after a large configuration was read; the system's own allocator
/// keeps it for good.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

// What git says while this file is compiled. It is compiled with each change of the library, and alone.
#[cfg(checkout)]
git_testament::git_testament!(TESTAMENT);

fn main() -> ExitCode {
    bgagent::child::trampoline::enter_if_asked();
    bgagent::child::keep_memory_closed();
    bgagent::cli::main(std::env::args_os(), &origin())
}

/// What this program was built from: of a package, what it says of itself; of a checkout, what git says.
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
