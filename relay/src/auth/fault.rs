//! Why a token is not believed.

/// The check a token failed. Each has its word in the metrics; people get the sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub(crate) enum TokenFault {
    /// None came.
    #[error("A token is needed here.")]
    Missing,
    /// It is no token.
    #[error("The token cannot be read.")]
    Malformed,
    /// Signed by another algorithm than the issuer's, or with a header that names its own keys.
    #[error("The token is not signed the way its issuer signs.")]
    Algorithm,
    /// Signed by a key the issuer does not publish.
    #[error("The token's key is not one of its issuer's.")]
    UnknownKey,
    /// The signature does not fit.
    #[error("The token's signature does not fit.")]
    Signature,
    /// Its time is over.
    #[error("The token has expired.")]
    Expired,
    /// Its time has not begun, or ends too far ahead.
    #[error("The token is not for this time.")]
    NotNow,
    /// Of another issuer.
    #[error("The token is of another issuer.")]
    Issuer,
    /// For somebody else.
    #[error("The token is for another audience.")]
    Audience,
    /// A claim is missing or makes no sense.
    #[error("{0}")]
    Claims(&'static str),
    /// Of somebody else than the one who opened the connection.
    #[error("The token is of somebody else.")]
    Principal,
    /// The issuer's keys cannot be had at the moment: nobody's fault, try again.
    #[error("The keys of the token's issuer cannot be reached at the moment.")]
    NoKeys,
}

impl TokenFault {
    /// The word in the metrics.
    pub(crate) fn word(self) -> &'static str {
        match self {
            TokenFault::Missing => "missing",
            TokenFault::Malformed => "malformed",
            TokenFault::Algorithm => "algorithm",
            TokenFault::UnknownKey => "unknown_key",
            TokenFault::Signature => "signature",
            TokenFault::Expired => "expired",
            TokenFault::NotNow => "not_now",
            TokenFault::Issuer => "issuer",
            TokenFault::Audience => "audience",
            TokenFault::Claims(_) => "claims",
            TokenFault::Principal => "principal",
            TokenFault::NoKeys => "no_keys",
        }
    }
}

impl From<jsonwebtoken::errors::Error> for TokenFault {
    fn from(error: jsonwebtoken::errors::Error) -> Self {
        use jsonwebtoken::errors::ErrorKind;
        match error.kind() {
            ErrorKind::InvalidSignature => TokenFault::Signature,
            ErrorKind::ExpiredSignature => TokenFault::Expired,
            ErrorKind::ImmatureSignature => TokenFault::NotNow,
            ErrorKind::InvalidIssuer => TokenFault::Issuer,
            ErrorKind::InvalidAudience => TokenFault::Audience,
            ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName | ErrorKind::UnsupportedAlgorithm => {
                TokenFault::Algorithm
            }
            ErrorKind::MissingRequiredClaim(_) => TokenFault::Claims("The token lacks a claim that is needed."),
            _ => TokenFault::Malformed,
        }
    }
}
