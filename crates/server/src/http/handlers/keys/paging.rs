//! Lists: which part is asked for, and where the next one is.

use super::parse::bad;
use crate::http::call::Call;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use strongroom_engine::{Page, PageRequest};
use strongroom_model::error::{BadParameter, Result};
use strongroom_model::limits;
use strongroom_wire::keys as wire;

/// Everything but the unreserved characters of RFC 3986, 2.3.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `maxresults` and `$skiptoken`.
pub(super) fn request(call: &Call) -> Result<PageRequest> {
    let size = match call.query("maxresults") {
        None | Some("") => limits::PAGE_MAX,
        Some(text) => {
            let size: usize = text.parse().map_err(|_| bad(BadParameter::Malformed("maxresults")))?;
            if !(1..=limits::PAGE_MAX).contains(&size) {
                let max = i64::try_from(limits::PAGE_MAX).unwrap_or(i64::MAX);
                return Err(bad(BadParameter::Range { parameter: "maxresults", min: 1, max }));
            }
            size
        }
    };
    let after = call.query("$skiptoken").filter(|token| !token.is_empty()).map(str::to_owned);
    Ok(PageRequest { size, after })
}

/// The part of the list at `path`, with the link that clients follow word for word.
pub(super) fn page<'i, I, T>(call: &Call, path: &str, page: &'i Page<I>, item: impl Fn(&'i I) -> T) -> wire::Page<T> {
    let next_link = page.next.as_deref().map(|token| {
        let version = utf8_percent_encode(call.query("api-version").unwrap_or(""), ESCAPED);
        let token = utf8_percent_encode(token, ESCAPED);
        let mut link = format!("{}/{path}?api-version={version}&$skiptoken={token}", call.base);
        if let Some(size) = call.query("maxresults").filter(|size| !size.is_empty()) {
            link.push_str("&maxresults=");
            link.extend(utf8_percent_encode(size, ESCAPED));
        }
        link
    });
    wire::Page { next_link, value: page.items.iter().map(item).collect() }
}
