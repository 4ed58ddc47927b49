//! Lists: which part is asked for, and where the next one is.

use super::parse::bad;
use crate::http::call::Call;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use strongroom_engine::{Page, PageRequest};
use strongroom_model::error::{BadParameter, Result};
use strongroom_model::limits;
use strongroom_wire::keys as wire;

/// Everything but the unreserved characters of RFC 3986, 2.3.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A value of a query as it stands in a link.
pub(in crate::http::handlers) fn escape(value: &str) -> PercentEncode<'_> {
    utf8_percent_encode(value, ESCAPED)
}

/// What the query says about the part of a list; an empty value counts as absent.
pub(super) struct Asked<'a> {
    base: &'a str,
    version: &'a str,
    size: Option<&'a str>,
    after: Option<&'a str>,
}

impl<'a> Asked<'a> {
    pub(super) fn of(call: &'a Call) -> Self {
        let given = |name| call.query(name).filter(|value| !value.is_empty());
        Self {
            base: &call.base,
            version: call.query("api-version").unwrap_or_default(),
            size: given("maxresults"),
            after: given("$skiptoken"),
        }
    }

    /// `maxresults` and `$skiptoken`.
    pub(super) fn request(&self) -> Result<PageRequest> {
        let parse = |text: &str| text.parse::<i64>().map_err(|_| bad(BadParameter::Malformed("maxresults")));
        let size = match self.size.map(parse).transpose()? {
            None => limits::PAGE_MAX,
            Some(size) => {
                let fits = usize::try_from(size).ok().filter(|size| (1..=limits::PAGE_MAX).contains(size));
                let max = i64::try_from(limits::PAGE_MAX).unwrap_or(i64::MAX);
                fits.ok_or(bad(BadParameter::Range { parameter: "maxresults", min: 1, max }))?
            }
        };
        Ok(PageRequest { size, after: self.after.map(str::to_owned) })
    }

    /// The part of the list at `path`, with the link that clients follow word for word.
    pub(super) fn page<'i, I, T>(&self, path: &str, page: &'i Page<I>, item: impl Fn(&'i I) -> T) -> wire::Page<T> {
        let next_link = page.next.as_deref().map(|token| {
            let version = escape(self.version);
            let token = escape(token);
            let mut link = format!("{}/{path}?api-version={version}&$skiptoken={token}", self.base);
            if let Some(size) = self.size {
                link.push_str("&maxresults=");
                link.extend(escape(size));
            }
            link
        });
        wire::Page { next_link, value: page.items.iter().map(item).collect() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ASKED: Asked<'static> = Asked { base: "https://h:8443", version: "7.6", size: None, after: None };

    #[test]
    fn sizes_are_1_to_25() {
        assert_eq!(ASKED.request().unwrap().size, 25);
        let size = |text| Asked { size: Some(text), ..ASKED }.request().map(|r| r.size);
        assert_eq!((size("1"), size("25")), (Ok(1), Ok(25)));
        for bad in ["0", "26", "-1", "1000000000000"] {
            let range = BadParameter::Range { parameter: "maxresults", min: 1, max: 25 };
            assert_eq!(size(bad), Err(super::bad(range)), "{bad}");
        }
        for bad in ["a", "5 ", "5.0", "99999999999999999999"] {
            assert_eq!(size(bad), Err(super::bad(BadParameter::Malformed("maxresults"))), "{bad}");
        }
    }

    #[test]
    fn links_are_escaped_and_lead_to_the_same_question() {
        let page = Page { items: vec![1], next: Some("a+/=&#%é".into()) };
        let asked = Asked { version: "2026-07-01 x", size: Some("3"), ..ASKED };
        let link = asked.page("keys", &page, |i| *i).next_link.unwrap();
        assert_eq!(
            link,
            "https://h:8443/keys?api-version=2026-07-01%20x&$skiptoken=a%2B%2F%3D%26%23%25%C3%A9&maxresults=3"
        );
        let query = link.split_once('?').unwrap().1;
        let read: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        assert_eq!(read[1], ("$skiptoken".into(), "a+/=&#%é".into()));
        assert!(!ASKED.page("keys", &page, |i| *i).next_link.unwrap().contains("maxresults"));
        let last = serde_json::to_string(&ASKED.page("keys", &Page { items: vec![1], next: None }, |i| *i)).unwrap();
        assert_eq!(last, r#"{"nextLink":null,"value":[1]}"#);
    }
}
