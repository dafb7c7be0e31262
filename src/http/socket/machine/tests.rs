use super::*;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What is to be done, in a form that is easy to compare.
fn told(actions: Vec<Action>) -> Vec<String> {
    let told = |action| match action {
        Action::Send(text) => text,
        Action::Ping => "ping".to_owned(),
        Action::Admit(token) => format!("admit {}", token.as_deref().unwrap_or("who came")),
        Action::Start { number, .. } => format!("start {number}"),
        Action::Refuse { id, code, message } => {
            format!("refuse {id} {}: {message}", <&str>::from(code))
        }
        Action::Abort(number) => format!("abort {number}"),
        Action::Close { code, reason } => format!("close {code} {reason}"),
        Action::HangUp => "hang up".to_owned(),
    };
    actions.into_iter().map(told).collect()
}

fn text(text: &str) -> Event {
    Event::Text(text.to_owned())
}

fn subscribe(id: &str) -> Event {
    let payload = json!({ "query": "{ a }" });
    text(&json!({ "id": id, "type": "subscribe", "payload": payload }).to_string())
}

fn complete(id: &str) -> Event {
    text(&json!({ "id": id, "type": "complete" }).to_string())
}

fn results(number: u64, results: &[&str], is_last: bool) -> Event {
    let payload = |json: &&str| Payload {
        json: (*json).into(),
        refused: None,
    };
    Event::Results {
        number,
        payloads: results.iter().map(payload).collect(),
        is_last,
    }
}

