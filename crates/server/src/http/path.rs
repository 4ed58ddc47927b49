//! The request target, taken apart once: routing, authorisation and audit use the parts, never the text (DESIGN 5).

use std::borrow::Cow;
use strongroom_model::error::{BadName, BadParameter, Error, Result};

/// Most query parameters of one request; Azure's longest operation has four.
const QUERY_PARAMETERS_MAX: usize = 32;
/// Most parts of one path; the longest route has eight.
const PARTS_MAX: usize = 16;
/// Longest path in an audit record; the longest that means something is a role assignment at a key of 127 letters.
const CANONICAL_MAX: usize = 512;
/// What stands between a role scope and the rest of a role operation's path.
const AUTHORIZATION: [&str; 2] = ["providers", "Microsoft.Authorization"];

/// A path as decoded parts, none of them empty.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path<'a> {
    /// The parts of the role scope, when the path is one of a role operation.
    pub(super) scope: Option<Vec<Cow<'a, str>>>,
    /// The parts that routes match: all, or those behind the role scope and `providers/Microsoft.Authorization`.
    pub(super) parts: Vec<Cow<'a, str>>,
}

impl<'a> Path<'a> {
    /// Splits at `/`, decodes each part once, drops empty parts and refuses what no name may hold.
    pub(super) fn parse(raw: &'a str) -> Result<Self> {
        let mut parts: Vec<Cow<'a, str>> = Vec::with_capacity(6);
        for raw_part in raw.split('/').filter(|part| !part.is_empty()) {
            if parts.len() == PARTS_MAX {
                return Err(BAD_PATH);
            }
            parts.push(decode(raw_part)?);
        }
        match parts.windows(2).position(is_authorization) {
            Some(at) => {
                let rest = parts.split_off(at);
                let scope = split_again(parts)?;
                let parts: Vec<_> = rest.into_iter().skip(AUTHORIZATION.len()).collect();
                check_all(&parts)?;
                Ok(Self { scope: Some(scope), parts })
            }
            None => {
                check_all(&parts)?;
                Ok(Self { scope: None, parts })
            }
        }
    }

    /// The path in its one spelling, for the audit record; cut where no route can be any more.
    pub(super) fn canonical(&self) -> String {
        let mut text = String::with_capacity(64);
        let scope = self.scope.iter().flatten().map(Cow::as_ref);
        let marker = self.scope.is_some().then_some(AUTHORIZATION).into_iter().flatten();
        for part in scope.chain(marker).chain(self.parts.iter().map(Cow::as_ref)) {
            text.push('/');
            text.push_str(part);
            if text.len() > CANONICAL_MAX {
                text.truncate(text.floor_char_boundary(CANONICAL_MAX));
                break;
            }
        }
        if text.is_empty() {
            text.push('/');
        }
        text
    }
}

const BAD_PATH: Error = Error::BadName(BadName::Path);

