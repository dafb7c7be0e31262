//! Writing the audit: around every mutation, in one place.
//!
//! [`Audited`] stands for the root of all mutations. Before one is carried out, the request's database
//! is given its entry, which then comes with whatever the mutation commits; when it is over, its outcome
//! is written. Files that come in and lists that go out by other ways are entered by them, as
//! [`Recording`]s, too ([record 18](../../../docs/decisions/0018-what-was-done-is-entered-with-it.md)).

use std::borrow::Cow;
use std::sync::Arc;

use async_graphql::parser::types::Field;
use async_graphql::registry::Registry;
use async_graphql::resolver_utils::ContainerType;
use async_graphql::{
    Context, ContextSelectionSet, ObjectType, OutputType, Positioned, ServerError, ServerResult,
    Value,
};

use super::summary;
use crate::app::{Caller, Services};
use crate::domain::audit::Outcome;
use crate::graphql::RequestId;
use crate::graphql::document::{OBJECT, REFUSALS};
use crate::graphql::error::{Code, code_of};
use crate::store::audit::{self, Ending, NewEntry};
use crate::store::{Db, StoreError};

/// The root of all mutations, of each of which an entry is written.
#[derive(Debug, Default)]
pub struct Audited<T>(pub T);

impl<T: OutputType> OutputType for Audited<T> {
    fn type_name() -> Cow<'static, str> {
        T::type_name()
    }

    fn introspection_type_name(&self) -> Cow<'static, str> {
        self.0.introspection_type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        T::create_type_info(registry)
    }

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        self.0.resolve(ctx, field).await
    }
}

impl<T: ContainerType> ContainerType for Audited<T> {
    async fn resolve_field(&self, ctx: &Context<'_>) -> ServerResult<Option<Value>> {
        let Some(mut recording) = Recording::begin(ctx) else {
            return self.0.resolve_field(ctx).await;
        };
        let mut done = self.0.resolve_field(ctx).await;
        recording.end(ending(&mut done)).await;
        done
    }
}

impl<T: ObjectType> ObjectType for Audited<T> {}

/// One mutation while it is carried out. Where it is dropped before its end, that is written too.
pub struct Recording {
    entry: Arc<NewEntry>,
    /// The database of the request, which carries the entry.
    carrying: Db,
    is_over: bool,
}

impl Recording {
    /// `None` without a token: nobody is there to name, and no workspace whose audit it would be.
    fn begin(ctx: &Context<'_>) -> Option<Self> {
        let caller = ctx.data_opt::<Caller>()?;
        let services = ctx.data_opt::<Services>()?;
        let mutation = ctx.item.node.name.node.as_str();
        let arguments = ctx.field().arguments().unwrap_or_default();
        let asked = summary::of(&ctx.schema_env.registry, mutation, &arguments);
        let request = ctx.data_opt::<RequestId>();
        Some(Self::of(services, caller, mutation, asked, request))
    }

    /// Of what `caller` is about to do with these services, whose database carries mutations
    /// ([`Db::for_mutations`]): what it is called, what was asked for as far as it may be kept, and the
    /// ids of objects in that.
    pub fn of(
        services: &Services,
        caller: &Caller,
        mutation: &str,
        (input, objects): (serde_json::Value, Vec<String>),
        request: Option<&RequestId>,
    ) -> Self {
        let at = services.clock.now();
        let entry = Arc::new(NewEntry {
            id: services.entropy.id(at),
            workspace: caller.workspace,
            at,
            token: Some(caller.token),
            name: caller.name.clone(),
            role: Some(caller.role.to_string()),
            mutation: mutation.to_owned(),
            input,
            objects,
            request: request.map(|id| id.0.clone()),
        });
        services.db.carry(Some(Arc::clone(&entry)));
        Self {
            entry,
            carrying: services.db.clone(),
            is_over: false,
        }
    }

    /// Enters now what has been begun, for what begins no transaction of its own.
    ///
    /// # Errors
    /// [`StoreError`] as the database has it.
    pub async fn enter(&self) -> Result<(), StoreError> {
        Ok(self.carrying.begin().await?.commit().await?)
    }

    /// Writes how it ended.
    pub async fn end(&mut self, ending: Ending) {
        self.carrying.carry(None);
        let written = write(&self.carrying.of_itself(), &self.entry, &ending).await;
        self.is_over = true;
        report(&self.entry, written);
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.carrying.carry(None);
        if self.is_over {
            return;
        }
        let ending = Ending {
            outcome: if std::thread::panicking() {
                Outcome::Failed
            } else {
                Outcome::Unfinished
            },
            ..Ending::UNFINISHED
        };
        // Without a runtime the process ends, and what was committed has its entry.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (entry, db) = (Arc::clone(&self.entry), self.carrying.of_itself());
        runtime.spawn(async move { report(&entry, write(&db, &entry, &ending).await) });
    }
}

async fn write(db: &Db, entry: &NewEntry, ending: &Ending) -> Result<(), StoreError> {
    let tx = db.begin().await?;
    audit::finish(&tx, entry, ending).await?;
    Ok(tx.commit().await?)
}

/// The mutation is over, whether this can be written or not.
fn report(entry: &NewEntry, written: Result<(), StoreError>) {
    if let Err(error) = written {
        tracing::error!(
            request.id = entry.request,
            mutation = entry.mutation,
            token = entry.token.map(|id| id.to_string()),
            error = &error as &dyn std::error::Error,
            "how a mutation ended could not be written into the audit"
        );
    }
}

/// How a mutation ended, by its answer; what was asked for besides is taken out of that.
fn ending(done: &mut ServerResult<Option<Value>>) -> Ending {
    let fields = match done {
        Ok(Some(Value::Object(fields))) => fields,
        Ok(_) => {
            return Ending {
                outcome: Outcome::Failed,
                ..Ending::UNFINISHED
            };
        }
        Err(error) => return failed(error),
    };
    let mut ending = Ending::DONE;
    if let Some(Value::List(refusals)) = fields.get(REFUSALS) {
        for refusal in refusals {
            let code = match refusal {
                Value::Object(refusal) => word(refusal.get("code")),
                _ => None,
            };
            ending.outcome = Outcome::Refused;
            if let Some(code) = code.filter(|code| !ending.codes.contains(code)) {
                ending.codes.push(code);
            }
        }
    }
    for (key, value) in &*fields {
        if let (true, Value::Object(object)) = (key.starts_with(OBJECT), value) {
            ending.objects.extend(word(object.get("id")));
        }
    }
    fields.retain(|key, _| !key.starts_with(OBJECT));
    ending
}

fn word(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::Enum(name) => Some(name.to_string()),
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

/// A mutation that has no payload: it was not allowed, its arguments were none, or the server failed.
fn failed(error: &ServerError) -> Ending {
    let code = code_of(error);
    let refused = [Code::Unauthenticated, Code::Forbidden, Code::BadUserInput];
    let outcome = if refused.contains(&code) {
        Outcome::Refused
    } else {
        Outcome::Failed
    };
    Ending {
        outcome,
        codes: vec![<&str>::from(code).to_owned()],
        objects: Vec::new(),
    }
}
