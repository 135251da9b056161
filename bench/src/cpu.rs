//! CPU time of processes, as Linux counts it in `/proc`.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// `/proc` counts in hundredths of a second on every Linux (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// CPU time that processes have used so far.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Cpu {
    pub(crate) server: Duration,
    pub(crate) postgres: Duration,
    pub(crate) driver: Duration,
}

impl Cpu {
    /// Of a server, of Postgres with all its processes, and of ourselves.
    pub(crate) fn of(server: u32, postgres: u32) -> Self {
        let processes = processes();
        let own = |pid: u32| processes.get(&pid).map_or(Duration::ZERO, |process| process.own);
        let children = processes.values().filter(|process| process.parent == postgres).map(|process| process.own);
        let gone = processes.get(&postgres).map_or(Duration::ZERO, |process| process.of_children_gone);
        Self {
            server: own(server),
            postgres: own(postgres) + children.sum::<Duration>() + gone,
            driver: own(std::process::id()),
        }
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            server: self.server.saturating_sub(earlier.server),
            postgres: self.postgres.saturating_sub(earlier.postgres),
            driver: self.driver.saturating_sub(earlier.driver),
        }
    }
}

struct Process {
    parent: u32,
    own: Duration,
    of_children_gone: Duration,
}

fn processes() -> HashMap<u32, Process> {
    let pids = fs::read_dir("/proc").expect("this is Linux").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, process(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?))).collect()
}

/// Reads `/proc/PID/stat`: what comes after the name, which may hold anything.
fn process(stat: &str) -> Option<Process> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field)?.parse::<u32>().ok().map(|ticks| TICK * ticks);
    Some(Process {
        parent: fields.get(1)?.parse().ok()?,
        own: ticks(11)? + ticks(12)?,
        of_children_gone: ticks(13)? + ticks(14)?,
    })
}
