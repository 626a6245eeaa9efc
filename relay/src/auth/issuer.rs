//! Tokens of the configured issuer: signature, times, issuer, audience, then what they say.

use std::collections::HashSet;
use std::sync::Arc;

use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use rustls::RootCertStore;

use super::TokenFault;
use super::caller::Caller;
use super::claims::Claims;
use super::config::AuthConfig;
use super::keys::{Keys, Source};
use crate::config::{ConfigError, impossible};

/// Below the issuer, where its keys are unless configured (Cognito's place, too).
const WELL_KNOWN: &str = "/.well-known/jwks.json";

/// See the module.
#[derive(Debug)]
pub(super) struct Issuer {
    keys: Keys,
    algorithm: Algorithm,
    validation: Validation,
    audiences: Vec<String>,
    tenant_claim: String,
    leeway_s: u64,
    lifetime_s_max: u64,
}

impl Issuer {
    /// `None`: none is configured.
    ///
    /// # Errors
    /// [`ConfigError`] names the flag, the value and the fix.
    pub(super) fn new(config: &AuthConfig) -> Result<Option<Self>, ConfigError> {
        check(config)?;
        let Some(issuer) = &config.jwt_issuer else { return Ok(None) };
        let source = match (&config.jwks_file, &config.jwks_url) {
            (Some(file), _) => Source::File(file.clone()),
            (None, Some(url)) => Source::Url { url: url.clone(), http: http()? },
            (None, None) => {
                let url = format!("{}{WELL_KNOWN}", issuer.trim_end_matches('/'));
                Source::Url { url, http: http()? }
            }
        };
        let algorithm = config.jwt_algorithm.algorithm();
        let mut validation = Validation::new(algorithm);
        validation.required_spec_claims = ["exp", "iss", "sub"].map(str::to_owned).into();
        validation.iss = Some(HashSet::from([issuer.clone()]));
        (validation.validate_exp, validation.validate_nbf) = (true, true);
        // The audience is in another claim of some tokens: it is checked with them.
        validation.validate_aud = false;
        validation.leeway = config.jwt_leeway_s;
        Ok(Some(Issuer {
            keys: Keys::new(source, config),
            algorithm,
            validation,
            audiences: config.jwt_audience.clone(),
            tenant_claim: config.jwt_tenant_claim.clone(),
            leeway_s: config.jwt_leeway_s,
            lifetime_s_max: config.jwt_lifetime_s_max,
        }))
    }

    /// Fetches the keys once. A file that cannot be read is a mistake; an issuer that does not answer may come later.
    ///
    /// # Errors
    /// [`ConfigError`] for the file.
    pub(super) async fn prepare(&self, config: &AuthConfig) -> Result<(), ConfigError> {
        let Err(problem) = self.keys.fetch().await else { return Ok(()) };
        if let Some(file) = &config.jwks_file {
            let fix = "name a readable JSON Web Key Set with a key of --jwt-algorithm";
            return Err(impossible("jwks-file", file.display(), &problem, fix));
        }
        tracing::warn!(
            problem,
            "the keys of the token issuer cannot be fetched yet: no token is believed until they can"
        );
        Ok(())
    }

    /// Who brings this token.
    ///
    /// # Errors
    /// [`TokenFault`]: which check it failed.
    pub(super) async fn read(&self, token: &str, now_ms: u64) -> Result<Caller, TokenFault> {
        let header = decode_header(token).map_err(|error| match error.kind() {
            // `alg: none` and unknown words are no algorithm to this reader.
            jsonwebtoken::errors::ErrorKind::Json(_) => TokenFault::Algorithm,
            _ => TokenFault::Malformed,
        })?;
        let brings_keys = header.jku.is_some() || header.jwk.is_some() || header.x5u.is_some() || header.x5c.is_some();
        if header.alg != self.algorithm || brings_keys || header.crit.is_some() {
            return Err(TokenFault::Algorithm);
        }
        let key = self.keys.key(header.kid.as_deref()).await?;
        let claims = decode::<Claims>(token, &key, &self.validation)?.claims;
        let now_s = now_ms / 1000;
        let early = claims.iat.is_some_and(|issued| issued > now_s + self.leeway_s);
        if early || claims.exp > now_s + self.lifetime_s_max + self.leeway_s {
            return Err(TokenFault::NotNow);
        }
        if !claims.is_for(&self.audiences) {
            return Err(TokenFault::Audience);
        }
        let mut caller = claims.caller(&self.tenant_claim)?;
        caller.expires_ms = caller.expires_ms.map(|at| at.saturating_add(self.leeway_s * 1000));
        Ok(caller)
    }
}

/// Refuses settings that cannot be meant.
pub(crate) fn check(config: &AuthConfig) -> Result<(), ConfigError> {
    let Some(issuer) = &config.jwt_issuer else {
        let given = [
            ("jwt-audience", config.jwt_audience.first().cloned()),
            ("jwks-url", config.jwks_url.clone()),
            ("jwks-file", config.jwks_file.as_ref().map(|file| file.display().to_string())),
            ("ticket-key", config.ticket_key.as_ref().map(|file| file.display().to_string())),
        ];
        for (flag, value) in given {
            if let Some(value) = value {
                let problem = "says how tokens are checked, and no issuer is named";
                return Err(impossible(flag, value, problem, "give --jwt-issuer, or leave this flag out"));
            }
        }
        return Ok(());
    };
    if config.jwt_audience.iter().all(String::is_empty) {
        let problem = "without an audience, tokens for any other service of this issuer would be believed";
        return Err(impossible("jwt-audience", "", problem, "name the audience or client id tokens are made for"));
    }
    let fetched = match (&config.jwks_file, &config.jwks_url) {
        (Some(_), _) => None,
        (None, Some(url)) => Some(("jwks-url", url)),
        (None, None) => Some(("jwt-issuer", issuer)),
    };
    if let Some((flag, url)) = fetched
        && !is_safe(url)
    {
        let problem =
            "is where keys are fetched from, and is no https:// address: anybody on the way could put in theirs";
        return Err(impossible(flag, url, problem, "give an https:// address, or the keys by --jwks-file"));
    }
    if config.jwt_leeway_s > 600 {
        let fix = "give a number up to 600";
        return Err(impossible("jwt-leeway-s", config.jwt_leeway_s, "is no difference between clocks", fix));
    }
    Ok(())
}

/// Whether what comes from there is what was sent: over TLS, or from this machine.
fn is_safe(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    url.scheme() == "https" || (url.scheme() == "http" && here)
}

fn http() -> Result<reqwest::Client, ConfigError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows the protocol's default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = reqwest::Client::builder().tls_backend_preconfigured(tls).redirect(reqwest::redirect::Policy::none());
    client.build().map_err(|error| impossible("jwks-url", "", &error.to_string(), "give the keys by --jwks-file"))
}
