//! What a rule names: a range of addresses, or a subnet.

use crate::error::{BadIpRule, BadParameter, Error, Result};
use crate::limits::{IP_RULE_MAX, SUBNET_ID_MAX};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A range of addresses in CIDR notation (RFC 4632, RFC 4291); `Display` is Azure's spelling: always with a prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IpRule {
    /// The first address.
    first: IpAddr,
    /// Bits that all its addresses share.
    prefix: u8,
}

impl IpRule {
    /// Parses an address, or an address with a prefix length; bits behind the prefix are cleared, as Azure does.
    ///
    /// Nothing else: no white space, no leading zeros, no zone, no IPv4 address in the dress of IPv6 (peers are compared as what they
    /// are, so such a rule could match nobody).
    pub fn parse(text: &str) -> Result<Self> {
        Self::read(text).map_err(|why| Error::BadParameter(BadParameter::IpRule(why)))
    }

    fn read(text: &str) -> std::result::Result<Self, BadIpRule> {
        if text.len() > IP_RULE_MAX {
            return Err(BadIpRule::Address);
        }
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| BadIpRule::Address)?;
        if address.to_canonical() != address {
            return Err(BadIpRule::Mapped);
        }
        let longest = width(&address);
        let prefix = prefix.map_or(Some(longest), prefix_length).filter(|p| *p <= longest);
        let prefix = prefix.ok_or(BadIpRule::Prefix)?;
        Ok(Self { first: masked(address, prefix), prefix })
    }

    /// The first address of the range.
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// The last address of the range.
    pub fn last(&self) -> IpAddr {
        match self.first {
            IpAddr::V4(first) => Ipv4Addr::from_bits(first.to_bits() | !mask4(self.prefix)).into(),
            IpAddr::V6(first) => Ipv6Addr::from_bits(first.to_bits() | !mask6(self.prefix)).into(),
        }
    }

    /// Whether an address is in the range; IPv4 in the dress of IPv6 counts as what it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && masked(address, self.prefix) == self.first
    }
}

/// One to three digits, none of them a leading zero.
fn prefix_length(text: &str) -> Option<u8> {
    let digits = (1..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    if digits && !leading_zero { text.parse().ok() } else { None }
}

fn width(address: &IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn mask4(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0)
}

fn mask6(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0)
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & mask4(prefix)).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & mask6(prefix)).into(),
    }
}

impl fmt::Display for IpRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl TryFrom<String> for IpRule {
    type Error = BadIpRule;
    fn try_from(text: String) -> std::result::Result<Self, BadIpRule> {
        Self::read(&text)
    }
}

impl From<IpRule> for String {
    fn from(rule: IpRule) -> Self {
        rule.to_string()
    }
}

/// The resource id of a subnet: `/subscriptions/{id}/resourceGroups/{group}/providers/Microsoft.Network/virtualNetworks/{network}/subnets/{subnet}`.
/// Equality, order and hash ignore ASCII case; `Display` keeps the spelling.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SubnetId(String);

/// The parts of a subnet's id; an empty one stands for a name.
const SUBNET: [&str; 10] =
    ["subscriptions", "", "resourceGroups", "", "providers", "Microsoft.Network", "virtualNetworks", "", "subnets", ""];

impl SubnetId {
    /// Parses a resource id.
    pub fn parse(text: &str) -> Result<Self> {
        let name =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._()".contains(&b));
        let parts = || text.strip_prefix('/').into_iter().flat_map(|rest| rest.split('/'));
        let fits = parts().count() == SUBNET.len()
            && parts().zip(SUBNET).all(|(part, wanted)| match wanted {
                "" => name(part),
                wanted => part.eq_ignore_ascii_case(wanted),
            });
        match text.len() <= SUBNET_ID_MAX && fits {
            true => Ok(Self(text.to_owned())),
            false => Err(Error::BadParameter(BadParameter::Malformed("networkAcls.virtualNetworkRules[].id"))),
        }
    }

    /// As it was spelled.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn folded(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.bytes().map(|b| b.to_ascii_lowercase())
    }
}

impl PartialEq for SubnetId {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}
impl Eq for SubnetId {}
impl Ord for SubnetId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded().cmp(other.folded())
    }
}
impl PartialOrd for SubnetId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Hash for SubnetId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for byte in self.folded() {
            state.write_u8(byte);
        }
        state.write_u8(0xff);
    }
}
impl fmt::Display for SubnetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SubnetId {
    type Error = &'static str;
    fn try_from(text: String) -> std::result::Result<Self, &'static str> {
        Self::parse(&text).map_err(|_| {
            "expected the resource id of a subnet: \
             /subscriptions/ID/resourceGroups/GROUP/providers/Microsoft.Network/virtualNetworks/NETWORK/subnets/SUBNET"
        })
    }
}

impl From<SubnetId> for String {
    fn from(id: SubnetId) -> Self {
        id.0
    }
}
