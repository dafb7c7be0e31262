//! Senders through the API: who may make them, what is refused, and a password nobody reads.

use cadenza::domain::id::SenderId;
use cadenza::domain::sender::Transport;
use cadenza::store::sender;
use cadenza::store::sql::{self, Arguments};
use chrono::Duration;
use serde_json::{Value, json};

use crate::harness::{Harness, Kind, both};
use crate::sequences::refusals;

const SELECT: &str =
    "sender { id name channel address enabled dailyCap minGap gapJitter timeZone sentToday
    nextFreeAt unhealthyUntil unhealthyReason warmUp { startAt firstDayCap dailyIncrease }
    transport { __typename ... on SmtpTransport { host port security username }
                ... on TwilioTransport { baseUrl accountSid } ... on OutboxTransport { label } } }";

const PASSWORD: &str = "corréct hörse battery";

async fn create(h: &Harness, input: Value) -> Value {
    h.try_mutate("senderCreate", "SenderCreateInput", input, SELECT)
        .await
}

async fn update(h: &Harness, input: Value) -> Value {
    h.try_mutate("senderUpdate", "SenderUpdateInput", input, SELECT)
        .await
}

fn smtp() -> Value {
    json!({ "smtp": { "host": "smtp.example.com", "port": 587, "security": "STARTTLS",
                      "username": "ada", "password": PASSWORD } })
}

fn ada() -> Value {
    json!({ "name": "Ada", "channel": "EMAIL", "address": "ada@example.com", "transport": smtp() })
}

async fn stored(h: &Harness, payload: &Value) -> sender::Sender {
    let id: SenderId = payload["sender"]["id"]
        .as_str()
        .and_then(|id| id.parse().ok())
        .expect("an id");
    let found = sender::find_many(h.services.db.read(), h.admin.workspace, &[id]).await;
    found.expect("readable").pop().expect("there")
}

fn password(h: &Harness, sender: &sender::Sender) -> Option<String> {
    let secret = sender.secret.as_deref()?;
    h.services
        .secrets
        .open(h.admin.workspace, sender.id.uuid(), secret)
        .ok()
}

both!(a_sender_is_made_and_read_again, |h: Harness| async move {
    let mut input = ada();
    input["dailyCap"] = json!(50);
    input["minGap"] = json!("PT1M30S");
    input["gapJitter"] = json!("PT45S");
    input["timeZone"] = json!("Europe/Lisbon");
    input["warmUp"] = json!({ "startAt": "2026-03-01", "firstDayCap": 5, "dailyIncrease": 2 });
    let made = create(&h, input).await;
    assert_eq!(made["userErrors"], json!([]), "{made:#}");
    let mut expected = json!({ "name": "Ada", "channel": "EMAIL", "address": "ada@example.com",
        "enabled": true, "dailyCap": 50, "minGap": "PT1M30S", "gapJitter": "PT45S", "timeZone": "Europe/Lisbon",
        "sentToday": 0, "nextFreeAt": null, "unhealthyUntil": null, "unhealthyReason": null,
        "warmUp": { "startAt": "2026-03-01", "firstDayCap": 5, "dailyIncrease": 2 },
        "transport": { "__typename": "SmtpTransport", "host": "smtp.example.com", "port": 587,
                       "security": "STARTTLS", "username": "ada" } });
    expected["id"] = made["sender"]["id"].clone();
    assert_eq!(made["sender"], expected);
    let read = format!(
        "query($id: ID!) {{ {} }}",
        SELECT.replacen("sender", "sender(id: $id)", 1)
    );
    let id = json!({ "id": made["sender"]["id"] });
    assert_eq!(h.data(&read, id).await["sender"], expected);
    let list = "query($c: Channel) { senders(channel: $c) { name } }";
    assert_eq!(
        h.data(list, json!({ "c": "SMS" })).await["senders"],
        json!([])
    );
    assert_eq!(
        h.data(list, json!({})).await["senders"],
        json!([{ "name": "Ada" }])
    );
    assert_eq!(stored(&h, &made).await.revision, 1);
});

