//! What the API's document says of each row of the route table, by group: the types of its query, body and answer, and
//! how it can fail beyond how every row of its kind does.

use schemars::JsonSchema;

use super::document::Document;
use super::errors::Kind;
use super::reply::{Page, Removed};
use super::{
    accounts, audit, bans, check, collection, credentials, deletes, grants, groups, holds, index, jobs,
    organisations, policies, quotas, reload, repositories, retention, scrub, shares, status, uploads, users,
};
use crate::api::openapi::Shape;

use Kind::{Busy, Exists, InUse, Invalid, Limit, Missing, ReloadFailed};

/// What is said of a row.
pub struct Said {
    /// Its name.
    pub row: &'static str,
    /// Of its query.
    pub query: Option<Shape>,
    /// Of its body.
    pub body: Option<Shape>,
    /// Of its answer.
    pub answer: Shape,
    /// Beyond how every row of its kind does.
    pub fails: &'static [Kind],
}

/// A row by name, and what it answers.
const fn answers<T: JsonSchema>(row: &'static str) -> Said {
    Said { row, query: None, body: None, answer: Shape::of::<T>(), fails: &[] }
}

impl Said {
    const fn asked<T: JsonSchema>(mut self) -> Self {
        self.query = Some(Shape::of::<T>());
        self
    }

    const fn takes<T: JsonSchema>(mut self) -> Self {
        self.body = Some(Shape::of::<T>());
        self
    }

    /// Beyond how every row of its kind does.
    const fn fails(mut self, fails: &'static [Kind]) -> Self {
        self.fails = fails;
        self
    }
}

