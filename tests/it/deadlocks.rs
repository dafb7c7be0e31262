//! Transactions that wait for each other in a circle.

use cadenza::store::dialect;
use cadenza::store::sql::{self, Arguments};
use sea_orm::ConnectionTrait;
use serde_json::json;

use crate::harness::{Harness, both, until};
use crate::sequences::sender;
use crate::steps::{email, person, running};

async fn number(h: &Harness, statement: &str) -> i64 {
    let number = sql::number(h.services.db.read(), statement, Arguments::new()).await;
    number.expect("a number")
}

/// Locks the lead, lets the erasure come as far as that, and then asks for the person, whom the erasure has.
async fn circle(h: &Harness, other: &impl ConnectionTrait) {
    let lock = async |table: &str| {
        let statement = format!("SELECT 1 FROM {table} FOR UPDATE");
        other.execute_unprepared(&statement).await.expect("locked");
    };
    // Whoever looks for circles first is ended: the other one takes its time.
    let patient = "SET LOCAL deadlock_timeout = '60s'";
    other.execute_unprepared(patient).await.expect("is patient");
    lock("lead").await;
    let waiting = "SELECT count(*) AS n FROM pg_stat_activity
        WHERE wait_event_type = 'Lock' AND datname = current_database()";
    until("the erasure to wait for the lead", async || {
        (number(h, waiting).await > 0).then_some(())
    })
    .await;
    lock("person").await;
}

both!(
    an_erasure_that_others_stand_in_the_way_of_is_carried_out_all_the_same,
    |h: Harness| async move {
        let mailbox = sender(&h, "sam").await;
        let ada = person(&h, json!({ "email": "ada@example.org" })).await;
        let emails = json!([email("first", "P1D", &[&mailbox])]);
        running(&h, emails, json!({}), &[&ada]).await;
        let other = h.services.db.begin().await.expect("begins");
        let input = json!({ "id": ada });
        let erasure = h.mutate("personDelete", "PersonIdInput", input, "person { id }");
        let in_the_way = async {
            // A transaction that writes to SQLite is alone: there is one to wait for, and no circle.
            if dialect::is_shared(h.services.db.read()) {
                circle(&h, &other).await;
            }
            other.commit().await.expect("commits");
        };
        let (erased, ()) = tokio::join!(erasure, in_the_way);
        assert_eq!(erased["person"]["id"], ada.as_str());
        let gone = "SELECT count(*) AS n FROM person WHERE erased_at IS NOT NULL";
        assert_eq!(number(&h, gone).await, 1);
    }
);
