//! Twilio's API as a kind of transport.

use tokio_util::sync::CancellationToken;

use super::{Twilio, TwilioAccount};
use crate::channel::carrier::{Carrier, Doing, Opener, Route, SenderProbe, SenderRoute, misfit};
use crate::channel::letter::{Prepared, Sent};
use crate::channel::text::TextMessage;
use crate::channel::web::Web;
use crate::domain::outcome::{Outcome, Phase};
use crate::domain::sender::check::Finding;
use crate::domain::sender::{Transport, TwilioTransport};
use crate::domain::texting::INBOUND_AT;
use crate::domain::tracking::BaseUrl;

/// Sends text and WhatsApp messages for senders.
pub(in crate::channel) struct TwilioCarrier {
    twilio: Twilio,
    opener: Opener,
    public_url: Option<BaseUrl>,
}

impl TwilioCarrier {
    /// Sends by these requests; how far messages are is told to `public_url`.
    pub fn new(web: Web, opener: Opener, public_url: Option<BaseUrl>) -> Self {
        let twilio = Twilio::new(web);
        Self {
            twilio,
            opener,
            public_url,
        }
    }

    /// Where the provider tells how far a message of a sender is: the address names both, and is signed
    /// with what it tells. Providers take none that is not of the Internet at large.
    fn status_callback(&self, route: &SenderRoute, text: &TextMessage) -> Option<String> {
        let base = self.public_url.as_ref().filter(|base| base.is_secure())?;
        let (sender, execution) = (route.sender, &text.idempotency_key);
        Some(format!("{base}{INBOUND_AT}{sender}/{execution}"))
    }

    fn account(
        &self,
        route: &SenderRoute,
        transport: &TwilioTransport,
    ) -> Result<TwilioAccount, Outcome> {
        let auth_token = self
            .opener
            .open(&Route::Sender(route.clone()), Phase::Api)?;
        Ok(TwilioAccount {
            base_url: transport.base_url.clone(),
            account_sid: transport.account_sid.clone(),
            auth_token,
            status_callback: None,
        })
    }
}

impl Carrier for TwilioCarrier {
    fn send<'a>(
        &'a self,
        route: &'a Route,
        message: &'a Prepared,
        _: &'a CancellationToken,
    ) -> Option<Doing<'a, Sent>> {
        let Some((sender, Transport::Twilio(transport))) = route.through() else {
            return None;
        };
        Some(Box::pin(async move {
            let Prepared::Text(text) = message else {
                return misfit().into();
            };
            match self.account(sender, transport) {
                Ok(mut account) => {
                    account.status_callback = self.status_callback(sender, text);
                    self.twilio.send(&account, text).await.into()
                }
                Err(outcome) => outcome.into(),
            }
        }))
    }

    fn check<'a>(
        &'a self,
        probe: &'a SenderProbe,
        found: &'a mut Vec<Finding>,
    ) -> Option<Doing<'a, ()>> {
        let Transport::Twilio(transport) = &probe.route.transport else {
            return None;
        };
        Some(Box::pin(async move {
            match self.account(&probe.route, transport) {
                Ok(account) => self.twilio.check(&account, &probe.address, found).await,
                Err(outcome) => found.extend(Finding::of(&outcome)),
            }
        }))
    }
}
