//! What can be asked, as clap sees it. The words here are the manual: keep examples in them.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::account::AccountCommand;
use super::admin::Asked;
use super::audit::AuditCommand;
use super::backup::{BackupCommand, RestoreArguments};
use super::ban::BanCommand;
use super::check::CheckArguments;
use super::credential::{KeyCommand, LoginCommand, SecretCommand};
use super::doctor::DoctorArguments;
use super::gc::GcCommand;
use super::generate::GenerateCommand;
use super::group::GroupCommand;
use super::init::InitArguments;
use super::jobs::JobsCommand;
use super::organisation::{GrantCommand, OrganisationCommand};
use super::policy::PolicyCommand;
use super::quota::QuotaCommand;
use super::repository::RepositoryCommand;
use super::retention::RetentionCommand;
use super::scrub::ScrubCommand;
use super::share::ShareCommand;
use super::trash::{ManifestCommand, TagCommand, TrashCommand};
use super::upload::UploadCommand;
use super::user::UserCommand;

#[derive(Debug, Parser)]
#[command(
    name = "pierhead",
    version = crate::version::VERSION,
    about = "A container-image registry appliance",
    after_help = "Examples:\n  pierhead serve --lab                 a registry on 127.0.0.1:5000, open, in two minutes\n  \
                  pierhead config sample               every setting with its default\n  \
                  pierhead config check --config FILE  is the file right?\n  \
                  pierhead status                      how is the running server?\n  \
                  pierhead init                        the first account and its administrator\n\n\
                  Exit codes: 0 done, 1 not done or something found, 2 wrong usage."
)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve images until stopped (SIGTERM or SIGINT; a second one stops at once)
    Serve(ServeArguments),
    /// Check or show settings
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print the administration's API as an OpenAPI 3.1 document (the server need not run)
    #[command(after_help = "Example:\n  pierhead openapi > pierhead.json")]
    Openapi,
    /// Say how the running server is
    #[command(after_help = "Example:\n  pierhead status --data ./pierhead-data")]
    Status(Asked),
    /// See and end uploads of the running server
    Upload {
        #[command(subcommand)]
        command: UploadCommand,
    },
    /// Let the running server read its certificate and [protection] again, as SIGHUP does
    #[command(after_help = "Example:\n  pierhead reload")]
    Reload(Asked),
    /// Make the first account and its administrator (the server may run or not)
    #[command(after_help = "Examples:\n  pierhead init\n  \
                            pierhead init --account acme --user root1 --generate-password\n  \
                            pierhead init --password-file first-password.txt --json\n  \
                            pierhead init --if-needed --password-file first-password.txt   as often as you like\n\n\
                            Where no server runs it works on the data directory, as the user that owns it.")]
    Init(InitArguments),
    /// Make and remove accounts: tenants with users and organisations of their own
    Account {
        #[command(subcommand)]
        command: AccountCommand,
    },
    /// Make, change and remove users
    User {
        #[command(subcommand)]
        command: UserCommand,
    },
    /// Give roles and policies to many users at once
    Group {
        #[command(subcommand)]
        command: GroupCommand,
    },
    /// Say in JSON what users and groups may do, or may not
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
    },
    /// Make access keys (AK and SK), switch them off, remove them
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Make temporary login commands
    Login {
        #[command(subcommand)]
        command: LoginCommand,
    },
    /// Look after the key file that secrets are sealed under
    Secret {
        #[command(subcommand)]
        command: SecretCommand,
    },
    /// Make and remove organisations
    Org {
        #[command(subcommand)]
        command: OrganisationCommand,
    },
    /// See and set how much organisations and accounts may hold
    Quota {
        #[command(subcommand)]
        command: QuotaCommand,
    },
    /// Let users read, edit or manage an organisation or repository
    Grant {
        #[command(subcommand)]
        command: GrantCommand,
    },
    /// Make repositories public or private, describe them
    Repo {
        #[command(subcommand)]
        command: RepositoryCommand,
    },
    /// See what was done, by whom, with what result
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// See and change who may not come in for a time, and who is held to no rate
    Ban {
        #[command(subcommand)]
        command: BanCommand,
    },
    /// Remove what nothing needs any more: blobs that no manifest names
    Gc {
        #[command(subcommand)]
        command: GcCommand,
    },
    /// See and restore what was deleted
    Trash {
        #[command(subcommand)]
        command: TrashCommand,
    },
    /// Remove tags
    Tag {
        #[command(subcommand)]
        command: TagCommand,
    },
    /// Remove manifests
    Manifest {
        #[command(subcommand)]
        command: ManifestCommand,
    },
    /// Let other accounts pull a private repository
    Share {
        #[command(subcommand)]
        command: ShareCommand,
    },
    /// Let versions of a repository go by themselves, by age or by count
    Retention {
        #[command(subcommand)]
        command: RetentionCommand,
    },
    /// See what runs in the background, and have it run or wait
    Jobs {
        #[command(subcommand)]
        command: JobsCommand,
    },
    /// Tell, or write, what clients need to trust the appliance's own CA
    #[command(after_help = "Examples:\n  pierhead trust --host registry.example:5000\n  \
                            pierhead trust --host registry.example:5000 --write docker,podman\n  \
                            pierhead trust --ca > ca.crt\n\n\
                            The server need not run. The CA is DATA/tls/ca.crt.")]
    Trust(TrustArguments),
    /// Look at host, disk, clock, certificate, ports and store, and say what to do (the server may run or not)
    #[command(
        after_help = "Examples:\n  pierhead doctor\n  pierhead doctor --host registry.example:5000 --json\n\n\
                            Best run as root: what another user may not see is said, not guessed.\n\
                            Exit codes: 0 it works (with warnings, perhaps), 1 something does not, 2 wrong usage."
    )]
    Doctor(DoctorArguments),
    /// Make, list, verify and try backups
    Backup {
        #[command(subcommand)]
        command: BackupCommand,
    },
    /// Read every blob again, and see what is damaged
    Scrub {
        #[command(subcommand)]
        command: ScrubCommand,
    },
    /// Make a data directory from a backup
    Restore(RestoreArguments),
    /// Check that metadata and blobs agree, and repair what can be (the server must not be running)
    #[command(after_help = "Examples:\n  pierhead fsck --data /var/lib/pierhead --deep\n  \
                            pierhead fsck --data /var/lib/pierhead --deep --repair --dry-run\n  \
                            pierhead fsck --data /var/lib/pierhead --deep --repair\n\n\
                            --repair does what is safe, says what it did, and checks again: counts and mirrors of rows are \
                            made anew, leftovers go, damaged and extra files are moved to quarantine/, so that the next \
                            push heals the image. Its steps unlink nothing; only what every start \
                            removes, files of uploads that were cut short, is removed. Run it as the user that owns the directory.\n\
                            While the server runs: `pierhead check`.\n\n\
                            Exit codes: 0 nothing is wrong, 1 something is (and, with --repair, is left), 2 wrong usage, \
                            3 what was wrong is repaired.")]
    Fsck(FsckArguments),
    /// Check that metadata and blobs agree, while the server runs
    #[command(after_help = "Examples:\n  pierhead check\n  pierhead check --deep --json\n  \
                            pierhead jobs show check    how far it is\n\n\
                            What is pushed meanwhile is no finding. Nothing is removed from the store until it begins to \
                            read the blobs. --deep reads every blob as fast as the disk gives: pulls may be slower; \
                            `pierhead jobs pause check` lets it wait, for five minutes at most, and no other begins before \
                            `pierhead jobs resume check`. Whether the index agrees with the journal, a start and `fsck` see.\n\n\
                            Exit codes: 0 nothing is wrong, 1 something is, or it could not be checked, 2 wrong usage.")]
    Check(CheckArguments),
    /// Write the metadata as zstd-compressed JSON lines (the server must not be running)
    #[command(after_help = "Example:\n  pierhead export-metadata --output metadata.jsonl.zst")]
    ExportMetadata(ExportArguments),
    /// Read exported metadata into a data directory that has none
    #[command(after_help = "Example:\n  pierhead import-metadata --data /srv/new --input metadata.jsonl.zst")]
    ImportMetadata(ImportArguments),
    /// Write manual pages and shell completions (for packages)
    #[command(hide = true)]
    Generate {
        #[command(subcommand)]
        command: GenerateCommand,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  pierhead serve --lab\n  \
                        pierhead serve --lab --data /srv/images --listen 127.0.0.1:5001\n  \
                        pierhead serve --lab --listen 0.0.0.0:5000 --lab-open-to-network\n\n\
                        SIGHUP reads the certificate again; `pierhead trust` tells what clients need.")]
pub struct ServeArguments {
    /// Settings file [default: /etc/pierhead/pierhead.toml, if it is there; none with --lab]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data directory, made if there is none [default: as set; ./pierhead-data with --lab]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address to listen on; may be given several times [default: as set; port 5000 of loopback with --lab]
    #[arg(long, value_name = "ADDR")]
    pub listen: Vec<SocketAddr>,
    /// Try it out: plain HTTP, anybody who reaches it may push and pull, a push makes its organisation
    #[arg(long)]
    pub lab: bool,
    /// Let --lab listen on addresses that others can reach
    #[arg(long, requires = "lab")]
    pub lab_open_to_network: bool,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say whether the settings are right, and where they are not
    Check {
        /// Settings file [default: /etc/pierhead/pierhead.toml, if it is there]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Answer {"ok": ..., "problem": ...}
        #[arg(long)]
        json: bool,
    },
    /// Print a settings file with every key, its meaning and its default
    Sample,
}

/// Which data directory an offline command works on.
#[derive(Debug, Args)]
pub struct Place {
    /// Data directory [default: storage.data of the settings]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Settings file [default: /etc/pierhead/pierhead.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct FsckArguments {
    #[command(flatten)]
    pub place: Place,
    /// Read and hash every blob, too
    #[arg(long)]
    pub deep: bool,
    /// Do about the findings what is safe, and say what was done
    #[arg(long)]
    pub repair: bool,
    /// With --repair: only say what would be done
    #[arg(long, requires = "repair")]
    pub dry_run: bool,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ExportArguments {
    #[command(flatten)]
    pub place: Place,
    /// File to write, which must not exist; "-" for stdout
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
    /// Print {"rows": N} to stderr when done
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ImportArguments {
    #[command(flatten)]
    pub place: Place,
    /// File to read; "-" for stdin
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub input: PathBuf,
    /// Print {"rows": N} when done
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct TrustArguments {
    #[command(flatten)]
    pub place: Place,
    /// How clients name the registry, as in an image's name; may be given several times
    /// [default: this host's name, with the port of server.listen]
    #[arg(long, value_name = "NAME[:PORT]")]
    pub host: Vec<String>,
    /// Write the files of these clients (several with commas), over no file that is different
    #[arg(long, value_name = "CLIENT", value_delimiter = ',')]
    pub write: Vec<TrustClient>,
    /// Folder below which the files are written
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// Replace files that are different
    #[arg(long, requires = "write")]
    pub force: bool,
    /// A CA of yours, PEM, in place of the appliance's own
    #[arg(long, value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    /// Print the CA's certificate (PEM) and nothing else
    #[arg(long, conflicts_with_all = ["write", "json"])]
    pub ca: bool,
    /// Print the CA, the files and what became of them as JSON
    #[arg(long)]
    pub json: bool,
}

/// Who is to trust the CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TrustClient {
    /// docker's daemon
    Docker,
    /// containerd, and so ctr and Kubernetes nodes
    Containerd,
    /// podman, buildah, skopeo and CRI-O
    Podman,
    /// Everything on the host that uses its store of CAs
    System,
}

impl TrustClient {
    /// All of them, in the order they are shown.
    pub const ALL: [Self; 4] = [Self::Docker, Self::Containerd, Self::Podman, Self::System];

    /// As it is given to `--write`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::Podman => "podman",
            Self::System => "system",
        }
    }

    /// As it is shown.
    pub fn title(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd, ctr, Kubernetes nodes",
            Self::Podman => "podman, buildah, skopeo, CRI-O",
            Self::System => "the whole host (curl, and clients that look nowhere else)",
        }
    }
}
