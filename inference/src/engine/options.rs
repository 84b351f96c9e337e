//! How many sessions an engine opens and how each of them computes.

/// Threads of an engine. The product of both is the number of cores it can keep busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineOptions {
    /// Sessions that run windows side by side; at least 1.
    pub sessions: usize,
    /// Threads inside one session; at least 1.
    pub threads: usize,
}

impl EngineOptions {
    /// One session of one thread per core that this process may use (cgroup quota and affinity counted): the fastest
    /// way through many windows.
    pub fn throughput() -> Self {
        Self { sessions: available_cores(), threads: 1 }
    }

    /// One session of all cores: the fastest way through a single window.
    pub fn latency() -> Self {
        Self { sessions: 1, threads: available_cores() }
    }

    /// One session of one thread.
    pub fn single() -> Self {
        Self { sessions: 1, threads: 1 }
    }
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self::throughput()
    }
}

/// Cores this process may use, at least 1: the cgroup's CPU quota and the affinity mask count, not the host's cores.
pub fn available_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
