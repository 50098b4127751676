//! What this kernel can enforce.
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetError, Scope,
};

/// The Landlock ABI version with a separate right for truncating (Linux 6.2). Before it, the system call filter enforces it.
pub const TRUNCATE: u32 = 3;
/// The version that restricts signals (Linux 6.12).
pub const SIGNALS: u32 = 6;
/// The version that restricts Unix sockets by path.
pub const SOCKETS: u32 = 9;

/// Returns the Landlock ABI version of this kernel, as far as it makes a difference here; 0: none.
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
