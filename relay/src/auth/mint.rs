//! `selvedge-relay token`: keys and tokens for development, and the keys of tickets.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;

use crate::clock::wall_ms;

/// Name of the key in sets and tokens made here.
const KEY_NAME: &str = "selvedge-development";

/// `token key`, `token jwks`, `token mint`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// What to make.
    #[command(subcommand)]
    pub command: TokenCommand,
}

/// What can be made.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Write a new private key (PEM, P-256) to FILE, for tickets or for tokens of your own.
    Key {
        /// The file to write; it must not exist.
        file: PathBuf,
    },
    /// Print the public half of a key as the set that --jwks-file takes.
    Jwks {
        /// The private key, as `token key` writes it.
        #[arg(long, env = "SELVEDGE_TOKEN_KEY", value_name = "FILE")]
        key: PathBuf,
    },
    /// Print a token, for `serve --jwt-algorithm ES256 --jwks-file ...` and tests. Not for production: use an identity provider.
    Mint(MintArgs),
}

/// What a token says.
#[derive(Debug, Args)]
pub struct MintArgs {
    /// The private key, as `token key` writes it.
    #[arg(long, env = "SELVEDGE_TOKEN_KEY", value_name = "FILE")]
    pub key: PathBuf,
    /// The issuer, as the relay's --jwt-issuer.
    #[arg(long, env = "SELVEDGE_JWT_ISSUER", value_name = "URL")]
    pub jwt_issuer: String,
    /// The audience, one of the relay's --jwt-audience.
    #[arg(long, env = "SELVEDGE_JWT_AUDIENCE", value_name = "NAME")]
    pub jwt_audience: String,
    /// Who: the subject.
    #[arg(long, value_name = "NAME")]
    pub subject: String,
    /// The name others see.
    #[arg(long)]
    pub name: Option<String>,
    /// The tenant.
    #[arg(long)]
    pub tenant: Option<String>,
    /// What may be done with which documents, e.g. `tenant/plan-*=write`; may be repeated.
    #[arg(long = "grant", value_name = "PATTERN=RIGHT", value_parser = grant)]
    pub grants: Vec<(String, String)>,
    /// How long it counts, in seconds.
    #[arg(long, default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub ttl_s: u64,
}

fn grant(text: &str) -> Result<(String, String), String> {
    let granted = text.split_once('=').filter(|(_, right)| super::claims::rights(right).is_some());
    let (pattern, right) = granted.ok_or("write PATTERN=RIGHT with one of none, read, write, admin")?;
    Ok((pattern.to_owned(), right.to_owned()))
}

#[derive(Debug, Serialize)]
struct Minted<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    docs: BTreeMap<&'a str, &'a str>,
}

/// Does what the command says; answers what to print.
///
/// # Errors
/// In terms of the operator's action.
pub fn run(arguments: &TokenArgs) -> anyhow::Result<String> {
    match &arguments.command {
        TokenCommand::Key { file } => {
            let pem = new_key().map_err(anyhow::Error::msg)?;
            write_secret(file, &pem).with_context(|| format!("the key was not written to {}", file.display()))?;
            Ok(file.display().to_string())
        }
        TokenCommand::Jwks { key } => {
            let mut jwk = Jwk::from_encoding_key(&signing_key(key)?, Algorithm::ES256)?;
            jwk.common.key_id = Some(KEY_NAME.to_owned());
            Ok(serde_json::to_string_pretty(&JwkSet { keys: vec![jwk] })?)
        }
        TokenCommand::Mint(mint) => {
            let now_s = wall_ms() / 1000;
            let claims = Minted {
                iss: &mint.jwt_issuer,
                aud: &mint.jwt_audience,
                sub: &mint.subject,
                iat: now_s,
                exp: now_s + mint.ttl_s,
                name: mint.name.as_deref(),
                tenant: mint.tenant.as_deref(),
                docs: mint.grants.iter().map(|(pattern, right)| (pattern.as_str(), right.as_str())).collect(),
            };
            let header = Header { kid: Some(KEY_NAME.to_owned()), ..Header::new(Algorithm::ES256) };
            Ok(encode(&header, &claims, &signing_key(&mint.key)?)?)
        }
    }
}

/// A new private key of P-256, PEM.
pub(super) fn new_key() -> Result<String, String> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(|error| error.to_string())?;
    Ok(key.serialize_pem())
}

fn signing_key(file: &Path) -> anyhow::Result<EncodingKey> {
    let problem =
        || format!("--key {}: it is no private key; make one with `selvedge-relay token key FILE`", file.display());
    let pem = std::fs::read(file).with_context(problem)?;
    EncodingKey::from_ec_pem(&pem).with_context(problem)
}

/// Writes a new file that only its owner reads.
fn write_secret(file: &Path, text: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)?.write_all(text.as_bytes())
}
