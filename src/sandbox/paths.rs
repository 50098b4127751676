//! Files and folders, by Landlock.
use super::walls::{Access, NotConfined, Walls};
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags,
};

/// The newest version of Landlock whose rights are known here. An older kernel has fewer of them.
const NEWEST: ABI = ABI::V9;

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

/// Puts the walls around this process. Nothing is confined that the kernel can't: see [`super::support`].
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

/// Rules for connections are of no use in a network of one's own: whatever listens there is within as well.
fn created(own_network: bool) -> Result<landlock::RulesetCreated, RulesetError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?;
    if !own_network {
        ruleset = ruleset.handle_access(AccessNet::from_all(NEWEST))?;
    }
    ruleset.scope(Scope::from_all(NEWEST))?.create()
}

/// What the system said, without the words of the library around it.
fn cause(error: &dyn std::error::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
