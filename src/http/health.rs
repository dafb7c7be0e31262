//! `/healthz`: whether this process can do its work.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Http;
use crate::store::workspace;

/// A database that takes longer is as good as gone.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// 200 while the database answers, else 503.
pub async fn health(State(http): State<Http>) -> Response {
    let services = http.services();
    let answered = tokio::time::timeout(ANSWER_WITHIN, workspace::ping(services.db.read())).await;
    let reachable = matches!(answered, Ok(Ok(())));
    let body = json!({
        "status": if reachable { "ok" } else { "unavailable" },
        "version": env!("CARGO_PKG_VERSION"),
        "database": if reachable { "ok" } else { "unreachable" },
        "timeZones": { "version": services.zones.version(), "source": services.zones.source() },
    });
    let status = if reachable {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(body)).into_response()
}
