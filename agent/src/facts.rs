//! What the node says of itself: read from `/proc`, never trusted by policy.

use std::collections::BTreeSet;
use std::path::Path;

use fleet_proto::digest::Digest;
use fleet_proto::ids::AppName;
use fleet_proto::quantity::{Bytes, Span};
use fleet_proto::release::{Platform, ReleaseRef};
use fleet_proto::session::{Facts, Heartbeat, RELEASES_ON_DISK_MAX, ReleaseOnDisk};
use fleet_proto::time::Timestamp;

use crate::layout::Layout;
use crate::slots::Slots;

/// The kernel counts processor time in ticks of this length on every platform that
/// Fleet runs on.
pub const TICKS_PER_SECOND: u64 = 100;
pub const PAGE_BYTES: u64 = 4096;

pub fn facts(state: &Path) -> Facts {
    let uname = nix::sys::utsname::uname().ok();
    let word =
        |text: Option<&std::ffi::OsStr>| text.map_or_else(String::new, |t| t.to_string_lossy().into_owned());
    Facts {
        platform: Platform::here(),
        hostname: word(uname.as_ref().map(nix::sys::utsname::UtsName::nodename)),
        kernel: word(uname.as_ref().map(nix::sys::utsname::UtsName::release)),
        cpus: cpus(),
        memory: Bytes(memory().total),
        disk: disk_size(state),
        disk_free: disk_free(state),
        booted_at: booted_at(),
    }
}

pub fn cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX))
}

/// What an ordinary user may still write there.
pub fn disk_free(path: &Path) -> Bytes {
    nix::sys::statvfs::statvfs(path).map_or(Bytes(0), |about| {
        Bytes(about.blocks_available() * about.fragment_size())
    })
}

fn disk_size(path: &Path) -> Bytes {
    nix::sys::statvfs::statvfs(path).map_or(Bytes(0), |about| Bytes(about.blocks() * about.fragment_size()))
}

/// What a file of so many bytes takes: whole blocks, and its share of a directory and
/// of the table of files.
pub fn on_disk(bytes: u64) -> u64 {
    const BLOCK: u64 = 4096;
    bytes
        .div_ceil(BLOCK)
        .saturating_mul(BLOCK)
        .saturating_add(BLOCK / 4)
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    pub total: u64,
    pub available: u64,
}

pub fn memory() -> Memory {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
            .map_or(0, |kibibytes| kibibytes << 10)
    };
    Memory {
        total: field("MemTotal"),
        available: field("MemAvailable"),
    }
}

fn booted_at() -> Timestamp {
    let uptime_ms = std::fs::read_to_string("/proc/uptime")
        .ok()
        .and_then(|text| text.split(['.', ' ']).next()?.parse::<u64>().ok())
        .map_or(0, |seconds| seconds * 1000);
    // To the minute: a fact that changed with each reading would be no fact.
    let at = Timestamp::now().0.saturating_sub(uptime_ms);
    Timestamp(at - at % Span::from_secs(60).as_millis())
}

/// Processor time since boot, to be compared with that of a moment before.
#[derive(Debug, Clone, Copy, Default)]
struct CpuTime {
    busy: u64,
    total: u64,
}

fn cpu_time() -> CpuTime {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let times: Vec<u64> = text
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .take(8)
        .filter_map(|field| field.parse().ok())
        .collect();
    let total = times.iter().sum();
    let idle: u64 = times.iter().skip(3).take(2).sum();
    CpuTime {
        busy: total - idle,
        total,
    }
}

/// Makes heartbeats; remembers the last one's processor time, and the releases as long as their
/// slots are the same.
#[derive(Debug, Default)]
pub struct Pulse {
    before: CpuTime,
    slots: Vec<(AppName, Vec<Digest>)>,
    releases: Vec<ReleaseOnDisk>,
}

impl Pulse {
    #[expect(clippy::cast_precision_loss, reason = "a percentage needs no more")]
    pub fn beat(&mut self, state: &Path, restarting: BTreeSet<AppName>) -> Heartbeat {
        let now = cpu_time();
        let share = |part: u64, whole: u64| {
            if whole == 0 {
                0.0
            } else {
                part as f64 * 100.0 / whole as f64
            }
        };
        let cpu_percent = share(
            now.busy.saturating_sub(self.before.busy),
            now.total.saturating_sub(self.before.total),
        );
        self.before = now;
        let memory = memory();
        Heartbeat {
            cpu_percent,
            memory_percent: share(memory.total.saturating_sub(memory.available), memory.total),
            disk_free: disk_free(state),
            releases: self.releases(&Layout::new(state)).to_vec(),
            restarting,
        }
    }

    fn releases(&mut self, layout: &Layout) -> &[ReleaseOnDisk] {
        let apps = layout.apps_on_disk();
        let slots: Vec<_> = apps
            .into_iter()
            .map(|app| {
                let names = Slots::new(layout, &app).names();
                (app, names)
            })
            .collect();
        if slots != self.slots {
            let all = slots.iter().flat_map(|(app, _)| releases_of(layout, app));
            self.releases = all.take(RELEASES_ON_DISK_MAX).collect();
            self.slots = slots;
        }
        &self.releases
    }
}

fn releases_of(layout: &Layout, app: &AppName) -> Vec<ReleaseOnDisk> {
    let slots = Slots::new(layout, app).all().into_iter();
    let releases = slots.map(|(digest, slot)| ReleaseOnDisk {
        app: app.clone(),
        release: ReleaseRef {
            version: slot.manifest.version,
            digest,
        },
    });
    releases.collect()
}
