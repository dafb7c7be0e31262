//! Webhooks as a kind of transport: the one that needs no sender.

use tokio_util::sync::CancellationToken;

use super::{Webhook, WebhookRequest, WebhookSecret};
use crate::channel::carrier::{Carrier, Doing, Opener, Route, SenderProbe, misfit, unopened};
use crate::channel::letter::{Prepared, Sent};
use crate::channel::web::Web;
use crate::domain::outcome::{Outcome, Phase};
use crate::domain::sender::check::Finding;

/// Calls webhooks in the name of workspaces.
pub(in crate::channel) struct WebhookCarrier {
    webhook: Webhook,
    opener: Opener,
}

impl WebhookCarrier {
    /// Calls by these requests.
    pub fn new(web: Web, opener: Opener) -> Self {
        let webhook = Webhook::new(web);
        Self { webhook, opener }
    }

    async fn call(&self, route: &Route, request: &WebhookRequest) -> Result<Outcome, Outcome> {
        let secret = self.opener.open(route, Phase::Webhook)?;
        let secret = WebhookSecret::parse(secret.reveal())
            .map_err(|error| unopened(Phase::Webhook, error.to_string()))?;
        Ok(self.webhook.send(request, &secret).await)
    }
}

impl Carrier for WebhookCarrier {
    fn send<'a>(
        &'a self,
        route: &'a Route,
        message: &'a Prepared,
        _: &'a CancellationToken,
    ) -> Option<Doing<'a, Sent>> {
        let Route::Webhook(_) = route else {
            return None;
        };
        Some(Box::pin(async move {
            let Prepared::Webhook(request) = message else {
                return misfit().into();
            };
            let (Ok(outcome) | Err(outcome)) = self.call(route, request).await;
            outcome.into()
        }))
    }

    /// No sender is one of webhooks.
    fn check<'a>(&'a self, _: &'a SenderProbe, _: &'a mut Vec<Finding>) -> Option<Doing<'a, ()>> {
        None
    }
}