both!(
    every_wrong_field_of_a_sender_is_named_at_once,
    |h: Harness| async move {
        let made = create(&h, json!({ "name": "A\r\nBcc: x", "channel": "EMAIL", "address": "ada@",
        "dailyCap": -1, "minGap": "P2D", "gapJitter": "P1DT1S", "timeZone": "Mars/Base",
        "warmUp": { "startAt": "2026-03-01", "firstDayCap": -5, "dailyIncrease": -2 },
        "transport": { "smtp": { "host": " ", "port": 70000, "security": "TLS", "password": "x" } },
    })).await;
        let found: Vec<String> = refusals(&made).into_iter().map(|(_, path)| path).collect();
        assert_eq!(
            found,
            [
                "address",
                "name",
                "dailyCap",
                "minGap",
                "gapJitter",
                "warmUp.firstDayCap",
                "warmUp.dailyIncrease",
                "timeZone",
                "transport.smtp.host",
                "transport.smtp.port",
                "transport.smtp.username"
            ],
            "{made:#}"
        );
        assert_eq!(
            h.data("{ senders { id } }", json!({})).await["senders"],
            json!([])
        );
    }
);

both!(only_an_admin_manages_senders, |h: Harness| async move {
    let made = create(&h, ada()).await;
    let creation = "mutation($input: SenderCreateInput!) {
        senderCreate(input: $input) { userErrors { code } } }";
    let change = "mutation($input: SenderUpdateInput!) {
        senderUpdate(input: $input) { userErrors { code } } }";
    let off = json!({ "id": made["sender"]["id"], "enabled": false });
    for caller in [&h.viewer, &h.editor] {
        for (document, input) in [(creation, ada()), (change, off.clone())] {
            let answer = h
                .execute_as(caller, document, json!({ "input": input }))
                .await;
            assert_eq!(
                answer["errors"][0]["extensions"]["code"], "FORBIDDEN",
                "{answer}"
            );
            let said = answer["errors"][0]["message"].as_str().unwrap_or("");
            assert!(said.contains("ADMIN"), "{said}");
        }
        let seen = h
            .execute_as(caller, "{ senders { name enabled } }", json!({}))
            .await;
        assert_eq!(
            seen["data"]["senders"],
            json!([{ "name": "Ada", "enabled": true }]),
            "{seen}"
        );
    }
});

both!(
    another_workspaces_sender_is_like_one_that_is_not_there,
    |h: Harness| async move {
        let made = create(&h, ada()).await;
        let read = "query($id: ID!) { sender(id: $id) { name } senders { name } }";
        let seen = h
            .execute_as(&h.stranger, read, json!({ "id": made["sender"]["id"] }))
            .await;
        assert_eq!(
            seen["data"],
            json!({ "sender": null, "senders": [] }),
            "{seen}"
        );
        let change = "mutation($id: ID!) { senderUpdate(input: { id: $id, enabled: false }) {
        sender { id } userErrors { code message path } } }";
        let answer = async |id: &str| h.execute_as(&h.stranger, change, json!({ "id": id })).await;
        let foreign = answer(made["sender"]["id"].as_str().unwrap_or("")).await;
        assert_eq!(
            foreign["data"]["senderUpdate"]["userErrors"][0]["code"], "NOT_FOUND",
            "{foreign}"
        );
        assert_eq!(foreign, answer("sender_00000000000000000000000000").await);
        assert!(stored(&h, &made).await.enabled);
    }
);

