//! The kernel, memory, the file system below the data, and the limit on open files.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, getrlimit};

use super::{Finding, nearest};
use crate::config::Settings;
use crate::needs;

/// The first kernel with MADV_POPULATE_READ, which keeps a slow page from stalling the server.
const KERNEL: (u32, u32) = (5, 14);
/// A change that takes longer to reach the disk is felt in every push.
const SLOW: Duration = Duration::from_millis(50);
/// How often it is tried.
const TRIES: u32 = 5;

pub(super) struct Facts {
    pub(super) kernel: String,
    /// Bytes of memory the host has.
    pub(super) memory: u64,
    /// Its magic number, statfs(2).
    pub(super) file_system: Option<u64>,
    /// Whether a file can be opened past the page cache; `None` if nothing may be written there.
    pub(super) direct: Option<bool>,
    /// How long a write takes to be durable; `None` as above.
    pub(super) durable: Option<Result<Duration, io::ErrorKind>>,
    /// Open files allowed; `None` for no limit.
    pub(super) files: Option<u64>,
}

pub(super) fn look(data: &Path) -> Facts {
    let folder = nearest(data);
    let system = rustix::system::sysinfo();
    Facts {
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        memory: system.totalram.saturating_mul(u64::from(system.mem_unit)),
        file_system: rustix::fs::statfs(folder).ok().and_then(|found| u64::try_from(found.f_type).ok()),
        direct: direct(folder),
        durable: durable(folder),
        files: getrlimit(Resource::Nofile).maximum,
    }
}

/// A file without a name: nothing is left behind, whatever happens.
fn nameless(folder: &Path, flags: OFlags) -> Result<File, rustix::io::Errno> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC | flags;
    rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR).map(File::from)
}

fn direct(folder: &Path) -> Option<bool> {
    nameless(folder, OFlags::empty()).ok()?;
    Some(nameless(folder, OFlags::DIRECT).is_ok())
}

fn durable(folder: &Path) -> Option<Result<Duration, io::ErrorKind>> {
    let mut file = nameless(folder, OFlags::empty()).ok()?;
    let begin = Instant::now();
    for _ in 0..TRIES {
        if let Err(error) = file.write_all(&[7; 4096]).and_then(|()| file.sync_all()) {
            return Some(Err(error.kind()));
        }
    }
    Some(Ok(begin.elapsed() / TRIES))
}

/// `rows` is how many the index has, if that is known.
pub(super) fn judge(facts: &Facts, settings: &Settings, rows: Option<u64>) -> Vec<Finding> {
    let mut findings =
        vec![kernel(&facts.kernel), memory(facts.memory, settings, rows), file_system(facts.file_system)];
    findings.extend(facts.direct.map(|works| match works {
        true => Finding::ok("file system", "files are written past the page cache (O_DIRECT)"),
        false => Finding::warn(
            "file system",
            "it refuses O_DIRECT: pushes of large layers are slower and push other things out of memory",
            "put the data on ext4 or xfs",
        ),
    }));
    findings.push(durability(facts.durable));
    findings.push(open_files(facts.files, settings));
    findings
}

fn kernel(release: &str) -> Finding {
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= KERNEL {
        return Finding::ok("kernel", format!("Linux {release}"));
    }
    Finding::warn(
        "kernel",
        format!("Linux {release} is older than {}.{}", KERNEL.0, KERNEL.1),
        "take a later kernel: with this one a pull from a slow disk can hold up others",
    )
}

fn memory(total: u64, settings: &Settings, rows: Option<u64>) -> Finding {
    let wanted = needs::memory(settings, rows.unwrap_or(0));
    let (there, wanted_mib) = (total >> 20, wanted >> 20);
    let with = match rows {
        Some(rows) => format!("with the index's {rows} rows"),
        None => {
            format!("and {} bytes for each row of the index (no server says how many)", needs::ROW)
        }
    };
    if total < wanted {
        let http2 = if settings.server.http2 {
            ", switch server.http2 off or lower server.max_connections"
        } else {
            ""
        };
        return Finding::warn(
            "memory",
            format!("{there} MiB, and the settings may take {wanted_mib} MiB, {with}"),
            format!(
                "lower storage.index_cache and registry.manifest_memory{http2} (docs/sizing.md), or give the host more"
            ),
        );
    }
    Finding::ok(
        "memory",
        format!("{there} MiB, of which the settings may take {wanted_mib}, {with}; the rest caches images"),
    )
}

fn file_system(magic: Option<u64>) -> Finding {
    const SOUND: [(u64, &str); 4] =
        [(0xEF53, "ext4"), (0x5846_5342, "xfs"), (0x9123_683E, "btrfs"), (0x2FC1_2FC1, "zfs")];
    const PASSING: [(u64, &str); 2] = [(0x0102_1994, "tmpfs"), (0x794C_7630, "overlayfs")];
    const FAR: [(u64, &str); 5] = [
        (0x6969, "NFS"),
        (0xFF53_4D42, "CIFS"),
        (0xFE53_4D42, "SMB"),
        (0x6573_5546, "FUSE"),
        (0x0102_1997, "9p"),
    ];
    let named = |list: &[(u64, &'static str)]| {
        list.iter().find(|(known, _)| Some(*known) == magic).map(|(_, name)| *name)
    };
    let check = "file system";
    if let Some(name) = named(&SOUND) {
        Finding::ok(check, format!("the data is on {name}"))
    } else if let Some(name) = named(&PASSING) {
        Finding::warn(
            check,
            format!("the data is on {name}"),
            "mount a volume there: this one goes with the host or the container",
        )
    } else if let Some(name) = named(&FAR) {
        Finding::warn(
            check,
            format!("the data is on {name}"),
            "put it on a disk of this host: durability and locks of this kind of file system depend on others",
        )
    } else {
        let known =
            magic.map_or_else(|| "cannot be asked".to_owned(), |magic| format!("has the number {magic:#x}"));
        Finding::warn(
            check,
            format!("the file system of the data {known}"),
            "ext4 and xfs are what is tested",
        )
    }
}

fn durability(found: Option<Result<Duration, io::ErrorKind>>) -> Finding {
    let check = "file system";
    match found {
        None => Finding::warn(
            check,
            "nothing may be written to the data directory",
            "run this as root or as the service's user",
        ),
        Some(Err(kind)) => Finding::fail(
            check,
            format!("a write could not be made durable: {kind}"),
            "no push can be acknowledged: look at the disk and at `dmesg`",
        ),
        Some(Ok(took)) if took > SLOW => Finding::warn(
            check,
            format!("a write takes {} ms to be durable", took.as_millis()),
            "every push waits for that; a disk with a protected write cache, or an SSD, is faster",
        ),
        Some(Ok(took)) => {
            Finding::ok(check, format!("a write is durable after {:.1} ms", took.as_secs_f64() * 1000.0))
        }
    }
}

fn open_files(limit: Option<u64>, settings: &Settings) -> Finding {
    let wanted = needs::files(settings);
    match limit {
        Some(limit) if limit < wanted => Finding::warn(
            "open files",
            format!("{limit} are allowed here, {wanted} may be wanted"),
            "the service has LimitNOFILE of its own (systemctl show -p LimitNOFILE pierhead); elsewhere raise `ulimit -Hn`, \
             or lower server.max_connections or registry.max_sessions",
        ),
        Some(limit) => Finding::ok("open files", format!("{limit} are allowed")),
        None => Finding::ok("open files", "any number is allowed"),
    }
}
