//! Exit code and nothing else, after the look whether this process is to start and keep another program.
use std::process::ExitCode;

/// Gives memory back to the system after a large configuration was read; the system's own allocator
/// keeps it for good.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    bgagent::child::trampoline::enter_if_asked();
    bgagent::child::keep_memory_closed();
    bgagent::cli::main(std::env::args_os())
}
