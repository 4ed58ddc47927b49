//! The pages: HTML without scripts, frames, or anything from elsewhere.

use super::redirect::{Parameters, source};
use super::ticket::Authorization;
use crate::identity::answer::{IdentityAnswer, Page};
use crate::identity::directory::sha256_of;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt::{self, Display, Write};
use std::sync::LazyLock;
use zeroize::Zeroizing;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:0;background:#f4f5f7;color:#1b1f24}\
main{max-width:26rem;margin:10vh auto;padding:2rem;background:#fff;border:1px solid #d8dce1;border-radius:8px}\
h1{font-size:1.3rem;margin-top:0}label{display:block;margin-top:1rem}\
input{width:100%;box-sizing:border-box;padding:.5rem;font:inherit;border:1px solid #8a929c;border-radius:4px}\
button{margin:1.5rem .5rem 0 0;padding:.5rem 1.5rem;font:inherit;border:1px solid #1f4f8f;border-radius:4px;background:#fff;\
color:#1f4f8f}button[value=go]{background:#1f4f8f;color:#fff}.wrong{color:#a1201d}dt{font-weight:600}dd{margin:0 0 .5rem}";

/// The one style sheet by its hash: no other counts.
static STYLE_HASH: LazyLock<String> = LazyLock::new(|| STANDARD.encode(sha256_of(STYLE.as_bytes())));

/// Text of anybody's, made harmless in HTML's text and quoted attributes.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                plain => f.write_char(plain)?,
            }
        }
        Ok(())
    }
}

/// What the sign-in page says.
pub(super) struct SignInPage<'a> {
    pub(super) ticket: &'a str,
    pub(super) client: &'a str,
    /// Where the request came from, when it was made on another device.
    pub(super) device: Option<String>,
    pub(super) user_name: &'a str,
    pub(super) wrong: Option<&'a str>,
    /// Where the answer will go, if to a program.
    pub(super) target: Option<&'a str>,
}

impl SignInPage<'_> {
    pub(super) fn answer(&self, status: u16, cookie: Option<String>) -> IdentityAnswer {
        let mut body = String::new();
        let told = self.device.as_ref().map_or_else(String::new, |from| {
            format!(
                "<p>Another device asks to be signed in. Go on only if you started this yourself, just now.</p>\
                 <dl><dt>Asked from</dt><dd>{}</dd></dl>",
                Text(from)
            )
        });
        let name = if self.user_name.is_empty() { " autofocus" } else { "" };
        let password = if self.user_name.is_empty() { "" } else { " autofocus" };
        let _infallible = write!(
            body,
            "<h1>Sign in</h1><dl><dt>Program</dt><dd>{}</dd></dl>{told}{}\
             <form method=\"post\" action=\"/sign-in\"><input type=\"hidden\" name=\"ticket\" value=\"{}\">\
             <label for=\"u\">User name</label>\
             <input id=\"u\" name=\"username\" autocomplete=\"username\" autocapitalize=\"none\" value=\"{}\" required{name}>\
             <label for=\"p\">Password</label>\
             <input id=\"p\" name=\"password\" type=\"password\" autocomplete=\"current-password\" required{password}>\
             <button name=\"action\" value=\"go\">Sign in</button>\
             <button name=\"action\" value=\"cancel\" formnovalidate>Cancel</button></form>",
            Text(self.client),
            wrong(self.wrong),
            Text(self.ticket),
            Text(self.user_name),
        );
        page(status, "Sign in", &body, self.target.map(source).as_deref(), cookie)
    }
}

/// Asks for the user code of a device.
pub(super) fn enter_code(
    status: u16,
    ticket: &str,
    wrong_code: Option<&str>,
    cookie: Option<String>,
) -> IdentityAnswer {
    let body = format!(
        "<h1>Enter the code</h1><p>Type the code that the program on your other device shows.</p>{}\
         <form method=\"post\" action=\"/device\"><input type=\"hidden\" name=\"ticket\" value=\"{}\">\
         <label for=\"c\">Code</label>\
         <input id=\"c\" name=\"user_code\" autocomplete=\"off\" autocapitalize=\"characters\" spellcheck=\"false\" required autofocus>\
         <button name=\"action\" value=\"go\">Next</button></form>",
        wrong(wrong_code),
        Text(ticket),
    );
    page(status, "Enter the code", &body, None, cookie)
}

/// Says one thing.
pub(super) fn message(status: u16, title: &str, text: &str, cookie: Option<String>) -> IdentityAnswer {
    let body = format!("<h1>{}</h1><p>{}</p>", Text(title), Text(text));
    page(status, title, &body, None, cookie)
}

/// Takes the answer to the program by a form (OAuth 2.0 Form Post Response Mode), which the person sends off.
pub(super) fn form_post(authorization: &Authorization, parameters: &Parameters) -> IdentityAnswer {
    let mut body = format!(
        "<h1>Back to the program</h1><p>Press the button to go back to the program that asked you to sign in.</p>\
         <form method=\"post\" action=\"{}\">",
        Text(&authorization.redirect_uri)
    );
    for (name, value) in parameters {
        let _infallible = write!(body, "<input type=\"hidden\" name=\"{}\" value=\"{}\">", Text(name), Text(value));
    }
    body.push_str("<button value=\"go\" autofocus>Continue</button></form>");
    page(200, "Back to the program", &body, Some(&source(&authorization.redirect_uri)), None)
}

/// Sends the browser on.
pub(super) fn redirect(location: String) -> IdentityAnswer {
    let mut answer = message(303, "Back to the program", "The browser goes back to the program.", None);
    if let Some(page) = answer.page.as_mut() {
        page.location = Some(location);
    }
    answer
}

fn wrong(text: Option<&str>) -> String {
    text.map_or_else(String::new, |text| format!("<p class=\"wrong\" role=\"alert\">{}</p>", Text(text)))
}

fn page(status: u16, title: &str, body: &str, target: Option<&str>, cookie: Option<String>) -> IdentityAnswer {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{}</title><style>{STYLE}</style></head>\
         <body><main>{body}</main></body></html>",
        Text(title)
    );
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action 'self'{}{}; base-uri 'none'; frame-ancestors 'none'",
        *STYLE_HASH,
        if target.is_some() { " " } else { "" },
        target.unwrap_or_default(),
    );
    IdentityAnswer {
        status,
        page: Some(Page { policy, location: None, cookie }),
        ..IdentityAnswer::of(Zeroizing::new(html.into_bytes()), "no-store")
    }
}

#[cfg(test)]
mod tests {
    use super::Text;

    #[test]
    fn text_stays_text() {
        assert_eq!(Text("<a href='x' b=\"y\">&").to_string(), "&lt;a href=&#39;x&#39; b=&quot;y&quot;&gt;&amp;");
    }
}
