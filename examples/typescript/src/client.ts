// The API, typed by the documents that are sent to it.
import type { TypedDocumentString } from "./generated.js";

/** The server refuses, or cannot be reached; the text says what to do. */
export class Trouble extends Error {}

interface Answer<Data> {
  data?: Data;
  errors?: { message: string; extensions?: { code?: string } }[];
}

/** A way to ask one server with one token. */
export type Ask = <Data, Variables>(document: TypedDocumentString<Data, Variables>, variables: Variables) => Promise<Data>;

export function client(url: string, token: string): Ask {
  return async <Data, Variables>(document: TypedDocumentString<Data, Variables>, variables: Variables): Promise<Data> => {
    const response = await fetch(`${url}/graphql`, {
      method: "POST",
      headers: {
        accept: "application/graphql-response+json",
        authorization: `Bearer ${token}`,
        "content-type": "application/json",
      },
      body: JSON.stringify({ query: document.toString(), variables }),
    }).catch((error: unknown) => {
      throw new Trouble(`${url} cannot be reached`, { cause: error });
    });
    const answer = (await response.json()) as Answer<Data>;
    if (answer.errors?.length) throw new Trouble(answer.errors.map(({ message }) => message).join(" "));
    if (!answer.data) throw new Trouble(`${url} answers ${response.status} without data`);
    return answer.data;
  };
}
