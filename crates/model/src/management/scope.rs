//! Where a role of the management plane holds: a subscription, a group, a resource, as the path of its id.

use crate::error::{ManagementError, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// Most parts of a scope: a resource below a resource has ten.
const PARTS_MAX: usize = 12;
/// Longest part.
const PART_MAX: usize = 260;

/// A scope: equality ignores case, `Display` keeps the spelling.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scope {
    text: String,
    folded: String,
}

impl Scope {
    /// `/subscriptions/{id}`
    pub fn subscription(id: Uuid) -> Self {
        Self::of(format!("/subscriptions/{id}"))
    }

    /// A scope below this one: `rest` begins with a slash.
    pub fn below(&self, rest: &str) -> Self {
        Self::of(format!("{}{rest}", self.text))
    }

    fn of(text: String) -> Self {
        Self { folded: text.to_ascii_lowercase(), text }
    }

    /// From the decoded, non-empty parts of a path: `subscriptions/{guid}` and what lies below it.
    pub fn from_parts<'a>(parts: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let parts: Vec<&str> = parts.into_iter().collect();
        let [word, id, rest @ ..] = parts.as_slice() else { return Err(ManagementError::BadScope.into()) };
        let fits = word.eq_ignore_ascii_case("subscriptions")
            && Uuid::parse_str(id).is_ok()
            && parts.len() <= PARTS_MAX
            && parts.iter().all(|part| part.len() <= PART_MAX)
            && shape(rest);
        if fits { Ok(Self::of(format!("/{}", parts.join("/")))) } else { Err(ManagementError::BadScope.into()) }
    }

    /// Parses a resource id; repeated slashes count as one.
    pub fn parse(text: &str) -> Result<Self> {
        Self::from_parts(text.split('/').filter(|part| !part.is_empty()))
    }

    /// The form that comparisons use.
    pub fn folded(&self) -> &str {
        &self.folded
    }

    /// Whether what is given here holds at `other`.
    pub fn covers(&self, other: &Self) -> bool {
        match other.folded.strip_prefix(&self.folded) {
            Some(rest) => rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }

    /// Whether this is a subscription itself.
    pub fn is_subscription(&self) -> bool {
        self.folded.split('/').count() == 3
    }

    /// The subscription it lies in.
    pub fn subscription_id(&self) -> Option<Uuid> {
        self.folded.split('/').nth(2).and_then(|id| Uuid::parse_str(id).ok())
    }
}

/// Nothing, or a group, and behind either nothing or a provider with pairs of type and name.
fn shape(rest: &[&str]) -> bool {
    let behind = match rest {
        [word, _, behind @ ..] if word.eq_ignore_ascii_case("resourceGroups") => behind,
        other => other,
    };
    match behind {
        [] => true,
        [word, _, pairs @ ..] => word.eq_ignore_ascii_case("providers") && !pairs.is_empty() && pairs.len() % 2 == 0,
        [_] => false,
    }
}

impl PartialEq for Scope {
    fn eq(&self, other: &Self) -> bool {
        self.folded == other.folded
    }
}
impl Eq for Scope {}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ID: &str = "/subscriptions/00000000-0000-0000-0000-000000000001";

    #[test]
    fn scopes_inherit_downwards_only() {
        let scope = |rest: &str| Scope::parse(&format!("{ID}{rest}")).unwrap();
        let (root, group) = (scope(""), scope("/resourceGroups/G"));
        let hsm = scope("/resourcegroups/g/providers/Microsoft.KeyVault/managedHSMs/h");
        assert!(root.covers(&group) && group.covers(&hsm) && root.covers(&hsm) && hsm.covers(&hsm));
        assert!(!hsm.covers(&group) && !group.covers(&root) && !group.covers(&scope("/resourceGroups/G2")));
        assert!(root.is_subscription() && !group.is_subscription());
        assert_eq!(hsm.subscription_id(), Some(Uuid::from_u128(1)));
        assert_eq!(hsm.to_string(), format!("{ID}/resourcegroups/g/providers/Microsoft.KeyVault/managedHSMs/h"));
    }

    #[test]
    fn what_is_no_scope_is_refused() {
        for bad in ["", "/", "/subscriptions", "/subscriptions/x", "/keys/a"] {
            assert!(Scope::parse(bad).is_err(), "{bad}");
        }
        for bad in
            ["/x", "/resourceGroups", "/resourceGroups/g/x", "/providers/p", "/providers/p/t", "/providers/p/t/n/t"]
        {
            assert!(Scope::parse(&format!("{ID}{bad}")).is_err(), "{bad}");
        }
        assert!(Scope::parse(&format!("{ID}/resourceGroups/{}", "g".repeat(300))).is_err());
    }
}