fn is_authorization(pair: &[Cow<'_, str>]) -> bool {
    pair.iter().zip(AUTHORIZATION).all(|(part, word)| part.eq_ignore_ascii_case(word))
}

/// Inside a role scope an encoded slash separates like a plain one: `%2Fkeys%2Fname`.
fn split_again(parts: Vec<Cow<'_, str>>) -> Result<Vec<Cow<'_, str>>> {
    if parts.iter().all(|part| !part.contains('/')) {
        check_all(&parts)?;
        return Ok(parts);
    }
    let split: Vec<Cow<'_, str>> = parts
        .iter()
        .flat_map(|part| part.split('/'))
        .filter(|part| !part.is_empty())
        .map(|part| Cow::Owned(part.to_owned()))
        .collect();
    // Written out, such a scope would end at its first marker: the same text for two scopes.
    if split.windows(2).any(is_authorization) {
        return Err(BAD_PATH);
    }
    check_all(&split)?;
    Ok(split)
}

fn check_all(parts: &[Cow<'_, str>]) -> Result<()> {
    let plain = |part: &str| part != "." && part != ".." && !part.contains(|c: char| c == '/' || c.is_control());
    if parts.iter().all(|part| plain(part)) { Ok(()) } else { Err(BAD_PATH) }
}

/// Decodes `%XX` once; anything but two hexadecimal digits behind `%`, or bytes that are not UTF-8, is refused.
fn decode(raw: &str) -> Result<Cow<'_, str>> {
    if !raw.as_bytes().contains(&b'%') {
        return Ok(Cow::Borrowed(raw));
    }
    let mut bytes = raw.bytes();
    let mut decoded = Vec::with_capacity(raw.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
        let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else { return Err(BAD_PATH) };
        decoded.push(high << 4 | low);
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| BAD_PATH)
}

/// The query with names and values decoded, in the order sent.
pub(super) fn parse_query(raw: Option<&str>) -> Result<Vec<(String, String)>> {
    let Some(raw) = raw else { return Ok(Vec::new()) };
    let mut pairs = Vec::with_capacity(2);
    for (name, value) in form_urlencoded::parse(raw.as_bytes()) {
        if pairs.len() == QUERY_PARAMETERS_MAX {
            return Err(Error::BadParameter(BadParameter::Length {
                parameter: "query",
                min: 0,
                max: QUERY_PARAMETERS_MAX,
            }));
        }
        pairs.push((name.into_owned(), value.into_owned()));
    }
    Ok(pairs)
}

/// The first value of a query parameter; names compare without case.
pub(super) fn query_value<'q>(query: &'q [(String, String)], name: &str) -> Option<&'q str> {
    query.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_name_has_one_spelling_or_none() {
        for (raw, canonical) in [
            ("/keys/a", "/keys/a"),
            ("//keys///a/", "/keys/a"),
            ("/keys/%61", "/keys/a"),
            ("/%6beys/a", "/keys/a"),
            ("/keys/n//release", "/keys/n/release"),
            ("/keys/a%252fb", "/keys/a%2fb"),
            ("/keys/...", "/keys/..."),
            ("", "/"),
            ("///", "/"),
            (
                "/keys/providers/Microsoft.Authorization/roleAssignments",
                "/keys/providers/Microsoft.Authorization/roleAssignments",
            ),
            (
                "///PROVIDERS/microsoft.authorization/roleAssignments",
                "/providers/Microsoft.Authorization/roleAssignments",
            ),
            ("/%2Fkeys%2Fn/providers/Microsoft.Authorization/x", "/keys/n/providers/Microsoft.Authorization/x"),
            ("/%2f/providers/Microsoft.Authorization/x", "/providers/Microsoft.Authorization/x"),
        ] {
            assert_eq!(Path::parse(raw).unwrap().canonical(), canonical, "{raw}");
        }
    }

    #[test]
    fn what_no_name_may_hold_is_refused() {
        for raw in [
            "/keys/a%2fb",
            "/keys/a%2Fb",
            "/keys/./a",
            "/keys/../a",
            "/keys/%2e%2e",
            "/keys/%2E/a",
            "/keys/.%2e/a",
            "/keys/%00",
            "/keys/a%0d%0ab",
            "/keys/%7f",
            "/keys/%c2%85",
            "/keys/%c0%af",
            "/keys/%e0%80%af",
            "/keys/%ff",
            "/keys/%ed%a0%80",
            "/%",
            "/keys/%z1",
            "/keys/%1",
            "/keys/%2",
            "/keys/%+1",
            "/a%2fb/keys",
            "/%2e%2e/providers/Microsoft.Authorization/x",
            "/%2Fkeys%2F..%2Fn/providers/Microsoft.Authorization/x",
            "/keys/providers/Microsoft.Authorization/role%2fAssignments",
            "/a%2Fproviders%2FMicrosoft.Authorization/providers/Microsoft.Authorization/x",
            "/a%2Fproviders/Microsoft.Authorization%2Fb/providers/Microsoft.Authorization/x",
            "/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17",
        ] {
            assert_eq!(Path::parse(raw), Err(BAD_PATH), "{raw}");
        }
    }

    #[test]
    fn a_record_does_not_grow_with_what_strangers_send() {
        let long = format!("/keys/{}/{}", "é".repeat(10_000), "a".repeat(10_000));
        let text = Path::parse(&long).unwrap().canonical();
        assert!(text.len() <= CANONICAL_MAX && text.starts_with("/keys/éé"));
    }

    #[test]
    fn a_key_may_be_called_providers() {
        assert_eq!(Path::parse("/keys/providers/create").unwrap().scope, None);
        let roles = Path::parse("/keys/providers/providers/Microsoft.Authorization/roleAssignments").unwrap();
        assert_eq!(roles.scope.unwrap(), ["keys", "providers"]);
        assert_eq!(roles.parts, ["roleAssignments"]);
    }

    #[test]
    fn query_names_are_decoded_too() {
        let query = parse_query(Some("api%2Dversion=7.6&$filter=atScope%28%29&a=b=c&&x")).unwrap();
        assert_eq!(query_value(&query, "API-VERSION"), Some("7.6"));
        assert_eq!(query_value(&query, "$filter"), Some("atScope()"));
        assert_eq!(query_value(&query, "a"), Some("b=c"));
        assert_eq!(query_value(&query, "x"), Some(""));
        assert_eq!(query_value(&query, "y"), None);
        assert!(parse_query(Some(&"a=1&".repeat(33))).is_err());
        assert!(parse_query(None).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn a_parsed_path_holds_no_separator_and_parses_to_itself(raw in "(/|%2[fFeE]|\\.|%25|[a-z%]|[0-9]|é){0,24}") {
            if let Ok(path) = Path::parse(&raw) {
                let parts = path.scope.iter().flatten().chain(&path.parts);
                for part in parts {
                    prop_assert!(!part.is_empty() && !part.contains('/') && part != "." && part != "..");
                }
            }
        }
    }
}
