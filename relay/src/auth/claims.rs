//! What a token of an issuer says, and who that makes its bearer.

use std::collections::BTreeMap;

use selvedge_protocol::{DEFAULT_TENANT, DocumentId, Rights};
use serde::Deserialize;
use serde_json::Value;

use super::caller::{Caller, Scope};
use super::{TokenFault, is_principal};
use crate::session::Identity;

/// What a principal begins with whom an issuer vouches for.
const USER_PREFIX: &str = "user:";
/// Longest name shown to others.
const NAME_BYTES_MAX: usize = 256;
/// Documents one token may name.
const SCOPES_MAX: usize = 256;

/// The claims that mean something here; others are kept for the tenant's.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    pub(super) sub: String,
    pub(super) exp: u64,
    pub(super) iat: Option<u64>,
    aud: Option<OneOrMany>,
    /// Of Cognito's access tokens, which have no audience.
    client_id: Option<String>,
    /// Of Cognito: `access` or `id`.
    token_use: Option<String>,
    name: Option<String>,
    preferred_username: Option<String>,
    username: Option<String>,
    /// Documents, by patterns: with `mode`, or each with its own.
    docs: Option<Documents>,
    doc: Option<String>,
    mode: Option<String>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Documents {
    Patterns(Vec<String>),
    Modes(BTreeMap<String, String>),
}

impl Claims {
    /// Whether the token is for one of these audiences. A Cognito access token names its client instead, an id token its audience.
    pub(super) fn is_for(&self, audiences: &[String]) -> bool {
        let named: Vec<&str> = match (self.token_use.as_deref(), &self.aud) {
            (Some("access"), _) => self.client_id.as_deref().into_iter().collect(),
            (Some("id") | None, Some(OneOrMany::One(one))) => vec![one],
            (Some("id") | None, Some(OneOrMany::Many(many))) => many.iter().map(String::as_str).collect(),
            _ => Vec::new(),
        };
        named.iter().any(|named| audiences.iter().any(|audience| audience == named))
    }

    /// Who this is.
    ///
    /// # Errors
    /// [`TokenFault::Claims`] names what is wrong with them.
    pub(super) fn caller(self, tenant_claim: &str) -> Result<Caller, TokenFault> {
        let principal = format!("{USER_PREFIX}{}", self.sub);
        if self.sub.is_empty() || !is_principal(&principal) {
            return Err(TokenFault::Claims("The token's subject is empty, too long, or has unprintable characters."));
        }
        let tenant = match self.others.get(tenant_claim) {
            None | Some(Value::Null) => DEFAULT_TENANT.to_owned(),
            Some(Value::String(tenant)) if DocumentId::new(tenant, "x").is_ok() => tenant.clone(),
            Some(_) => return Err(TokenFault::Claims("The token's tenant is none.")),
        };
        let scopes = self.scopes(&tenant)?;
        let user = self.name.or(self.preferred_username).or(self.username).filter(|name| name.len() <= NAME_BYTES_MAX);
        let expires_ms = Some(self.exp.saturating_mul(1000));
        Ok(Caller { identity: Identity { principal, user, tenant }, scopes, expires_ms, ticket: None })
    }

    fn scopes(&self, tenant: &str) -> Result<Vec<Scope>, TokenFault> {
        let mode = self.mode.as_deref().unwrap_or("read");
        let listed: Vec<(&str, &str)> = match &self.docs {
            None => Vec::new(),
            Some(Documents::Patterns(patterns)) => patterns.iter().map(|pattern| (pattern.as_str(), mode)).collect(),
            Some(Documents::Modes(modes)) => {
                modes.iter().map(|(pattern, mode)| (pattern.as_str(), mode.as_str())).collect()
            }
        };
        let named = listed.into_iter().chain(self.doc.as_deref().map(|doc| (doc, mode)));
        let scopes = named.map(|(pattern, mode)| {
            let rights = rights(mode).ok_or(TokenFault::Claims("The token grants something that is no right."))?;
            let whole = pattern.contains('/');
            let pattern = if whole { pattern.to_owned() } else { format!("{tenant}/{pattern}") };
            Ok::<_, TokenFault>(Scope { pattern, rights })
        });
        let scopes: Vec<Scope> = scopes.collect::<Result<_, _>>()?;
        if scopes.len() > SCOPES_MAX {
            return Err(TokenFault::Claims("The token names too many documents."));
        }
        Ok(scopes)
    }
}

/// The right of this word.
pub(crate) fn rights(word: &str) -> Option<Rights> {
    [Rights::None, Rights::Read, Rights::Write, Rights::Admin].into_iter().find(|rights| rights.name() == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(json: Value) -> Claims {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn audiences_are_named_where_the_issuer_names_them() {
        let ours = ["app".to_owned()];
        let check = |more: Value, expected: bool| {
            let mut json = serde_json::json!({ "sub": "ada", "exp": 1 });
            json.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            assert_eq!(claims(json.clone()).is_for(&ours), expected, "{json}");
        };
        check(serde_json::json!({ "aud": "app" }), true);
        check(serde_json::json!({ "aud": ["x", "app"] }), true);
        check(serde_json::json!({ "aud": "other" }), false);
        check(serde_json::json!({}), false);
        check(serde_json::json!({ "token_use": "access", "client_id": "app" }), true);
        check(serde_json::json!({ "token_use": "access", "aud": "app" }), false);
        check(serde_json::json!({ "token_use": "id", "aud": "app" }), true);
        check(serde_json::json!({ "token_use": "id", "client_id": "app" }), false);
        check(serde_json::json!({ "token_use": "refresh", "aud": "app", "client_id": "app" }), false);
        check(serde_json::json!({ "client_id": "app" }), false);
    }

    #[test]
    fn claims_make_a_caller() {
        let json = serde_json::json!({
            "sub": "ada", "exp": 7, "name": "Ada", "custom:tenant": "acme",
            "docs": { "plan-*": "write", "other/report": "read" }, "doc": "diary", "mode": "admin"
        });
        let caller = claims(json).caller("custom:tenant").unwrap();
        assert_eq!((caller.identity.principal.as_str(), caller.identity.tenant.as_str()), ("user:ada", "acme"));
        assert_eq!((caller.identity.user.as_deref(), caller.expires_ms), (Some("Ada"), Some(7_000)));
        let granted = |document: &str| caller.granted(&document.parse().unwrap());
        assert_eq!(granted("acme/plan-9"), Rights::Write);
        assert_eq!(granted("other/report"), Rights::Read);
        assert_eq!(granted("acme/diary"), Rights::Admin);
        assert_eq!(granted("default/diary"), Rights::None);
        for wrong in [
            serde_json::json!({ "sub": "", "exp": 7 }),
            serde_json::json!({ "sub": "a b", "exp": 7 }),
            serde_json::json!({ "sub": "x".repeat(300), "exp": 7 }),
            serde_json::json!({ "sub": "ada", "exp": 7, "tenant": "a/b" }),
            serde_json::json!({ "sub": "ada", "exp": 7, "tenant": 9 }),
            serde_json::json!({ "sub": "ada", "exp": 7, "doc": "d", "mode": "root" }),
            serde_json::json!({ "sub": "ada", "exp": 7, "docs": vec!["d"; 300] }),
        ] {
            assert!(matches!(claims(wrong.clone()).caller("tenant"), Err(TokenFault::Claims(_))), "{wrong}");
        }
    }
}
