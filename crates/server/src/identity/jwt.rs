//! JSON Web Tokens in compact form (RFC 7515, RFC 7519), and the public keys that verify them.

use super::json::parse_object;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use strongroom_model::{Algorithm, Curve};
use uuid::Uuid;

/// Header parameters that change what is signed or bring keys along: a token with one of them is refused.
const REFUSED_PARAMETERS: &[&str] = &["crit", "b64", "jku", "jwk", "x5u", "zip", "enc"];
/// Seconds that two machines' clocks may differ.
pub(super) const LEEWAY: i64 = 60;

/// base64url with the right padding, or with none.
pub(super) const PADDED_OR_NOT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A token taken apart; nothing in it is believed before [`Token::verify`].
pub(super) struct Token<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) header: Map<String, Value>,
    pub(super) claims: Map<String, Value>,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Token<'a> {
    /// Takes `header.claims.signature` apart; `None` when it is not exactly that.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        Self::parse_with(text, &URL_SAFE_NO_PAD)
    }

    /// The same for a client's assertion, whose parts may end in padding: an Azure SDK writes it.
    pub(super) fn parse_assertion(text: &'a str) -> Option<Self> {
        Self::parse_with(text, &PADDED_OR_NOT)
    }

    fn parse_with(text: &'a str, base64: &GeneralPurpose) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        if claims.contains('.') {
            return None;
        }
        let header = parse_object(&base64.decode(header).ok()?)?;
        if REFUSED_PARAMETERS.iter().any(|name| header.contains_key(*name)) {
            return None;
        }
        let of_type = match header.get("typ") {
            None => true,
            Some(typ) => {
                typ.as_str().is_some_and(|t| t.eq_ignore_ascii_case("JWT") || t.eq_ignore_ascii_case("at+jwt"))
            }
        };
        let algorithm = Algorithm::parse(header.get("alg")?.as_str()?).ok()?;
        let claims = parse_object(&base64.decode(claims).ok()?)?;
        let signature = base64.decode(signature).ok()?;
        of_type.then_some(Self { algorithm, header, claims, signed, signature })
    }

    /// Whether the signature is the key's, under an algorithm of the list.
    pub(super) fn verify(&self, key: &VerifyingKey, allowed: &[Algorithm]) -> bool {
        allowed.contains(&self.algorithm) && key.verify(self.algorithm, self.signed.as_bytes(), &self.signature)
    }

    /// A text claim.
    pub(super) fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim)?.as_str()
    }

    /// A text parameter of the header.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.header.get(name)?.as_str()
    }
}

/// A GUID in its usual form only: 8-4-4-4-12 hexadecimal digits.
pub(super) fn parse_guid(text: &str) -> Option<Uuid> {
    const LENGTH: usize = 36;
    (text.len() == LENGTH).then(|| Uuid::try_parse(text).ok()).flatten()
}

/// A public key that tokens are verified with.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum VerifyingKey {
    /// Modulus and exponent, big-endian.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// An uncompressed point.
    Ec { curve: Curve, point: Vec<u8> },
}

