//! What this node tells about itself: whether it lives, and whether it can do its work.

use crate::http::service::Service;
use serde::Serialize;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// An answer about this node.
pub struct NodeAnswer {
    /// 200 or 503.
    pub status: u16,
    /// JSON.
    pub body: Vec<u8>,
}

/// A handler of this node's own questions.
pub type NodeHandler = fn(Arc<Service>) -> Pin<Box<dyn Future<Output = NodeAnswer> + Send>>;

#[derive(Serialize)]
struct Report<'a> {
    status: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
}

/// `GET /healthz`: the process lives and answers; what is wrong stands beside it, since a restart would not mend it.
pub fn health(service: Arc<Service>) -> Pin<Box<dyn Future<Output = NodeAnswer> + Send>> {
    Box::pin(async move { answer(200, "healthy", service.audit_trouble()) })
}

/// `GET /readyz`: can sign and can audit.
pub fn readiness(service: Arc<Service>) -> Pin<Box<dyn Future<Output = NodeAnswer> + Send>> {
    Box::pin(async move {
        let reasons = service.not_ready().await;
        if reasons.is_empty() {
            answer(200, "ready", service.degraded().await)
        } else {
            report(503, "not ready", reasons)
        }
    })
}

fn answer(status: u16, good: &str, reasons: Vec<String>) -> NodeAnswer {
    let word = if reasons.is_empty() { good } else { "degraded" };
    report(status, word, reasons)
}

fn report(status: u16, word: &str, reasons: Vec<String>) -> NodeAnswer {
    // Plain text in a plain struct: it always encodes.
    let body = serde_json::to_vec(&Report { status: word, reasons }).unwrap_or_default();
    NodeAnswer { status, body }
}
