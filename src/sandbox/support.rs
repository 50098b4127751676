//! What this kernel can hold.
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetError, Scope,
};

/// The version of Landlock from which truncating is a right of its own (Linux 6.2). Before it, the filter of calls
/// holds it.
pub const TRUNCATE: u32 = 3;
/// The version from which signals are kept in (Linux 6.12).
pub const SIGNALS: u32 = 6;
/// The version from which sockets are known by path.
pub const SOCKETS: u32 = 9;

/// The version of Landlock's interface that this kernel has, as far as it makes a difference here; 0: none.
pub fn landlock() -> u32 {
    let versions = [(ABI::V9, SOCKETS), (ABI::V6, SIGNALS), (ABI::V3, TRUNCATE), (ABI::V1, 1)];
    versions.into_iter().find(|(abi, _)| has(*abi).is_ok()).map_or(0, |(_, version)| version)
}

fn has(abi: ABI) -> Result<(), RulesetError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(abi))?;
    if abi >= ABI::V4 {
        ruleset = ruleset.handle_access(AccessNet::from_all(abi))?;
    }
    if abi >= ABI::V6 {
        ruleset = ruleset.scope(Scope::from_all(abi))?;
    }
    ruleset.create().map(drop)
}
