//! Document tickets: the relay's own short tokens for one document.
//!
//! A ticket says who may do what with one document, for five minutes. It lets its bearer in while the issuer of tokens or the
//! control plane is away, and is renewed by any relay that holds the key: with rights looked up anew, or, where the control
//! plane cannot be asked, with the same ones until 15 minutes after they were last looked up.

use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use selvedge_protocol::{DocumentId, Rights};
use serde::{Deserialize, Serialize};

use super::caller::{Caller, Confirmed, Scope};
use super::claims::rights;
use super::config::AuthConfig;
use super::mint::new_key;
use super::{TokenFault, is_principal};
use crate::config::{ConfigError, impossible};
use crate::session::Identity;

/// What a ticket's `iss` says.
const ISSUER: &str = "selvedge-relay";
/// How long a ticket counts, in milliseconds.
pub(crate) const TICKET_MS: u64 = 300_000;
/// How long after the rights were last looked up a ticket is renewed without looking, in milliseconds.
const BLIND_MS: u64 = 900_000;

/// What a ticket says.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    tenant: String,
    doc: String,
    mode: String,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// When the rights were looked up, in milliseconds of wall time.
    confirmed_ms: u64,
    /// The rights come from a token.
    by_token: bool,
}

/// The key of tickets.
pub(crate) struct Tickets {
    signing: EncodingKey,
    checking: DecodingKey,
    validation: Validation,
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

/// A ticket made.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) token: String,
    pub(crate) rights: Rights,
    pub(crate) expires_ms: u64,
}

/// Whether a token says that it is a ticket. Nothing is believed of it yet.
pub(super) fn is_ticket(token: &str) -> bool {
    #[derive(Deserialize)]
    struct Says {
        iss: Option<String>,
    }
    insecure_decode_claims::<Says>(token).is_ok_and(|says| says.iss.as_deref() == Some(ISSUER))
}

impl Tickets {
    pub(super) fn new(config: &AuthConfig) -> Result<Self, ConfigError> {
        let Some(file) = &config.ticket_key else {
            let key = new_key().and_then(|pem| Self::with_key(pem.as_bytes()));
            return key.map_err(|problem| impossible("ticket-key", "", &problem, "give a key by --ticket-key"));
        };
        let read = std::fs::read(file).map_err(|error| error.to_string());
        read.and_then(|pem| Self::with_key(&pem)).map_err(|problem| {
            impossible("ticket-key", file.display(), &problem, "make one with `selvedge-relay token key FILE`")
        })
    }

    fn with_key(pem: &[u8]) -> Result<Self, String> {
        let problem = |error: jsonwebtoken::errors::Error| format!("it is no private key of P-256 in PEM: {error}");
        let signing = EncodingKey::from_ec_pem(pem).map_err(problem)?;
        let public = Jwk::from_encoding_key(&signing, Algorithm::ES256).map_err(problem)?;
        let checking = DecodingKey::from_jwk(&public).map_err(problem)?;
        let mut validation = Validation::new(Algorithm::ES256);
        validation.required_spec_claims = ["exp", "iss", "sub"].map(str::to_owned).into();
        validation.set_issuer(&[ISSUER]);
        (validation.validate_aud, validation.leeway) = (false, 0);
        Ok(Tickets { signing, checking, validation })
    }

    /// Who brings this ticket.
    ///
    /// # Errors
    /// [`TokenFault`]: which check it failed.
    pub(super) fn read(&self, token: &str, now_ms: u64) -> Result<Caller, TokenFault> {
        let claims = decode::<Claims>(token, &self.checking, &self.validation)?.claims;
        let expires_ms = claims.exp.saturating_mul(1000);
        if expires_ms > now_ms + TICKET_MS + 1000 {
            return Err(TokenFault::NotNow);
        }
        let granted = rights(&claims.mode).filter(|_| is_principal(&claims.sub));
        let granted = granted.ok_or(TokenFault::Claims("The ticket makes no sense."))?;
        Ok(Caller {
            identity: Identity { principal: claims.sub, user: claims.name, tenant: claims.tenant },
            scopes: vec![Scope { pattern: claims.doc, rights: granted }],
            expires_ms: Some(expires_ms),
            ticket: Some(Confirmed { at_ms: claims.confirmed_ms, by_token: claims.by_token }),
        })
    }

