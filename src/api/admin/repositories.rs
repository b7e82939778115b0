//! `/api/v1/repositories/{repository}`: what a repository says of itself.

use pierhead_storage_format::identity::records::Category;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::errors::Failure;
use super::reply::{Reply, time};
use super::text::Time;
use super::words::Word;
use super::{Admin, Call};
use crate::services::access::{Action, Permit, Resource};
use crate::services::error::Error;
use crate::services::organisations::{Attributes, Changed};

/// A repository's attributes.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct RepositoryView {
    /// Whole name.
    pub name: String,
    /// Anybody may pull.
    pub public: bool,
    /// `app_server`, `linux`, `windows`, `arm`, `framework_app`, `database`, `lang` or `other`.
    #[schemars(with = "Word<Category>")]
    pub category: String,
    /// At most 30,000 characters.
    pub description: String,
    /// The user who made it, if one did.
    pub creator: Option<String>,
    /// RFC 3339; `null` if nothing was ever changed.
    #[schemars(with = "Option<Time>")]
    pub updated_at: Option<String>,
    /// Its tags neither move to another manifest nor go, nor does what they name.
    pub immutable_tags: bool,
}

impl RepositoryView {
    fn new(name: &str, attributes: Attributes) -> Self {
        Self {
            name: name.to_owned(),
            public: attributes.public,
            category: Word(attributes.category).to_string(),
            description: attributes.description,
            creator: attributes.creator.map(|creator| creator.name),
            updated_at: (attributes.updated_at > 0).then(|| time(attributes.updated_at)),
            immutable_tags: attributes.immutable_tags,
        }
    }
}

/// Attributes of a repository; what is not given stays, or is private, `other`, empty and no.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AttributesBody {
    /// Anybody may pull.
    public: Option<bool>,
    /// What kind of image it is.
    category: Option<Word<Category>>,
    /// At most 30,000 characters.
    #[schemars(length(max = 30_000))]
    description: Option<String>,
    /// Its tags neither move to another manifest nor go, nor does what they name.
    immutable_tags: Option<bool>,
}

impl From<AttributesBody> for Changed {
    fn from(body: AttributesBody) -> Self {
        let AttributesBody { public, category, description, immutable_tags } = body;
        Self { public, category: category.map(|Word(category)| category), description, immutable_tags }
    }
}

fn shown(admin: &Admin, permit: &Permit) -> Result<Reply, Failure> {
    let attributes = admin.0.services.organisations.attributes(permit)?;
    // Not as the path has it: that may leave `library` out.
    let Some(Resource::Repository(name)) = permit.resource(Action::ShowRepository) else {
        return Err(Error::Bug("a permit for something else").into());
    };
    Ok(Reply::ok(&RepositoryView::new(name.as_str(), attributes)))
}

fn shown_after(admin: &Admin, call: &Call<'_>, action: Action) -> Result<Reply, Failure> {
    let resource = call.permit.resource(action).cloned();
    let resource = resource.ok_or(Error::Bug("a permit for something else"))?;
    shown(admin, &admin.permit(call, Action::ShowRepository, resource)?)
}

/// One repository.
pub async fn show(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    shown(admin, &call.permit)
}

/// Makes an empty one.
pub async fn create(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let body: AttributesBody = call.body()?;
    admin.0.services.organisations.create_repository(&call.permit, body.into()).await?;
    shown_after(admin, &call, Action::CreateRepository)
}

/// Changes one.
pub async fn update(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let body: AttributesBody = call.body()?;
    admin.0.services.organisations.update(&call.permit, body.into()).await?;
    shown_after(admin, &call, Action::UpdateRepository)
}
