//! How many arenas glibc's allocator keeps.
//!
//! A record is allocated by a thread of librdkafka and freed by one of ours. With an arena for nearly every thread, which
//! is glibc's default, memory that one thread freed waits while another takes new memory from the system: a query of an epoch a
//! second grew by some MB a minute (ADR 0015).

/// Keeps one arena for each core, and two at least. Call it before the process starts threads; threads that have an arena
/// keep theirs. False if nothing was changed: with another libc, or if the environment says how many
/// (`MALLOC_ARENA_MAX`, `GLIBC_TUNABLES`).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn limit_arenas() -> bool {
    use std::ffi::c_int;

    /// The parameter's number in glibc's `malloc.h`.
    const M_ARENA_MAX: c_int = -8;

    // SAFETY: the declaration is that of glibc's `malloc.h`.
    unsafe extern "C" {
        fn mallopt(parameter: c_int, value: c_int) -> c_int;
    }

    if std::env::var_os("MALLOC_ARENA_MAX").is_some() || std::env::var_os("GLIBC_TUNABLES").is_some() {
        return false;
    }
    let cores = std::thread::available_parallelism().map_or(2, usize::from).max(2);
    // SAFETY: it takes two numbers and locks what it changes.
    unsafe { mallopt(M_ARENA_MAX, c_int::try_from(cores).unwrap_or(c_int::MAX)) == 1 }
}

/// As on glibc, where alone there is something to do.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn limit_arenas() -> bool {
    false
}
