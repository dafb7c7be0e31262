//! What refreshes of senders' access tokens bring is kept, and nothing else is: where grants come and go, where
//! the database is away, where a server ends, and where a token server gives half of what it should.

use std::sync::Arc;
use std::time::Duration as Span;

use cadenza::app::token::access::RateLimit;
use cadenza::channel::oauth::{AccessTokens, TokenError};
use cadenza::channel::smtp::Secret;
use cadenza::channel::web::WebConfig;
use cadenza::clock::{Clock, from_ms};
use cadenza::domain::id::WorkerId;
use cadenza::domain::network::{Networks, Reach};
use cadenza::entropy::Entropy;
use cadenza::http;
use cadenza::secrets::Secrets;
use cadenza::server::{Config, Server};
use cadenza::store::grant::{self, Refresh};
use cadenza::store::mailbox::{self, Held};
use cadenza::store::{Db, sender, worker};
use chrono::Duration;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;
use uuid::Uuid;

use crate::harness::{Harness, Kind, both, until};
use crate::leads::later;
use crate::oauth::{
    TokenServer, ada, local, made, node, of, refusal, row, seen, sender_id, smtp, update,
};
use crate::sequences::refusals;
use crate::web_sink::Reply;

async fn is_asked(tokens: &TokenServer, times: usize) {
    until("the token server is asked", async || {
        (tokens.asked() == times).then_some(())
    })
    .await;
}

both!(
    a_late_refresh_is_nothing_to_a_grant_that_was_written_anew,
    |h: Harness| async move {
        let h = local(h);
        let tokens = TokenServer::start().await;
        let ada = made(&h, ada(25, &tokens)).await;
        let (id, grant_of, told) = (&ada["id"], of(&h, &ada["id"]), Arc::new(Notify::new()));
        let before = row(&h, id).await.expect("a grant");
        tokens.script(Reply::SayOnce(Arc::clone(&told), 200, String::new()));
        let late = node(&h.services);
        let late = tokio::spawn(async move { late.grants.token(grant_of, None).await });
        is_asked(&tokens, 1).await;
        let none = json!({ "id": id, "oauth": null, "transport": { "outbox": {} } });
        assert_eq!(update(&h, none).await["userErrors"], json!([]));
        assert!(row(&h, id).await.is_none());
        let mut input = tokens.input();
        input["refreshToken"] = json!("refresh-zzq-1");
        let again = json!({ "id": id, "oauth": input, "transport": smtp(25) });
        assert_eq!(update(&h, again).await["userErrors"], json!([]));
        let again = row(&h, id).await.expect("a grant");
        assert_eq!(again.generation, before.generation);
        told.notify_one();
        // What the old one brought is nobody's: the new one is asked for its own.
        let token = late.await.expect("ends");
        assert_eq!(token, Ok(Secret::new("access-zzq-2")));
        assert_eq!(tokens.asked(), 2);
        let kept = row(&h, id).await.expect("a grant");
        assert_eq!(kept.grant_id, again.grant_id);
    }
);

