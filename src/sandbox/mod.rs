//! Walls around a program: what it may read, write, execute and reach, by Landlock (landlock(7)) and
//! seccomp (seccomp(2)), neither of which needs a privilege.
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
pub mod network;
#[cfg(target_os = "linux")]
mod paths;
#[cfg(target_os = "linux")]
pub mod support;
mod walls;

#[cfg(target_os = "linux")]
pub use enter::enter;
pub use walls::{Access, Limit, NotConfined, Walls};

/// Can all of these walls be a thread's, which what it starts inherits? Limits are a process's (setrlimit(2)), and a network of its
/// own is made by a process of one thread, since it may need a namespace of users (user_namespaces(7)).
pub fn fits_a_thread(walls: &Walls) -> bool {
    walls.limits.is_empty() && walls.network.is_none()
}

/// There is no sandbox on this system.
#[cfg(not(target_os = "linux"))]
pub fn enter(_: &Walls) -> Result<(), NotConfined> {
    Err(NotConfined(
        "this system has no sandbox: Landlock and seccomp are Linux's; write `sandbox = false`".into(),
    ))
}

#[cfg(test)]
mod tests;
