//! The sandbox of a program: what it may read, write, execute and reach, by Landlock (landlock(7)) and seccomp (seccomp(2)),
//! neither of which requires privileges, and by namespaces where users may create them.
//!
//! A process confines itself and then executes the program: neither restriction can be reverted. This module has no
//! dependencies on others, since it is part of the gate binary that starts all programs (`gate/`); which sandbox a program gets
//! is decided elsewhere (`child::confined`), and passed in as a list of words ([`Walls::from_words`]).
//!
//! What a kernel can't enforce is an error, never a silent hole. The limits of what a kernel can enforce are in
//! `docs/SECURITY.md`.
#[cfg(target_os = "linux")]
pub mod calls;
#[cfg(target_os = "linux")]
mod enter;
#[cfg(target_os = "linux")]
mod machine;
#[cfg(target_os = "linux")]
pub mod mounts;
#[cfg(target_os = "linux")]
pub mod network;
#[cfg(target_os = "linux")]
mod paths;
#[cfg(target_os = "linux")]
pub mod support;
mod walls;

#[cfg(target_os = "linux")]
pub use enter::enter;
pub use walls::{Access, Limit, NotConfined, Walls};

/// Always fails: there is no sandbox on this system.
#[cfg(not(target_os = "linux"))]
pub fn enter(_: &Walls) -> Result<(), NotConfined> {
    Err(NotConfined(
        "this system has no sandbox: Landlock and seccomp are Linux's; write `sandbox = false`".into(),
    ))
}

#[cfg(test)]
mod tests;
