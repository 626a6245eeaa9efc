//! Who somebody is, and what they may do.
//!
//! Without configuration the mode is *open*: this machine's own users, named by themselves. With an issuer of tokens it is
//! *tokens*: everybody brings a signed token, of the issuer or a ticket of the relay's own, and may do what the token grants
//! or the control plane says. Rights are asked for where a document is opened and again whenever they or the token change.

mod access;
mod caller;
mod claims;
pub mod config;
mod fault;
mod issuer;
mod keys;
pub mod mint;
mod origin;
mod ticket;

use axum::http::HeaderMap;
use selvedge_protocol::{CloseCode, DEFAULT_TENANT, Rights};

pub(crate) use access::{Access, combined};
pub(crate) use caller::Caller;
pub(crate) use claims::rights;
pub use config::AuthConfig;
pub(crate) use fault::TokenFault;
use issuer::Issuer;
pub(crate) use issuer::check as check_auth;
pub(crate) use origin::{origin_allowed, page_allowed};
use ticket::Tickets;

use crate::config::ConfigError;
use crate::session::{Fault, Identity};

/// Longest principal a record of the log keeps.
const PRINCIPAL_BYTES_MAX: usize = 256;
/// Who speaks in open mode without a name.
const ANONYMOUS: &str = "anonymous";
/// What a device's own name begins with.
const DEVICE_PREFIX: &str = "anon:";
/// Longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// How people are told apart.
#[derive(Debug)]
pub(crate) enum Auth {
    /// Nobody proves anything; only for addresses of this machine. A token `anon:...` names a device.
    Open,
    /// Everybody brings a signed token.
    Tokens(Box<Tokens>),
}

/// Whose tokens are believed.
#[derive(Debug)]
pub(crate) struct Tokens {
    issuer: Issuer,
    tickets: Tickets,
}

impl Auth {
    /// As configured; the issuer's keys are fetched once, so that a mistake is seen at the start.
    ///
    /// # Errors
    /// [`ConfigError`] names the flag, the value and the fix.
    pub(crate) async fn new(config: &AuthConfig) -> Result<Self, ConfigError> {
        let Some(issuer) = Issuer::new(config)? else { return Ok(Auth::Open) };
        let tickets = Tickets::new(config)?;
        issuer.prepare(config).await?;
        Ok(Auth::Tokens(Box::new(Tokens { issuer, tickets })))
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Auth::Open)
    }

    /// Who brings this token.
    ///
    /// # Errors
    /// [`TokenFault`]: which check it failed.
    pub(crate) async fn identify(&self, token: Option<&str>, now_ms: u64) -> Result<Caller, TokenFault> {
        match self {
            Auth::Open => open(token),
            Auth::Tokens(tokens) => {
                let token = token.filter(|token| !token.is_empty()).ok_or(TokenFault::Missing)?;
                if token.len() > TOKEN_BYTES_MAX {
                    return Err(TokenFault::Malformed);
                }
                if ticket::is_ticket(token) {
                    tokens.tickets.read(token, now_ms)
                } else {
                    tokens.issuer.read(token, now_ms).await
                }
            }
        }
    }

    /// Whether connections of one principal are counted: only where a principal is proven.
    pub(crate) fn counts_connections(&self) -> bool {
        !self.is_open()
    }

    /// Whether the relay may be reached under the name the client used. Where everybody proves who they are, a name is no danger.
    pub(crate) fn host_allowed(&self, headers: &HeaderMap, listen: &crate::listen::ListenConfig) -> bool {
        !self.is_open() || crate::rest::host_allowed(headers, listen)
    }

    /// The relay's own tickets; none in open mode.
    pub(crate) fn tickets(&self) -> Option<&Tickets> {
        match self {
            Auth::Open => None,
            Auth::Tokens(tokens) => Some(&tokens.tickets),
        }
    }
}

fn open(token: Option<&str>) -> Result<Caller, TokenFault> {
    let principal = match token {
        None | Some("") => ANONYMOUS,
        Some(token) if token.starts_with(DEVICE_PREFIX) => token,
        // Whatever else was brought proves nothing here; its bearer is as anonymous as everybody.
        Some(_) => ANONYMOUS,
    };
    if !is_principal(principal) {
        return Err(TokenFault::Claims("The device's name is too long or has other characters than printable ones."));
    }
    let identity = Identity { principal: principal.to_owned(), user: None, tenant: DEFAULT_TENANT.to_owned() };
    Ok(Caller::everywhere(identity, Rights::Admin))
}

/// Whether the log can keep this name.
pub(crate) fn is_principal(name: &str) -> bool {
    !name.is_empty() && name.len() <= PRINCIPAL_BYTES_MAX && name.bytes().all(|byte| byte.is_ascii_graphic())
}

impl From<TokenFault> for Fault {
    fn from(fault: TokenFault) -> Self {
        Fault::new(if fault == TokenFault::NoKeys { CloseCode::INTERNAL } else { CloseCode::TOKEN }, fault.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn devices_name_themselves_in_open_mode() {
        let principal = async |token| Auth::Open.identify(token, 0).await.map(|caller| caller.identity.principal);
        assert_eq!(principal(None).await.unwrap(), "anonymous");
        assert_eq!(principal(Some("anon:17")).await.unwrap(), "anon:17");
        assert_eq!(principal(Some("something.else")).await.unwrap(), "anonymous");
        assert!(principal(Some(&format!("anon:{}", "x".repeat(300)))).await.is_err());
    }
}
