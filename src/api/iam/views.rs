//! The JSON of this surface, in the names of Huawei's identity service (swr-api, "Identity calls").

use pierhead_storage_format::identity::records::Role;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::services::identity::{Account, UserView};
use crate::services::signin::token::Issued;

/// What is sent to get a token. What is not known in it is left alone: SDKs send more.
#[derive(Deserialize)]
pub struct TokenBody {
    /// All of it.
    pub auth: Auth,
}

/// Who, and what for.
#[derive(Deserialize)]
pub struct Auth {
    /// Who.
    pub identity: IdentityPart,
    /// What for; the user's only project without.
    #[serde(default)]
    pub scope: Scope,
}

/// Who, and how he proves it.
#[derive(Deserialize)]
pub struct IdentityPart {
    /// Has `password` in it.
    pub methods: Vec<String>,
    /// With it.
    pub password: Option<PasswordPart>,
}

/// By a password.
#[derive(Deserialize)]
pub struct PasswordPart {
    /// Whose.
    pub user: UserPart,
}

/// A user and his password.
#[derive(Deserialize)]
pub struct UserPart {
    /// His name.
    pub name: String,
    /// His password.
    pub password: String,
    /// His account.
    pub domain: Named,
}

/// Something by its name or its id.
#[derive(Default, Deserialize)]
pub struct Named {
    /// By name.
    pub name: Option<String>,
    /// By id.
    pub id: Option<String>,
}

/// What a token is for.
#[derive(Default, Deserialize)]
pub struct Scope {
    /// A project.
    pub project: Option<Named>,
    /// The account.
    pub domain: Option<Named>,
}

impl Scope {
    /// Whether it is a scope that a user of the account can have.
    pub fn fits(&self, account: &Account, region: &str) -> bool {
        let is = |named: &Option<Named>, id: &str, name: &str| match named {
            None => true,
            Some(Named { id: given_id, name: given }) => {
                given_id.as_ref().is_none_or(|given| given == id)
                    && given.as_ref().is_none_or(|given| given == name)
            }
        };
        is(&self.project, &account.project.to_string(), region)
            && is(&self.domain, &account.id.to_string(), &account.name)
    }
}

/// A token just made, and for whom.
pub fn token(issued: &Issued, user: &UserView, account: &Account, region: &str, scope: &Scope) -> Value {
    let domain = json!({"id": account.id.to_string(), "name": account.name});
    let mut token = json!({
        "methods": ["password"],
        "issued_at": time(issued.issued_at),
        "expires_at": time(issued.issued_at.saturating_add(issued.expires_in)),
        "catalog": [],
        "roles": user.roles.iter().map(|role| json!({"id": "0", "name": role_name(*role)})).collect::<Vec<_>>(),
        "user": {"id": user.id.to_string(), "name": user.name, "domain": domain, "password_expires_at": ""},
    });
    match scope.domain {
        Some(_) => token["domain"] = domain,
        None => {
            token["project"] = json!({"id": account.project.to_string(), "name": region, "domain": domain});
        }
    }
    json!({ "token": token })
}

/// The projects of an account that a name asks for: there is one, named as the region.
pub fn projects(account: &Account, region: &str, wanted: Option<&str>) -> Value {
    let project = json!({
        "id": account.project.to_string(),
        "name": region,
        "domain_id": account.id.to_string(),
        "parent_id": account.id.to_string(),
        "description": "",
        "enabled": account.enabled,
        "is_domain": false,
        "links": {},
    });
    let projects = if wanted.is_none_or(|wanted| wanted == region) { vec![project] } else { Vec::new() };
    json!({"projects": projects, "links": {}})
}

/// The account as a list of one.
pub fn domains(account: &Account) -> Value {
    let domain =
        json!({"id": account.id.to_string(), "name": account.name, "enabled": account.enabled, "links": {}});
    json!({"domains": [domain], "links": {}})
}

/// A user.
pub fn user(user: &UserView) -> Value {
    let access_mode = match (user.programmatic, user.console) {
        (true, false) => "programmatic",
        (false, true) => "console",
        _ => "default",
    };
    json!({"user": {
        "id": user.id.to_string(),
        "name": user.name,
        "domain_id": user.account.to_string(),
        "enabled": user.enabled,
        "description": user.description,
        "access_mode": access_mode,
        "links": {},
    }})
}

/// As the service calls it.
const fn role_name(role: Role) -> &'static str {
    match role {
        Role::TenantAdministrator => "Tenant Administrator",
        Role::SwrAdministrator => "SWR Administrator",
        Role::SwrFullAccess => "SWR FullAccess",
        Role::SwrDeveloper => "SWR Developer",
        Role::SwrOperateAccess => "SWR OperateAccess",
        Role::ServiceStageDeveloper => "ServiceStage Developer",
        Role::SwrReadOnlyAccess => "SWR ReadOnlyAccess",
        Role::TenantGuest => "Tenant Guest",
    }
}

/// A moment, UTC seconds since 1970, as the service writes it: with six digits of a second.
fn time(seconds: u64) -> String {
    let at = i64::try_from(seconds).ok().and_then(|at| jiff::Timestamp::from_second(at).ok());
    format!("{:.6}", at.unwrap_or(jiff::Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_for_a_token_is_read_as_terraform_sends_it() {
        let text = r#"{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"u",
            "password":"p","domain":{"name":"d"}}}},"scope":{"project":{"name":"region-1"}}}}"#;
        let body: TokenBody = serde_json::from_str(text).expect("a request");
        assert_eq!(body.auth.identity.methods, ["password"]);
        assert_eq!(body.auth.scope.project.and_then(|project| project.name).as_deref(), Some("region-1"));
    }

    #[test]
    fn times_have_six_digits_of_a_second() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000000Z");
    }
}