both!(
    a_refresh_token_that_comes_alone_is_kept,
    |h: Harness| async move {
        let h = local(h);
        let tokens = TokenServer::start().await;
        let ada = made(&h, ada(25, &tokens)).await;
        let (id, grant_of) = (&ada["id"], of(&h, &ada["id"]));
        let body = json!({ "access_token": "x".repeat(8_193), "refresh_token": "rotated-zzq" });
        tokens.script(Reply::Say(200, Vec::new(), body.to_string()));
        tokens.state.lock().expect("state").refresh = "rotated-zzq".into();
        let none = h.services.grants.token(grant_of, None).await;
        assert!(matches!(&none, Err(TokenError::Later { .. })), "{none:?}");
        let oauth = seen(&h, id).await["oauth"].take();
        assert_eq!(oauth["state"], "FAILING");
        let problem = oauth["problem"].as_str().unwrap_or_default();
        assert!(problem.contains("none that a login can hold"), "{problem}");
        later(&h, Duration::minutes(1));
        let token = h.services.grants.token(grant_of, None).await;
        assert_eq!(token, Ok(Secret::new("access-zzq-1")));
    }
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_got_is_kept_once_the_database_takes_it() {
    crate::harness::run(Kind::Postgres, |h: Harness| async move {
        let h = local(h);
        let tokens = TokenServer::start().await;
        let ada = made(&h, ada(25, &tokens)).await;
        for statement in [
            "CREATE SEQUENCE tries",
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF NEW.generation > OLD.generation AND nextval('tries') <= 4 THEN
                     RAISE EXCEPTION 'not now' USING ERRCODE = '40001';
                 END IF;
                 RETURN NEW;
             END $$",
            "CREATE TRIGGER refuse BEFORE UPDATE ON sender_grant
                 FOR EACH ROW EXECUTE FUNCTION refuse()",
        ] {
            let done = h.services.db.write().execute_unprepared(statement).await;
            done.expect(statement);
        }
        let token = h.services.grants.token(of(&h, &ada["id"]), None).await;
        assert_eq!(token, Ok(Secret::new("access-zzq-1")));
        assert_eq!(tokens.asked(), 1);
    })
    .await;
}

both!(
    a_server_that_ends_waits_for_what_a_token_server_gives,
    |h: Harness| async move {
        let tokens = TokenServer::start().await;
        let ada = made(&h, ada(25, &tokens)).await;
        let (grant_of, told) = (of(&h, &ada["id"]), Arc::new(Notify::new()));
        tokens.script(Reply::SayOnce(Arc::clone(&told), 200, String::new()));
        let config = Config {
            listen: "127.0.0.1:0".parse().expect("an address"),
            lease: Span::from_secs(30),
            shutdown_within: Span::from_millis(50),
            http: http::Options::default(),
            rate_limit: RateLimit::default(),
            web: WebConfig {
                allowed_networks: Networks::read(["127.0.0.0/8"]).expect("a network"),
                ..WebConfig::default()
            },
            smtp_reach: Reach::default(),
            name_servers: Vec::new(),
            hello_name: None,
            public_url: None,
            lock: None,
        };
        let db = Db::connect(&h.url).await.expect("opens");
        let secrets = Secrets::from_key([7; 32]);
        let server = Server::start(config, db, Clock::system(), Entropy::system(), secrets);
        let server = server.await.expect("starts");
        let services = server.services().clone();
        let (end, ended) = oneshot::channel::<()>();
        let mut running = tokio::spawn(server.run_until(async {
            ended.await.expect("told to end");
        }));
        let asking = tokio::spawn(async move { services.grants.token(grant_of, None).await });
        is_asked(&tokens, 1).await;
        asking.abort();
        end.send(()).expect("it runs");
        // Its time to end is long over, and it is there all the same.
        let early = timeout(Span::from_secs(1), &mut running).await;
        assert!(early.is_err(), "{early:?}");
        told.notify_one();
        running.await.expect("no panic").expect("ends well");
        assert_eq!(seen(&h, &ada["id"]).await["oauth"]["state"], "READY");
    }
);

both!(
    nobody_but_a_check_begins_a_refresh_in_a_pause,
    |h: Harness| async move {
        let h = local(h);
        let tokens = TokenServer::start().await;
        let ada = made(&h, ada(25, &tokens)).await;
        let (id, grant_of) = (&ada["id"], of(&h, &ada["id"]));
        // A check that fails is noted, and holds nobody up.
        tokens.script(refusal("invalid_grant"));
        let checked = h.services.grants.refresh(grant_of).await;
        assert!(
            matches!(checked, Err(TokenError::Refused(_))),
            "{checked:?}"
        );
        let noted = row(&h, id).await.expect("a grant");
        assert_eq!(
            (noted.state.as_str(), noted.failures, noted.retry_at),
            ("REFUSED", 0, None)
        );
        // A pause that a token server asks for is kept, and not for a day.
        for checks in [false, true] {
            let header = vec![("retry-after", "86400".to_owned())];
            tokens.script(Reply::Say(429, header, String::new()));
            let failed = match checks {
                true => h.services.grants.refresh(grant_of).await,
                false => h.services.grants.token(grant_of, None).await.map(drop),
            };
            assert!(
                matches!(failed, Err(TokenError::Later { .. })),
                "{failed:?}"
            );
            let resting = row(&h, id).await.expect("a grant");
            assert_eq!(resting.failures, 1, "of the one that was no check");
            let pause = resting.retry_at.map(from_ms).expect("a pause") - h.clock.now();
            assert_eq!(pause, Duration::minutes(5));
        }
        // Who has read the row before the pause began finds it when it begins.
        let resting = row(&h, id).await.expect("a grant");
        let (now, db) = (h.clock.now(), h.services.db.write());
        let span = (now, now + Duration::minutes(1));
        let refresh = Refresh::of(&resting, Uuid::from_bytes([7; 16]));
        assert!(!grant::begin(db, refresh, span, false).await.expect("asked"));
        assert!(grant::begin(db, refresh, span, true).await.expect("asked"));
        later(&h, Duration::minutes(5));
        let token = h.services.grants.token(grant_of, None).await;
        assert_eq!(token, Ok(Secret::new("access-zzq-1")));
    }
);

fn inbox() -> Value {
    json!({ "host": "127.0.0.1", "port": 993, "security": "NONE", "username": "ada",
        "login": "XOAUTH2" })
}

both!(
    who_tries_an_inbox_by_the_old_grant_lets_go_of_it,
    |h: Harness| async move {
        let tokens = TokenServer::start().await;
        let mut input = ada(25, &tokens);
        input["inbox"] = inbox();
        let ada = made(&h, input).await;
        let (now, sender) = (h.clock.now(), sender_id(&ada["id"]));
        let db = h.services.db.write();
        let register = async || {
            let id: WorkerId = h.services.entropy.id(now);
            let lease = now + Duration::days(1);
            worker::register(db, id, now, lease)
                .await
                .expect("a worker");
            id
        };
        let (one, other) = (register().await, register().await);
        let taken = mailbox::take(db, sender, one, now).await.expect("asked");
        let held = Held {
            sender,
            worker: one,
            revision: taken.expect("free").revision,
        };
        let given = json!({ "id": ada["id"], "oauth": tokens.input() });
        assert_eq!(update(&h, given).await["userErrors"], json!([]));
        assert!(!mailbox::is_held(db, held, now).await.expect("asked"));
        let retry_at = now + Duration::hours(1);
        let noted = mailbox::note_failed(db, held, ("The old grant is refused.", None), retry_at);
        noted.await.expect("asked");
        let next = mailbox::take(db, sender, other, now).await.expect("asked");
        let next = next.expect("free for the next");
        assert_eq!((next.state.as_str(), next.failures), ("WAITING", 0));
    }
);

both!(
    a_written_token_beside_a_grant_is_named_again_or_gives_way,
    |h: Harness| async move {
        let tokens = TokenServer::start().await;
        let mut input = ada(25, &tokens);
        input["transport"]["smtp"]["password"] = json!("written");
        input["inbox"] = inbox();
        input["inbox"]["secret"] = json!("written");
        let ada = made(&h, input).await;
        let id = &ada["id"];
        let kept = async || {
            let (db, ids) = (h.services.db.read(), [sender_id(id)]);
            let found = sender::find_many(db, h.admin.workspace, &ids).await;
            let boxes = mailbox::find_many(db, h.admin.workspace, &ids).await;
            (
                found.expect("readable")[0].secret.is_some(),
                boxes.expect("readable")[0].secret.is_some(),
            )
        };
        // The grant may have been given for one of them alone.
        for (change, path) in [
            (json!({ "transport": smtp(26) }), "transport.smtp.password"),
            (json!({ "inbox": inbox() }), "inbox.secret"),
        ] {
            let mut change = change;
            change["id"] = id.clone();
            let refused = update(&h, change).await;
            assert_eq!(
                refusals(&refused),
                [("INVALID".to_owned(), path.to_owned())]
            );
        }
        assert_eq!(kept().await, (true, true));
        let given = json!({ "id": id, "transport": smtp(26), "inbox": inbox(),
            "oauth": tokens.input() });
        assert_eq!(update(&h, given).await["userErrors"], json!([]));
        assert_eq!(kept().await, (false, false));
    }
);
