//! Paths and queries: one object has one spelling, or none.

pub(crate) fn run(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
        strongroom_server::http::fuzz::path(path);
        strongroom_server::http::fuzz::query(query);
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    [
        "/keys/a/create?api-version=7.6",
        "/keys/a%252fb",
        "//keys///a/",
        "/keys/%61/0123456789abcdef0123456789abcdef/wrapkey?api-version=2026-04-01&maxresults=5",
        "/keys/a%2fb",
        "/keys/./a",
        "/keys/%2e%2e/a",
        "/keys/%c0%af",
        "/deletedkeys/a/recover",
        "/keys/é",
        "/%2Fkeys%2Fn/providers/Microsoft.Authorization/roleAssignments/1?$filter=atScope()",
        "/keys/providers/providers/Microsoft.Authorization/roleAssignments",
        "/%2f/PROVIDERS/microsoft.authorization/roleDefinitions",
        "/a%2Fproviders%2FMicrosoft.Authorization/providers/Microsoft.Authorization/x",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
