//! Why identity does not start, or a changed directory is not taken over.

use super::file::FileError;
use std::path::PathBuf;
use uuid::Uuid;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The directory file is not the TOML it should be. The line itself is not shown: it may hold a hash.
    #[error("{}, line {line}: {message}", path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What the parser expected.
        message: String,
    },
    /// An entry of the directory is wrong.
    #[error("{}: {kind} {name:?}: {problem}", path.display())]
    Entry {
        /// Which file.
        path: PathBuf,
        /// `application`, `user` …
        kind: &'static str,
        /// The entry's name.
        name: String,
        /// What is wrong.
        problem: DirectoryProblem,
    },
    /// `identity_header_sha256` is not a SHA-256.
    #[error("identity_header_sha256 must be 64 hexadecimal digits")]
    IdentityHeader,
    /// An audience is not an absolute URL.
    #[error("additional_audiences: {0:?} is not an absolute URL such as https://example.org")]
    Audience(String),
    /// A configured issuer cannot be followed.
    #[error("identity.issuers {issuer:?}: {problem}")]
    Issuer {
        /// Its name.
        issuer: String,
        /// What is wrong.
        problem: String,
    },
    /// A list of issuers that contradicts itself.
    #[error("{setting}: {expected}")]
    Issuers {
        /// Which member of which issuer.
        setting: String,
        /// What it can be.
        expected: String,
    },
    /// The issuer's key is not RSA of at least 2048 bits.
    #[error("the issuer's key is not RSA of at least 2048 bits")]
    IssuerKey,
    /// The directory cannot be written as TOML.
    #[error("the directory cannot be written as TOML: {0}")]
    Encoding(#[from] toml::ser::Error),
    /// The random source failed.
    #[error("no random numbers")]
    Random,
}

/// What is wrong with an entry of the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryProblem {
    /// Two principals or groups with one object id.
    #[error("its object_id stands a second time in the directory; each entry needs its own")]
    ObjectIdTwice,
    /// Two applications or managed identities with one client id.
    #[error("its client_id stands a second time in the directory; each application needs its own")]
    ClientIdTwice,
    /// Two users with one name, or an empty name.
    #[error("its user_name is empty or stands a second time; names compare without case")]
    UserNameTwice,
    /// Two default managed identities.
    #[error("a second managed identity with `default = true`; only one can be it")]
    SecondDefault,
    /// A member that is no principal.
    #[error("member {0} is the object_id of no user, application or managed identity")]
    UnknownMember(Uuid),
    /// A group in a group.
    #[error("member {0} is a group; groups hold principals only")]
    NestedGroup(Uuid),
    /// More than fit a token.
    #[error("is in more than {0} groups")]
    TooManyGroups(usize),
    /// Too many credentials of one kind.
    #[error("has more than {0} credentials of one kind")]
    TooManyCredentials(usize),
    /// Not a SHA-256.
    #[error("the sha256 of a secret must be 64 hexadecimal digits")]
    SecretHash,
    /// Not a SHA-256.
    #[error("the sha256 of a certificate must be 64 hexadecimal digits")]
    Thumbprint,
    /// Not a certificate that can sign assertions.
    #[error(
        "the pem of a certificate must be one X.509 certificate with an RSA key of 2048 bits or more, P-256 or P-384"
    )]
    Certificate,
    /// Both or none.
    #[error("a certificate needs either sha256 or pem")]
    OneCertificate,
    /// Both or none.
    #[error("a federated credential needs either jwks or jwks_file")]
    OneJwks,
    /// Not a usable key set.
    #[error(
        "the JWKS must be a JSON object with `keys`, with at least one RSA, P-256 or P-384 key for signatures, no kid twice"
    )]
    Jwks,
    /// A private key where public ones belong.
    #[error("the JWKS holds a private or symmetric key: it must hold public keys only")]
    SecretJwk,
    /// Not a hash as `strongroom` makes it.
    #[error("the password must be a hash as strongroom makes it: $pbkdf2-sha256$i=600000$SALT$HASH")]
    PasswordHash,
}
