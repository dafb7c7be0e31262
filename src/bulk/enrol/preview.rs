//! Whom a selection of people holds, and what enrolling them would come to, before it is done.

use std::collections::{BTreeMap, HashSet};

use super::enrolling::{Enrolling, Manner};
use super::{People, check, misses};
use crate::app::{AppError, Caller, Services};
use crate::bulk::CHUNK_MAX;
use crate::domain::bulk::BulkOutcomeCode;
use crate::domain::id::{PersonId, SequenceId};
use crate::domain::person_filter::PersonFilter;
use crate::store::enrolment::{self, Among, Filter, Target};
use crate::store::person::Row;
use crate::store::sequence::version;
use crate::store::{self, StoreError};

/// The most people of a sample.
pub const SAMPLE_MAX: usize = 50;

/// How many would have one outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Its code.
    pub code: BulkOutcomeCode,
    /// The same for people.
    pub message: String,
    /// How many.
    pub count: i64,
}

/// A selection of people, read and allowed.
#[derive(Debug, Clone)]
pub struct PeopleSelected {
    people: People,
    /// Those who are named one by one, or whose opportunities are, each once.
    named: Option<Vec<PersonId>>,
    /// How many names nobody is found under.
    missing: i64,
}

impl PeopleSelected {
    /// Reads who is named.
    ///
    /// # Errors
    /// [`AppError::Refused`] as [`super::submit`] has it; `path` is where the selection stands in the
    /// input.
    pub async fn new(
        services: &Services,
        caller: &Caller,
        people: People,
        path: &str,
    ) -> Result<Self, AppError> {
        check(caller, &people, path)?;
        if let Some(refusal) = misses(services, caller, &people, path).await? {
            return Err(refusal.into());
        }
        let (named, missing) = named(services, caller, &people).await?;
        Ok(Self {
            people,
            named,
            missing,
        })
    }

    /// How many people it holds.
    ///
    /// # Errors
    /// [`StoreError`] as the database has it.
    pub async fn count(&self, services: &Services, caller: &Caller) -> Result<i64, StoreError> {
        let (db, workspace) = (services.db.read(), caller.workspace);
        match (&self.named, self.people.filter(&PersonFilter::default())) {
            (Some(named), _) => Ok(i64::try_from(named.len()).unwrap_or(i64::MAX)),
            (None, Some(filter)) => {
                enrolment::count(db, workspace, filter, services.clock.now()).await
            }
            (None, None) => Ok(0),
        }
    }

    /// The first people that it holds: by their names in the order in which they are named, else in that in
    /// which they were entered.
    ///
    /// # Errors
    /// [`StoreError`] as the database has it.
    pub async fn sample(
        &self,
        services: &Services,
        caller: &Caller,
        first: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let (db, workspace) = (services.db.read(), caller.workspace);
        let first = first.min(SAMPLE_MAX);
        if let Some(named) = &self.named {
            let ids = named.get(..first).unwrap_or(named);
            let mut found = store::person::find_many(db, workspace, ids).await?;
            found.sort_by_key(|row| ids.iter().position(|id| id.uuid() == row.id));
            return Ok(found);
        }
        match self.people.filter(&PersonFilter::default()) {
            Some(filter) => {
                enrolment::sample(db, workspace, filter, services.clock.now(), first).await
            }
            None => Ok(Vec::new()),
        }
    }

