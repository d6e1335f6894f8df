//! Which request gets what.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::guard::{self, Guard};
use super::live::tell;
use super::prometheus;
use super::report::{self, Extent};
use super::shared::Shared;

/// All of them, behind `guard`.
pub(super) fn router(guard: Guard, shared: Arc<Shared>) -> Router {
    let file =
        |kind: &'static str, text: &'static str| get(move || async move { ([(CONTENT_TYPE, kind)], text) });
    Router::new()
        .route("/", file("text/html; charset=utf-8", include_str!("page/index.html")))
        .route("/status.css", file("text/css; charset=utf-8", include_str!("page/status.css")))
        .route("/status.js", file("text/javascript; charset=utf-8", include_str!("page/status.js")))
        .route("/api", get(api))
        .route("/metrics", get(metrics))
        .route("/live", get(live))
        .layer(middleware::from_fn_with_state(Arc::new(guard), guard::check))
        .with_state(shared)
}

async fn api(State(shared): State<Arc<Shared>>) -> Response {
    let report = report::report(&*shared.monitor, &shared.samples, &Extent::EVERYTHING);
    ([(CONTENT_TYPE, "application/json")], report.to_string()).into_response()
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let text = prometheus::metrics(&*shared.monitor);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn live(State(shared): State<Arc<Shared>>) -> Response {
    tell(shared).into_response()
}
