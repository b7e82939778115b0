//! Filesystems of a test's own: an ext4 in a file, whose power can be cut, and a tmpfs. Root only.

use crate::support::clients::find;
use crate::support::wait::until;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const BUSY: Duration = Duration::from_secs(60);

/// `FS_IOC_SHUTDOWN` with `FS_SHUTDOWN_FLAGS_NOLOGFLUSH`: from now on nothing reaches the disk, the
/// filesystem's own journal included. Waits for a line, so that the cut itself takes no time.
const CUT: &str = "
import fcntl, os, struct, sys
folder = os.open(sys.argv[1], os.O_RDONLY)
print('ready', flush=True)
sys.stdin.readline()
fcntl.ioctl(folder, 0x8004587D, struct.pack('I', 2))
print('cut', flush=True)
";

/// A mounted filesystem in a scratch folder; both go when it is dropped.
pub struct Filesystem {
    scratch: tempfile::TempDir,
    image: Option<PathBuf>,
    mounted: bool,
}

impl Filesystem {
    /// An ext4 in a sparse file.
    pub fn ext4(mebibytes: u64) -> Self {
        let scratch = scratch();
        let image = scratch.path().join("image");
        let file = std::fs::File::create(&image).expect("an image file");
        file.set_len(mebibytes << 20).expect("a sparse file");
        run(Command::new(tool("mkfs.ext4")).args(["-q", "-F", "-m", "0"]).arg(&image));
        let mut this = Self { scratch, image: Some(image), mounted: false };
        std::fs::create_dir(this.root()).expect("a folder to mount on");
        this.mount();
        this
    }

    pub fn tmpfs(mebibytes: u64) -> Self {
        let mut this = Self { scratch: scratch(), image: None, mounted: true };
        std::fs::create_dir(this.root()).expect("a folder to mount on");
        let size = format!("size={mebibytes}m");
        run(Command::new(tool("mount")).args(["-t", "tmpfs", "-o", &size, "none"]).arg(this.root()));
        this.mounted = true;
        this
    }

    /// Where it is mounted.
    pub fn root(&self) -> PathBuf {
        self.scratch.path().join("mnt")
    }

    /// A folder in it for a server's data.
    pub fn data(&self) -> PathBuf {
        self.root().join("data")
    }

    pub fn mount(&mut self) {
        let image = self.image.as_ref().expect("an ext4 in a file");
        run(Command::new(tool("mount")).args(["-o", "loop"]).arg(image).arg(self.root()));
        self.mounted = true;
    }

    /// A process that another thread of the test is starting may hold what was open at its fork until it is
    /// the new program: until then it is busy.
    pub fn unmount(&mut self) {
        let mut command = Command::new(tool("umount"));
        command.arg(self.root());
        until("it is unmounted", BUSY, || {
            let output = command.output().expect("the tool starts");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success() || said.contains("busy"), "{command:?}: {said}");
            output.status.success().then_some(())
        });
        self.mounted = false;
    }

    /// Bytes that a user may still take.
    pub fn free(&self) -> u64 {
        let space = rustix::fs::statvfs(self.root()).expect("the filesystem is mounted");
        space.f_bavail * space.f_frsize
    }

    /// Takes all space but `left` bytes with a file of the test's; what is left may be less.
    pub fn fill(&self, left: u64) -> PathBuf {
        let path = self.root().join("filler");
        let mut file =
            std::fs::OpenOptions::new().create(true).append(true).open(&path).expect("a filler file");
        let zeros = vec![0_u8; 64 * 1024];
        loop {
            let free = self.free();
            if free <= left {
                break;
            }
            let now = usize::try_from((free - left).min(zeros.len() as u64)).expect("at most 64 KiB");
            match file.write(&zeros[..now]) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                Err(error) => panic!("filling the disk: {error}"),
            }
        }
        path
    }
}

impl Drop for Filesystem {
    fn drop(&mut self) {
        if self.mounted {
            // Lazily: a server that a failing test left may hold it for a moment.
            let _ = Command::new(tool("umount")).arg("-l").arg(self.root()).status();
        }
    }
}

/// A power switch for a mounted filesystem, ready to be used in no time.
pub struct Switch {
    helper: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Switch {
    pub fn of(root: &Path) -> Self {
        let mut command = Command::new(tool("python3"));
        command.args(["-c", CUT]).arg(root).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut helper = command.spawn().expect("python3 starts");
        let mut answers = BufReader::new(helper.stdout.take().expect("piped"));
        expect_line(&mut answers, "ready");
        Self { helper, answers }
    }

    /// Everything not yet flushed is gone at the next mount.
    pub fn cut(mut self) {
        let mut stdin = self.helper.stdin.take().expect("piped");
        stdin.write_all(b"\n").expect("the helper waits");
        expect_line(&mut self.answers, "cut");
        self.helper.wait().expect("the helper is ours");
    }
}

fn expect_line(from: &mut impl BufRead, wanted: &str) {
    let mut line = String::new();
    from.read_line(&mut line).expect("the helper answers");
    assert_eq!(line.trim_end(), wanted, "the power switch helper");
}

fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("pierhead-fs-").tempdir().expect("a scratch folder")
}

fn tool(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| panic!("{name} is not installed"))
}

fn run(command: &mut Command) {
    let output = command.output().expect("the tool starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