    /// A ticket for what was just looked up, or, `blind`, for what the caller's own ticket says.
    ///
    /// # Errors
    /// [`TokenFault::Expired`] when that was looked up too long ago.
    pub(crate) fn issue(
        &self,
        caller: &Caller,
        document: &DocumentId,
        granted: Rights,
        blind: bool,
        now_ms: u64,
    ) -> Result<Ticket, TokenFault> {
        let before = caller.ticket;
        let confirmed_ms = if blind { before.map_or(0, |ticket| ticket.at_ms) } else { now_ms };
        let ends_ms = if blind { confirmed_ms.saturating_add(BLIND_MS) } else { u64::MAX };
        if blind && now_ms >= ends_ms {
            return Err(TokenFault::Expired);
        }
        let by_token = before.map_or(caller.granted(document) >= granted, |ticket| ticket.by_token);
        let exp = (now_ms + TICKET_MS).min(ends_ms) / 1000;
        let claims = Claims {
            iss: ISSUER.to_owned(),
            sub: caller.identity.principal.clone(),
            tenant: caller.identity.tenant.clone(),
            doc: document.to_string(),
            mode: granted.name().to_owned(),
            iat: now_ms / 1000,
            exp,
            name: caller.identity.user.clone(),
            confirmed_ms,
            by_token,
        };
        let token = encode(&Header::new(Algorithm::ES256), &claims, &self.signing)?;
        Ok(Ticket { token, rights: granted, expires_ms: exp * 1000 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now_ms() -> u64 {
        crate::clock::wall_ms()
    }

    fn ada() -> Caller {
        let identity = Identity { principal: "user:ada".into(), user: Some("Ada".into()), tenant: "t".into() };
        Caller { identity, scopes: Vec::new(), expires_ms: None, ticket: None }
    }

    #[test]
    fn a_ticket_is_for_one_document_and_five_minutes() {
        let tickets = Tickets::new(&AuthConfig::default()).unwrap();
        let document: DocumentId = "t/notes".parse().unwrap();
        let ticket = tickets.issue(&ada(), &document, Rights::Write, false, now_ms()).unwrap();
        assert!(is_ticket(&ticket.token) && ticket.expires_ms <= now_ms() + TICKET_MS);
        let bearer = tickets.read(&ticket.token, now_ms()).unwrap();
        assert_eq!(bearer.identity, ada().identity);
        assert_eq!(bearer.granted(&document), Rights::Write);
        assert_eq!(bearer.granted(&"t/others".parse().unwrap()), Rights::None);
        let elsewhere = Tickets::new(&AuthConfig::default()).unwrap();
        assert_eq!(elsewhere.read(&ticket.token, now_ms()), Err(TokenFault::Signature));
        assert_eq!(tickets.read(&ticket.token, now_ms() - 60_000), Err(TokenFault::NotNow));
        let old = tickets.issue(&ada(), &document, Rights::Write, false, now_ms() - TICKET_MS - 2_000).unwrap();
        assert_eq!(tickets.read(&old.token, now_ms()), Err(TokenFault::Expired));
    }

    #[test]
    fn a_ticket_is_renewed_without_looking_for_a_quarter_of_an_hour() {
        let tickets = Tickets::new(&AuthConfig::default()).unwrap();
        let document: DocumentId = "t/notes".parse().unwrap();
        let (begin, mut now) = (1_000_000_000, 1_000_000_000);
        let mut bearer = ada();
        bearer.ticket = Some(Confirmed { at_ms: begin, by_token: false });
        let mut renewals = 0;
        while let Ok(ticket) = tickets.issue(&bearer, &document, Rights::Read, true, now) {
            assert!(ticket.expires_ms <= begin + BLIND_MS);
            now = ticket.expires_ms;
            renewals += 1;
            assert!(renewals < 10);
        }
        assert_eq!((renewals, now), (3, begin + BLIND_MS));
        assert!(tickets.issue(&ada(), &document, Rights::Read, true, begin).is_err(), "never looked up");
    }
}
