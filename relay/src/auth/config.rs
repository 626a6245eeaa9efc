//! Whose tokens are believed. Without an issuer the relay is open, and only for its own machine.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jsonwebtoken::Algorithm;

/// Tokens and tickets.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct AuthConfig {
    /// Issuer of tokens, exactly as their `iss` says; without one everybody on this machine may do everything.
    #[arg(long, env = "SELVEDGE_JWT_ISSUER", value_name = "URL")]
    pub jwt_issuer: Option<String>,
    /// Whom tokens must be for: `aud`, or `client_id` of Cognito's access tokens.
    #[arg(long, env = "SELVEDGE_JWT_AUDIENCE", value_delimiter = ',', value_name = "NAME")]
    pub jwt_audience: Vec<String>,
    /// The algorithm the issuer signs with; what a token says of it is not believed.
    #[arg(long, env = "SELVEDGE_JWT_ALGORITHM", value_enum, default_value_t = SigningAlgorithm::Rs256)]
    pub jwt_algorithm: SigningAlgorithm,
    /// Claim that names the bearer's tenant; without it in a token: `default`.
    #[arg(long, env = "SELVEDGE_JWT_TENANT_CLAIM", default_value = "tenant", value_name = "CLAIM")]
    pub jwt_tenant_claim: String,
    /// How far, in seconds, the issuer's clock may differ from this machine's.
    #[arg(long, env = "SELVEDGE_JWT_LEEWAY_S", default_value_t = 60, value_name = "S")]
    pub jwt_leeway_s: u64,
    /// How far ahead, in seconds, a token may end.
    #[arg(long, env = "SELVEDGE_JWT_LIFETIME_S_MAX", default_value_t = 86_400, value_name = "S")]
    pub jwt_lifetime_s_max: u64,
    /// Where the issuer publishes its keys [default: /.well-known/jwks.json below the issuer].
    #[arg(long, env = "SELVEDGE_JWKS_URL", value_name = "URL")]
    pub jwks_url: Option<String>,
    /// File with the issuer's keys instead, read again when it changes.
    #[arg(long, env = "SELVEDGE_JWKS_FILE", value_name = "FILE", conflicts_with = "jwks_url")]
    pub jwks_file: Option<PathBuf>,
    /// Age, in milliseconds, at which the issuer's keys are fetched again.
    #[arg(long, env = "SELVEDGE_JWKS_AGE_MS_MAX", default_value_t = 3_600_000, value_name = "MS")]
    pub jwks_age_ms_max: u64,
    /// How long, in milliseconds, they go on counting while the issuer cannot be reached.
    #[arg(long, env = "SELVEDGE_JWKS_STALE_MS_MAX", default_value_t = 86_400_000, value_name = "MS")]
    pub jwks_stale_ms_max: u64,
    /// Shortest time, in milliseconds, between two fetches, however many unknown keys tokens name.
    #[arg(long, env = "SELVEDGE_JWKS_PAUSE_MS_MIN", default_value_t = 60_000, value_name = "MS")]
    pub jwks_pause_ms_min: u64,
    /// Private key (PEM, P-256) that document tickets are signed with, the same for all relays; without one, tickets count at
    /// this process alone.
    #[arg(long, env = "SELVEDGE_TICKET_KEY", value_name = "FILE")]
    pub ticket_key: Option<PathBuf>,
}

/// What issuers sign with. Symmetric algorithms are none: the relay holds no secret of an issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SigningAlgorithm {
    /// RSA, PKCS 1, SHA-256.
    #[value(name = "RS256", alias = "rs256")]
    Rs256,
    /// ECDSA, P-256, SHA-256.
    #[value(name = "ES256", alias = "es256")]
    Es256,
}

impl SigningAlgorithm {
    pub(crate) fn algorithm(self) -> Algorithm {
        match self {
            SigningAlgorithm::Rs256 => Algorithm::RS256,
            SigningAlgorithm::Es256 => Algorithm::ES256,
        }
    }
}

impl Default for AuthConfig {
    fn default() -> Self {
        AuthConfig {
            jwt_issuer: None,
            jwt_audience: Vec::new(),
            jwt_algorithm: SigningAlgorithm::Rs256,
            jwt_tenant_claim: "tenant".to_owned(),
            jwt_leeway_s: 60,
            jwt_lifetime_s_max: 86_400,
            jwks_url: None,
            jwks_file: None,
            jwks_age_ms_max: 3_600_000,
            jwks_stale_ms_max: 86_400_000,
            jwks_pause_ms_min: 60_000,
            ticket_key: None,
        }
    }
}

impl AuthConfig {
    /// Whether everybody proves who they are.
    pub fn is_open(&self) -> bool {
        self.jwt_issuer.is_none()
    }
}