/// A group of rows: its name, what it is, and its rows.
pub type Group = (&'static str, &'static str, &'static [Said]);

/// What is said of every row, by group.
pub static GROUPS: &[Group] = &[
    (
        "Appliance",
        "How it is, and what it should do now.",
        &[
            answers::<Page<index::Operation>>("index"),
            answers::<Document>("openapi"),
            answers::<status::StatusView>("status"),
            answers::<reload::ReloadView>("reload").fails(&[ReloadFailed]),
            answers::<accounts::FirstView>("init")
                .takes::<accounts::NewAccountBody>()
                .fails(&[Exists, Invalid]),
            answers::<credentials::RotatedView>("secrets-rotate"),
        ],
    ),
    (
        "Uploads",
        "Upload sessions of everybody.",
        &[
            answers::<Page<uploads::UploadView>>("uploads-list").asked::<uploads::UploadsQuery>(),
            answers::<uploads::Aborted>("uploads-abort").takes::<uploads::AbortBody>(),
            answers::<uploads::UploadView>("upload-show"),
            answers::<uploads::UploadView>("upload-abort").fails(&[Busy]),
        ],
    ),
    (
        "Collection",
        "Deleting, undoing that, and removing what nothing needs any more.",
        &[
            answers::<deletes::FreesView>("repository-frees")
                .asked::<deletes::FreesQuery>()
                .fails(&[Kind::RepositoryUnknown, Kind::ManifestUnknown]),
            answers::<Removed>("repository-delete").fails(&[Kind::RepositoryUnknown, Kind::Immutable]),
            answers::<Removed>("tag-delete").fails(&[
                Invalid,
                Kind::RepositoryUnknown,
                Kind::ManifestUnknown,
                Kind::Immutable,
            ]),
            answers::<Removed>("manifest-delete").fails(&[
                Invalid,
                Kind::RepositoryUnknown,
                Kind::ManifestUnknown,
                Kind::Immutable,
            ]),
            answers::<deletes::RestoredView>("manifest-restore").fails(&[
                Invalid,
                Missing,
                Kind::OrganisationUnknown,
                Kind::Damaged,
            ]),
            answers::<Page<deletes::DeletedView>>("trash-list").asked::<deletes::TrashQuery>(),
            answers::<deletes::EmptiedView>("trash-empty").takes::<deletes::EmptyBody>(),
            answers::<collection::CollectorView>("gc-show"),
            answers::<collection::OutlookView>("gc-outlook"),
            answers::<collection::CollectorView>("gc-run").takes::<collection::RunBody>(),
            answers::<collection::CollectorView>("gc-pause"),
            answers::<collection::CollectorView>("gc-resume"),
        ],
    ),
    (
        "Audit",
        "What was done, by whom, and how it ended.",
        &[
            answers::<Page<audit::EventView>>("audit-list").asked::<audit::EventsQuery>(),
            answers::<Page<audit::EventView>>("account-audit").asked::<audit::EventsQuery>(),
        ],
    ),
    (
        "Protection",
        "Who may not come in for a time, and who is held to nothing.",
        &[
            answers::<Page<bans::BanView>>("bans-list").asked::<bans::BansQuery>().fails(&[Invalid]),
            answers::<bans::BanView>("ban-create")
                .takes::<bans::NewBanBody>()
                .fails(&[Missing, Invalid, Limit]),
            answers::<Removed>("ban-lift").fails(&[Invalid]),
            answers::<Page<bans::ExemptionView>>("exemptions-list"),
            answers::<bans::ExemptionView>("exemption-create")
                .takes::<bans::NewExemptionBody>()
                .fails(&[Missing, Invalid, Limit]),
            answers::<Removed>("exemption-end").fails(&[Invalid]),
        ],
    ),
    (
        "Upkeep",
        "What keeps the store well.",
        &[
            answers::<holds::HoldView>("removal-hold-begin").fails(&[Limit]),
            answers::<holds::HoldView>("removal-hold-renew"),
            answers::<holds::HoldView>("removal-hold-end"),
            answers::<scrub::ScrubView>("scrub"),
            answers::<scrub::ScrubView>("scrub-run").takes::<scrub::RunBody>(),
            answers::<scrub::ScrubView>("scrub-pause"),
            answers::<scrub::ScrubView>("scrub-resume"),
            answers::<Page<scrub::FindingView>>("scrub-findings").asked::<scrub::FindingsQuery>(),
            answers::<check::CheckView>("check-show"),
            answers::<jobs::JobView>("check-run").takes::<check::RunBody>().fails(&[InUse]),
            answers::<Page<check::CheckFindingView>>("check-findings").asked::<check::FindingsQuery>(),
        ],
    ),
    (
        "Accounts",
        "Tenants, with users and organisations of their own.",
        &[
            answers::<Page<accounts::AccountView>>("accounts-list"),
            answers::<accounts::FirstView>("account-create")
                .takes::<accounts::NewAccountBody>()
                .fails(&[Exists, Invalid]),
            answers::<accounts::AccountView>("account-show"),
            answers::<accounts::AccountView>("account-update")
                .takes::<accounts::AccountChangeBody>()
                .fails(&[InUse]),
            answers::<Removed>("account-delete").fails(&[InUse]),
        ],
    ),
    (
        "Users",
        "People and robots of an account.",
        &[
            answers::<Page<users::UserView>>("users-list"),
            answers::<users::UserView>("user-create").takes::<users::NewUserBody>().fails(&[Exists, Invalid]),
            answers::<users::UserView>("user-show"),
            answers::<users::UserView>("user-update").takes::<users::UserChangeBody>().fails(&[Invalid]),
            answers::<Removed>("user-delete"),
        ],
    ),
    (
        "Credentials",
        "Access keys and temporary logins of users.",
        &[
            answers::<Page<credentials::KeyView>>("keys-list"),
            answers::<credentials::NewKeyView>("key-create")
                .takes::<credentials::NewKeyBody>()
                .fails(&[Invalid, Limit]),
            answers::<credentials::KeyView>("key-update").takes::<credentials::KeyChangeBody>(),
            answers::<Removed>("key-delete"),
            answers::<credentials::LoginView>("login-create")
                .takes::<credentials::NewLoginBody>()
                .fails(&[Invalid, Limit]),
        ],
    ),
    (
        "Groups",
        "Users who have roles and policies in common.",
        &[
            answers::<Page<groups::GroupView>>("groups-list"),
            answers::<groups::GroupView>("group-create")
                .takes::<groups::NewGroupBody>()
                .fails(&[Exists, Invalid]),
            answers::<groups::GroupView>("group-show"),
            answers::<groups::GroupView>("group-update").takes::<groups::GroupChangeBody>().fails(&[Invalid]),
            answers::<Removed>("group-delete"),
            answers::<groups::GroupView>("group-join").takes::<groups::MembersBody>(),
            answers::<groups::GroupView>("group-leave"),
        ],
    ),
    (
        "Policies",
        "What users and groups may do, or may not, in JSON.",
        &[
            answers::<Page<policies::PolicyView>>("policies-list"),
            answers::<policies::PolicyView>("policy-create")
                .takes::<policies::NewPolicyBody>()
                .fails(&[Exists, Invalid]),
            answers::<policies::PolicyView>("policy-show"),
            answers::<policies::PolicyView>("policy-update")
                .takes::<policies::PolicyChangeBody>()
                .fails(&[Invalid]),
            answers::<Removed>("policy-delete").fails(&[InUse]),
        ],
    ),
    (
        "Organisations",
        "Where repositories are, and who may do what in them.",
        &[
            answers::<Page<organisations::OrganisationView>>("organisations-list"),
            answers::<organisations::OrganisationView>("organisation-create")
                .takes::<organisations::NewOrganisationBody>()
                .fails(&[Exists, Limit]),
            answers::<organisations::OrganisationView>("organisation-show"),
            answers::<organisations::OrganisationFreesView>("organisation-frees"),
            answers::<Removed>("organisation-delete").fails(&[InUse]),
            answers::<Page<grants::GrantView>>("organisation-grants"),
            answers::<grants::GrantView>("organisation-grant")
                .takes::<grants::GrantBody>()
                .fails(&[Exists, InUse]),
            answers::<Removed>("organisation-revoke").fails(&[InUse]),
        ],
    ),
    (
        "Quotas",
        "How many bytes organisations and accounts hold, each digest once an organisation, and how many they may.",
        &[
            answers::<Page<quotas::QuotaView>>("quotas-list").asked::<quotas::QuotasQuery>(),
            answers::<Page<quotas::QuotaView>>("account-quotas-list").asked::<quotas::QuotasQuery>(),
            answers::<quotas::QuotaView>("organisation-quota"),
            answers::<quotas::QuotaView>("organisation-quota-set").takes::<quotas::QuotaBody>(),
            answers::<quotas::QuotaView>("organisation-quota-clear"),
            answers::<quotas::QuotaView>("account-quota"),
            answers::<quotas::QuotaView>("account-quota-set").takes::<quotas::QuotaBody>().fails(&[Invalid]),
            answers::<quotas::QuotaView>("account-quota-clear"),
        ],
    ),
    (
        "Repositories",
        "What they say of themselves, who may do what with them, and who else may pull them.",
        &[
            answers::<repositories::RepositoryView>("repository-create")
                .takes::<repositories::AttributesBody>()
                .fails(&[Exists]),
            answers::<repositories::RepositoryView>("repository-show"),
            answers::<repositories::RepositoryView>("repository-update")
                .takes::<repositories::AttributesBody>(),
            answers::<Page<grants::GrantView>>("repository-grants"),
            answers::<grants::GrantView>("repository-grant")
                .takes::<grants::GrantBody>()
                .fails(&[Exists, InUse]),
            answers::<Removed>("repository-revoke").fails(&[InUse]),
            answers::<Page<shares::ShareView>>("shares-list"),
            answers::<shares::ShareView>("share-create").takes::<shares::TermsBody>().fails(&[Exists, Limit]),
            answers::<shares::ShareView>("share-update").takes::<shares::TermsBody>(),
            answers::<Removed>("share-delete"),
        ],
    ),
    (
        "Retention",
        "Which versions of a repository go by themselves, and which went.",
        &[
            answers::<Page<retention::RetentionView>>("retentions-list")
                .asked::<retention::RetentionsQuery>(),
            answers::<retention::RetentionView>("retention-show"),
            answers::<retention::RetentionView>("retention-set").takes::<retention::PolicyBody>(),
            answers::<Removed>("retention-delete"),
            answers::<retention::PreviewView>("retention-preview").asked::<retention::PreviewQuery>(),
            answers::<jobs::JobView>("retention-run").takes::<retention::RunBody>().fails(&[InUse]),
            answers::<Page<retention::RetiredView>>("retention-log").asked::<retention::RetentionsQuery>(),
        ],
    ),
    (
        "Jobs",
        "The work in the background. What is known of runs, and a pause, end with the process.",
        &[
            answers::<Page<jobs::JobView>>("jobs-list"),
            answers::<jobs::JobView>("job-show"),
            answers::<jobs::JobView>("job-run").fails(&[InUse]),
            answers::<jobs::JobView>("job-pause").fails(&[InUse]),
            answers::<jobs::JobView>("job-resume").fails(&[InUse]),
        ],
    ),
];
