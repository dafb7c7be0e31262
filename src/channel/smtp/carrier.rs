//! SMTP as a kind of transport: a pool of connections for each sender, made anew when the sender
//! changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::{Proof, Security, SmtpConfig, SmtpLogin, SmtpPool, check};
use crate::channel::carrier::{Carrier, Doing, Opener, Route, SenderProbe, SenderRoute, misfit};
use crate::channel::letter::{Prepared, Sent};
use crate::channel::oauth::{AccessTokens, GrantOf, TokenSource};
use crate::domain::id::SenderId;
use crate::domain::network::Reach;
use crate::domain::oauth::MailLogin;
use crate::domain::outcome::{Outcome, Phase};
use crate::domain::sender::check::Finding;
use crate::domain::sender::{SmtpSecurity, SmtpTransport, Transport};

/// Sends emails for senders.
pub(in crate::channel) struct SmtpCarrier {
    hello_name: String,
    connections_max: usize,
    reach: Reach,
    opener: Opener,
    tokens: Arc<dyn AccessTokens>,
    pools: Mutex<HashMap<SenderId, (i32, Arc<SmtpPool>)>>,
}

impl SmtpCarrier {
    /// Introduces itself as `hello_name`, opens at most so many connections for a sender, and none
    /// beyond `reach`; passwords and access tokens are asked for there.
    pub fn new(
        hello_name: String,
        connections_max: usize,
        reach: Reach,
        (opener, tokens): (Opener, Arc<dyn AccessTokens>),
    ) -> Self {
        Self {
            hello_name,
            connections_max,
            reach,
            opener,
            tokens,
            pools: Mutex::default(),
        }
    }

    /// The sender's pool, made anew when the sender has changed.
    fn pool(&self, route: &SenderRoute, smtp: &SmtpTransport) -> Result<Arc<SmtpPool>, Outcome> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((revision, pool)) = pools.get(&route.sender)
            && *revision == route.revision
        {
            return Ok(Arc::clone(pool));
        }
        let pool = Arc::new(SmtpPool::new(self.config(route, smtp)?));
        // What still uses the old pool keeps it until it is done.
        pools.insert(route.sender, (route.revision, Arc::clone(&pool)));
        Ok(pool)
    }

    fn config(&self, route: &SenderRoute, smtp: &SmtpTransport) -> Result<SmtpConfig, Outcome> {
        let security = match smtp.security {
            SmtpSecurity::None => Security::None,
            SmtpSecurity::Starttls => Security::StartTls,
            SmtpSecurity::Tls => Security::Tls,
        };
        let mut config = SmtpConfig::new(smtp.host.clone(), smtp.port, security);
        config.hello_name = self.hello_name.clone();
        config.max_connections = self.connections_max;
        config.reach = self.reach.clone();
        if let Some(username) = &smtp.username {
            let proof = self.proof(route, smtp)?;
            config.login = Some(SmtpLogin {
                username: username.clone(),
                proof,
            });
        }
        Ok(config)
    }

    /// By what somebody logs in. A token of a grant is asked for when a connection is opened.
    fn proof(&self, route: &SenderRoute, smtp: &SmtpTransport) -> Result<Proof, Outcome> {
        let of = GrantOf {
            workspace: route.workspace,
            sender: route.sender,
        };
        if smtp.login == MailLogin::Xoauth2 && route.secret.is_none() {
            return Ok(Proof::Token(TokenSource::Grant(
                Arc::clone(&self.tokens),
                of,
            )));
        }
        let secret = self
            .opener
            .open(&Route::Sender(route.clone()), Phase::Auth)?;
        Ok(match smtp.login {
            MailLogin::Password => Proof::Password(secret),
            MailLogin::Xoauth2 => Proof::Token(TokenSource::Written(secret)),
        })
    }
}

impl Carrier for SmtpCarrier {
    fn send<'a>(
        &'a self,
        route: &'a Route,
        message: &'a Prepared,
        stopping: &'a CancellationToken,
    ) -> Option<Doing<'a, Sent>> {
        let Some((sender, Transport::Smtp(smtp))) = route.through() else {
            return None;
        };
        Some(Box::pin(async move {
            let Prepared::Email(email) = message else {
                return misfit().into();
            };
            match self.pool(sender, smtp) {
                Ok(pool) => pool.send_unless(stopping, email).await.into(),
                Err(outcome) => outcome.into(),
            }
        }))
    }

    fn check<'a>(
        &'a self,
        probe: &'a SenderProbe,
        found: &'a mut Vec<Finding>,
    ) -> Option<Doing<'a, ()>> {
        let Transport::Smtp(smtp) = &probe.route.transport else {
            return None;
        };
        Some(Box::pin(async move {
            match self.config(&probe.route, smtp) {
                Ok(config) => check::check(config, &probe.address, found).await,
                Err(outcome) => found.extend(Finding::of(&outcome)),
            }
        }))
    }

    fn close(&self) -> Doing<'_, ()> {
        Box::pin(async {
            let pools: Vec<Arc<SmtpPool>> = {
                let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
                pools.drain().map(|(_, (_, pool))| pool).collect()
            };
            for pool in pools {
                pool.close().await;
            }
        })
    }
}