    /// How many would be enrolled into a sequence just now, and how many not, by why not; the most
    /// frequent first. `None` where there is no such sequence.
    ///
    /// # Errors
    /// [`StoreError`] as the database has it.
    pub async fn expected(
        &self,
        services: &Services,
        caller: &Caller,
        sequence: SequenceId,
        re_enrol: bool,
    ) -> Result<Option<Vec<Expected>>, StoreError> {
        let (db, workspace) = (services.db.read(), caller.workspace);
        let found = store::sequence::find(db, workspace, sequence).await?;
        let Some(found) = found.filter(|_| caller.scope.admits(sequence)) else {
            return Ok(None);
        };
        let version = match found.published_version {
            Some(id) => Some(version::of_sequence(db, workspace, id).await?),
            None => None,
        };
        let mut counts: BTreeMap<(&'static str, String), (BulkOutcomeCode, i64)> = BTreeMap::new();
        let mut add = |code: BulkOutcomeCode, message: &str, count: i64| {
            let key = (code.into(), message.to_owned());
            counts.entry(key).or_insert((code, 0)).1 += count;
        };
        let target = Target {
            status: found.status.to_string(),
            version,
        };
        match Enrolling::open(target)? {
            Err(reason) => {
                let count = self.count(services, caller).await?;
                add(BulkOutcomeCode::Invalid, &reason, count);
            }
            Ok(enrolling) => {
                let default = PersonFilter::default();
                let missing = self.people.missing();
                let manner = Manner::Asked {
                    re_enrol,
                    missing,
                    operation: None,
                };
                for among in self.parts(services, &default) {
                    for alike in enrolment::alike(db, workspace, sequence, among).await? {
                        match enrolling.refusal(Some(&alike.candidate), manner) {
                            Some((code, message)) => add(code, message, alike.count),
                            None => add(BulkOutcomeCode::Done, "Would be enrolled.", alike.count),
                        }
                    }
                }
            }
        }
        if self.missing > 0 {
            add(
                BulkOutcomeCode::NotFound,
                self.people.missing(),
                self.missing,
            );
        }
        let expected = counts
            .into_iter()
            .map(|((_, message), (code, count))| Expected {
                code,
                message,
                count,
            });
        let mut expected: Vec<Expected> = expected.collect();
        expected.sort_by_key(|one| std::cmp::Reverse(one.count));
        Ok(Some(expected))
    }

    /// The selection in parts that fit one statement each.
    fn parts<'a>(&'a self, services: &Services, default: &'a PersonFilter) -> Vec<Among<'a>> {
        let now = services.clock.now();
        match (&self.named, self.people.filter(default)) {
            (Some(named), _) => named.chunks(CHUNK_MAX).map(Among::Ids).collect(),
            (None, Some(filter)) => vec![Among::Filter(filter, now)],
            (None, None) => Vec::new(),
        }
    }
}

impl People {
    /// The filter that chooses them, where one does; `default` chooses everybody.
    fn filter<'a>(&'a self, default: &'a PersonFilter) -> Option<Filter<'a>> {
        match self {
            Self::Ids(_) | Self::OpportunityIds(_) => None,
            Self::Filter(filter) => Some(Filter::People(filter)),
            Self::Opportunities(filter) => Some(Filter::Opportunities(filter)),
            Self::Everything => Some(Filter::People(default)),
        }
    }
}

/// The people of the workspace who are named, each once, and how many names there is nobody under.
async fn named(
    services: &Services,
    caller: &Caller,
    people: &People,
) -> Result<(Option<Vec<PersonId>>, i64), StoreError> {
    let (db, workspace) = (services.db.read(), caller.workspace);
    let mut named = Vec::new();
    let mut seen = HashSet::new();
    let mut missing = 0;
    match people {
        People::Ids(ids) => {
            for part in ids.chunks(CHUNK_MAX) {
                let found = store::person::find_many(db, workspace, part).await?;
                let found: HashSet<_> = found.into_iter().map(|row| row.id).collect();
                for id in part {
                    match found.contains(&id.uuid()) {
                        true if seen.insert(*id) => named.push(*id),
                        true => {}
                        false => missing += 1,
                    }
                }
            }
        }
        People::OpportunityIds(ids) => {
            for part in ids.chunks(CHUNK_MAX) {
                let found = store::opportunity::find_many(db, workspace, part).await?;
                missing += i64::try_from(part.len() - found.len().min(part.len())).unwrap_or(0);
                let owners = found
                    .into_iter()
                    .map(|row| PersonId::from_uuid(row.person_id));
                named.extend(owners.filter(|id| seen.insert(*id)));
            }
        }
        People::Filter(_) | People::Opportunities(_) | People::Everything => {
            return Ok((None, 0));
        }
    }
    Ok((Some(named), missing))
}
