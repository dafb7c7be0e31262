// The GraphQL documents that the client tests send.

export const SENDER_CREATE = /* GraphQL */ `
  mutation SenderCreate($input: SenderCreateInput!) {
    senderCreate(input: $input) { sender { id name channel address enabled } userErrors { code message path } }
  }`;

export const PERSON_CREATE = /* GraphQL */ `
  mutation PersonCreate($input: PersonInput!) {
    personCreate(input: $input) { person { id email firstName } userErrors { code message path } }
  }`;

export const SEQUENCE_CREATE = /* GraphQL */ `
  mutation SequenceCreate($input: SequenceCreateInput!) {
    sequenceCreate(input: $input) { sequence { id status revision } userErrors { code message path } }
  }`;

export const SEQUENCE_PUBLISH = /* GraphQL */ `
  mutation SequencePublish($input: SequencePublishInput!) {
    sequencePublish(input: $input) {
      sequence { id status }
      userErrors { code message path }
      problems { severity code message stepKey path }
    }
  }`;

export const LEADS_ENROL = /* GraphQL */ `
  mutation LeadsEnrol($input: LeadsEnrolInput!) {
    leadsEnrol(input: $input) {
      operation { id kind status total processed succeeded skipped failed }
      userErrors { code message path }
    }
  }`;

export const SEQUENCE = /* GraphQL */ `
  query Sequence($id: ID!) {
    sequence(id: $id) { id name status leadCounts { pending inProgress completed paused stopped total } }
  }`;

export const LEADS = /* GraphQL */ `
  query Leads($filter: LeadFilter, $first: Int) {
    leads(filter: $filter, first: $first) {
      edges { cursor }
      nodes { id status messagesSent person { id email } executions(first: 10) { nodes { id stepKey status subject } } }
      pageInfo { hasNextPage endCursor }
      totalCount
    }
  }`;

const EVENT_FIELDS = /* GraphQL */ `
  fragment EventFields on ExecutionEvent {
    cursor
    at
    kind
    stepKey
    lead { id person { id email } }
    execution { id status }
  }`;

export const EVENTS = /* GraphQL */ `
  query Events($filter: EventFilter, $after: EventCursor, $first: Int) {
    events(filter: $filter, after: $after, first: $first) { ...EventFields }
  }
  ${EVENT_FIELDS}`;

export const EXECUTION_EVENTS = /* GraphQL */ `
  subscription ExecutionEvents($filter: EventFilter, $after: EventCursor) {
    executionEvents(filter: $filter, after: $after) { ...EventFields }
  }
  ${EVENT_FIELDS}`;

export const BULK_OPERATION = /* GraphQL */ `
  subscription BulkOperation($id: ID!) {
    bulkOperation(id: $id) { id kind status total processed succeeded skipped failed }
  }`;
