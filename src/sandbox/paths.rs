//! File access, by Landlock.
use super::walls::{Access, NotConfined, Walls};
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags,
};

/// The newest Landlock ABI whose rights are known here. An older kernel has fewer of them.
const NEWEST_ABI: ABI = ABI::V9;

fn rights(access: Access) -> BitFlags<AccessFs> {
    match access {
        Access::Read => make_bitflags!(AccessFs::{ReadFile | ReadDir}),
        Access::Execute => make_bitflags!(AccessFs::{ReadFile | ReadDir | Execute}),
        Access::Device => make_bitflags!(AccessFs::{ReadFile | WriteFile | IoctlDev}),
        Access::Connect => make_bitflags!(AccessFs::{ResolveUnix}),
        Access::Write => make_bitflags!(AccessFs::{
            ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | MakeSym | MakeSock | MakeFifo
                | RemoveFile | RemoveDir | Refer
        }),
    }
}

/// Applies the file rules to this process. Skips what the kernel does not support: see [`super::support`].
pub(super) fn close(walls: &Walls) -> Result<(), NotConfined> {
    let mut ruleset = created(walls.network.is_some()).map_err(|error| {
        NotConfined(format!(
            "Landlock is not available ({error}); a kernel of 5.13 or later has it, if it is not switched off"
        ))
    })?;
    for (access, path) in &walls.paths {
        let folder = PathFd::new(path).map_err(|error| {
            NotConfined(format!("`{}` can't be opened: {}", path.display(), cause(&error)))
        })?;
        ruleset = ruleset
            .add_rule(PathBeneath::new(folder, rights(*access)))
            .map_err(|error| NotConfined(format!("`{}`: {error}", path.display())))?;
    }
    let status = ruleset.restrict_self().map_err(|error| NotConfined(format!("Landlock: {error}")))?;
    if status.ruleset == RulesetStatus::NotEnforced {
        return Err(NotConfined("Landlock did not take the rules".into()));
    }
    Ok(())
}

/// Creates the ruleset. Rules for connections are useless in a private network namespace: all listeners there are in the
/// sandbox as well.
fn created(own_network: bool) -> Result<landlock::RulesetCreated, RulesetError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST_ABI))?;
    if !own_network {
        ruleset = ruleset.handle_access(AccessNet::from_all(NEWEST_ABI))?;
    }
    ruleset.scope(Scope::from_all(NEWEST_ABI))?.create()
}

/// Returns the error of the system, without the wrapping of the library.
fn cause(error: &dyn std::error::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