impl VerifyingKey {
    fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Rsa { n, e } => rsa_parameters(algorithm)
                .is_some_and(|p| RsaPublicKeyComponents { n, e }.verify(p, message, signature).is_ok()),
            Self::Ec { curve, point } => ecdsa_parameters(algorithm, *curve)
                .is_some_and(|p| UnparsedPublicKey::new(p, point).verify(message, signature).is_ok()),
        }
    }

    /// The SubjectPublicKeyInfo's key of an X.509 certificate; `None` for a type that signs no tokens.
    pub(super) fn of_certificate(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Option<Self> {
        use x509_parser::public_key::PublicKey;
        match certificate.public_key().parsed().ok()? {
            PublicKey::RSA(rsa) => Self::rsa(rsa.modulus, rsa.exponent),
            PublicKey::EC(point) => {
                let curve = if point.key_size() == 256 { Curve::P256 } else { Curve::P384 };
                Self::ec(curve, point.data().to_vec())
            }
            PublicKey::DSA(_) | PublicKey::GostR3410(_) | PublicKey::GostR3410_2012(_) | PublicKey::Unknown(_) => None,
        }
    }

    /// A key of a JWKS (RFC 7517) with its `kid`; `None` when it does not serve for signatures or is not public.
    pub(super) fn of_jwk(jwk: &Map<String, Value>) -> Option<(Option<String>, Self)> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| text(name).and_then(|t| PADDED_OR_NOT.decode(t).ok());
        let key = match text("kty")? {
            "RSA" => Self::rsa(&bytes("n")?, &bytes("e")?)?,
            "EC" => {
                let curve = Curve::parse(text("crv")?).ok()?;
                let mut point = vec![UNCOMPRESSED];
                point.extend(bytes("x")?);
                point.extend(bytes("y")?);
                Self::ec(curve, point)?
            }
            _ => return None,
        };
        let for_signatures = jwk.get("use").is_none_or(|u| u == "sig");
        for_signatures.then(|| (text("kid").map(str::to_owned), key))
    }

    /// Refuses moduli under 2048 bits.
    pub(super) fn rsa(n: &[u8], e: &[u8]) -> Option<Self> {
        const MODULUS_MIN: usize = 256;
        let strip = |b: &[u8]| b.iter().copied().skip_while(|b| *b == 0).collect::<Vec<u8>>();
        let (n, e) = (strip(n), strip(e));
        (n.len() >= MODULUS_MIN && !e.is_empty()).then_some(Self::Rsa { n, e })
    }

    fn ec(curve: Curve, point: Vec<u8>) -> Option<Self> {
        let algorithm = match curve {
            Curve::P256 => &signature::ECDSA_P256_SHA256_FIXED,
            Curve::P384 => &signature::ECDSA_P384_SHA384_FIXED,
            Curve::P256K | Curve::P521 => return None,
        };
        let on_curve = signature::ParsedPublicKey::new(algorithm, &point).is_ok();
        let uncompressed = point.len() == 1 + 2 * curve.coordinate_len();
        (on_curve && uncompressed).then_some(Self::Ec { curve, point })
    }
}

const UNCOMPRESSED: u8 = 4;

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    const TABLE: &[(Algorithm, &RsaParameters)] = &[
        (Algorithm::Rs256, &signature::RSA_PKCS1_2048_8192_SHA256),
        (Algorithm::Rs384, &signature::RSA_PKCS1_2048_8192_SHA384),
        (Algorithm::Rs512, &signature::RSA_PKCS1_2048_8192_SHA512),
        (Algorithm::Ps256, &signature::RSA_PSS_2048_8192_SHA256),
        (Algorithm::Ps384, &signature::RSA_PSS_2048_8192_SHA384),
        (Algorithm::Ps512, &signature::RSA_PSS_2048_8192_SHA512),
    ];
    TABLE.iter().find(|(a, _)| *a == algorithm).map(|(_, p)| *p)
}

fn ecdsa_parameters(algorithm: Algorithm, curve: Curve) -> Option<&'static dyn VerificationAlgorithm> {
    const TABLE: &[(Algorithm, Curve, &signature::EcdsaVerificationAlgorithm)] = &[
        (Algorithm::Es256, Curve::P256, &signature::ECDSA_P256_SHA256_FIXED),
        (Algorithm::Es384, Curve::P384, &signature::ECDSA_P384_SHA384_FIXED),
    ];
    let row = TABLE.iter().find(|(a, c, _)| *a == algorithm && *c == curve);
    row.map(|(_, _, p)| *p as &dyn VerificationAlgorithm)
}

/// The JWK thumbprint of an RSA key (RFC 7638), in base64url: the issuer's `kid`.
pub(super) fn rsa_thumbprint(n: &[u8], e: &[u8]) -> String {
    let (n, e) = (URL_SAFE_NO_PAD.encode(n), URL_SAFE_NO_PAD.encode(e));
    let canonical = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
    URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()))
}
