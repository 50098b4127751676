//! Walls around a program: what it may read, write, execute and reach, by Landlock (landlock(7)) and
//! seccomp (seccomp(2)), neither of which needs a privilege, and by namespaces where users may make them.
//!
//! A process puts the walls around itself and then becomes the program: there is no way back over either of
//! them. This room stands alone, since it is a part of the small program that starts all others (`gate/`);
//! what walls a program gets is decided elsewhere (`child::confined`), and comes here as a list of words
//! ([`Walls::from_words`]).
//!
//! What a kernel can't hold is an error, never a hole that nobody is told of. The bounds of what a kernel can
//! hold are in `docs/SECURITY.md`.
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

/// There is no sandbox on this system.
#[cfg(not(target_os = "linux"))]
pub fn enter(_: &Walls) -> Result<(), NotConfined> {
    Err(NotConfined(
        "this system has no sandbox: Landlock and seccomp are Linux's; write `sandbox = false`".into(),
    ))
}

#[cfg(test)]
mod tests;