both!(
    a_password_is_sealed_and_kept_only_for_its_server,
    |h: Harness| async move {
        let made = create(&h, ada()).await;
        let id = &made["sender"]["id"];
        let before = stored(&h, &made).await;
        assert_eq!(password(&h, &before).as_deref(), Some(PASSWORD));
        assert!(matches!(&before.transport, Transport::Smtp(smtp) if smtp.port == 587));
        // Another port of the same server: the password stays.
        let mut transport = smtp();
        transport["smtp"]["password"] = Value::Null;
        transport["smtp"]["port"] = json!(2525);
        let changed = update(&h, json!({ "id": id, "transport": transport })).await;
        assert_eq!(changed["userErrors"], json!([]), "{changed:#}");
        let after = stored(&h, &made).await;
        assert_eq!(
            (password(&h, &after).as_deref(), after.revision),
            (Some(PASSWORD), 2)
        );
        // Another server, another user or no protection: it is asked for again.
        for (field, value) in [
            ("host", "evil.example.com"),
            ("username", "eve"),
            ("security", "NONE"),
        ] {
            let mut elsewhere = transport.clone();
            elsewhere["smtp"][field] = json!(value);
            let refused = update(&h, json!({ "id": id, "transport": elsewhere })).await;
            let expected = ("INVALID".to_owned(), "transport.smtp.password".to_owned());
            assert_eq!(refusals(&refused), [expected], "{field}: {refused:#}");
        }
        assert_eq!(stored(&h, &made).await, after);
        let outbox = update(
            &h,
            json!({ "id": id, "transport": { "outbox": { "label": "try" } } }),
        )
        .await;
        assert_eq!(
            outbox["sender"]["transport"],
            json!({ "__typename": "OutboxTransport", "label": "try" })
        );
        assert_eq!(stored(&h, &made).await.secret, None);
    }
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bytes_of_the_database_do_not_hold_the_password() {
    crate::harness::run(Kind::Sqlite, |h: Harness| async move {
        create(&h, ada()).await;
        let path = h.url.trim_start_matches("sqlite://").to_owned();
        let mut bytes = Vec::new();
        for file in [path.clone(), format!("{path}-wal")] {
            bytes.extend(std::fs::read(&file).unwrap_or_default());
        }
        let holds = |text: &str| {
            bytes
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        };
        assert!(holds("smtp.example.com"), "the sender is in these files");
        assert!(!holds(PASSWORD) && !holds("battery"));
    })
    .await;
}

both!(
    a_change_counts_and_the_same_once_more_does_not,
    |h: Harness| async move {
        let made = create(
            &h,
            json!({ "name": "Ada", "channel": "EMAIL", "address": "ada@example.com",
        "dailyCap": 5, "transport": { "outbox": {} } }),
        )
        .await;
        let id = &made["sender"]["id"];
        let mut bell = h.services.wake.on_due();
        let input = json!({ "id": id, "name": "Ada Byron", "timeZone": null, "minGap": "PT0S" });
        let changed = update(&h, input.clone()).await;
        assert_eq!(
            (&changed["sender"]["name"], &changed["sender"]["dailyCap"]),
            (&json!("Ada Byron"), &json!(5))
        );
        assert!(bell.has_changed().expect("a bell"));
        bell.mark_unchanged();
        update(&h, input).await;
        assert_eq!(stored(&h, &made).await.revision, 2);
        assert!(!bell.has_changed().expect("a bell"));
    }
);

both!(
    what_a_sender_may_do_without_is_taken_away_by_null,
    |h: Harness| async move {
        let mut input = ada();
        let some = json!({ "dailyCap": 0, "minGap": "PT1M", "gapJitter": "PT30S",
            "warmUp": { "startAt": "2026-03-01", "firstDayCap": 5, "dailyIncrease": 2 } });
        for (field, value) in some.as_object().expect("an object") {
            input[field] = value.clone();
        }
        let made = create(&h, input).await;
        let id = &made["sender"]["id"];
        let read = |sender: &Value| {
            ["dailyCap", "minGap", "gapJitter", "warmUp"].map(|field| sender[field].clone())
        };
        let [cap, gap, jitter, warm_up] =
            ["dailyCap", "minGap", "gapJitter", "warmUp"].map(|field| some[field].clone());
        // What is left out stays, one at a time.
        let zero = json!("PT0S");
        for (field, expected) in [
            (
                "name",
                [cap.clone(), gap.clone(), jitter.clone(), warm_up.clone()],
            ),
            (
                "dailyCap",
                [Value::Null, gap, jitter.clone(), warm_up.clone()],
            ),
            (
                "minGap",
                [Value::Null, zero.clone(), jitter, warm_up.clone()],
            ),
            (
                "gapJitter",
                [Value::Null, zero.clone(), zero.clone(), warm_up],
            ),
            ("warmUp", [Value::Null, zero.clone(), zero, Value::Null]),
        ] {
            let changed = update(&h, json!({ "id": id, field: null })).await;
            assert_eq!(read(&changed["sender"]), expected, "{field}");
        }
        let capped = update(&h, json!({ "id": id, "dailyCap": 7 })).await;
        assert_eq!(capped["sender"]["dailyCap"], 7);
    }
);

both!(
    enabling_a_sender_forgets_its_trouble,
    |h: Harness| async move {
        let made = create(&h, ada()).await;
        let before = stored(&h, &made).await;
        let until = (h.clock.now() + Duration::hours(1)).timestamp_millis();
        cadenza::store::lane::set_unhealthy(h.services.db.write(), before.id, until, "535 no")
            .await
            .expect("noted");
        let read = "query($id: ID!) { sender(id: $id) { unhealthyUntil unhealthyReason } }";
        let id = json!({ "id": made["sender"]["id"] });
        let seen = h.data(read, id.clone()).await;
        assert_eq!(
            seen["sender"],
            json!({ "unhealthyUntil": "2026-03-02T10:00:00.000Z", "unhealthyReason": "535 no" })
        );
        // A change of the name repairs nothing.
        update(&h, json!({ "id": id["id"], "name": "Eve" })).await;
        assert_eq!(stored(&h, &made).await.failures, 1);
        let healed = update(&h, json!({ "id": id["id"], "enabled": true })).await;
        assert_eq!(
            healed["sender"]["unhealthyReason"],
            Value::Null,
            "{healed:#}"
        );
        assert_eq!(stored(&h, &made).await.failures, 0);
    }
);

both!(
    what_was_sent_today_counts_by_the_senders_own_day,
    |h: Harness| async move {
        let mut input = ada();
        // It is 01:30 of the next day in Tokyo.
        input["timeZone"] = json!("Asia/Tokyo");
        input["minGap"] = json!("PT5S");
        h.clock
            .advance_to(h.clock.now() + Duration::minutes(7 * 60 + 30));
        let made = create(&h, input).await;
        let sender = stored(&h, &made).await;
        for (kind, day, used) in [
            ("SENDS", "2026-03-02", 7),
            ("SENDS", "2026-03-03", 3),
            ("NEW_LEADS", "2026-03-03", 9),
        ] {
            sql::execute(h.services.db.write(),
            "INSERT INTO quota (subject_id, kind, day, workspace_id, used) VALUES ($1, $2, $3, $4, $5)",
            Arguments::new().with(sender.id.uuid()).with(kind).with(day)
                .with(h.admin.workspace.uuid()).with(used)).await.expect("entered");
        }
        let now = h.clock.now();
        let free = now + Duration::seconds(5);
        let write = h.services.db.write();
        // Its pace, by now, asks for no more than five seconds.
        cadenza::store::lane::set_next_free(write, sender.id, now.timestamp_millis(), 3_600_000)
            .await
            .expect("noted");
        let read = "{ senders { sentToday nextFreeAt } }";
        assert_eq!(
            h.data(read, json!({})).await["senders"],
            json!([{ "sentToday": 3, "nextFreeAt": "2026-03-02T16:30:05.000Z" }])
        );
        h.clock.advance_to(free);
        assert_eq!(
            h.data(read, json!({})).await["senders"][0]["nextFreeAt"],
            Value::Null
        );
    }
);

const TOKEN: &str = "0123456789abcdef-a-token";

fn twilio() -> Value {
    json!({ "twilio": { "accountSid": "AC0123456789abcdef", "authToken": TOKEN } })
}

fn texter(channel: &str, transport: Value) -> Value {
    json!({ "name": "Ada", "channel": channel, "address": "+351 912 345 678", "transport": transport })
}

both!(a_number_sends_text_messages, |h: Harness| async move {
    for channel in ["SMS", "WHATSAPP"] {
        let made = create(&h, texter(channel, twilio())).await;
        assert_eq!(made["userErrors"], json!([]), "{made:#}");
        let sender = &made["sender"];
        assert_eq!(
            (&sender["channel"], &sender["address"]),
            (&json!(channel), &json!("+351912345678"))
        );
        let expected = json!({ "__typename": "TwilioTransport", "accountSid": "AC0123456789abcdef",
            "baseUrl": "https://api.twilio.com" });
        assert_eq!(sender["transport"], expected);
        let kept = stored(&h, &made).await;
        assert_eq!(password(&h, &kept).as_deref(), Some(TOKEN));
        assert!(!format!("{kept:?}").contains(TOKEN));
        // Another account: another token.
        let mut elsewhere = twilio();
        elsewhere["twilio"]["baseUrl"] = json!("https://sms.example.com/api/");
        elsewhere["twilio"]["authToken"] = json!("other");
        let changed = update(&h, json!({ "id": sender["id"], "transport": elsewhere })).await;
        let base_url = &changed["sender"]["transport"]["baseUrl"];
        assert_eq!(base_url, "https://sms.example.com/api", "{changed:#}");
        let kept = stored(&h, &made).await;
        assert_eq!(password(&h, &kept).as_deref(), Some("other"));
        // Into an outbox: the token goes.
        let outbox = json!({ "id": sender["id"], "transport": { "outbox": {} } });
        let changed = update(&h, outbox).await;
        let kind = &changed["sender"]["transport"]["__typename"];
        assert_eq!(kind, "OutboxTransport", "{changed:#}");
        assert_eq!(stored(&h, &made).await.secret, None);
        let made = create(&h, texter(channel, json!({ "outbox": { "label": "try" } }))).await;
        assert_eq!(made["userErrors"], json!([]), "{made:#}");
    }
});

both!(
    a_sender_is_told_what_its_channel_takes,
    |h: Harness| async move {
        let email = |transport| {
            let mut input = ada();
            input["transport"] = transport;
            input
        };
        let address = |channel: &str, address: &str| {
            let mut input = texter(channel, twilio());
            input["address"] = json!(address);
            input
        };
        let account = |field: &str, value: &str| {
            let mut input = texter("SMS", twilio());
            input["transport"]["twilio"][field] = json!(value);
            input
        };
        let long = "x".repeat(1_001);
        for (input, path, words) in [
            (texter("SMS", smtp()), "transport.smtp", "twilio or outbox"),
            (
                texter("WHATSAPP", smtp()),
                "transport.smtp",
                "twilio or outbox",
            ),
            (email(twilio()), "transport.twilio", "smtp or outbox"),
            (
                texter("CALL", twilio()),
                "channel",
                "EMAIL, SMS or WHATSAPP",
            ),
            (
                texter("WEBHOOK", smtp()),
                "channel",
                "EMAIL, SMS or WHATSAPP",
            ),
            (
                address("SMS", "ada@example.com"),
                "address",
                "+351912345678",
            ),
            (address("SMS", "912345678"), "address", "international form"),
            (address("WHATSAPP", "+351 91"), "address", "too short"),
            (
                account("accountSid", ""),
                "transport.twilio.accountSid",
                "console",
            ),
            (
                account("accountSid", "AC/../x"),
                "transport.twilio.accountSid",
                "console",
            ),
            (
                account("authToken", " "),
                "transport.twilio.authToken",
                "one line",
            ),
            (
                account("authToken", "a\nb"),
                "transport.twilio.authToken",
                "one line",
            ),
            (
                account("authToken", &long),
                "transport.twilio.authToken",
                "1000",
            ),
            (
                account("baseUrl", "sms.example.com"),
                "transport.twilio.baseUrl",
                "in full",
            ),
            (
                account("baseUrl", "https://a:b@x.example"),
                "transport.twilio.baseUrl",
                "password",
            ),
            (
                account("baseUrl", "https://x.example/?a=b"),
                "transport.twilio.baseUrl",
                "query",
            ),
        ] {
            let refused = create(&h, input).await;
            let expected = ("INVALID".to_owned(), path.to_owned());
            assert_eq!(refusals(&refused), [expected], "{refused:#}");
            let message = refused["userErrors"][0]["message"].as_str().unwrap_or("");
            assert!(message.contains(words), "{words}: {message}");
        }
        // A change is held to the same.
        let made = create(&h, texter("SMS", twilio())).await;
        let change = json!({ "id": made["sender"]["id"], "transport": smtp() });
        let expected = ("INVALID".to_owned(), "transport.smtp".to_owned());
        assert_eq!(refusals(&update(&h, change).await), [expected]);
    }
);