fn refused(number: u64, errors: &str, is_last: bool) -> Event {
    let payload = Payload {
        json: format!(r#"{{"errors":{errors}}}"#).into(),
        refused: Some(errors.into()),
    };
    Event::Results {
        number,
        payloads: vec![payload.clone(), payload],
        is_last,
    }
}

const INIT: &str = r#"{"type":"connection_init","payload":{"Authorization":"bearer  cdz_a "}}"#;

/// A machine after these events, all of them at once.
fn after(events: Vec<Event>) -> Machine {
    let mut machine = Machine::new(false);
    for event in events {
        drop(machine.on(Duration::ZERO, event));
    }
    machine
}

fn ready() -> Machine {
    after(vec![text(INIT), Event::Admitted])
}

/// What a machine does after these events for the last one.
fn last(machine: &mut Machine, events: Vec<Event>) -> Vec<String> {
    let mut done = Vec::new();
    for event in events {
        done = told(machine.on(Duration::ZERO, event));
    }
    done
}

#[test]
fn a_token_comes_with_the_init_or_with_the_request() {
    let init = |payload: &str| text(&format!(r#"{{"type":"connection_init"{payload}}}"#));
    for (came_with_token, payload, expected) in [
        (
            false,
            r#","payload":{"authorization":"Bearer x"}"#,
            "admit x",
        ),
        (
            false,
            r#","payload":{"AUTHORIZATION":"BEARER x y"}"#,
            "admit x y",
        ),
        (
            true,
            r#","payload":{"authorization":"Bearer x"}"#,
            "admit x",
        ),
        (true, "", "admit who came"),
        (true, r#","payload":null"#, "admit who came"),
        (true, r#","payload":{"authorization":1}"#, "admit who came"),
        (
            true,
            r#","payload":{"authorization":"x"}"#,
            "close 4403 Forbidden",
        ),
        (
            false,
            r#","payload":{"authorization":""}"#,
            "close 4403 Forbidden",
        ),
        (
            false,
            r#","payload":{"other":"Bearer x"}"#,
            "close 4401 Unauthorized",
        ),
        (false, r#","payload":[1]"#, "close 4401 Unauthorized"),
        (false, "", "close 4401 Unauthorized"),
    ] {
        let mut machine = Machine::new(came_with_token);
        let done = last(&mut machine, vec![init(payload)]);
        assert_eq!(done, [expected], "{came_with_token} {payload}");
    }
}

#[test]
fn who_comes_in_is_acknowledged_and_others_hear_why_not() {
    let mut machine = after(vec![text(INIT)]);
    let done = last(&mut machine, vec![Event::Admitted]);
    assert_eq!(done, [r#"{"type":"connection_ack"}"#]);
    for (refusal, expected) in [
        (Refusal::WrongToken, "close 4403 Forbidden"),
        (Refusal::TooManyTries, "close 4429 Too many attempts"),
        (
            Refusal::TooManySockets,
            "close 4429 The token has as many sockets open as it may",
        ),
        (
            Refusal::Unreachable,
            "close 1013 The database cannot be reached",
        ),
    ] {
        let refused = || vec![Event::NotAdmitted(refusal)];
        assert_eq!(last(&mut after(vec![text(INIT)]), refused()), [expected]);
        // Whoever opened the socket with a wrong token is told without an init.
        assert_eq!(last(&mut Machine::new(false), refused()), [expected]);
        // An answer that nobody asked for means nothing.
        assert!(last(&mut ready(), refused()).is_empty());
    }
    for mut machine in [Machine::new(true), ready()] {
        assert!(last(&mut machine, vec![Event::Admitted]).is_empty());
    }
}

#[test]
fn what_is_no_message_closes_with_4400() {
    for (message, reason) in [
        ("", "Messages are JSON objects"),
        ("{", "Messages are JSON objects"),
        ("[1]", "Messages are JSON objects"),
        ("null", "Messages are JSON objects"),
        ("{}", "The message has no type"),
        (r#"{"type":1}"#, "The message has no type"),
        (r#"{"type":"nonsense"}"#, "Unknown type of message"),
        (r#"{"type":"next","id":"1"}"#, "Unknown type of message"),
        (r#"{"type":"connection_ack"}"#, "Unknown type of message"),
        (r#"{"type":"start","id":"1"}"#, "Unknown type of message"),
        (r#"{"type":"subscribe"}"#, "The message has no id"),
        (r#"{"type":"complete"}"#, "The message has no id"),
        (r#"{"type":"subscribe","id":1}"#, "An id is a text"),
        (r#"{"type":"ping","id":null}"#, "An id is a text"),
        (
            r#"{"type":"subscribe","id":"1"}"#,
            "The payload of subscribe is not a GraphQL request",
        ),
        (
            r#"{"type":"subscribe","id":"1","payload":{}}"#,
            "The payload of subscribe is not a GraphQL request",
        ),
        (
            r#"{"type":"subscribe","id":"1","payload":{"query":1}}"#,
            "The payload of subscribe is not a GraphQL request",
        ),
        (
            r#"{"type":"subscribe","id":"1","payload":{"query":"{a}","variables":[]}}"#,
            "The payload of subscribe is not a GraphQL request",
        ),
    ] {
        let done = last(&mut ready(), vec![text(message)]);
        assert_eq!(done, [format!("close 4400 {reason}")], "{message}");
    }
    for length in [0, ID_MAX + 1] {
        let done = last(&mut ready(), vec![subscribe(&"x".repeat(length))]);
        assert_eq!(done, ["close 4400 An id has from 1 to 256 bytes"]);
    }
    let longest = last(&mut ready(), vec![subscribe(&"x".repeat(ID_MAX))]);
    assert_eq!(longest, ["start 1"]);
    for mut machine in [Machine::new(false), after(vec![text(INIT)]), ready()] {
        let done = last(&mut machine, vec![Event::Binary]);
        assert_eq!(done, ["close 4400 Messages are text"]);
    }
}

#[test]
fn before_the_init_there_are_pings_alone() {
    let mut machine = Machine::new(true);
    let pong = r#"{"type":"pong"}"#;
    assert_eq!(last(&mut machine, vec![text(r#"{"type":"ping"}"#)]), [pong]);
    assert!(last(&mut machine, vec![text(pong)]).is_empty());
    assert!(last(&mut machine, vec![complete("a")]).is_empty());
    let done = last(&mut machine, vec![subscribe("a")]);
    assert_eq!(done, ["close 4401 Unauthorized"]);
}

#[test]
fn a_ping_is_answered_with_what_it_carries() {
    for (payload, expected) in [
        ("null", r#"{"type":"pong"}"#),
        ("{\"a\":[1]}", r#"{"type":"pong","payload":{"a":[1]}}"#),
        ("\"\\n\"", r#"{"type":"pong","payload":"\n"}"#),
    ] {
        let ping = format!(r#"{{"payload":{payload},"type":"ping"}}"#);
        assert_eq!(last(&mut ready(), vec![text(&ping)]), [expected]);
    }
}

#[test]
fn a_second_init_closes_with_4429() {
    let expected = ["close 4429 Too many initialisation requests"];
    assert_eq!(last(&mut ready(), vec![text(INIT)]), expected);
    // One that comes while the first is looked up has its turn when that is answered.
    let mut machine = after(vec![text(INIT), text(INIT)]);
    let done = last(&mut machine, vec![Event::Admitted]);
    assert_eq!(done, [r#"{"type":"connection_ack"}"#, expected[0]]);
}

#[test]
fn what_comes_during_the_lookup_waits_for_its_answer() {
    let early = || {
        vec![
            text(INIT),
            text(r#"{"type":"ping"}"#),
            subscribe("a"),
            subscribe("b"),
            complete("a"),
        ]
    };
    let mut machine = after(early());
    assert!(machine.held_bytes() > 0);
    let done = last(&mut machine, vec![Event::Admitted]);
    let expected = [
        r#"{"type":"connection_ack"}"#,
        r#"{"type":"pong"}"#,
        "start 1",
        "start 2",
        "abort 1",
    ];
    assert_eq!(done, expected);
    assert_eq!((machine.held_bytes(), machine.running()), (0, 1));
    let refused = vec![Event::NotAdmitted(Refusal::WrongToken)];
    assert_eq!(last(&mut after(early()), refused), ["close 4403 Forbidden"]);
    // What is wrong among them ends what follows.
    let mut machine = after(vec![text(INIT), text("{"), subscribe("a")]);
    let done = last(&mut machine, vec![Event::Admitted]);
    assert_eq!(done[1..], ["close 4400 Messages are JSON objects"]);
}

#[test]
fn what_waits_is_bounded() {
    let too_many = "close 4429 Too many messages before the connection_ack";
    let mut machine = after(vec![text(INIT)]);
    for n in 0..HELD_MAX {
        assert!(last(&mut machine, vec![subscribe(&n.to_string())]).is_empty());
    }
    assert_eq!(last(&mut machine, vec![subscribe("x")]), [too_many]);
    let mut machine = after(vec![text(INIT)]);
    let large = "x".repeat(HELD_BYTES_MAX / 2);
    assert!(last(&mut machine, vec![text(&large), text(&large)]).is_empty());
    assert_eq!(machine.held_bytes(), HELD_BYTES_MAX);
    assert_eq!(last(&mut machine, vec![text("x")]), [too_many]);
    assert_eq!(machine.held_bytes(), 0);
}

#[test]
fn an_operation_says_what_it_has_and_that_it_is_over() {
    let mut machine = ready();
    let done = last(&mut machine, vec![subscribe("a\"b")]);
    assert_eq!(done, ["start 1"]);
    let next = |data: &str| format!(r#"{{"id":"a\"b","type":"next","payload":{data}}}"#);
    let done = last(
        &mut machine,
        vec![results(1, &["{\"data\":1}", "2"], false)],
    );
    assert_eq!(done, [next("{\"data\":1}"), next("2")]);
    let over = r#"{"id":"a\"b","type":"complete"}"#.to_owned();
    let done = last(&mut machine, vec![results(1, &["3"], true)]);
    assert_eq!(done, [next("3"), over]);
    assert_eq!(machine.running(), 0);
    // It is over once, and its id is free.
    assert!(last(&mut machine, vec![results(1, &[], true)]).is_empty());
    assert_eq!(last(&mut machine, vec![subscribe("a\"b")]), ["start 2"]);
}

#[test]
fn what_is_refused_ends_with_an_error_alone() {
    let error = r#"{"id":"a","type":"error","payload":[1]}"#;
    for (is_last, expected) in [(true, vec![error]), (false, vec![error, "abort 1"])] {
        let mut machine = ready();
        let done = last(
            &mut machine,
            vec![subscribe("a"), refused(1, "[1]", is_last)],
        );
        assert_eq!(done, expected);
        assert_eq!(machine.running(), 0);
        assert!(last(&mut machine, vec![results(1, &["2"], true)]).is_empty());
    }
}

#[test]
fn who_completes_an_operation_hears_no_more_of_it() {
    let mut machine = ready();
    let done = last(&mut machine, vec![subscribe("a"), complete("a")]);
    assert_eq!(done, ["abort 1"], "and no complete in return");
    let still = vec![subscribe("a"), results(1, &["old"], false)];
    assert!(last(&mut machine, still).is_empty());
    let done = last(&mut machine, vec![results(2, &["new"], false)]);
    assert_eq!(done, [r#"{"id":"a","type":"next","payload":new}"#]);
    assert!(last(&mut machine, vec![complete("unknown")]).is_empty());
}

#[test]
fn an_id_in_use_closes_with_4409() {
    let expected = "close 4409 Subscriber for a already exists";
    let mut machine = ready();
    let done = last(&mut machine, vec![subscribe("a"), subscribe("a")]);
    assert_eq!(done, ["abort 1", expected]);
    // The reason fits into a control frame, whole letters only.
    let long = format!("x{}", "é".repeat(ID_MAX / 2 - 1));
    let actions = last(&mut ready(), vec![subscribe(&long), subscribe(&long)]);
    let reason = actions[1].strip_prefix("close 4409 ").expect("a close");
    assert!(reason.len() == 122 && reason.ends_with('é'), "{reason}");
}

#[test]
fn a_socket_carries_so_many_operations() {
    let mut machine = ready();
    for n in 1..=OPERATIONS_MAX {
        let done = last(&mut machine, vec![subscribe(&n.to_string())]);
        assert_eq!(done, [format!("start {n}")]);
    }
    let refused = ["refuse more RATE_LIMITED: A socket carries 100 operations at a time."];
    assert_eq!(last(&mut machine, vec![subscribe("more")]), refused);
    let done = last(&mut machine, vec![complete("7"), subscribe("more")]);
    assert_eq!(done, [format!("start {}", OPERATIONS_MAX + 1)]);
}

#[test]
fn an_init_has_its_time() {
    let late = ["close 4408 Connection initialisation timeout"];
    let mut machine = Machine::new(false);
    assert_eq!(machine.due_at(), INIT_WITHIN);
    let almost = INIT_WITHIN - Duration::from_millis(1);
    assert!(machine.on(almost, Event::Tick).is_empty());
    assert_eq!(told(machine.on(INIT_WITHIN, Event::Tick)), late);
    // One that is being looked up came in time.
    let mut machine = after(vec![text(INIT)]);
    assert!(machine.on(INIT_WITHIN, Event::Tick).is_empty());
    assert_eq!(machine.due_at(), PING_EVERY);
    assert_eq!(told(machine.on(PING_EVERY, Event::Tick)), ["ping"]);
}

#[test]
fn a_silent_client_is_pinged_and_then_given_up() {
    let mut machine = ready();
    let pings = [r#"{"type":"ping"}"#, "ping"];
    assert!(machine.on(seconds(11), Event::Tick).is_empty());
    for n in 1..=3 {
        assert_eq!(told(machine.on(PING_EVERY * n, Event::Tick)), pings);
    }
    assert_eq!(told(machine.on(seconds(48), Event::Tick)), ["hang up"]);
    for sign in [Event::Alive, text(r#"{"type":"pong"}"#)] {
        let mut machine = ready();
        for n in 1..=3 {
            drop(machine.on(PING_EVERY * n, Event::Tick));
        }
        assert!(machine.on(seconds(40), sign).is_empty());
        assert_eq!(told(machine.on(seconds(76), Event::Tick)), pings);
        assert_eq!(told(machine.on(seconds(88), Event::Tick)), ["hang up"]);
    }
}

#[test]
fn every_end_stops_what_goes_on_and_is_the_last() {
    for (event, expected) in [
        (Event::TokenOver, "close 4403 The token is no longer valid"),
        (Event::Shutdown, "close 1001 The server is going away"),
        (Event::Gone, "hang up"),
        (Event::Binary, "close 4400 Messages are text"),
    ] {
        let mut machine = after(vec![
            text(INIT),
            Event::Admitted,
            subscribe("a"),
            subscribe("b"),
        ]);
        let done = last(&mut machine, vec![event]);
        assert_eq!(done, ["abort 1", "abort 2", expected]);
        for late in [
            text(INIT),
            subscribe("c"),
            results(1, &["1"], true),
            Event::Tick,
            Event::Shutdown,
            Event::TokenOver,
            Event::Admitted,
            Event::Gone,
        ] {
            assert!(machine.on(seconds(100), late).is_empty());
        }
    }
}
