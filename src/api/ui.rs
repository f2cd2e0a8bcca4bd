//! The page at `/`: plain files inside the binary, which ask no other server for anything.

use axum::extract::Path;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::api::error::{ApiError, ErrorKind};

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const ICON: &str = "image/svg+xml";
/// Only what this server sends may run, and it may ask this server alone.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

const PAGE: &str = include_str!("../ui/index.html");
const FILES: &[(&str, &str, &str)] = &[
    ("api.js", SCRIPT, include_str!("../ui/api.js")),
    ("chart.js", SCRIPT, include_str!("../ui/chart.js")),
    ("editor.js", SCRIPT, include_str!("../ui/editor.js")),
    ("explore.js", SCRIPT, include_str!("../ui/explore.js")),
    ("icon.svg", ICON, include_str!("../ui/icon.svg")),
    ("loglist.js", SCRIPT, include_str!("../ui/loglist.js")),
    ("logql.js", SCRIPT, include_str!("../ui/logql.js")),
    ("main.js", SCRIPT, include_str!("../ui/main.js")),
    ("rules.js", SCRIPT, include_str!("../ui/rules.js")),
    ("server.js", SCRIPT, include_str!("../ui/server.js")),
    ("sql.js", SCRIPT, include_str!("../ui/sql.js")),
    ("style.css", STYLE, include_str!("../ui/style.css")),
    ("table.js", SCRIPT, include_str!("../ui/table.js")),
];

/// `GET /`.
pub async fn page() -> Response {
    answer(HTML, PAGE)
}

/// `GET /ui/{file}`.
pub async fn file(Path(name): Path<String>) -> Result<Response, ApiError> {
    let found = FILES.iter().find(|(known, _, _)| *known == name);
    let (_, kind, text) = found.ok_or_else(|| ApiError::new(ErrorKind::NotFound, "404 page not found"))?;
    Ok(answer(kind, text))
}

fn answer(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        // A new binary brings new files under the same names.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    ];
    (headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_is_served_and_asks_no_other_server() {
        let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ui");
        let mut there: Vec<String> = std::fs::read_dir(directory)
            .expect("readable")
            .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
            .filter(|name| name != "index.html")
            .collect();
        there.sort();
        assert_eq!(there, FILES.iter().map(|(name, _, _)| *name).collect::<Vec<_>>());
        for (name, _, text) in FILES.iter().chain([&("index.html", HTML, PAGE)]) {
            let foreign = text.lines().filter(|line| line.contains("https://") || line.contains("http://"));
            let foreign: Vec<_> =
                foreign.filter(|line| !line.contains("www.w3.org/2000/svg") && !line.contains("<a href=")).collect();
            assert!(foreign.is_empty(), "{name}: {foreign:?}");
        }
    }
}
