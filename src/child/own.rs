//! Which of our children have somebody here who waits for them.
//!
//! A subreaper also gets children that it never started: orphans, for which nobody waits. Whoever
//! reaps those must not take the others. So who starts a process that may stay unreaped for longer
//! than a moment after its end holds an [`Own`] of it.
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// How many hold each: a number may be another process's while the last one's holder is still there.
static OWNED: LazyLock<Mutex<HashMap<u32, usize>>> = LazyLock::new(Mutex::default);

/// As long as this lives, the child is waited for by its holder and nobody else.
#[derive(Debug)]
pub struct Own(u32);

impl Own {
    /// The child with this number.
    pub fn of(pid: u32) -> Self {
        *owned().entry(pid).or_default() += 1;
        Self(pid)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let mut owned = owned();
        if let Some(count) = owned.get_mut(&self.0) {
            *count -= 1;
            if *count == 0 {
                owned.remove(&self.0);
            }
        }
    }
}

/// Does somebody here wait for the child with this number?
pub fn is_owned(pid: u32) -> bool {
    owned().contains_key(&pid)
}

fn owned() -> MutexGuard<'static, HashMap<u32, usize>> {
    OWNED.lock().unwrap_or_else(PoisonError::into_inner)
}
